# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme import rfc2136
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import DnsError, InputError
from ansible_collections.multiregion.paas.plugins.module_utils._acme.resolve import Server
from ansible_collections.multiregion.paas.plugins.module_utils._acme.rfc2136 import Rfc2136

CHALLENGE = "_acme-challenge.a.test"


class View:
    """A resolver that knows some names, and fails for the others."""

    def __init__(self, **known):
        self.known = known

    def addresses(self, server, port):
        return [Server("one", "192.0.2.1", port), Server("two", "192.0.2.2", port)]

    def follow(self, name):
        if name not in self.known:
            raise DnsError("the resolver timed out")
        return self.known[name], None


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        clock = self

        class Event(threading.Event):
            def wait(self, timeout=None):
                clock.now += timeout
                return self.is_set()

        self.Event = Event
        monkeypatch.setattr(rfc2136.time, "monotonic", lambda: clock.now)
        monkeypatch.setattr(rfc2136.threading, "Event", Event)


class Wire:
    """A server that answers questions from a table, and updates as told; notes whom it was asked as."""

    def __init__(self, monkeypatch):
        self.records, self.update, self.flags, self.seen = {}, dns.rcode.NOERROR, dns.flags.AA, []
        monkeypatch.setattr(dns.query, "tcp", self.tcp)

    def tcp(self, message, address, timeout, port):
        self.seen.append((address, timeout))
        response = dns.message.make_response(message)
        response.flags |= self.flags
        if message.opcode() == dns.opcode.UPDATE:
            said = self.update(len(self.seen)) if callable(self.update) else self.update
            if isinstance(said, Exception):
                raise said
            response.set_rcode(said)
            return response
        question = message.question[0]
        name, rdatatype = question.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(question.rdtype)
        found = self.records.get((name, rdatatype), () if name.endswith("a.test") else dns.rcode.REFUSED)
        if isinstance(found, int):
            response.set_rcode(found)
        elif found:
            response.answer = [dns.rrset.from_text(name + ".", 60, "IN", rdatatype, found)]
        elif rdatatype == "SOA":
            response.authority = [dns.rrset.from_text("a.test.", 60, "IN", "SOA", "ns. hostmaster. 1 2 3 4 5")]
        return response


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def wire(monkeypatch):
    return Wire(monkeypatch)


def provider(view=None):
    return Rfc2136(view or View(), "ns.a.test", 53, "acme", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw==", "hmac-sha256", "tcp")


@pytest.mark.parametrize("error", [dns.rcode.SERVFAIL, OSError("refused"), dns.exception.Timeout()], ids=["SERVFAIL", "connection", "time-out"])
@pytest.mark.parametrize("way", ["add", "remove"])
def test_a_server_that_restarts_is_waited_for(clock, wire, way, error):
    wire.update = lambda count: error if clock.now < 30 else dns.rcode.NOERROR
    getattr(provider(), way)("a.test", {CHALLENGE: ["v"]}, 60)
    assert 30 <= clock.now < 40
    assert {address for address, _timeout in wire.seen} == {"192.0.2.1", "192.0.2.2"}


@pytest.mark.parametrize("way, timeout", [("add", 90), ("remove", 60)])
def test_a_server_that_stays_away_is_told_at_the_deadline(clock, wire, way, timeout):
    wire.update = dns.rcode.SERVFAIL
    with pytest.raises(DnsError, match="failed for %d s: .* answers SERVFAIL" % timeout):
        getattr(provider(), way)("a.test", {CHALLENGE: ["v"]}, timeout)
    assert timeout - 6 < clock.now <= timeout
    # No attempt may outlast the deadline.
    assert all(1 <= limit <= 10 for _address, limit in wire.seen)


def test_a_refusal_is_told_at_once(clock, wire):
    wire.update = dns.rcode.NOTAUTH
    with pytest.raises(DnsError, match="NOTAUTH"):
        provider().add("a.test", {CHALLENGE: ["v"]}, 60)
    assert len(wire.seen) == 1


def test_a_stop_ends_the_repetition(clock, wire):
    wire.update, stopped = dns.rcode.SERVFAIL, clock.Event()
    stopped.set()
    with pytest.raises(DnsError, match="was stopped"):
        provider().add("a.test", {CHALLENGE: ["v"]}, 60, stopped)
    assert len(wire.seen) == 1


def test_where_the_resolver_fails_the_server_says_where_a_cname_leads(clock, wire):
    wire.records = {(CHALLENGE, "CNAME"): "Target.a.test."}
    assert provider().locate(CHALLENGE) == ("target.a.test", "a.test")
    # From there on the resolver may know more.
    wire.records = {(CHALLENGE, "CNAME"): "elsewhere.test."}
    assert provider(View(**{"elsewhere.test": "deep.a.test"})).locate(CHALLENGE) == ("deep.a.test", "a.test")


@pytest.mark.parametrize("rcode", [(), dns.rcode.NXDOMAIN])
def test_a_server_that_knows_of_no_cname_is_believed(clock, wire, rcode):
    wire.records = {(CHALLENGE, "CNAME"): rcode}
    assert provider().locate(CHALLENGE) == (CHALLENGE, "a.test")


def test_nothing_is_written_where_neither_knows_of_a_cname(clock, wire):
    for said in (dns.rcode.REFUSED, dns.rcode.SERVFAIL):
        wire.records = {(CHALLENGE, "CNAME"): said}
        with pytest.raises(DnsError, match="%s.*the resolver timed out" % CHALLENGE):
            provider().locate(CHALLENGE)
    # It is not the one that decides on this name: the zone below it is somebody else's.
    wire.records, wire.flags = {}, dns.flags.RD
    with pytest.raises(DnsError, match="holds no zone for %s.*the resolver timed out" % CHALLENGE):
        provider().locate(CHALLENGE)


def test_cnames_that_end_nowhere(clock, wire):
    wire.records = {(CHALLENGE, "CNAME"): "x.a.test.", ("x.a.test", "CNAME"): CHALLENGE + "."}
    with pytest.raises(InputError, match="end nowhere"):
        provider().locate(CHALLENGE)
