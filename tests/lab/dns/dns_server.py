# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: UDP, TCP, forwarding of foreign names, the reload loop and the status page."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import random
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import yaml
from dns_answers import MAX_CHAIN, Address, Answer, Geography, Resolver
from dns_checks import CheckConfig, Checker
from dns_zones import Zones

LOG = logging.getLogger("lab-dns")

UDP_PAYLOAD = 1232
FORWARD_TIMEOUT = 3.0
TCP_IDLE = 30.0
# RFC 6761: these never exist outside, so nobody outside is asked.
LOCAL_ONLY = tuple(dns.name.from_text(name) for name in ("test.", "invalid.", "localhost."))


class Source(Protocol):
    problems: list[str]

    def read(self) -> tuple[Zones | None, dict[str, CheckConfig]]: ...


class Forwarder:
    """Hands a question on as it came, without blocking the others."""

    def __init__(self, upstreams: list[tuple[str, int]]) -> None:
        self.upstreams = upstreams

    async def ask(self, wire: bytes, tcp: bool) -> bytes | None:
        for upstream in self.upstreams * 2:
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                return await asyncio.wait_for((self._tcp if tcp else self._udp)(wire, upstream), FORWARD_TIMEOUT)
        return None

    async def _udp(self, wire: bytes, upstream: tuple[str, int]) -> bytes:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[bytes] = loop.create_future()

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                if data[:2] == wire[:2] and not answered.done():
                    answered.set_result(data)

            def error_received(self, exc: Exception) -> None:
                if not answered.done():
                    answered.set_exception(exc)

        transport, _protocol = await loop.create_datagram_endpoint(Protocol, remote_addr=upstream)
        try:
            transport.sendto(wire)
            return await answered
        finally:
            transport.close()

    async def _tcp(self, wire: bytes, upstream: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*upstream)
        try:
            writer.write(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            return await reader.readexactly(length)
        finally:
            writer.close()


class DnsServer:
    def __init__(
        self,
        source: Source,
        config_path: Path | None = None,
        own_addresses: tuple[str, ...] = (),
        upstreams: list[tuple[str, int]] | None = None,
        poll: float = 1.0,
        check_interval: float | None = None,
        seed: int | None = None,
    ) -> None:
        self.source = source
        self.config_path = config_path
        self.checker = Checker(interval=check_interval)
        self.resolver = Resolver(Zones(), Geography(), self.checker.healthy, own_addresses, random.Random(seed))
        self.forwarder = Forwarder(upstreams or [])
        self.poll = poll
        self.generation = 0
        self.loaded_at: float | None = None
        self.error: str | None = "nothing read yet"
        self.queries = 0
        self._config_seen: tuple[int, int] | None = None
        self._reading = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._servers: list[Any] = []
        self.port = 0
        self.status_port = 0

    # -- state ----------------------------------------------------------------------------------------------------

    def _read_config(self) -> None:
        if self.config_path is None:
            return
        stat = self.config_path.stat()
        seen = (stat.st_mtime_ns, stat.st_size)
        if seen != self._config_seen:
            self.resolver.geography = Geography.from_config(yaml.safe_load(self.config_path.read_text(encoding="utf-8")) or {})
            self._config_seen = seen

    async def reload(self) -> None:
        """One reading; what was read before goes on being served when it fails."""
        async with self._reading:
            try:
                self._read_config()
                zones, checks = await asyncio.to_thread(self.source.read)
            except Exception as error:  # the control plane may be away; answers go on, as in Route 53
                if self.error != str(error):
                    LOG.warning("reading failed, serving what there is: %s", error)
                self.error = str(error)
                return
            if zones is not None:
                self.resolver.zones = zones
                self.generation += 1
                for problem in self.source.problems:
                    LOG.info("left out %s", problem)
            self.checker.update(checks)
            self.loaded_at, self.error = time.time(), None

    async def _reload_forever(self) -> None:
        while True:
            began = time.monotonic()
            await self.reload()
            spent = time.monotonic() - began
            # Large zones are read less often, so that reading takes at most a fifth of the time.
            await asyncio.sleep(max(self.poll - spent, spent * 4, 0.05))

    # -- one question ---------------------------------------------------------------------------------------------

    async def answer(self, wire: bytes, client: Address, tcp: bool) -> bytes | None:
        try:
            query = dns.message.from_wire(wire, ignore_trailing=True)
        except dns.exception.DNSException:
            return self._formerr(wire)
        if query.flags & dns.flags.QR:
            return None
        self.queries += 1
        response = dns.message.make_response(query, recursion_available=bool(self.forwarder.upstreams), our_payload=UDP_PAYLOAD)
        subnet = next((option for option in query.options if isinstance(option, dns.edns.ECSOption)), None)
        options: list[dns.edns.Option] = []
        if query.edns > 0:
            response.set_rcode(dns.rcode.BADVERS)
        elif query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        else:
            question = query.question[0]
            if question.rdclass != dns.rdataclass.IN or question.rdtype in (dns.rdatatype.AXFR, dns.rdatatype.IXFR):
                response.set_rcode(dns.rcode.REFUSED)
            else:
                whose = client
                if subnet is not None and subnet.srclen > 0:
                    whose = ipaddress.ip_address(subnet.address)
                found = self.resolver.resolve(question.name, question.rdtype, whose)
                if found is None:
                    forwarded = await self._foreign(query, wire, tcp)
                    if isinstance(forwarded, bytes):
                        return forwarded
                    response.set_rcode(forwarded)
                else:
                    if found.continue_at is not None and query.flags & dns.flags.RD:
                        await self._follow(found, question.name, question.rdtype, whose)
                    self._fill(response, found)
                    if subnet is not None:
                        _region, length = self.resolver.geography.locate(whose)
                        scope = min(subnet.srclen, length or subnet.srclen) if found.located else 0
                        options.append(dns.edns.ECSOption(subnet.address, subnet.srclen, scope))
        if query.edns >= 0:
            rcode = response.rcode()
            response.use_edns(0, 0, UDP_PAYLOAD, options=options)
            response.set_rcode(rcode)  # its upper bits are in EDNS
        if tcp:
            return response.to_wire(max_size=65535)
        limit = max(512, min(query.payload, UDP_PAYLOAD)) if query.edns >= 0 else 512
        return response.to_wire(max_size=limit, prefer_truncation=True)

    @staticmethod
    def _fill(response: dns.message.Message, found: Answer) -> None:
        response.set_rcode(found.rcode)
        if found.authoritative:
            response.flags |= dns.flags.AA
        response.answer += found.answer
        response.authority += found.authority
        response.additional += found.additional

    @staticmethod
    def _formerr(wire: bytes) -> bytes | None:
        if len(wire) < 12 or wire[2] & 0x80:
            return None
        return wire[:2] + bytes([0x80 | (wire[2] & 0x79), dns.rcode.FORMERR]) + b"\0" * 8

    async def _foreign(self, query: dns.message.Message, wire: bytes, tcp: bool) -> bytes | int:
        if any(query.question[0].name.is_subdomain(name) for name in LOCAL_ONLY):
            return dns.rcode.NXDOMAIN
        if not query.flags & dns.flags.RD or not self.forwarder.upstreams:
            return dns.rcode.REFUSED
        return await self.forwarder.ask(wire, tcp) or dns.rcode.SERVFAIL

    async def _follow(self, found: Answer, owner: dns.name.Name, rdtype: int, client: Address) -> None:
        """Completes a chain that left our zones: stub resolvers do not ask on."""
        target = found.continue_at
        assert target is not None
        if any(target.is_subdomain(name) for name in LOCAL_ONLY):
            found.rcode = dns.rcode.NXDOMAIN
            return
        reply = await self.forwarder.ask(dns.message.make_query(target, rdtype).to_wire(), tcp=False)
        if reply is None:
            found.rcode = dns.rcode.SERVFAIL
            return
        message = dns.message.from_wire(reply)
        for rrset in message.answer[:MAX_CHAIN]:
            if not found.answer and rrset.name == target:  # an alias: the question's name owns the values
                rrset.name = owner
            found.answer.append(rrset)
        found.rcode = message.rcode()

    # -- transports -----------------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer_safely(self, wire: bytes, client: str, tcp: bool) -> bytes | None:
        try:
            return await self.answer(wire, ipaddress.ip_address(client.split("%")[0]), tcp)
        except Exception:
            LOG.exception("no answer to %r from %s", wire, client)
            return wire[:2] + bytes([0x80 | (wire[2] & 0x79), dns.rcode.SERVFAIL]) + b"\0" * 8 if len(wire) >= 12 else None

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await asyncio.wait_for(reader.readexactly(2), TCP_IDLE))
                wire = await asyncio.wait_for(reader.readexactly(length), TCP_IDLE)
                answer = await self._answer_safely(wire, writer.get_extra_info("peername")[0], True)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, OSError):
            pass
        finally:
            writer.close()

    def status(self) -> dict[str, Any]:
        return {
            "generation": self.generation,
            "loaded_at": self.loaded_at,
            "error": self.error,
            "queries": self.queries,
            "zones": {zone.id: {"name": zone.name.to_text(), "names": len(zone.nodes)} for zone in self.resolver.zones.by_id.values()},
            "regions": {str(network): region for network, region in self.resolver.geography.networks},
            "health_checks": self.checker.report(),
        }

    async def _serve_status(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """GET / shows the state; POST /reload reads at once and answers when done."""
        with contextlib.suppress(
            OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError, ValueError
        ):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            method, path = head.split(b" ", 2)[:2]
            if method == b"POST" and path == b"/reload":
                await self.reload()
            body = json.dumps(self.status(), indent=1).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
            await writer.drain()
        writer.close()

    async def start(self, address: str, port: int, status_port: int | None) -> None:
        loop = asyncio.get_running_loop()
        server = self

        class Udp(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                server._spawn(self.reply(data, addr))

            async def reply(self, data: bytes, addr: Any) -> None:
                answer = await server._answer_safely(data, addr[0], False)
                if answer is not None:
                    self.transport.sendto(answer, addr)

        tcp = await asyncio.start_server(self._serve_tcp, address, port)
        self._servers.append(tcp)
        self.port = tcp.sockets[0].getsockname()[1]
        transport, _protocol = await loop.create_datagram_endpoint(Udp, local_addr=(address, self.port))
        self._servers.append(transport)
        if status_port is not None:
            status = await asyncio.start_server(self._serve_status, address, status_port)
            self._servers.append(status)
            self.status_port = status.sockets[0].getsockname()[1]
        self._spawn(self._reload_forever())

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.checker.close()


def _system_resolvers() -> list[str]:
    with contextlib.suppress(OSError):
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
        return [line.split()[1] for line in lines if line.startswith("nameserver ")]
    return []


def _endpoint(text: str) -> tuple[str, int]:
    address, separator, port = text.rpartition("@")
    return (address, int(port)) if separator else (text, 53)


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Answers as Route 53 would, from the records that a Route 53 API holds.")
    parser.add_argument("--api", default=os.environ.get("AWS_ENDPOINT_URL"), help="URL of the Route 53 API (the moto server)")
    parser.add_argument(
        "--config", type=Path, help="YAML: regions (name: network) and rtt_ms ('region region': milliseconds); read again when it changes"
    )
    parser.add_argument("--listen", default="0.0.0.0", help="address for UDP, TCP and the status page (default: all)")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument(
        "--own-address", action="append", default=[], help="what the zones' name servers resolve to (default: the listening address)"
    )
    parser.add_argument(
        "--upstream",
        action="append",
        default=[],
        metavar="ADDRESS[@PORT]",
        help="resolver for foreign names (default: this machine's; 'none')",
    )
    parser.add_argument(
        "--status-port", type=int, default=8053, help="HTTP: GET / is the state, POST /reload reads the API at once (0: off)"
    )
    parser.add_argument("--poll", type=float, default=1.0, help="seconds between two readings of the API")
    parser.add_argument("--check-interval", type=float, help="seconds between two health checks, instead of each check's own interval")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args(argv)
    if not arguments.own_address:
        listen = arguments.listen
        arguments.own_address = [socket.gethostbyname(socket.gethostname()) if listen in ("0.0.0.0", "::") else listen]
    upstreams = [] if arguments.upstream == ["none"] else arguments.upstream or _system_resolvers()
    arguments.upstream = [pair for pair in map(_endpoint, upstreams) if pair[0] not in arguments.own_address or pair[1] != arguments.port]
    return arguments


async def run(arguments: argparse.Namespace) -> None:
    from dns_source import Route53Source

    # The simulator accepts any key; without one boto3 would look for a machine's role.
    source = Route53Source(arguments.api, os.environ.get("AWS_ACCESS_KEY_ID", "lab"), os.environ.get("AWS_SECRET_ACCESS_KEY", "lab"))
    server = DnsServer(source, arguments.config, tuple(arguments.own_address), arguments.upstream, arguments.poll, arguments.check_interval)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start(arguments.listen, arguments.port, arguments.status_port or None)
    LOG.info("answering on %s port %d, foreign names go to %s", arguments.listen, server.port, arguments.upstream or "nobody")
    await stop.wait()
    await server.close()


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    asyncio.run(run(arguments))
    return 0
