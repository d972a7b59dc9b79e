# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosted zones as the Route 53 API lists them, in a form that can be answered from. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

_OCTAL = re.compile(rb"\\([0-7]{3})")
DEFAULT_SOA = "{primary} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"
DEFAULT_NAME_SERVERS = ("ns-2048.awsdns-64.com.", "ns-2049.awsdns-65.net.", "ns-2050.awsdns-66.org.", "ns-2051.awsdns-67.co.uk.")


def parse_name(text: str) -> dns.name.Name:
    """An absolute, lower-case name from Route 53's text, whose escapes are octal (`\\052`) where DNS has decimal ones."""
    labels = []
    for label in text.rstrip(".").split(".") if text.rstrip(".") else []:
        if any(ord(character) > 127 for character in label):
            label = label.encode("idna").decode("ascii")
        labels.append(_OCTAL.sub(lambda match: bytes([int(match.group(1), 8)]), label.encode("ascii")).lower())
    return dns.name.Name([*labels, b""])


@dataclass(frozen=True)
class Alias:
    zone_id: str
    name: dns.name.Name
    evaluate_health: bool


@dataclass(frozen=True)
class RecordSet:
    name: dns.name.Name
    rdtype: int
    ttl: int = 0
    rdatas: tuple[dns.rdata.Rdata, ...] = ()
    alias: Alias | None = None
    set_identifier: str | None = None
    region: str | None = None
    weight: int | None = None
    failover: str | None = None
    multivalue: bool = False
    health_check: str | None = None


@dataclass
class Zone:
    id: str
    name: dns.name.Name
    # name -> type -> record sets; a name without types is an empty non-terminal
    nodes: dict[dns.name.Name, dict[int, list[RecordSet]]] = field(default_factory=dict)

    def find(self, name: dns.name.Name) -> dict[int, list[RecordSet]] | None:
        """The node that answers for a name: itself, or the wildcard of its closest encloser; None is NXDOMAIN."""
        node = self.nodes.get(name)
        if node is not None:
            return node
        encloser = name
        while encloser != self.name and len(encloser.labels) > len(self.name.labels):
            encloser = encloser.parent()
            if encloser in self.nodes:
                break
        return self.nodes.get(dns.name.Name((b"*", *encloser.labels)))

    def delegation(self, name: dns.name.Name) -> list[RecordSet] | None:
        """The NS records of the highest zone cut between the apex (excluded) and the name."""
        for depth in range(len(self.name.labels) + 1, len(name.labels) + 1):
            cut = dns.name.Name(name.labels[-depth:])
            found = self.nodes.get(cut, {}).get(dns.rdatatype.NS)
            if found:
                return found
        return None

    def soa(self) -> RecordSet:
        return self.nodes[self.name][dns.rdatatype.SOA][0]

    def name_servers(self) -> tuple[dns.name.Name, ...]:
        return tuple(rdata.target for found in self.nodes[self.name].get(dns.rdatatype.NS, []) for rdata in found.rdatas)


@dataclass
class Zones:
    by_id: dict[str, Zone] = field(default_factory=dict)
    by_name: dict[dns.name.Name, Zone] = field(default_factory=dict)

    def enclosing(self, name: dns.name.Name) -> Zone | None:
        candidate = name
        while True:
            zone = self.by_name.get(candidate)
            if zone is not None:
                return zone
            if not candidate.labels or candidate == dns.name.root:
                return None
            candidate = candidate.parent()

    def is_name_server(self, name: dns.name.Name) -> bool:
        return any(name in zone.name_servers() for zone in self.by_id.values())


def short_id(zone_id: str) -> str:
    return zone_id.rsplit("/", 1)[-1]


def _rdatas(rdtype: int, values: Iterable[str], problems: list[str], where: str) -> tuple[dns.rdata.Rdata, ...]:
    parsed = []
    for value in values:
        try:
            if rdtype in (dns.rdatatype.CNAME, dns.rdatatype.NS, dns.rdatatype.PTR):
                value = parse_name(value).to_text()
            parsed.append(dns.rdata.from_text(dns.rdataclass.IN, rdtype, value))
        except (dns.exception.DNSException, ValueError, UnicodeError) as error:
            problems.append(f"{where}: {value!r}: {error}")
    return tuple(parsed)


def parse_record_set(raw: Mapping[str, Any], problems: list[str]) -> RecordSet | None:
    """One element of ListResourceRecordSets; None (and a line in `problems`) for what DNS cannot carry."""
    rdtype = dns.rdatatype.from_text(raw["Type"])
    name = parse_name(raw["Name"])
    alias = raw.get("AliasTarget")
    rdatas = _rdatas(rdtype, (record["Value"] for record in raw.get("ResourceRecords") or ()), problems, f"{raw['Name']} {raw['Type']}")
    if not alias and not rdatas:
        return None
    return RecordSet(
        name=name,
        rdtype=rdtype,
        ttl=int(raw.get("TTL") or 0),
        rdatas=rdatas,
        alias=(
            Alias(short_id(alias["HostedZoneId"]), parse_name(alias["DNSName"]), bool(alias.get("EvaluateTargetHealth"))) if alias else None
        ),
        set_identifier=raw.get("SetIdentifier"),
        region=raw.get("Region"),
        weight=raw.get("Weight"),
        failover=raw.get("Failover"),
        multivalue=bool(raw.get("MultiValueAnswer")),
        health_check=raw.get("HealthCheckId") or None,
    )


def parse_zone(zone_id: str, name: str, record_sets: Iterable[Mapping[str, Any]], problems: list[str] | None = None) -> Zone:
    """A zone with SOA and NS made up where the API's are missing or malformed (the simulator's SOA is)."""
    problems = [] if problems is None else problems
    zone = Zone(short_id(zone_id), parse_name(name))
    for raw in record_sets:
        record_set = parse_record_set(raw, problems)
        if record_set is None or not record_set.name.is_subdomain(zone.name):
            continue
        zone.nodes.setdefault(record_set.name, {}).setdefault(record_set.rdtype, []).append(record_set)
        parent = record_set.name
        while parent != zone.name:
            parent = parent.parent()
            zone.nodes.setdefault(parent, {})
    apex = zone.nodes.setdefault(zone.name, {})
    if dns.rdatatype.NS not in apex:
        apex[dns.rdatatype.NS] = [
            RecordSet(zone.name, dns.rdatatype.NS, 172800, _rdatas(dns.rdatatype.NS, DEFAULT_NAME_SERVERS, problems, name))
        ]
    if dns.rdatatype.SOA not in apex:
        primary = zone.name_servers()[0].to_text()
        apex[dns.rdatatype.SOA] = [
            RecordSet(zone.name, dns.rdatatype.SOA, 900, _rdatas(dns.rdatatype.SOA, (DEFAULT_SOA.format(primary=primary),), problems, name))
        ]
    return zone


def build(zones: Iterable[Zone]) -> Zones:
    """The first public zone of a name answers for it; aliases still reach the others by their id."""
    built = Zones()
    for zone in zones:
        built.by_id[zone.id] = zone
        built.by_name.setdefault(zone.name, zone)
    return built
