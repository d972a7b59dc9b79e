# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/2 as a browser speaks it, frame by frame, over TLS with ALPN."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
import time
import typing as t
from dataclasses import dataclass

from .errors import ProofFailed

H2_IMPORT_ERROR: Exception | None
try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError as error:
    H2_IMPORT_ERROR = error
else:
    H2_IMPORT_ERROR = None


@dataclass(frozen=True)
class Request:
    """One request; a body makes it a POST."""

    path: str = "/"
    body: bytes | None = None

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


@dataclass(frozen=True)
class Response:
    """What came back."""

    status: int
    body: bytes


def _connect(address: str, port: int | None, timeout: float) -> socket.socket:
    if port is None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    return socket.create_connection((address, port), timeout=timeout)


class _Exchange:
    """The state of several requests, one after the other, on one connection."""

    def __init__(self, sock: t.Any, authority: str, what: str, deadline: float) -> None:
        self.sock = sock
        self.authority = authority
        self.what = what
        self.deadline = deadline
        self.conn = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.conn.initiate_connection()

    def _push(self, stream: int, rest: bytes) -> bytes:
        """Hand over as much of a body as flow control lets through; return what is left."""
        while rest:
            room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(rest))
            if room <= 0:
                break
            self.conn.send_data(stream, rest[:room], end_stream=room == len(rest))
            rest = rest[room:]
        return rest

    def run(self, request: Request) -> Response:
        stream = self.conn.get_next_available_stream_id()
        headers = [(":method", request.method), (":scheme", "https"), (":authority", self.authority), (":path", request.path)]
        headers.append(("user-agent", "multiregion.paas.nginx_http2_pin"))
        rest = request.body or b""
        if request.body is not None:
            headers += [("content-type", "application/octet-stream"), ("content-length", str(len(rest)))]
        self.conn.send_headers(stream, headers, end_stream=not rest)
        # The body goes out together with the preface, before the server's SETTINGS were read: it is this early POST that nginx
        # up to 1.10.1 answered with REFUSED_STREAM.
        rest = self._push(stream, rest)
        self.sock.sendall(self.conn.data_to_send())
        status, body, ended = 0, bytearray(), False
        while not ended:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise ProofFailed(f"{self.what}: no complete answer to {request.method} {request.path} over HTTP/2 in time.")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except (TimeoutError, socket.timeout):
                continue
            if not data:
                raise ProofFailed(f"{self.what}: the connection ended before {request.method} {request.path} over HTTP/2 was answered.")
            for event in self.conn.receive_data(data):
                if isinstance(event, h2.events.ConnectionTerminated):
                    raise ProofFailed(f"{self.what}: {request.method} {request.path} over HTTP/2 was answered with GOAWAY, error {_code(event.error_code)}.")
                if getattr(event, "stream_id", None) not in (stream, 0):
                    continue
                if isinstance(event, h2.events.StreamReset):
                    raise ProofFailed(
                        f"{self.what}: {request.method} {request.path} over HTTP/2 was answered with RST_STREAM, error {_code(event.error_code)}."
                    )
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.conn.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, h2.events.StreamEnded):
                    ended = True
            if not ended:
                rest = self._push(stream, rest)
            self.sock.sendall(self.conn.data_to_send())
        return Response(status, bytes(body))


def _code(value: t.Any) -> str:
    return getattr(value, "name", str(value))


def talk(address: str, port: int | None, server_name: str, requests: t.Sequence[Request], timeout: float = 15.0) -> list[Response]:
    """Send requests one after the other over one HTTP/2 connection and return the responses.

    `address` is a path of a UNIX socket when `port` is None. The certificate is not verified: what is proven is the protocol,
    and the site may not have its certificate yet. Raises ProofFailed for everything that is not a complete answer.
    """
    what = f"{server_name} at {address}" + (f" port {port}" if port is not None else "")
    deadline = time.monotonic() + timeout
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with _connect(address, port, timeout) as raw, context.wrap_socket(raw, server_hostname=server_name) as sock:
            selected = sock.selected_alpn_protocol()
            if selected != "h2":
                raise ProofFailed(f"{what}: ALPN selected {selected or 'nothing'} instead of h2.")
            authority = server_name if port in (None, 443) else f"{server_name}:{port}"
            exchange = _Exchange(sock, authority, what, deadline)
            return [exchange.run(request) for request in requests]
    except ProofFailed:
        raise
    except (OSError, ValueError, KeyError, h2.exceptions.H2Error) as error:
        raise ProofFailed(f"{what}: {type(error).__name__}: {error}") from error


def prove_echo(socket_path: str, server_name: str, timeout: float = 15.0) -> dict[str, t.Any]:
    """GET and POST against the private server, whose backend tells what arrived."""
    small = b"a=1&b=" + os.urandom(32).hex().encode()
    # More than the window of 65,535 bytes that a connection starts with: flow control has to work in both directions.
    large = os.urandom(1024) * 200
    requests = [Request("/early", small), Request("/get"), Request("/large", large)]
    for request, response in zip(requests, talk(socket_path, None, server_name, requests, timeout)):
        if response.status != 200:
            raise ProofFailed(f"{request.method} {request.path} over HTTP/2 through a private nginx was answered with status {response.status}.")
        try:
            seen = json.loads(response.body)
        except ValueError:
            seen = None
        expected = {"method": request.method, "length": len(request.body or b""), "sha256": hashlib.sha256(request.body or b"").hexdigest()}
        what = f"{request.method} {request.path} over HTTP/2 through a private nginx"
        if not isinstance(seen, dict):
            raise ProofFailed(f"{what}: the backend's answer came back damaged: {response.body[:200]!r}.")
        if {key: seen.get(key) for key in expected} != expected:
            raise ProofFailed(f"{what} reached the backend changed: {seen} instead of {expected}.")
    return {"alpn": "h2", "get": 200, "post": 200, "post_bytes": len(small) + len(large)}


def prove_site(address: str, port: int, server_name: str, path: str, post: bool, timeout: float = 15.0) -> dict[str, t.Any]:
    """GET and POST against a running site; any status below 500 is an answer, since only the app knows what it makes of them."""
    requests = ([Request(path, b"http2=proof")] if post else []) + [Request(path)]
    result: dict[str, t.Any] = {"server_name": server_name, "alpn": "h2"}
    for request, response in zip(requests, talk(address, port, server_name, requests, timeout)):
        if response.status >= 500 or response.status == 421:
            raise ProofFailed(f"{server_name} at {address} port {port}: {request.method} {path} over HTTP/2 was answered with status {response.status}.")
        result[request.method.lower()] = response.status
    return result
