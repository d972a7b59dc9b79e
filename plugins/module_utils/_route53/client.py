# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire: one funnel for every call, with retries up to a deadline, and the readings that the planner needs."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

from .errors import ApiError, ConcurrentChange, DeadlineExceeded, ZoneNotFound
from .model import (
    REFERENCE_PREFIX,
    Change,
    CheckConfig,
    CheckUpdate,
    Current,
    Declaration,
    HealthCheck,
    RecordSet,
    Zone,
    health_check_from_api,
    record_set_from_api,
    short_id,
)
from .names import canonical, order_keys, regional
from .planner import TYPES

# What AWS calls temporary. A lost connection is one too: every call here can be repeated.
TEMPORARY = frozenset(
    (
        "InternalFailure",
        "InternalServerError",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransientError",
    )
)
CONCURRENT = frozenset(("HealthCheckVersionMismatch", "NoSuchHealthCheck", "InvalidChangeBatch"))
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 8.0
TAGS_PER_CALL = 10


class Api:
    """A boto3 Route 53 client with `retries` off, as botocore's own would nest inside these."""

    def __init__(
        self,
        client: Any,
        timeout: float,
        lost_connection: tuple[type[BaseException], ...],
        refused: type[BaseException],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        rng: Optional[random.Random] = None,
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._deadline = clock() + timeout
        self._lost_connection = lost_connection
        self._refused = refused
        self._sleep = sleep
        self._clock = clock
        self._rng = rng or random.Random()
        self.calls: Counter[str] = Counter()

    def _pause(self, attempt: int, operation: str, reason: str) -> None:
        """Full jitter: five requests a second are shared with every other caller of the account."""
        pause = self._rng.uniform(FIRST_PAUSE / 2, min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt))
        if self._clock() + pause > self._deadline:
            raise DeadlineExceeded(f"{operation} did not succeed within {self._timeout:.0f} s; the last answer was {reason}")
        self._sleep(pause)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        attempt = 0
        while True:
            self.calls[operation] += 1
            try:
                return getattr(self._client, operation)(**parameters)
            except self._refused as error:
                details = getattr(error, "response", {})
                code = details.get("Error", {}).get("Code", "Unknown")
                status = details.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if code not in TEMPORARY and status < 500 and status != 429:
                    kind = ConcurrentChange if code in CONCURRENT else ApiError
                    raise kind(f"{operation}: {code}: {details.get('Error', {}).get('Message') or error}", code) from error
                reason = code
            except self._lost_connection as error:
                reason = str(error)
            self._pause(attempt, operation, reason)
            attempt += 1

    # -- reading --------------------------------------------------------------------------------------------------

    def find_zone(self, name: Optional[str], zone_id: Optional[str], private: bool) -> Zone:
        if zone_id:
            try:
                found = self.call("get_hosted_zone", Id=short_id(zone_id))["HostedZone"]
            except ApiError as error:
                if error.code == "NoSuchHostedZone":
                    raise ZoneNotFound(f"there is no hosted zone with the id {zone_id!r}") from error
                raise
            is_private = bool((found.get("Config") or {}).get("PrivateZone"))
            if is_private != private:
                kind = "a private" if is_private else "a public"
                raise ZoneNotFound(f"zone {zone_id!r} ({found['Name']}) is {kind} zone, but private_zone is {str(private).lower()}")
            return Zone(short_id(found["Id"]), canonical(found["Name"]), is_private)
        wanted = canonical(name or "")
        zones: list[Zone] = []
        parameters: dict[str, Any] = {"DNSName": wanted}
        while True:
            page = self.call("list_hosted_zones_by_name", **parameters)
            last = wanted
            for found in page["HostedZones"]:
                last = canonical(found["Name"])
                if last == wanted:
                    zones.append(Zone(short_id(found["Id"]), last, bool((found.get("Config") or {}).get("PrivateZone"))))
            if not page.get("IsTruncated") or last != wanted:
                break
            parameters = {"DNSName": page["NextDNSName"], "HostedZoneId": page["NextHostedZoneId"]}
        matching = [zone for zone in zones if zone.private == private]
        kind = "private" if private else "public"
        if not matching:
            others = f"; there is a {'public' if private else 'private'} one ({zones[0].id})" if zones else ""
            raise ZoneNotFound(f"there is no {kind} hosted zone {wanted!r}{others}")
        if len(matching) > 1:
            ids = ", ".join(zone.id for zone in matching)
            raise ZoneNotFound(f"there are {len(matching)} {kind} hosted zones {wanted!r} ({ids}): say which one with zone_id")
        return matching[0]

    def _record_page(self, zone: Zone, start: Mapping[str, Any]) -> tuple[list[RecordSet], Optional[dict[str, Any]]]:
        page = self.call("list_resource_record_sets", HostedZoneId=zone.id, **start)
        following = None
        if page.get("IsTruncated"):
            following = {"StartRecordName": page["NextRecordName"]}
            for name in ("Type", "Identifier"):
                if page.get(f"NextRecord{name}"):
                    following[f"StartRecord{name}"] = page[f"NextRecord{name}"]
        return [record_set_from_api(raw) for raw in page["ResourceRecordSets"]], following

    def read_names(self, zone: Zone, names: Iterable[str]) -> "Reading":
        """A, AAAA and CNAME sets of the names; a page that was read for one name serves all that lie on it."""
        reading = Reading(zone)
        reading.read(self, names)
        return reading

    def read_zone(self, zone: Zone) -> Iterable[RecordSet]:
        start: Optional[dict[str, Any]] = {}
        while start is not None:
            records, start = self._record_page(zone, start)
            yield from records

    def list_zones(self) -> Iterable[Zone]:
        parameters: dict[str, Any] = {}
        while True:
            page = self.call("list_hosted_zones", **parameters)
            for found in page["HostedZones"]:
                yield Zone(short_id(found["Id"]), canonical(found["Name"]), bool((found.get("Config") or {}).get("PrivateZone")))
            if not page.get("IsTruncated"):
                return
            parameters = {"Marker": page["NextMarker"]}

    def read_checks(self) -> tuple[HealthCheck, ...]:
        """All that are ours, from one paged listing."""
        checks: list[HealthCheck] = []
        parameters: dict[str, Any] = {"MaxItems": "1000"}
        while True:
            page = self.call("list_health_checks", **parameters)
            checks += [
                health_check_from_api(raw)
                for raw in page["HealthChecks"]
                if (raw.get("CallerReference") or "").startswith(REFERENCE_PREFIX)
            ]
            if not page.get("IsTruncated"):
                return tuple(checks)
            parameters["Marker"] = page["NextMarker"]

    def read(self, declaration: Declaration) -> Current:
        names = [*declaration.names]
        if declaration.regional_names:
            names += [regional(endpoint.label, name) for name in declaration.names for endpoint in declaration.endpoints]
        reading = self.read_names(declaration.zone, names)
        # Regional names of endpoints that are not declared any more.
        former = [
            record.alias.name
            for name in declaration.names
            for record in reading.records_at(name)
            if record.region and record.alias and record.alias.zone_id == declaration.zone.id
        ]
        reading.read(self, former)
        return Current(reading.records(), self.read_checks())

    # -- writing --------------------------------------------------------------------------------------------------

    def create_check(self, config: CheckConfig, scope: str) -> str:
        # The random end: the reference of a deleted check cannot be used again for days. It is drawn once, so that
        # a call whose answer was lost finds what it made.
        reference = f"{REFERENCE_PREFIX}{scope}-{config.key.digest}-{self._rng.getrandbits(48):012x}"
        return self.call("create_health_check", CallerReference=reference, HealthCheckConfig=config.to_api())["HealthCheck"]["Id"]

    def update_check(self, update: CheckUpdate) -> None:
        """Only what differs; address, port, path and host are the check's identity and stay."""
        before, after = update.before, update.config
        parameters: dict[str, Any] = {}
        reset = []
        if before.failure_threshold != after.failure_threshold:
            parameters["FailureThreshold"] = after.failure_threshold
        if before.search_string != after.search_string:
            parameters["SearchString"] = after.search_string
        if before.sni != after.sni:
            parameters["EnableSNI"] = after.sni
        if before.regions != after.regions:
            if after.regions:
                parameters["Regions"] = list(after.regions)
            else:
                reset.append("Regions")
        if before.inverted != after.inverted:
            parameters["Inverted"] = after.inverted
        if before.disabled != after.disabled:
            parameters["Disabled"] = after.disabled
        if reset:
            parameters["ResetElements"] = reset
        self.call("update_health_check", HealthCheckId=update.id, HealthCheckVersion=update.version, **parameters)

    def tag_check(self, check: str, name: str, region: str) -> None:
        tags = {"Name": name, "region": region, "managed-by": "multiregion.paas"}
        self.call(
            "change_tags_for_resource",
            ResourceType="healthcheck",
            ResourceId=check,
            AddTags=[{"Key": key, "Value": tags[key]} for key in tags],
        )

    def untagged(self, checks: list[str]) -> list[str]:
        """Those without our tags: a run may have been killed between making a check and tagging it."""
        found: set[str] = set()
        for start in range(0, len(checks), TAGS_PER_CALL):
            page = self.call("list_tags_for_resources", ResourceType="healthcheck", ResourceIds=checks[start : start + TAGS_PER_CALL])
            found |= {entry["ResourceId"] for entry in page["ResourceTagSets"] if any(tag["Key"] == "region" for tag in entry["Tags"])}
        return [check for check in checks if check not in found]

    def delete_check(self, check: str) -> None:
        try:
            self.call("delete_health_check", HealthCheckId=check)
        except ApiError as error:
            if error.code != "NoSuchHealthCheck":
                raise

    def change_records(self, zone: Zone, batch: Iterable[Change]) -> str:
        changes = [{"Action": change.action, "ResourceRecordSet": change.record.to_api()} for change in batch]
        answer = self.call(
            "change_resource_record_sets",
            HostedZoneId=zone.id,
            ChangeBatch={"Comment": "multiregion.paas.route53_latency", "Changes": changes},
        )
        return short_id(answer["ChangeInfo"]["Id"])

    def wait_insync(self, change_ids: Iterable[str]) -> None:
        for change_id in change_ids:
            attempt = 0
            while self.call("get_change", Id=change_id)["ChangeInfo"]["Status"] != "INSYNC":
                self._pause(min(4 + attempt, 6), f"change {change_id}", "PENDING")
                attempt += 1

    def named_checks(self, candidates: set[str], zone: Zone, planned: Iterable[Change] = ()) -> set[str]:
        """Which of the candidates any record of any zone of the account names: the proof before a deletion.
        Records that `planned` replaces in `zone` do not count; check mode asks before they are gone."""
        replaced = {change.record.key for change in planned}
        named: set[str] = set()
        for found in self.list_zones():
            try:
                named |= {
                    record.health_check
                    for record in self.read_zone(found)
                    if record.health_check in candidates and not (found.id == zone.id and record.key in replaced)
                }
            except ApiError as error:
                if error.code != "NoSuchHostedZone":  # deleted while we listed
                    raise
            if named == candidates:
                break
        return named


class Reading:
    """Pages of a zone's records, and which names they cover."""

    def __init__(self, zone: Zone) -> None:
        self._zone = zone
        self._by_name: dict[str, dict[tuple[str, str, Optional[str]], RecordSet]] = {}
        self._complete: set[str] = set()
        # Pairs of (documented order, simulators' order) of where a read stretch begins and ends.
        self._stretches: list[tuple[tuple[str, str], Optional[tuple[str, str]]]] = []

    def _covers(self, name: str) -> bool:
        if name in self._complete:
            return True
        keys = order_keys(name)
        if keys is None:
            return False
        return any(
            all(start[order] <= keys[order] and (end is None or keys[order] < end[order]) for order in (0, 1))
            for start, end in self._stretches
        )

    def read(self, api: Api, names: Iterable[str]) -> None:
        for name in sorted(set(names), key=lambda name: order_keys(name) or ("", "")):
            start: Optional[dict[str, Any]] = {"StartRecordName": name}
            begin = order_keys(name)
            while start is not None and not self._covers(name):
                records, following = api._record_page(self._zone, start)
                for record in records:
                    if record.type in TYPES:
                        self._by_name.setdefault(record.name, {})[record.key] = record
                next_name = canonical(following["StartRecordName"]) if following else None
                end = order_keys(next_name) if next_name is not None else None
                if begin is not None and (next_name is None or end is not None):
                    self._stretches.append((begin, end))
                if next_name != name:  # past the name's own records
                    self._complete.add(name)
                elif following == start:
                    raise ApiError(f"list_resource_record_sets does not go on after {name}", "NoProgress")
                start = following

    def records_at(self, name: str) -> list[RecordSet]:
        return list(self._by_name.get(name, {}).values())

    def records(self) -> tuple[RecordSet, ...]:
        return tuple(record for sets in self._by_name.values() for record in sets.values())
