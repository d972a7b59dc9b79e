# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A moto server whose Route 53 refuses what AWS refuses, and fails when a test asks for it.

As a program it takes moto_server's own arguments; tests use `Route53Server`. What moto 5.2.5 gets wrong and is put right here:
DELETE removes every record of the zone with that set identifier; DELETE and CREATE are checked against a journal instead of the
records; record sets of different policies, two sets of one region and aliases to nothing are accepted; names keep their case and
their plain `*`; ListResourceRecordSets ignores StartRecordIdentifier and sorts without the trailing dot; the SOA is malformed;
ListHealthChecks does not page; CallerReference, HealthCheckVersion and ResetElements are ignored; ListHostedZonesByName lists
only the zone itself; every change has the same id.
"""

from __future__ import annotations

import copy
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.core.utils import camelcase_to_underscores, utcnow
from moto.route53 import models
from moto.route53.exceptions import NoSuchHealthCheck, Route53ClientError
from moto.route53.models import FakeZone, HealthCheck, RecordSet, Route53Backend, route53_backends
from moto.route53.responses import Route53

MAX_ELEMENTS = 1000
MAX_CHARACTERS = 32000
POLICIES = ("region", "weight", "failover", "geo_location", "multi_value_answer")


@dataclass
class Fault:
    """Makes calls of one operation fail; `after` lets the call do its work and loses the answer."""

    operation: str
    code: str
    times: int = 1
    skip: int = 0
    after: bool = False
    message: str = "as a test asked"


@dataclass
class Control:
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    pending_polls: int = 0
    rate: float | None = None
    # Called with the operation before it runs: a test changes something behind the client's back.
    before: Callable[[str], None] | None = None
    _allowance: float = 0.0
    _filled: float = 0.0
    _lock: Any = field(default_factory=threading.Lock)

    @property
    def calls(self) -> Counter[str]:
        return Counter(self.requests)

    def admit(self, operation: str) -> Fault | None:
        with self._lock:
            self.requests.append(operation)
            if self.rate:
                now = time.monotonic()
                self._allowance = min(self.rate, self._allowance + (now - self._filled) * self.rate) if self._filled else self.rate
                self._filled = now
                if self._allowance < 1:
                    raise Route53ClientError("Throttling", "Rate exceeded")
                self._allowance -= 1
            for fault in self.faults:
                if fault.operation in (operation, "*"):
                    if fault.skip:
                        fault.skip -= 1
                    elif fault.times:
                        fault.times -= 1
                        if not fault.after:
                            raise Route53ClientError(fault.code, fault.message)
                        return fault
        return None


CONTROL = Control()


def _stored_name(name: str) -> str:
    """Lower case, trailing dot, and `*` as the octal escape that AWS lists."""
    name = name.lower().replace("*", "\\052")
    return name if name.endswith(".") else name + "."


def _order(record: RecordSet) -> tuple[str, str, str]:
    return ".".join(reversed(record.name.rstrip(".").split("."))) + ".", record.type or "", record.set_identifier or ""


def _refuse(message: str) -> None:
    raise Route53ClientError("InvalidChangeBatch", f"[{message}]")


def _where(record: RecordSet) -> str:
    identifier = f", SetIdentifier='{record.set_identifier}'" if record.set_identifier else ""
    return f"[name='{record.name}', type='{record.type}'{identifier}]"


def _policy(record: RecordSet) -> str:
    for policy in POLICIES:
        if getattr(record, policy) not in (None, "", False):
            return policy
    return "simple"


def _content(record: RecordSet) -> tuple[Any, ...]:
    alias = record.alias_target
    return (
        None if alias else str(record.ttl),
        sorted(record.records or []),
        (alias["HostedZoneId"], _stored_name(alias["DNSName"]), bool(alias["EvaluateTargetHealth"])) if alias else None,
        record.region,
        str(record.weight),
        record.failover,
        record.health_check_id or None,
        bool(record.multi_value_answer),
    )


class Table:
    """A zone's records while a batch is tried out."""

    def __init__(self, records: list[RecordSet]) -> None:
        self.records = {(record.name, record.type, record.set_identifier): record for record in records}
        self.by_name: dict[str, set[tuple[Any, ...]]] = {}
        for key in self.records:
            self.by_name.setdefault(key[0], set()).add(key)

    def put(self, record: RecordSet) -> None:
        key = (record.name, record.type, record.set_identifier)
        self.records[key] = record
        self.by_name.setdefault(record.name, set()).add(key)

    def remove(self, key: tuple[Any, ...]) -> None:
        del self.records[key]
        self.by_name[key[0]].discard(key)

    def at(self, name: str) -> list[RecordSet]:
        return [self.records[key] for key in self.by_name.get(name, ())]


def _check_alone(backend: Route53Backend, zone: FakeZone, record: RecordSet) -> None:
    policy = _policy(record)
    if (policy == "simple") != (record.set_identifier is None):
        _refuse(f"Invalid request: a set identifier goes with a routing policy, in {_where(record)}")
    if sum(getattr(record, name) not in (None, "", False) for name in POLICIES) > 1:
        _refuse(f"Invalid request: more than one routing policy in {_where(record)}")
    if record.alias_target:
        if record.ttl is not None or record.records:
            _refuse(f"Invalid request: an alias has neither TTL nor records, in {_where(record)}")
        if policy == "multi_value_answer":
            _refuse(f"Invalid request: a multivalue answer is no alias, in {_where(record)}")
    else:
        if record.ttl is None or not record.records:
            _refuse(f"Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords]], in {_where(record)}")
        if policy in ("region", "multi_value_answer") and len(record.records) != 1:
            _refuse(f"Invalid request: exactly one resource record is allowed in {_where(record)}")
        if len(set(record.records)) != len(record.records):
            _refuse(f"Duplicate Resource Record: in {_where(record)}")
    if record.health_check_id and record.health_check_id not in backend.health_checks:
        raise Route53ClientError("NoSuchHealthCheck", f"A health check with id {record.health_check_id} does not exist.")
    if record.name.startswith("\\052.") is False and "\\052" in record.name.split(".", 1)[1]:
        _refuse(f"an asterisk is a wildcard only as the first label: {_where(record)}")


def _check_beside(zone: FakeZone, table: Table, record: RecordSet) -> None:
    for other in table.at(record.name):
        if other is record:
            continue
        if "CNAME" in (other.type, record.type) and other.type != record.type:
            _refuse(
                f"RRSet of type {record.type} with DNS name {record.name} is not permitted because a conflicting RRSet of type {other.type} exists"
            )
        if other.type != record.type:
            continue
        if _policy(other) != _policy(record):
            _refuse(
                f"RRSet with DNS name {record.name}, type {record.type} cannot be created as other RRSets exist with the same name and type."
            )
        if record.region and other.region == record.region:
            _refuse(
                f"RRSet with DNS name {record.name}, type {record.type}, region {record.region} cannot be created as one with the same region exists"
            )
        if _policy(record) == "multi_value_answer" and other.ttl is not None and str(other.ttl) != str(record.ttl):
            pass  # AWS answers with the TTL of one of them
    alias = record.alias_target
    if alias and alias["HostedZoneId"] == zone.resource_id:
        target = _stored_name(alias["DNSName"])
        if not any(found.type == record.type for found in table.at(target)):
            _refuse(
                f"Tried to create an alias that targets {target}, type {record.type} in zone {zone.resource_id}, but that target was not found"
            )
    if alias and alias["HostedZoneId"] == "Z2FDTNDATAQYW2" and alias["EvaluateTargetHealth"]:
        _refuse("EvaluateTargetHealth cannot be set to true when alias target is a CloudFront distribution")


def change_resource_record_sets(self: Route53Backend, zoneid: str, change_list: list[dict[str, Any]]) -> None:
    zone = self.get_hosted_zone(zoneid)
    elements = characters = 0
    for change in change_list:
        values = [record["Value"] for record in change["ResourceRecordSet"].get("ResourceRecords") or ()]
        factor = 2 if change["Action"] == "UPSERT" else 1
        elements += len(values) * factor
        characters += sum(map(len, values)) * factor
    if elements > MAX_ELEMENTS:
        _refuse(f"Number of records limit of {MAX_ELEMENTS} exceeded.")
    if characters > MAX_CHARACTERS:
        _refuse(f"Number of characters limit of {MAX_CHARACTERS} exceeded.")
    table = Table(zone.rrsets)
    for change in copy.deepcopy(change_list):
        raw = change["ResourceRecordSet"]
        raw["Name"] = _stored_name(raw["Name"])
        if "ResourceRecords" in raw:
            raw["ResourceRecords"] = [record["Value"] for record in raw["ResourceRecords"]]
        record = RecordSet(raw)
        if not (record.name == zone.name or record.name.endswith("." + zone.name)):
            _refuse(f"RRSet with DNS name {record.name} is not permitted in zone {zone.name}")
        key = (record.name, record.type, record.set_identifier)
        present = table.records.get(key)
        if change["Action"] == "DELETE":
            if present is None:
                _refuse(f"Tried to delete resource record set {_where(record)} but it was not found")
            elif _content(present) != _content(record):
                _refuse(f"Tried to delete resource record set {_where(record)} but the values provided do not match the current values")
            table.remove(key)
            continue
        if change["Action"] == "CREATE" and present is not None:
            _refuse(f"Tried to create resource record set {_where(record)} but it already exists")
        _check_alone(self, zone, record)
        table.put(record)
        _check_beside(zone, table, record)
    zone.rrsets = list(table.records.values())


def list_resource_record_sets(self: Route53) -> ActionResult:
    start = [self._get_param(f"StartRecord{part}") for part in ("Name", "Type", "Identifier")]
    limit = min(self._get_int_param("MaxItems", 300), 300)
    if (start[1] and not start[0]) or (start[2] and not start[1]):
        raise Route53ClientError("InvalidInput", "StartRecordType needs StartRecordName, StartRecordIdentifier needs both")
    records = sorted(self.backend.get_hosted_zone(self._get_param("HostedZoneId")).rrsets, key=_order)
    if start[0]:
        begin = (".".join(reversed(_stored_name(start[0]).rstrip(".").split("."))) + ".", start[1] or "", start[2] or "")
        records = [record for record in records if _order(record) >= begin]
    following = records[limit] if len(records) > limit else None
    return ActionResult(
        {
            "ResourceRecordSets": records[:limit],
            "IsTruncated": following is not None,
            "NextRecordName": following.name if following else None,
            "NextRecordType": following.type if following else None,
            "NextRecordIdentifier": following.set_identifier if following else None,
            "MaxItems": limit,
        }
    )


def list_hosted_zones_by_name(self: Route53) -> ActionResult:
    name, zone_id = self._get_param("DNSName"), self._get_param("HostedZoneId")
    limit = min(self._get_int_param("MaxItems", 100), 100)

    def order(zone: FakeZone) -> tuple[str, str]:
        return ".".join(reversed(zone.name.rstrip(".").split("."))) + ".", zone.resource_id

    zones = sorted(self.backend.zones.values(), key=order)
    if name:
        begin = (".".join(reversed(name.rstrip(".").split("."))) + ".", zone_id or "")
        zones = [zone for zone in zones if order(zone) >= begin]
    following = zones[limit] if len(zones) > limit else None
    return ActionResult(
        {
            "DNSName": name,
            "HostedZones": zones[:limit],
            "IsTruncated": following is not None,
            "NextDNSName": following.name if following else None,
            "NextHostedZoneId": following.resource_id if following else None,
            "MaxItems": limit,
        }
    )


def list_health_checks(self: Route53) -> ActionResult:
    limit = min(self._get_int_param("MaxItems", 100), 1000)
    checks = list(self.backend.health_checks.values())
    marker = self._get_param("Marker")
    if marker:
        checks = list(itertools.dropwhile(lambda check: check.id != marker, checks))
    following = checks[limit] if len(checks) > limit else None
    return ActionResult(
        {
            "HealthChecks": checks[:limit],
            "Marker": marker or "",
            "IsTruncated": following is not None,
            "NextMarker": following.id if following else None,
            "MaxItems": limit,
        }
    )


def create_health_check(self: Route53Backend, caller_reference: str, health_check_args: dict[str, Any]) -> HealthCheck:
    used = self.__dict__.setdefault("used_references", {})
    known = used.get(caller_reference)
    if known is not None:
        present = self.health_checks.get(known[0])
        if present is None or known[1] != health_check_args:
            raise Route53ClientError("HealthCheckAlreadyExists", "A health check with this caller reference already exists.")
        return present
    regions = health_check_args.get("regions")
    if regions and len(regions) < 3:
        raise Route53ClientError("InvalidInput", "Invalid parameter : at least three regions are needed")
    if health_check_args["type"].endswith("STR_MATCH") != bool(health_check_args.get("search_string")):
        raise Route53ClientError("InvalidInput", "Invalid parameter : SearchString goes with the STR_MATCH types")
    created = _moto_create_health_check(self, caller_reference, health_check_args)
    used[caller_reference] = (created.id, copy.deepcopy(health_check_args))
    return created


def update_health_check(self: Route53) -> ActionResult:
    check = self.backend.health_checks.get(self._get_param("HealthCheckId"))
    if check is None:
        raise NoSuchHealthCheck(self._get_param("HealthCheckId"))
    version = self._get_param("HealthCheckVersion")
    if version is not None and int(version) != check.health_check_version:
        raise Route53ClientError(
            "HealthCheckVersionMismatch", "The value of HealthCheckVersion doesn't match the version of the health check."
        )
    answer = _moto_update_health_check(self)
    if "Regions" in (self._get_param("ResetElements", []) or []):
        check.regions = None
    check.health_check_version += 1
    return answer


def get_change(self: Route53) -> ActionResult:
    status = "INSYNC"
    if CONTROL.pending_polls > 0:
        CONTROL.pending_polls -= 1
        status = "PENDING"
    return ActionResult({"ChangeInfo": {"Id": self._get_param("Id"), "Status": status, "SubmittedAt": utcnow()}})


_change_ids = itertools.count(1)


def change_resource_record_sets_response(self: Route53) -> ActionResult:
    self.backend.change_resource_record_sets(self._get_param("HostedZoneId"), self._get_param("ChangeBatch.Changes"))
    return ActionResult({"ChangeInfo": {"Id": f"/change/C{next(_change_ids):013d}", "Status": "PENDING", "SubmittedAt": utcnow()}})


def create_hosted_zone(self: Route53Backend, *arguments: Any, **keywords: Any) -> FakeZone:
    zone = _moto_create_hosted_zone(self, *arguments, **keywords)
    for record in zone.rrsets:
        if record.type == "NS":
            record.records = [value.rstrip(".") + "." for value in record.records]
        elif record.type == "SOA":
            primary = zone.delegation_set.name_servers[0].rstrip(".") + "."
            record.records = [f"{primary} awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"]
    return zone


def call_action(self: Route53) -> Any:
    operation = camelcase_to_underscores(self._get_action())
    if CONTROL.before is not None:
        CONTROL.before(operation)
    lost = None
    try:
        lost = CONTROL.admit(operation)
        answer = _moto_call_action(self)
        if lost is not None:
            raise Route53ClientError(lost.code, lost.message)
        return answer
    except ServiceException as error:
        status, headers, body = self.serialized(ActionResult(error))
        headers["status"] = str(status)
        return status, headers, body


_moto_create_health_check = Route53Backend.create_health_check
_moto_update_health_check = Route53.update_health_check
_moto_create_hosted_zone = Route53Backend.create_hosted_zone
_moto_call_action = Route53.call_action


def install() -> None:
    """Puts the corrections into moto's classes, once."""
    Route53Backend.change_resource_record_sets = change_resource_record_sets  # type: ignore[method-assign]
    Route53Backend.create_health_check = create_health_check  # type: ignore[method-assign]
    Route53Backend.create_hosted_zone = create_hosted_zone  # type: ignore[method-assign]
    Route53.list_resource_record_sets = list_resource_record_sets  # type: ignore[method-assign]
    Route53.list_hosted_zones_by_name = list_hosted_zones_by_name  # type: ignore[method-assign]
    Route53.list_health_checks = list_health_checks  # type: ignore[method-assign]
    Route53.update_health_check = update_health_check  # type: ignore[method-assign]
    Route53.change_resource_record_sets = change_resource_record_sets_response  # type: ignore[method-assign]
    Route53.get_change = get_change  # type: ignore[method-assign]
    Route53.call_action = call_action  # type: ignore[method-assign]
    models.FakeZone.upsert_rrset = None  # type: ignore[assignment,method-assign]  # nothing may go round the checks


class Route53Server:
    """In a thread of the test's own process, on a free port."""

    def __init__(self) -> None:
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer

        install()
        self.control = CONTROL
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    def __enter__(self) -> Route53Server:
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self.reset()
        return self

    def __exit__(self, *_error: object) -> None:
        self.reset()
        self._server.stop()

    @property
    def backend(self) -> Route53Backend:
        return route53_backends["123456789012"]["aws"]

    def reset(self) -> None:
        self.backend.reset()
        fresh = Control()
        for name in ("faults", "requests", "pending_polls", "rate", "before"):
            setattr(self.control, name, getattr(fresh, name))

    def fail(self, operation: str, code: str, times: int = 1, skip: int = 0, after: bool = False) -> None:
        self.control.faults.append(Fault(operation, code, times, skip, after))

    def client(self) -> Any:
        import boto3
        import botocore.config

        return boto3.client(
            "route53",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )


if __name__ == "__main__":
    from moto.server import main

    install()
    sys.exit(main(sys.argv[1:]))
