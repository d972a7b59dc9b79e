# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Zones as the API lists them, oddities included."""

from __future__ import annotations

import dns.rdatatype
import pytest
from lab_dns_helpers import record

import dns_zones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.Test", "example.test."),
        ("\\052.example.test.", "*.example.test."),
        ("a\\040b.example.test.", "a\\032b.example.test."),
        ("m\u00fcnchen.example.test", "xn--mnchen-3ya.example.test."),
        (".", "."),
    ],
)
def test_names_are_read_as_route_53_writes_them(text, expected):
    assert dns_zones.parse_name(text).to_text() == expected


def test_a_malformed_soa_is_replaced_and_reported():
    problems = []
    zone = dns_zones.parse_zone(
        "/hostedzone/Z1", "example.test.", [record("example.test.", "SOA", "{'Value': 'ns. x. 1 2 3 4 5'}")], problems
    )
    assert zone.soa().rdatas[0].minimum == 86400
    assert len(problems) == 1


def test_name_servers_without_a_last_dot_are_absolute():
    zone = dns_zones.parse_zone("Z1", "example.test.", [record("example.test.", "NS", "ns-2048.awsdns-64.com", ttl="172800")])
    assert [name.to_text() for name in zone.name_servers()] == ["ns-2048.awsdns-64.com."]
    assert zone.soa().rdatas[0].mname.to_text() == "ns-2048.awsdns-64.com."


def test_a_bare_zone_has_soa_and_ns():
    zone = dns_zones.parse_zone("Z1", "example.test.", [])
    assert {dns.rdatatype.SOA, dns.rdatatype.NS} == set(zone.nodes[zone.name])


def test_values_that_dns_cannot_carry_are_left_out_and_reported():
    problems = []
    zone = dns_zones.parse_zone("Z1", "example.test.", [record("a.example.test.", "A", "not an address", "198.18.1.1")], problems)
    (found,) = zone.nodes[dns_zones.parse_name("a.example.test.")][dns.rdatatype.A]
    assert len(found.rdatas) == 1 and len(problems) == 1


def test_the_first_zone_of_a_name_answers_and_both_are_reached_by_id():
    zones = dns_zones.build([dns_zones.parse_zone("Z1", "example.test.", []), dns_zones.parse_zone("Z2", "example.test.", [])])
    assert zones.enclosing(dns_zones.parse_name("x.example.test")).id == "Z1"
    assert set(zones.by_id) == {"Z1", "Z2"}
    assert zones.enclosing(dns_zones.parse_name("example.org")) is None
