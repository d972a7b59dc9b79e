# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server over real sockets on loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import urllib.request

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
from lab_dns_helpers import app, record

import dns_zones
from dns_checks import CheckConfig
from dns_server import DnsServer, parse_arguments

CONFIG = """
regions: {us-east-1: 198.18.1.0/24, eu-west-1: 198.18.2.0/24}
rtt_ms: {us-east-1 eu-west-1: 75}
"""


class FakeSource:
    def __init__(self, *record_sets):
        self.record_sets = list(record_sets)
        self.checks = {}
        self.problems = []
        self.error = None

    def read(self):
        if self.error:
            raise OSError(self.error)
        return dns_zones.build([dns_zones.parse_zone("Z1", "example.test.", self.record_sets)]), dict(self.checks)


class Running:
    """The server in a thread of its own."""

    def __init__(self, source, tmp_path, upstreams=None, poll=0.05):
        self.config = tmp_path / "lab.yml"
        self.config.write_text(CONFIG)
        self.source = source
        self._arguments = (source, self.config, ("127.0.0.1",), upstreams, poll)

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def start():
            self.server = DnsServer(*self._arguments, seed=1)
            await self.server.start("127.0.0.1", 0, 0)
            while self.server.generation == 0 and not self.source.error:
                await asyncio.sleep(0.01)
            ready.set()

        def run():
            asyncio.set_event_loop(self.loop)
            self.loop.create_task(start())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, *_error):
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    def ask(self, name, rdtype="A", tcp=False, subnet=None, flags=dns.flags.RD, edns=0, payload=1232, **more):
        options = [dns.edns.ECSOption(*subnet)] if subnet else []
        query = dns.message.make_query(
            name, rdtype, flags=flags, use_edns=edns if edns is not None else False, options=options, payload=payload, **more
        )
        return (dns.query.tcp if tcp else dns.query.udp)(query, "127.0.0.1", port=self.server.port, timeout=5)

    def status(self, method="GET", path="/"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.server.status_port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)


@pytest.fixture
def running(tmp_path):
    source = FakeSource(
        *app("app.example.test.", us_east_1=["198.18.1.11"], eu_west_1=["198.18.2.11"]),
        record("long.example.test.", "TXT", *[f'"{number:03d}{"x" * 100}"' for number in range(30)]),
    )
    with Running(source, tmp_path) as server:
        yield server


def first(message):
    return message.answer[0][0].to_text()


def test_udp_and_tcp_answer_the_same(running):
    for tcp in (False, True):
        message = running.ask("app.example.test", tcp=tcp)
        assert first(message) == "198.18.1.11"
        assert message.flags & dns.flags.AA


@pytest.mark.parametrize(("network", "expected"), [("198.18.2.0", "198.18.2.11"), ("198.18.1.0", "198.18.1.11")])
def test_client_subnet_decides_and_is_echoed(running, network, expected):
    message = running.ask("app.example.test", subnet=(network, 24))
    assert first(message) == expected
    (option,) = message.options
    assert (option.address, option.srclen, option.scopelen) == (network, 24, 24)


def test_a_client_subnet_of_length_zero_asks_not_to_be_located(running):
    message = running.ask("app.example.test", subnet=("0.0.0.0", 0))
    assert first(message) == "198.18.1.11"


def test_the_scope_is_zero_where_the_place_did_not_matter(running):
    message = running.ask("long.example.test", "NS", subnet=("198.18.2.0", 24))
    assert message.options[0].scopelen == 0


def test_udp_truncates_and_tcp_does_not(running):
    truncated = running.ask("long.example.test", "TXT")
    assert truncated.flags & dns.flags.TC
    whole = running.ask("long.example.test", "TXT", tcp=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 30


def test_without_edns_512_bytes_are_the_limit(running):
    message = running.ask("long.example.test", "TXT", edns=None)
    assert message.flags & dns.flags.TC
    assert message.edns == -1


def test_several_questions_go_over_one_tcp_connection(running):
    with socket.create_connection(("127.0.0.1", running.server.port), timeout=5) as connection:
        for _unused in range(3):
            wire = dns.message.make_query("app.example.test", "A").to_wire()
            connection.sendall(struct.pack("!H", len(wire)) + wire)
            (length,) = struct.unpack("!H", connection.recv(2))
            received = b""
            while len(received) < length:
                received += connection.recv(length - len(received))
            assert first(dns.message.from_wire(received)) == "198.18.1.11"


def test_the_questions_case_is_kept(running):
    message = running.ask("aPP.ExamplE.test")
    assert message.answer[0].name.to_text() == "aPP.ExamplE.test."


@pytest.mark.parametrize(
    ("more", "rcode"),
    [({"rdclass": "CH"}, dns.rcode.REFUSED), ({"rdtype": "AXFR"}, dns.rcode.REFUSED), ({"edns": 1}, dns.rcode.BADVERS)],
)
def test_what_is_not_served_is_refused(running, more, rcode):
    arguments = {"rdtype": "A", "tcp": True, **more}
    if arguments["rdtype"] == "AXFR":
        query = dns.message.make_query("example.test", "A")
        query.question[0].rdtype = dns.rdatatype.AXFR
        with socket.create_connection(("127.0.0.1", running.server.port), timeout=5) as connection:
            wire = query.to_wire()
            connection.sendall(struct.pack("!H", len(wire)) + wire)
            received = connection.recv(4096)
        assert received[5] & 0xF == rcode
        return
    assert running.ask("example.test", **arguments).rcode() == rcode


def test_an_unknown_opcode_is_not_implemented(running):
    query = dns.message.make_query("example.test", "A")
    query.set_opcode(dns.opcode.STATUS)
    assert dns.query.udp(query, "127.0.0.1", port=running.server.port, timeout=5).rcode() == dns.rcode.NOTIMP


def test_rubbish_is_a_format_error_and_the_server_goes_on(running):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff\xff", ("127.0.0.1", running.server.port))
        answer = sender.recv(512)
        assert answer[:2] == b"\x12\x34" and answer[3] & 0xF == dns.rcode.FORMERR
        sender.sendto(b"x", ("127.0.0.1", running.server.port))
    assert first(running.ask("app.example.test")) == "198.18.1.11"


def test_a_fresh_record_is_answered_after_the_next_reading(running):
    assert running.ask("new.example.test", "TXT").rcode() == dns.rcode.NXDOMAIN
    running.source.record_sets.append(record("new.example.test.", "TXT", '"x"'))
    running.status("POST", "/reload")
    assert first(running.ask("new.example.test", "TXT")) == '"x"'


def test_when_the_api_is_away_the_answers_go_on(running):
    running.source.error = "away"
    assert running.status("POST", "/reload")["error"] == "away"
    assert first(running.ask("app.example.test")) == "198.18.1.11"
    running.source.error = None
    assert running.status("POST", "/reload")["error"] is None


def test_the_configuration_is_read_again_when_it_changes(running):
    running.config.write_text("regions: {eu-west-1: 127.0.0.0/8}\nrtt_ms: {us-east-1 eu-west-1: 75}\n")
    running.status("POST", "/reload")
    assert first(running.ask("app.example.test")) == "198.18.2.11"


def test_the_status_shows_zones_and_health(running):
    running.source.checks = {"c": CheckConfig("TCP", "127.0.0.1", 9, interval=10)}
    status = running.status("POST", "/reload")
    assert status["zones"]["Z1"]["name"] == "example.test."
    assert status["health_checks"]["c"]["healthy"] is True


def test_foreign_names_are_refused_without_recursion_or_upstream(running):
    assert running.ask("www.example.org", flags=0).rcode() == dns.rcode.REFUSED
    assert running.ask("www.example.org").rcode() == dns.rcode.REFUSED


def test_special_names_are_never_handed_on(tmp_path):
    with Running(FakeSource(), tmp_path, upstreams=[("127.0.0.1", 9)]) as server:
        assert server.ask("nothing.test").rcode() == dns.rcode.NXDOMAIN


@pytest.mark.parametrize("tcp", [False, True])
def test_foreign_names_go_upstream(tmp_path, tcp):
    upstream_source = FakeSource(record("www.example.test.", "A", "198.18.9.9"))
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with Running(upstream_source, tmp_path / "a") as upstream:
        source = FakeSource(record("c.mine.example.", "CNAME", "www.example.test"))
        source.read = lambda: (dns_zones.build([dns_zones.parse_zone("Z2", "mine.example.", source.record_sets)]), {})
        with Running(source, tmp_path / "b", upstreams=[("127.0.0.1", upstream.server.port)]) as server:
            # example.test is a special name, so hand it on by hand: the forwarder is what is tested.
            wire = dns.message.make_query("www.example.test", "A").to_wire()
            future = asyncio.run_coroutine_threadsafe(server.server.forwarder.ask(wire, tcp), server.loop)
            assert first(dns.message.from_wire(future.result(5))) == "198.18.9.9"


def test_a_dead_upstream_is_a_server_failure(tmp_path, monkeypatch):
    monkeypatch.setattr("dns_server.FORWARD_TIMEOUT", 0.1)
    with Running(FakeSource(), tmp_path, upstreams=[("127.0.0.1", 9)]) as server:
        assert server.ask("www.example.org").rcode() == dns.rcode.SERVFAIL
        assert first(server.ask("example.test", "NS")).startswith("ns-")


def test_a_slow_upstream_holds_nobody_else_up(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with Running(FakeSource(record("x.example.test.", "A", "198.18.1.1")), tmp_path, upstreams=[silent.getsockname()]) as server:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waiting:
                for _unused in range(20):
                    waiting.sendto(dns.message.make_query("www.example.org", "A").to_wire(), ("127.0.0.1", server.server.port))
                assert first(server.ask("x.example.test")) == "198.18.1.1"


def test_arguments():
    arguments = parse_arguments(["--listen", "198.18.0.10", "--upstream", "198.18.0.1@5353", "--upstream", "198.18.0.10"])
    assert arguments.own_address == ["198.18.0.10"]
    assert arguments.upstream == [("198.18.0.1", 5353)]
    assert parse_arguments(["--upstream", "none", "--listen", "127.0.0.1"]).upstream == []
