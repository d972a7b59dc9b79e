# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import DnsError, InputError
from ansible_collections.multiregion.paas.plugins.module_utils._acme.route53 import Route53, client_config, swap
from botocore.exceptions import ClientError


class View:
    """A DNS in which every name is in its last two labels' zone."""

    def locate(self, challenge):
        return challenge, ".".join(challenge.split(".")[-2:])

    def follow(self, challenge):
        return challenge, None


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "op")


class Client:
    """Route 53 as far as it is used, with the calls that it got."""

    def __init__(self, zones=("a.test",)):
        self.zones = {name: "Z%d" % number for number, name in enumerate(zones)}
        self.sets, self.calls, self.fail, self.status = {}, [], [], ["INSYNC"]

    def list_hosted_zones_by_name(self, DNSName, MaxItems):
        self.calls.append("zones")
        zones = [{"Id": "/hostedzone/" + identifier, "Name": name + "."} for name, identifier in self.zones.items() if name >= DNSName.rstrip(".")]
        return {"HostedZones": zones + [{"Id": "P", "Name": DNSName, "Config": {"PrivateZone": True}}]}

    def list_resource_record_sets(self, HostedZoneId, StartRecordName, StartRecordType, MaxItems):
        self.calls.append("read")
        record = self.sets.get(StartRecordName)
        return {"ResourceRecordSets": [record] if record else [{"Name": "zzz.a.test.", "Type": "TXT", "TTL": 1, "ResourceRecords": []}]}

    def change_resource_record_sets(self, HostedZoneId, ChangeBatch):
        self.calls.append("change")
        if self.fail:
            self.fail.pop(0)(self)
        for change in ChangeBatch["Changes"]:
            record = change["ResourceRecordSet"]
            if change["Action"] == "DELETE":
                if self.sets.get(record["Name"]) != record:
                    raise refused("InvalidChangeBatch")
                del self.sets[record["Name"]]
            elif change["Action"] == "CREATE" and record["Name"] in self.sets:
                raise refused("InvalidChangeBatch")
            else:
                self.sets[record["Name"]] = record
        return {"ChangeInfo": {"Id": "/change/C1"}}

    def get_change(self, Id):
        self.calls.append("state")
        return {"ChangeInfo": {"Status": self.status.pop(0) if len(self.status) > 1 else self.status[0]}}


def values(client, name):
    return [one["Value"] for one in client.sets.get(name + ".", {"ResourceRecords": []})["ResourceRecords"]]


def provider(client, **more):
    return Route53(View(), client, sleep=lambda seconds: None, **more)


def test_one_change_for_all_names_of_a_zone():
    client = Client()
    provider(client).add("a.test", {"_acme-challenge.%d.a.test" % number: ["v%d" % number] for number in range(50)})
    assert client.calls.count("change") == 1 and len(client.sets) == 50


def test_values_of_others_stay_also_when_they_come_in_between():
    client = Client()
    name = "_acme-challenge.a.test"

    def somebody(client):
        client.sets[name + "."] = {"Name": name + ".", "Type": "TXT", "TTL": 9, "ResourceRecords": [{"Value": '"theirs"'}]}
        raise refused("InvalidChangeBatch")

    client.fail = [somebody]
    route53 = provider(client)
    route53.add("a.test", {name: ["one", "two"]})
    assert values(client, name) == ['"theirs"', '"one"', '"two"']

    def another(client):
        client.sets[name + "."]["ResourceRecords"].append({"Value": '"later"'})
        raise refused("InvalidChangeBatch")

    client.fail = [another]
    route53.remove("a.test", {name: ["one", "two"]})
    assert values(client, name) == ['"theirs"', '"later"'] and client.sets[name + "."]["TTL"] == 9


def test_the_last_value_takes_the_set_with_it_and_nothing_to_remove_is_no_change():
    client = Client()
    route53 = provider(client)
    route53.add("a.test", {"x.a.test": ["one"]})
    route53.remove("a.test", {"x.a.test": ["one"]})
    assert client.sets == {}
    before = client.calls.count("change")
    assert route53.remove("a.test", {"x.a.test": ["one"]}) is None
    assert client.calls.count("change") == before


@pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete", "ServiceUnavailable"])
def test_temporary_refusals_are_repeated(code):
    client = Client()

    def fail(client):
        raise refused(code)

    client.fail = [fail, fail]
    provider(client).add("a.test", {"x.a.test": ["one"]})
    assert values(client, "x.a.test") == ['"one"'] and client.calls.count("change") == 3


def test_others_are_told():
    client = Client()

    def fail(client):
        raise refused("AccessDenied")

    client.fail = [fail]
    with pytest.raises(DnsError, match="AccessDenied"):
        provider(client).add("a.test", {"x.a.test": ["one"]})


def test_waits_for_insync():
    client = Client()
    client.status = ["PENDING", "PENDING", "INSYNC"]
    provider(client).wait(["C1", None], 10)
    assert client.calls == ["state"] * 3


def test_a_zone_is_looked_for_once():
    client = Client()
    route53 = provider(client)
    for number in range(5):
        assert route53.locate("_acme-challenge.%d.a.test" % number)[1] == "a.test"
    assert client.calls == ["zones"]


def test_a_zone_is_looked_for_once_by_names_that_are_located_side_by_side():
    client = Client()
    real = client.list_hosted_zones_by_name
    client.list_hosted_zones_by_name = lambda **arguments: (time.sleep(0.05), real(**arguments))[1]
    route53 = provider(client)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(route53.locate, ["_acme-challenge.%d.a.test" % number for number in range(8)]))
    assert client.calls == ["zones"]


def test_a_zone_that_is_not_ours():
    with pytest.raises(InputError, match="holds _acme-challenge.x.b.test"):
        provider(Client()).locate("_acme-challenge.x.b.test")


def test_swap_gives_others_sets_back_as_they_were():
    existing = {"Name": "x.", "Type": "TXT", "TTL": 300, "ResourceRecords": [{"Value": '"a" "b"'}]}
    changes = swap("x", existing, ["v"], [])
    assert [change["Action"] for change in changes] == ["DELETE", "UPSERT"]
    assert changes[0]["ResourceRecordSet"] == existing
    assert swap("x", existing, [], ["v"]) == []
    assert [change["Action"] for change in swap("x", None, ["v"], [])] == ["CREATE"]


def test_the_api_is_not_waited_for_longer_than_a_run_has():
    config = client_config()
    assert (config.connect_timeout, config.read_timeout) == (5, 15)


class Refusing(Client):
    """Which refuses every change."""

    code = "Throttling"

    def change_resource_record_sets(self, HostedZoneId, ChangeBatch):
        self.calls.append("change")
        raise refused(self.code)


@pytest.mark.parametrize("way", ["add", "remove"])
def test_temporary_refusals_are_repeated_to_the_deadline(monkeypatch, way):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    client = Refusing()
    client.sets["x.a.test."] = {"Name": "x.a.test.", "Type": "TXT", "TTL": 9, "ResourceRecords": [{"Value": '"one"'}]}
    route53 = Route53(View(), client, sleep=lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    with pytest.raises(DnsError, match="Throttling"):
        getattr(route53, way)("a.test", {"x.a.test": ["two" if way == "add" else "one"]}, 100)
    assert 90 < clock[0] <= 100 and client.calls.count("change") > 12


def test_a_conflict_that_stays_is_told_before_the_deadline():
    client = Refusing()
    client.code = "InvalidChangeBatch"
    with pytest.raises(DnsError, match="InvalidChangeBatch"):
        provider(client).add("a.test", {"x.a.test": ["one"]}, 100)
    assert client.calls.count("change") == 12


def test_a_stop_ends_the_repetition():
    stopped, client = threading.Event(), Refusing()
    stopped.set()
    with pytest.raises(DnsError, match="Throttling"):
        provider(client).add("a.test", {"x.a.test": ["one"]}, 100, stopped)
    assert client.calls.count("change") == 1
