# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the planner works on: immutable values, no I/O."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from .names import canonical

# Ours begin with this; see HealthCheck.scope.
REFERENCE_PREFIX = "mrpaas-"
# Stands for the id of a health check that does not exist yet.
NEW_CHECK_PREFIX = "new:"

FAMILIES = {"A": 4, "AAAA": 6}


@dataclass(frozen=True)
class Alias:
    zone_id: str
    name: str
    evaluate_health: bool


@dataclass(frozen=True)
class RecordSet:
    """One record set. Two are equal when Route 53 would answer the same with them."""

    name: str
    type: str
    set_identifier: Optional[str] = None
    ttl: Optional[int] = None
    values: tuple[str, ...] = ()
    alias: Optional[Alias] = None
    region: Optional[str] = None
    multivalue: bool = False
    health_check: Optional[str] = None
    # Any policy that is not ours, in words: "weighted 10", "failover PRIMARY".
    other_policy: Optional[str] = None
    # As the API gave it: a DELETE has to repeat it literally.
    raw: Optional[Mapping[str, Any]] = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str, Optional[str]]:
        return self.name, self.type, self.set_identifier

    @property
    def policy(self) -> str:
        if self.other_policy:
            return self.other_policy
        if self.region:
            return f"latency {self.region}"
        return "multivalue" if self.multivalue else "simple"

    def to_api(self) -> dict[str, Any]:
        """As ChangeResourceRecordSets takes it."""
        if self.raw is not None:
            return dict(self.raw)
        api: dict[str, Any] = {"Name": self.name, "Type": self.type}
        if self.set_identifier is not None:
            api["SetIdentifier"] = self.set_identifier
        if self.region:
            api["Region"] = self.region
        if self.multivalue:
            api["MultiValueAnswer"] = True
        if self.alias:
            api["AliasTarget"] = {
                "HostedZoneId": self.alias.zone_id,
                "DNSName": self.alias.name,
                "EvaluateTargetHealth": self.alias.evaluate_health,
            }
        else:
            api["TTL"] = self.ttl
            api["ResourceRecords"] = [{"Value": value} for value in self.values]
        if self.health_check:
            api["HealthCheckId"] = self.health_check
        return api


def _value(rdtype: str, text: str) -> str:
    if rdtype in FAMILIES:
        try:
            return str(ipaddress.ip_address(text.strip()))
        except ValueError:
            return text
    if rdtype in ("CNAME", "NS", "PTR"):
        return canonical(text)
    return text


def short_id(zone_id: str) -> str:
    return zone_id.rsplit("/", 1)[-1]


def record_set_from_api(raw: Mapping[str, Any]) -> RecordSet:
    other = None
    if raw.get("Weight") is not None:
        other = f"weighted {raw['Weight']}"
    elif raw.get("Failover"):
        other = f"failover {raw['Failover']}"
    elif raw.get("GeoLocation"):
        other = "geolocation " + " ".join(str(value) for value in raw["GeoLocation"].values())
    elif raw.get("GeoProximityLocation"):
        other = "geoproximity"
    elif raw.get("CidrRoutingConfig"):
        other = "IP-based"
    elif raw.get("TrafficPolicyInstanceId"):
        other = f"traffic policy {raw['TrafficPolicyInstanceId']}"
    alias = raw.get("AliasTarget")
    return RecordSet(
        name=canonical(raw["Name"]),
        type=raw["Type"],
        set_identifier=raw.get("SetIdentifier"),
        ttl=None if alias or raw.get("TTL") is None else int(raw["TTL"]),
        values=tuple(sorted(_value(raw["Type"], record["Value"]) for record in raw.get("ResourceRecords") or ())),
        alias=Alias(short_id(alias["HostedZoneId"]), canonical(alias["DNSName"]), bool(alias["EvaluateTargetHealth"])) if alias else None,
        region=raw.get("Region"),
        multivalue=bool(raw.get("MultiValueAnswer")),
        health_check=raw.get("HealthCheckId") or None,
        other_policy=other,
        raw=dict(raw),
    )


@dataclass(frozen=True)
class CheckKey:
    """Two names that need this need the same check."""

    address: str
    port: int
    type: str
    path: Optional[str]
    host: Optional[str]

    @property
    def digest(self) -> str:
        text = "|".join(str(part) for part in (self.address, self.port, self.type, self.path or "", self.host or ""))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.type} {address}:{self.port}{self.path or ''}" + (f" as {self.host}" if self.host else "")


@dataclass(frozen=True)
class CheckConfig:
    """Everything about a check that we set. `interval` and `measure_latency` cannot change after creation."""

    key: CheckKey
    interval: int = 30
    measure_latency: bool = False
    failure_threshold: int = 3
    search_string: Optional[str] = None
    sni: bool = False
    regions: tuple[str, ...] = ()
    inverted: bool = False
    disabled: bool = False

    @property
    def immutable(self) -> tuple[Any, ...]:
        return self.key, self.interval, self.measure_latency

    @property
    def placeholder(self) -> str:
        return f"{NEW_CHECK_PREFIX}{self.key.digest}"

    def to_api(self) -> dict[str, Any]:
        api: dict[str, Any] = {
            "IPAddress": self.key.address,
            "Port": self.key.port,
            "Type": self.key.type,
            "RequestInterval": self.interval,
            "FailureThreshold": self.failure_threshold,
            "MeasureLatency": self.measure_latency,
        }
        if self.key.path is not None:
            api["ResourcePath"] = self.key.path
        if self.key.host:
            api["FullyQualifiedDomainName"] = self.key.host
        if self.search_string is not None:
            api["SearchString"] = self.search_string
        if self.key.type.startswith("HTTPS"):
            api["EnableSNI"] = self.sni
        if self.regions:
            api["Regions"] = list(self.regions)
        return api

    def describe(self) -> str:
        parts = [f"every {self.interval} s", f"{self.failure_threshold} failures"]
        if self.search_string is not None:
            parts.append(f"answers {self.search_string!r}")
        if self.sni:
            parts.append("SNI")
        if self.regions:
            parts.append("from " + " ".join(self.regions))
        if self.measure_latency:
            parts.append("measures latency")
        parts += [word for word, value in (("inverted", self.inverted), ("disabled", self.disabled)) if value]
        return f"{self.key}: " + ", ".join(parts)


@dataclass(frozen=True)
class HealthCheck:
    id: str
    config: Optional[CheckConfig]
    version: int = 1
    reference: str = ""

    @property
    def ours(self) -> bool:
        return self.reference.startswith(REFERENCE_PREFIX)

    @property
    def scope(self) -> str:
        """Which declaration made it; tells an orphan of ours from a check of another name."""
        return self.reference[len(REFERENCE_PREFIX) :].split("-", 1)[0] if self.ours else ""


def health_check_from_api(raw: Mapping[str, Any]) -> HealthCheck:
    config = raw["HealthCheckConfig"]
    parsed = None
    if config.get("IPAddress") and config["Type"] in ("TCP", "HTTP", "HTTPS", "HTTP_STR_MATCH", "HTTPS_STR_MATCH"):
        host = config.get("FullyQualifiedDomainName")
        parsed = CheckConfig(
            key=CheckKey(
                address=str(ipaddress.ip_address(config["IPAddress"])),
                port=int(config.get("Port") or (443 if config["Type"].startswith("HTTPS") else 80)),
                type=config["Type"],
                path=None if config["Type"] == "TCP" else config.get("ResourcePath") or "/",
                host=canonical(host) if host and config["Type"] != "TCP" else None,
            ),
            interval=int(config.get("RequestInterval") or 30),
            measure_latency=bool(config.get("MeasureLatency")),
            failure_threshold=int(config.get("FailureThreshold") or 3),
            search_string=config.get("SearchString") or None,
            sni=bool(config.get("EnableSNI")) and config["Type"].startswith("HTTPS"),
            regions=tuple(sorted(config.get("Regions") or ())),
            inverted=bool(config.get("Inverted")),
            disabled=bool(config.get("Disabled")),
        )
    return HealthCheck(raw["Id"], parsed, int(raw.get("HealthCheckVersion") or 1), raw.get("CallerReference") or "")


@dataclass(frozen=True)
class Zone:
    id: str
    name: str
    private: bool = False


@dataclass(frozen=True)
class Target:
    name: str
    zone_id: str
    evaluate_health: bool
    ipv6: bool


@dataclass(frozen=True)
class Endpoint:
    label: str
    region: str
    addresses: tuple[str, ...] = ()
    target: Optional[Target] = None

    def of_family(self, rdtype: str) -> tuple[str, ...]:
        return tuple(address for address in self.addresses if ipaddress.ip_address(address).version == FAMILIES[rdtype])

    def serves(self, rdtype: str) -> bool:
        if self.target is not None:
            return rdtype == "A" or self.target.ipv6
        return bool(self.of_family(rdtype))


@dataclass(frozen=True)
class CheckTemplate:
    """A health check without its address."""

    type: str
    port: int
    path: Optional[str] = None
    host: Optional[str] = None
    interval: int = 30
    measure_latency: bool = False
    failure_threshold: int = 3
    search_string: Optional[str] = None
    sni: bool = False
    regions: tuple[str, ...] = ()

    def at(self, address: str) -> CheckConfig:
        return CheckConfig(
            key=CheckKey(address, self.port, self.type, self.path, self.host),
            interval=self.interval,
            measure_latency=self.measure_latency,
            failure_threshold=self.failure_threshold,
            search_string=self.search_string,
            sni=self.sni,
            regions=self.regions,
        )


@dataclass(frozen=True)
class Declaration:
    """What the user wants, checked and in canonical form."""

    zone: Zone
    names: tuple[str, ...]
    endpoints: tuple[Endpoint, ...] = ()
    ttl: int = 60
    regional_names: bool = True
    check: Optional[CheckTemplate] = None
    purge: bool = True
    only_remove: bool = False
    replace_policy: bool = False
    present: bool = True
    warnings: tuple[str, ...] = ()

    @property
    def scope(self) -> str:
        """Names this declaration in caller references; it survives another endpoint, address or setting."""
        return hashlib.sha256(f"{self.zone.id}|{min(self.names)}".encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Current:
    """What was read: every A, AAAA and CNAME of the names in `read`, and the health checks that are ours."""

    records: tuple[RecordSet, ...] = ()
    checks: tuple[HealthCheck, ...] = ()

    def at(self, name: str) -> list[RecordSet]:
        return [record for record in self.records if record.name == name]


@dataclass(frozen=True)
class Change:
    action: str  # DELETE or UPSERT
    record: RecordSet
    before: Optional[RecordSet] = None

    @property
    def elements(self) -> int:
        """How much of a batch's limit it takes: an UPSERT counts twice."""
        return max(1, len(self.record.values)) * (2 if self.action == "UPSERT" else 1)

    @property
    def characters(self) -> int:
        return sum(len(value) for value in self.record.values) * (2 if self.action == "UPSERT" else 1)

    def with_check(self, ids: Mapping[str, str]) -> "Change":
        check = self.record.health_check
        if check is None or check not in ids:
            return self
        return replace(self, record=replace(self.record, health_check=ids[check]))


@dataclass(frozen=True)
class CheckCreate:
    config: CheckConfig
    name: str
    region: str


@dataclass(frozen=True)
class CheckUpdate:
    id: str
    version: int
    before: CheckConfig
    config: CheckConfig


@dataclass(frozen=True)
class Plan:
    creates: tuple[CheckCreate, ...] = ()
    updates: tuple[CheckUpdate, ...] = ()
    # Each unit goes into one batch; between two units every name still answers.
    units: tuple[tuple[Change, ...], ...] = ()
    # Health checks that nothing which was read needs any more; deleted only after proof.
    releases: tuple[HealthCheck, ...] = ()
    # Ours that are in use afterwards: id or placeholder -> (config, name, region)
    used: tuple[tuple[str, CheckConfig, str, str], ...] = ()
    records: tuple[RecordSet, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        return tuple(change for unit in self.units for change in unit)

    @property
    def empty(self) -> bool:
        return not (self.creates or self.updates or self.units or self.releases)
