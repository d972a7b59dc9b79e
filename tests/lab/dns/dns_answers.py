# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Route 53 answers to one question, from zones, the state of health checks and the client's network. No I/O."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from dns_zones import RecordSet, Zone, Zones

# Route 53 answers with up to eight healthy records of a multivalue name.
MULTIVALUE_LIMIT = 8
MAX_CHAIN = 16
# What the lab does not know the distance of is farther than all that it knows.
UNKNOWN_DISTANCE = 1e9

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Geography:
    """Networks -> regions, and round-trip times between regions in milliseconds."""

    networks: tuple[tuple[Any, str], ...] = ()
    distances: Mapping[frozenset[str], float] = field(default_factory=dict)
    default: str | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Geography:
        regions = config.get("regions") or {
            name: network for name, network in (config.get("networks") or {}).items() if network.get("region")
        }
        pairs: list[tuple[str, Any]] = []
        if isinstance(regions, Mapping):
            for name, value in regions.items():
                pairs.append((name, value.get("subnet") if isinstance(value, Mapping) else value))
        else:
            pairs = [(entry.get("aws_region") or entry["name"], entry.get("subnet")) for entry in regions]
        networks = []
        for name, value in pairs:
            for subnet in value if isinstance(value, (list, tuple)) else [value]:
                if subnet:
                    networks.append((ipaddress.ip_network(subnet), name))
        distances: dict[frozenset[str], float] = {}
        rtt = config.get("rtt_ms") or config.get("round_trip_times") or {}
        entries = rtt.items() if isinstance(rtt, Mapping) else [(tuple(entry["between"]), entry["ms"]) for entry in rtt]
        for between, milliseconds in entries:
            if isinstance(milliseconds, Mapping):  # {a: {b: ms}}
                for other, value in milliseconds.items():
                    distances[frozenset((str(between), str(other)))] = float(value)
                continue
            names = between.replace(",", " ").split() if isinstance(between, str) else between
            distances[frozenset(names)] = float(milliseconds)
        networks.sort(key=lambda pair: pair[0].prefixlen, reverse=True)
        return cls(tuple(networks), distances, config.get("default_region") or (pairs[0][0] if pairs else None))

    def locate(self, client: Address) -> tuple[str | None, int]:
        """The region of a client and the length of the network that says so (0: nothing does)."""
        for network, region in self.networks:
            if client.version == network.version and client in network:
                return region, network.prefixlen
        return self.default, 0

    def distance(self, here: str | None, there: str) -> float:
        if here == there:
            return 0.0
        return self.distances.get(frozenset((here or "", there)), UNKNOWN_DISTANCE)


@dataclass
class Answer:
    rcode: int = dns.rcode.NOERROR
    authoritative: bool = True
    answer: list[dns.rrset.RRset] = field(default_factory=list)
    authority: list[dns.rrset.RRset] = field(default_factory=list)
    additional: list[dns.rrset.RRset] = field(default_factory=list)
    # Where the chain left our zones: a resolver would go on asking there.
    continue_at: dns.name.Name | None = None
    located: bool = False


class Resolver:
    def __init__(
        self,
        zones: Zones,
        geography: Geography,
        healthy: Callable[[str], bool] = lambda check: True,
        own_addresses: Sequence[str] = (),
        rng: random.Random | None = None,
    ) -> None:
        self.zones = zones
        self.geography = geography
        self.healthy = healthy
        self.own_addresses = tuple(own_addresses)
        self.rng = rng or random.Random()

    # -- health ---------------------------------------------------------------------------------------------------

    def _targets(self, record_set: RecordSet) -> list[RecordSet] | None:
        """The record sets an alias stands for; None for a target outside our zones."""
        assert record_set.alias is not None
        zone = self.zones.by_id.get(record_set.alias.zone_id)
        if zone is None or not record_set.alias.name.is_subdomain(zone.name):
            return None
        return (zone.find(record_set.alias.name) or {}).get(record_set.rdtype, [])

    def is_healthy(self, record_set: RecordSet, depth: int = 0) -> bool:
        """A record without a check is healthy; an alias that evaluates is as healthy as the best of its targets."""
        if record_set.health_check and not self.healthy(record_set.health_check):
            return False
        if record_set.alias is None or not record_set.alias.evaluate_health or depth > MAX_CHAIN:
            return True
        targets = self._targets(record_set)
        if targets is None:
            return True
        return any(self.is_healthy(target, depth + 1) for target in targets)

    # -- routing policies -----------------------------------------------------------------------------------------

    def _choose(self, record_sets: list[RecordSet], client: Address) -> tuple[list[RecordSet], bool]:
        """The record sets of one name and type that answer, and whether the client's place decided it."""
        usable = [record_set for record_set in record_sets if self.is_healthy(record_set)]
        if not usable:
            usable = record_sets  # fail open: all unhealthy counts as all healthy
        if any(record_set.multivalue for record_set in usable):
            return self.rng.sample(usable, min(MULTIVALUE_LIMIT, len(usable))), False
        if any(record_set.region for record_set in usable):
            here, _length = self.geography.locate(client)
            nearest = min(
                (record_set for record_set in usable if record_set.region),
                key=lambda record_set: (self.geography.distance(here, record_set.region or ""), record_set.region),
            )
            return [nearest], True
        if any(record_set.failover for record_set in usable):
            return [min(usable, key=lambda record_set: record_set.failover != "PRIMARY")], False
        if any(record_set.weight is not None for record_set in usable):
            weights = [record_set.weight or 0 for record_set in usable]
            if not any(weights):
                weights = [1] * len(usable)
            return self.rng.choices(usable, weights)[:1], False
        return usable[:1], False

    def _expand(
        self, record_sets: list[RecordSet], client: Address, depth: int = 0
    ) -> tuple[list[dns.rdata.Rdata], int | None, dns.name.Name | None, bool]:
        """Values, their time to live, a target outside our zones, and whether the client's place decided it."""
        chosen, located = self._choose(record_sets, client)
        values: list[dns.rdata.Rdata] = []
        ttl: int | None = None
        outside: dns.name.Name | None = None
        for record_set in chosen:
            if record_set.alias is not None:
                targets = self._targets(record_set)
                if targets is None:
                    outside = record_set.alias.name
                    continue
                if not targets or depth > MAX_CHAIN:
                    continue
                more, more_ttl, outside, more_located = self._expand(targets, client, depth + 1)
                located = located or more_located
            else:
                more, more_ttl = list(record_set.rdatas), record_set.ttl
            values += [value for value in more if value not in values]
            if more_ttl is not None:
                ttl = more_ttl if ttl is None else min(ttl, more_ttl)
        return values, ttl, outside, located

    # -- answers --------------------------------------------------------------------------------------------------

    def _rrset(self, owner: dns.name.Name, rdtype: int, ttl: int, values: Sequence[dns.rdata.Rdata]) -> dns.rrset.RRset:
        shuffled = list(values)
        if rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
            self.rng.shuffle(shuffled)
        return dns.rrset.from_rdata_list(owner, ttl, shuffled)

    def _negative(self, answer: Answer, zone: Zone) -> Answer:
        """RFC 2308: a negative answer carries the SOA, whose time to live is capped by its minimum."""
        soa = zone.soa()
        minimum = min(soa.ttl, soa.rdatas[0].minimum)  # type: ignore[attr-defined]
        answer.authority.append(self._rrset(zone.name, dns.rdatatype.SOA, minimum, soa.rdatas))
        return answer

    def _own_records(self, owner: dns.name.Name, rdtype: int) -> Answer:
        answer = Answer()
        for address in self.own_addresses:
            family = dns.rdatatype.AAAA if ":" in address else dns.rdatatype.A
            if rdtype == family:
                answer.answer.append(dns.rrset.from_text(owner, 172800, dns.rdataclass.IN, family, address))
        return answer

    def _referral(self, answer: Answer, found: list[RecordSet]) -> Answer:
        answer.authoritative = bool(answer.answer)
        for record_set in found:
            answer.authority.append(self._rrset(record_set.name, dns.rdatatype.NS, record_set.ttl, record_set.rdatas))
            for rdata in record_set.rdatas:
                target = rdata.target  # type: ignore[attr-defined]
                zone = self.zones.enclosing(target)
                glue = (zone.nodes.get(target) or {}) if zone else {}
                for family in (dns.rdatatype.A, dns.rdatatype.AAAA):
                    for record in glue.get(family, []):
                        if record.rdatas:
                            answer.additional.append(self._rrset(target, family, record.ttl, record.rdatas))
        return answer

    def resolve(self, owner: dns.name.Name, rdtype: int, client: Address) -> Answer | None:
        """The answer to a question; None when the name is in none of our zones."""
        answer = Answer()
        name = dns.name.Name([label.lower() for label in owner.labels])
        seen: set[dns.name.Name] = set()
        while True:
            zone = self.zones.enclosing(name)
            if self.zones.is_name_server(name) and not (zone and zone.nodes.get(name)):
                own = self._own_records(owner, rdtype)
                answer.answer += own.answer
                return answer
            if zone is None:
                if not answer.answer:
                    return None
                answer.continue_at = name
                return answer
            seen.add(name)
            cut = zone.delegation(name)
            if cut and not (name == cut[0].name and rdtype == dns.rdatatype.DS):
                return self._referral(answer, cut)
            node = zone.find(name)
            if node is None:
                answer.rcode = dns.rcode.NXDOMAIN
                return self._negative(answer, zone)
            if rdtype == dns.rdatatype.ANY and node:  # RFC 8482: one record set is enough
                rdtype = sorted(node)[0]
            found = node.get(rdtype)
            if found:
                values, ttl, outside, located = self._expand(found, client)
                answer.located = answer.located or located
                if values:
                    answer.answer.append(self._rrset(owner, rdtype, ttl or 0, values))
                    return answer
                if outside is not None:
                    answer.continue_at = outside
                    return answer
                return self._negative(answer, zone)
            if dns.rdatatype.CNAME not in node:
                return self._negative(answer, zone)
            values, ttl, _outside, located = self._expand(node[dns.rdatatype.CNAME], client)
            answer.located = answer.located or located
            if not values:
                return self._negative(answer, zone)
            answer.answer.append(self._rrset(owner, dns.rdatatype.CNAME, ttl or 0, values[:1]))
            owner = values[0].target  # type: ignore[attr-defined]
            name = dns.name.Name([label.lower() for label in owner.labels])
            if name in seen or len(seen) > MAX_CHAIN:
                return answer
