# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof says of servers that do HTTP/2 well or badly: small ones of the test, on a socket of its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import subprocess
import threading

import pytest

h2_connection = pytest.importorskip("h2.connection")

import h2.config
import h2.errors
import h2.events
import h2.exceptions

from ansible_collections.multiregion.paas.plugins.module_utils._nginx import http2
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import ProofFailed


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=proof.invalid"]
        + ["-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True,
        capture_output=True,
    )
    return folder


class Server(threading.Thread):
    """One connection. `habit` is what it does wrong."""

    def __init__(self, folder, certificate, habit=""):
        super().__init__(daemon=True)
        self.habit = habit
        self.path = str(folder / "tls.sock")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
        if habit != "no alpn":
            self.context.set_alpn_protocols(["http/1.1"] if habit == "http/1.1" else ["h2"])
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.start()

    def run(self):
        # The client leaves as soon as it has seen enough.
        with contextlib.suppress(OSError, h2.exceptions.H2Error):
            self.serve()

    def serve(self):
        sock = self.context.wrap_socket(self.listener.accept()[0], server_side=True)
        if self.habit in ("no alpn", "http/1.1"):
            return
        conn = h2_connection.H2Connection(config=h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        conn.initiate_connection()
        sock.sendall(conn.data_to_send())
        methods, bodies = {}, {}
        while data := sock.recv(65536):
            if self.habit == "ends the connection":
                sock.close()
                return
            for event in conn.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    methods[event.stream_id] = dict(event.headers)[":method"]
                    bodies[event.stream_id] = b""
                    if self.habit == "refuses an early post" and methods[event.stream_id] == "POST":
                        conn.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
                        break
                    if self.habit == "goes away":
                        conn.close_connection(h2.errors.ErrorCodes.INTERNAL_ERROR)
                        break
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    if self.habit != "keeps the window shut":
                        conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.answer(conn, event.stream_id, methods[event.stream_id], bodies[event.stream_id])
            sock.sendall(conn.data_to_send())

    def answer(self, conn, stream, method, body):
        if self.habit == "changes the body":
            body = body[:-1]
        text = json.dumps({"method": method, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode()
        text = {"damages the answer": text[:-5], "answers no dictionary": b"[1, 2]", "answers no text": b"\xff\xfe\xff"}.get(self.habit, text)
        conn.send_headers(stream, [(":status", {"is broken": "502"}.get(self.habit, "200"))])
        if self.habit != "never ends":
            conn.send_data(stream, text, end_stream=True)


def test_a_good_server_is_proven(tmp_path, certificate):
    result = http2.prove_echo(Server(tmp_path, certificate).path, "proof.invalid")
    assert (result["alpn"], result["get"], result["post"]) == ("h2", 200, 200)
    assert result["post_bytes"] > 65535


@pytest.mark.parametrize(
    ("habit", "message"),
    [
        ("no alpn", "ALPN selected nothing instead of h2"),
        ("http/1.1", "ALPN selected"),
        ("refuses an early post", "POST /early over HTTP/2 was answered with RST_STREAM, error REFUSED_STREAM"),
        ("goes away", "answered with GOAWAY, error INTERNAL_ERROR"),
        ("ends the connection", "the connection ended before POST /early over HTTP/2 was answered|Error"),
        ("keeps the window shut", "no complete answer to POST /large over HTTP/2 in time"),
        ("never ends", "no complete answer to POST /early over HTTP/2 in time"),
        ("changes the body", "reached the backend changed"),
        ("damages the answer", "POST /early over HTTP/2 through a private nginx: the backend's answer came back damaged"),
        ("answers no dictionary", "the backend's answer came back damaged"),
        ("answers no text", "the backend's answer came back damaged"),
        ("is broken", "POST /early over HTTP/2 through a private nginx was answered with status 502"),
    ],
)
def test_a_bad_server_is_named(tmp_path, certificate, habit, message):
    timeout = 1 if habit in ("keeps the window shut", "never ends") else 15
    with pytest.raises(ProofFailed, match=message):
        http2.prove_echo(Server(tmp_path, certificate, habit).path, "proof.invalid", timeout=timeout)


def test_nobody_listens(tmp_path):
    with pytest.raises(ProofFailed, match="FileNotFoundError"):
        http2.prove_echo(str(tmp_path / "nothing.sock"), "proof.invalid")
