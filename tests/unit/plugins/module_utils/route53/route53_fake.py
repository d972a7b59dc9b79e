# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Route 53 in memory, with the rules of AWS, spoken to as a boto3 client; and short ways to declare things."""

from __future__ import annotations

import copy
import itertools
import random

from ansible_collections.multiregion.paas.plugins.module_utils._route53.client import Api
from ansible_collections.multiregion.paas.plugins.module_utils._route53.declaration import declare
from ansible_collections.multiregion.paas.plugins.module_utils._route53.model import (
    Current,
    Zone,
    health_check_from_api,
    record_set_from_api,
)
from ansible_collections.multiregion.paas.plugins.module_utils._route53.runner import Runner

ZONE = Zone("Z1", "example.com")
REGIONS = ("us-east-1", "eu-west-1", "ap-southeast-2", "eu-central-1", "us-west-2", "sa-east-1")
CHECKERS = ("us-east-1", "eu-west-1", "ap-southeast-1", "us-west-2")
NAME = "app.example.com"
CHECK = {"type": "HTTPS", "host": NAME, "path": "/health", "interval": 10}
EMPTY_CHECK = dict.fromkeys(("port", "path", "search_string", "host", "regions", "enable_sni"), None) | {
    "type": "HTTPS",
    "interval": 30,
    "failure_threshold": 3,
    "measure_latency": False,
}


class Refused(Exception):
    """As botocore's ClientError."""

    def __init__(self, code, message="", status=400):
        super().__init__(f"{code}: {message}")
        self.response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}


class Lost(Exception):
    """As botocore's HTTPClientError."""


class Killed(BaseException):
    """The process ends here."""


def octal(name):
    return name.lower().rstrip(".").replace("*", "\\052") + "."


def order(name):
    return ".".join(reversed(name.rstrip(".").split("."))) + "."


def raw_policy(raw):
    for key in ("Region", "Weight", "Failover", "GeoLocation", "MultiValueAnswer"):
        if raw.get(key) not in (None, "", False):
            return key
    return "simple"


class FakeRoute53:
    def __init__(self, zones=(("Z1", "example.com.", False),), page=300):
        self.zones = {zone_id: {"name": name, "private": private, "records": {}} for zone_id, name, private in zones}
        self.checks = {}
        self.tags = {}
        self.references = {}
        self.page = page
        self.log = []
        self.faults = []  # (operation, exception, how often, how many calls before it, after)
        self.on_call = None
        self.on_batch = None
        self.numbers = itertools.count(1)
        self.pending = 0

    # -- what tests look at

    def records(self, zone="Z1"):
        return [copy.deepcopy(raw) for raw in self.zones[zone]["records"].values()]

    def put(self, zone="Z1", **raw):
        raw["Name"] = octal(raw["Name"])
        self.zones[zone]["records"][raw["Name"], raw["Type"], raw.get("SetIdentifier")] = raw

    def answers(self, name, rdtype, zone="Z1", depth=0):
        """All values that the name can lead to; an alias to nothing leads nowhere."""
        found = set()
        for raw in self.zones[zone]["records"].values():
            if raw["Name"] == octal(name) and raw["Type"] == rdtype:
                if "AliasTarget" in raw:
                    target = raw["AliasTarget"]
                    if target["HostedZoneId"] == zone and depth < 5:
                        found |= self.answers(target["DNSName"], rdtype, zone, depth + 1)
                    else:
                        found.add(target["DNSName"])
                else:
                    found |= {record["Value"] for record in raw["ResourceRecords"]}
        return found

    def fail(self, operation, error, times=1, skip=0, after=False):
        self.faults.append([operation, error, times, skip, after])

    def __getattr__(self, operation):
        method = getattr(type(self), "_" + operation, None)
        if method is None:
            raise AttributeError(operation)

        def call(**parameters):
            self.log.append(operation)
            if self.on_call:
                self.on_call(operation, parameters)
            pending = None
            for fault in self.faults:
                if fault[0] in (operation, "*"):
                    if fault[3]:
                        fault[3] -= 1
                    elif fault[2]:
                        fault[2] -= 1
                        if not fault[4]:
                            raise fault[1]
                        pending = fault[1]
                        break
            answer = method(self, **copy.deepcopy(parameters))
            if pending is not None:
                raise pending
            return answer

        return call

    # -- the API

    def _zone_raw(self, zone_id):
        zone = self.zones[zone_id]
        return {"Id": f"/hostedzone/{zone_id}", "Name": zone["name"], "Config": {"PrivateZone": zone["private"]}}

    def _get_hosted_zone(self, Id):
        if Id not in self.zones:
            raise Refused("NoSuchHostedZone", status=404)
        return {"HostedZone": self._zone_raw(Id)}

    def _list_hosted_zones_by_name(self, DNSName, HostedZoneId=""):
        ids = sorted(self.zones, key=lambda zone_id: (order(self.zones[zone_id]["name"]), zone_id))
        ids = [zone_id for zone_id in ids if (order(self.zones[zone_id]["name"]), zone_id) >= (order(DNSName), HostedZoneId)]
        page, rest = ids[: self.page], ids[self.page :]
        answer = {"HostedZones": [self._zone_raw(zone_id) for zone_id in page], "IsTruncated": bool(rest)}
        if rest:
            answer |= {"NextDNSName": self.zones[rest[0]]["name"], "NextHostedZoneId": rest[0]}
        return answer

    def _list_hosted_zones(self, Marker=""):
        ids = [zone_id for zone_id in sorted(self.zones) if zone_id >= Marker]
        page, rest = ids[: self.page], ids[self.page :]
        return {
            "HostedZones": [self._zone_raw(zone_id) for zone_id in page],
            "IsTruncated": bool(rest),
            **({"NextMarker": rest[0]} if rest else {}),
        }

    def _list_resource_record_sets(self, HostedZoneId, StartRecordName=None, StartRecordType="", StartRecordIdentifier=""):
        if HostedZoneId not in self.zones:
            raise Refused("NoSuchHostedZone", status=404)
        records = self.zones[HostedZoneId]["records"]
        keys = sorted(records, key=lambda key: (order(key[0]), key[1], key[2] or ""))
        if StartRecordName:
            start = (order(octal(StartRecordName)), StartRecordType, StartRecordIdentifier)
            keys = [key for key in keys if (order(key[0]), key[1], key[2] or "") >= start]
        page, rest = keys[: self.page], keys[self.page :]
        answer = {"ResourceRecordSets": [copy.deepcopy(records[key]) for key in page], "IsTruncated": bool(rest)}
        if rest:
            answer |= {"NextRecordName": rest[0][0], "NextRecordType": rest[0][1]}
            if rest[0][2]:
                answer["NextRecordIdentifier"] = rest[0][2]
        return answer

    def _list_health_checks(self, MaxItems="100", Marker=""):
        ids = [check for check in sorted(self.checks) if check >= Marker]
        size = min(int(MaxItems), max(self.page, 1))
        page, rest = ids[:size], ids[size:]
        return {
            "HealthChecks": [copy.deepcopy(self.checks[check]) for check in page],
            "IsTruncated": bool(rest),
            **({"NextMarker": rest[0]} if rest else {}),
        }

    def _create_health_check(self, CallerReference, HealthCheckConfig):
        assert len(CallerReference) <= 64
        if CallerReference in self.references:
            check, config = self.references[CallerReference]
            if check not in self.checks or config != HealthCheckConfig:
                raise Refused("HealthCheckAlreadyExists", status=409)
            return {"HealthCheck": copy.deepcopy(self.checks[check])}
        check = f"hc-{next(self.numbers):04d}"
        self.references[CallerReference] = check, HealthCheckConfig
        self.checks[check] = {
            "Id": check,
            "CallerReference": CallerReference,
            "HealthCheckConfig": HealthCheckConfig,
            "HealthCheckVersion": 1,
        }
        return {"HealthCheck": copy.deepcopy(self.checks[check])}

    def _update_health_check(self, HealthCheckId, HealthCheckVersion, ResetElements=(), **config):
        check = self.checks[HealthCheckId]
        if check["HealthCheckVersion"] != HealthCheckVersion:
            raise Refused("HealthCheckVersionMismatch", status=409)
        assert not set(config) & {"Type", "RequestInterval", "MeasureLatency"}
        check["HealthCheckConfig"].update(config)
        for element in ResetElements:
            check["HealthCheckConfig"].pop(element, None)
        check["HealthCheckVersion"] += 1
        return {"HealthCheck": copy.deepcopy(check)}

    def _delete_health_check(self, HealthCheckId):
        if HealthCheckId not in self.checks:
            raise Refused("NoSuchHealthCheck", status=404)
        del self.checks[HealthCheckId]
        return {}

    def _change_tags_for_resource(self, ResourceType, ResourceId, AddTags):
        assert ResourceType == "healthcheck"
        self.tags.setdefault(ResourceId, {}).update({tag["Key"]: tag["Value"] for tag in AddTags})
        return {}

    def _list_tags_for_resources(self, ResourceType, ResourceIds):
        assert 0 < len(ResourceIds) <= 10
        sets = [
            {"ResourceId": check, "Tags": [{"Key": key, "Value": value} for key, value in self.tags.get(check, {}).items()]}
            for check in ResourceIds
        ]
        return {"ResourceTagSets": sets}

    def _get_change(self, Id):
        self.pending -= 1
        return {"ChangeInfo": {"Id": Id, "Status": "PENDING" if self.pending >= 0 else "INSYNC"}}

    def _change_resource_record_sets(self, HostedZoneId, ChangeBatch):
        records = dict(self.zones[HostedZoneId]["records"])
        by_name = {}
        for key in records:
            by_name.setdefault(key[0], set()).add(key)
        elements = characters = 0
        for change in ChangeBatch["Changes"]:
            raw, action = change["ResourceRecordSet"], change["Action"]
            raw["Name"] = octal(raw["Name"])
            values = [record["Value"] for record in raw.get("ResourceRecords", ())]
            factor = 2 if action == "UPSERT" else 1
            elements += len(values) * factor
            characters += sum(map(len, values)) * factor
            key = raw["Name"], raw["Type"], raw.get("SetIdentifier")
            if action == "DELETE":
                if records.get(key) != raw:
                    raise Refused("InvalidChangeBatch", f"DELETE {key}: not found, or other values: {records.get(key)} {raw}")
                del records[key]
                by_name[key[0]].discard(key)
                continue
            records[key] = raw
            by_name.setdefault(key[0], set()).add(key)
            self._check(HostedZoneId, lambda name: [records[key] for key in by_name.get(name, ())], raw)
        if elements > 1000 or characters > 32000:
            raise Refused("InvalidChangeBatch", "too large")
        self.zones[HostedZoneId]["records"] = records
        if self.on_batch:
            self.on_batch(self)
        return {"ChangeInfo": {"Id": f"/change/C{next(self.numbers)}", "Status": "PENDING"}}

    def _check(self, zone_id, at, raw):
        if (raw_policy(raw) == "simple") != (raw.get("SetIdentifier") is None):
            raise Refused("InvalidChangeBatch", f"set identifier of {raw}")
        if raw_policy(raw) in ("Region", "MultiValueAnswer") and "AliasTarget" not in raw and len(raw["ResourceRecords"]) != 1:
            raise Refused("InvalidChangeBatch", f"one value only: {raw}")
        if ("AliasTarget" in raw) == ("TTL" in raw):
            raise Refused("InvalidChangeBatch", f"alias or TTL: {raw}")
        if raw.get("HealthCheckId") and raw["HealthCheckId"] not in self.checks:
            raise Refused("NoSuchHealthCheck", raw["HealthCheckId"], status=404)
        for other in at(raw["Name"]):
            if other is raw:
                continue
            if "CNAME" in (other["Type"], raw["Type"]) and other["Type"] != raw["Type"]:
                raise Refused("InvalidChangeBatch", f"CNAME beside {raw}")
            if other["Type"] != raw["Type"]:
                continue
            if raw_policy(other) != raw_policy(raw):
                raise Refused("InvalidChangeBatch", f"{raw_policy(other)} beside {raw}")
            if raw.get("Region") and raw["Region"] == other.get("Region"):
                raise Refused("InvalidChangeBatch", f"two of a region: {raw}")
        target = raw.get("AliasTarget")
        if target and target["HostedZoneId"] == zone_id:
            if not any(other["Type"] == raw["Type"] for other in at(octal(target["DNSName"]))):
                raise Refused("InvalidChangeBatch", f"alias to nothing: {raw}")


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


def make_api(fake, timeout=300, seed=None):
    clock = Clock()
    api = Api(fake, timeout, (Lost,), Refused, sleep=clock.sleep, clock=clock, rng=random.Random(seed))
    api.test_clock = clock
    return api


def endpoint(region, *addresses, **more):
    return {"region": region, "label": None, "addresses": list(addresses) or None, "target": None, **more}


def params(**more):
    values = {
        "names": [NAME],
        "endpoints": [endpoint("us-east-1", "192.0.2.1"), endpoint("eu-west-1", "192.0.2.2")],
        "ttl": 60,
        "regional_names": True,
        "health_check": None,
        "purge": True,
        "replace_policy": False,
        "state": "present",
        **more,
    }
    if values["health_check"] is not None:
        values["health_check"] = EMPTY_CHECK | values["health_check"]
    return values


def declaration(zone=ZONE, **more):
    return declare(params(**more), zone, REGIONS, CHECKERS)


def run(fake, check_mode=False, wait=False, timeout=300, **more):
    return Runner(make_api(fake, timeout), declaration(**more), wait).run(check_mode)


def current(fake, zone="Z1"):
    """All there is, as the planner would see it after reading everything."""
    records = tuple(record_set_from_api(raw) for raw in fake.records(zone) if raw["Type"] in ("A", "AAAA", "CNAME"))
    return Current(records, tuple(health_check_from_api(raw) for raw in fake.checks.values()))
