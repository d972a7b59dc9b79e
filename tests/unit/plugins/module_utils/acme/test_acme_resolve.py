# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading

import dns.message
import dns.rrset
import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme import resolve
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import DeadlineError, DnsError, InputError
from ansible_collections.multiregion.paas.plugins.module_utils._acme.resolve import Dns, Record, Server, parse_server, soa_owner, txt_values


@pytest.mark.parametrize(
    "text, expected",
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
        ("ns1.example.test", ("ns1.example.test", 53)),
        ("ns1.example.test:54", ("ns1.example.test", 54)),
    ],
)
def test_servers(text, expected):
    assert parse_server(text) == expected


@pytest.mark.parametrize("text", ["", ":53", "a:b", "192.0.2.1:0", "192.0.2.1:99999", "[::1]:x"])
def test_what_is_no_server(text):
    with pytest.raises(InputError, match="no server"):
        parse_server(text)


def response(name, *answer, authority=()):
    message = dns.message.make_response(dns.message.make_query(name, "TXT"))
    message.answer = [dns.rrset.from_text(*record) for record in answer]
    message.authority = [dns.rrset.from_text(*record) for record in authority]
    return message


def test_values_of_several_strings_are_one():
    answer = response("x.test.", ("x.test.", 1, "IN", "TXT", '"ab" "cd"', '"ef"'), ("y.test.", 1, "IN", "TXT", '"other"'))
    assert txt_values(answer, "x.test") == ["abcd", "ef"]


def test_the_zone_is_the_owner_of_the_soa():
    soa = "ns. hostmaster. 1 2 3 4 5"
    assert soa_owner(response("a.b.x.test.", authority=[("x.test.", 1, "IN", "SOA", soa)]), "a.b.x.test") == "x.test"
    assert soa_owner(response("x.test.", ("x.test.", 1, "IN", "SOA", soa)), "x.test") == "x.test"
    # A SOA of another zone, behind a CNAME, or of the root, says nothing about this name.
    assert soa_owner(response("a.x.test.", authority=[("y.test.", 1, "IN", "SOA", soa)]), "a.x.test") is None
    assert soa_owner(response("a.x.test.", authority=[(".", 1, "IN", "SOA", soa)]), "a.x.test") is None


class Answers:
    """What each server says, by turns."""

    def __init__(self, monkeypatch, **servers):
        self.servers, self.asked = servers, []
        monkeypatch.setattr(resolve, "ask", self.ask)

    def ask(self, server, name, rdatatype, recurse=False):
        self.asked.append(server.name)
        said = self.servers[server.name]
        one = said.pop(0) if len(said) > 1 else said[0]
        if isinstance(one, Exception):
            raise one
        return response(name, (name, 1, "IN", "TXT", *['"%s"' % value for value in one])) if one else response(name)


def view(*names):
    dns_view = Dns.__new__(Dns)
    dns_view.fixed = tuple(Server(name, "192.0.2.%d" % number) for number, name in enumerate(names))
    return dns_view


RECORD = Record(challenge="_acme-challenge.a.test", fqdn="_acme-challenge.a.test", zone="a.test", values=("v1", "v2"))


def test_waits_until_every_server_has_every_value(monkeypatch):
    answers = Answers(monkeypatch, one=[["v1", "v2", "theirs"]], two=[[], ["v1"], ["v1", "v2"]])
    view("one", "two").wait([RECORD], 5, threading.Event())
    # A server that has said so is not asked again.
    assert sorted(answers.asked) == ["one", "two", "two", "two"]


def test_says_which_server_lacks_it(monkeypatch):
    Answers(monkeypatch, one=[["v1", "v2"]], two=[["v1"]])
    with pytest.raises(DeadlineError, match="on two") as caught:
        view("one", "two").wait([RECORD], 0.2, threading.Event())
    answers = caught.value.details["dns_answers"]["_acme-challenge.a.test"]
    assert [value for name, value in sorted(answers.items())] == [["v1", "v2"], ["v1"]]


def test_an_address_family_that_is_not_here_is_passed_over_when_another_server_answers(monkeypatch):
    Answers(monkeypatch, one=[["v1", "v2"]], six=[OSError(101, "Network is unreachable")])
    view("one", "six").wait([RECORD], 2, threading.Event())
    Answers(monkeypatch, six=[OSError(101, "Network is unreachable")])
    with pytest.raises(DeadlineError):
        view("six").wait([RECORD], 0.2, threading.Event())


@pytest.fixture
def unsure(monkeypatch):
    """A DNS in which the servers of b.test are found only after some questions."""
    Answers(monkeypatch, one=[["v1", "v2"]])
    dns_view, fails = view("one"), []

    def servers(zone):
        if zone == "b.test" and fails:
            raise DnsError(fails.pop(0) if len(fails) > 1 else fails[0])
        return dns_view.fixed

    monkeypatch.setattr(dns_view, "servers", servers)
    return dns_view, fails


OTHER = Record(challenge="_acme-challenge.b.test", fqdn="_acme-challenge.b.test", zone="b.test", values=("v1",))


def test_name_servers_that_are_not_found_are_looked_for_again(unsure):
    dns_view, fails = unsure

    class Event(threading.Event):
        def wait(self, timeout=None):
            fails.pop()

    fails.extend(["SERVFAIL", "timed out"])
    dns_view.wait([RECORD, OTHER], 5, Event())
    assert fails == []


def test_the_last_error_of_looking_for_name_servers_is_told_at_the_deadline(unsure):
    dns_view, fails = unsure
    fails.extend(["the first error", "the last error"])
    with pytest.raises(DeadlineError, match=r"_acme-challenge.b.test \(the last error\)") as caught:
        dns_view.wait([RECORD, OTHER], 0.2, threading.Event())
    assert caught.value.details["dns_answers"] == {"_acme-challenge.b.test": {"error": "the last error"}}
