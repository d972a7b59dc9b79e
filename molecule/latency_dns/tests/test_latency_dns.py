# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user of each region is answered by the lab's authoritative DNS."""

from __future__ import annotations

import json
import time
import urllib.request

import dns.edns
import dns.message
import dns.query
import dns.rcode
import pytest

SERVER = "198.18.0.10"
CLIENTS = {"us-east-1": "198.18.1.0", "eu-west-1": "198.18.2.0", "ap-southeast-2": "198.18.3.0"}
NAME = "shop.latency-dns.test"
# A check's interval, a connection's timeout and one reading of the API, with a margin for a busy machine.
SETTLED = 60


def ask(name, region="us-east-1", rdtype="A"):
    query = dns.message.make_query(name, rdtype, use_edns=0, options=[dns.edns.ECSOption(CLIENTS[region], 24)])
    message = dns.query.udp(query, SERVER, timeout=5)
    return message.rcode(), sorted(rdata.to_text() for rrset in message.answer for rdata in rrset)


def eventually(question, expected):
    deadline = time.monotonic() + SETTLED
    while True:
        seen = question()
        if seen == expected or time.monotonic() > deadline:
            return seen
        time.sleep(0.5)


@pytest.mark.parametrize("region", CLIENTS)
@pytest.mark.parametrize("name", [NAME, f"anything.{NAME}"])
def test_every_region_is_sent_to_the_only_healthy_host(region, name):
    expected = (dns.rcode.NOERROR, ["198.18.0.10"])
    assert eventually(lambda: ask(name, region), expected) == expected


@pytest.mark.parametrize(
    ("label", "addresses"),
    [("us-east-1", ["198.18.0.10"]), ("eu-west-1", ["198.18.16.250"]), ("sydney", ["198.18.16.252"])],
)
def test_every_region_has_a_name_of_its_own(label, addresses):
    expected = (dns.rcode.NOERROR, addresses)
    assert eventually(lambda: ask(f"{label}.{NAME}"), expected) == expected


def test_an_app_that_is_gone_has_no_names():
    for name in ("gone.latency-dns.test", "us-east-1.gone.latency-dns.test"):
        assert eventually(lambda name=name: ask(name)[0], dns.rcode.NXDOMAIN) == dns.rcode.NXDOMAIN


def test_checks_are_shared_and_none_is_left_over():
    def checks():
        with urllib.request.urlopen(f"http://{SERVER}:8053/", timeout=5) as answer:
            found = json.load(answer)["health_checks"].values()
        return sorted(check["address"] for check in found if check["port"] == 5000 and check["type"] == "TCP")

    expected = ["198.18.0.10", "198.18.16.250", "198.18.16.252"]
    assert eventually(checks, expected) == expected
