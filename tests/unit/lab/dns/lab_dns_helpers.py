# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers: the server's modules, and record sets as the Route 53 API lists them."""

from __future__ import annotations

import ipaddress
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "lab" / "dns"))

import dns.name
import dns.rdatatype
import dns_answers
import dns_checks
import dns_zones

__all__ = ["dns_checks"]

ZONE = "Z1"
CLIENTS = {"us-east-1": "198.18.1.101", "eu-west-1": "198.18.2.101", "ap-southeast-2": "198.18.3.101"}
GEOGRAPHY = dns_answers.Geography.from_config(
    {
        "regions": {"us-east-1": "198.18.1.0/24", "eu-west-1": "198.18.2.0/24", "ap-southeast-2": "198.18.3.0/24"},
        "rtt_ms": {"us-east-1 eu-west-1": 75, "us-east-1 ap-southeast-2": 200, "eu-west-1 ap-southeast-2": 255},
    }
)


def record(name, rdtype, *values, ttl=60, **more):
    return {"Name": name, "Type": rdtype, "TTL": ttl, "ResourceRecords": [{"Value": value} for value in values], **more}


def alias(name, target, rdtype="A", zone=ZONE, evaluate=True, **more):
    return {
        "Name": name,
        "Type": rdtype,
        "AliasTarget": {"HostedZoneId": zone, "DNSName": target, "EvaluateTargetHealth": evaluate},
        **more,
    }


def multivalue(name, address, check=None, ttl=60):
    more = {"HealthCheckId": check} if check else {}
    return record(name, "AAAA" if ":" in address else "A", address, ttl=ttl, SetIdentifier=address, MultiValueAnswer=True, **more)


def app(name="app.example.test.", **hosts):
    """What route53_latency makes: `hosts` maps a region (underscores) to addresses, each its own health check."""
    sets = []
    for region, addresses in hosts.items():
        region = region.replace("_", "-")
        sets += [multivalue(f"{region}.{name}", address, check=address) for address in addresses]
        sets.append(alias(name, f"{region}.{name}", SetIdentifier=region, Region=region))
    return sets


class World:
    def __init__(self, *record_sets, zone="example.test.", others=(), own=("198.18.0.10",), seed=1):
        zones = [dns_zones.parse_zone(f"/hostedzone/{ZONE}", zone, record_sets)]
        zones += [dns_zones.parse_zone(zone_id, name, sets) for zone_id, name, sets in others]
        self.sick = set()
        self.resolver = dns_answers.Resolver(
            dns_zones.build(zones), GEOGRAPHY, lambda check: check not in self.sick, own_addresses=own, rng=random.Random(seed)
        )

    def ask(self, name, rdtype="A", client="us-east-1"):
        address = ipaddress.ip_address(CLIENTS.get(client, client))
        return self.resolver.resolve(dns.name.from_text(name), dns.rdatatype.from_text(rdtype), address)

    def values(self, name, rdtype="A", client="us-east-1"):
        answer = self.ask(name, rdtype, client)
        return sorted(rdata.to_text() for rrset in answer.answer for rdata in rrset)
