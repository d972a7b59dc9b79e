# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""route53_latency as Ansible runs it, over HTTP against moto, which refuses what AWS refuses and fails when told to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab" / "dns"))

from ansible_collections.multiregion.paas.plugins.modules import route53_latency
from moto_route53 import Route53Server

NAME = "app.paas.test"
CHECK = {"type": "HTTPS", "host": NAME, "path": "/health", "interval": 10}
FIVE = ("us-east-1", "eu-west-1", "ap-southeast-2", "eu-central-1", "us-west-2")
WRITES = ("create_health_check", "change_tags_for_resource", "change_resource_record_sets", "delete_health_check", "update_health_check")


def endpoints(*regions, first=1):
    return [{"region": region, "addresses": [f"198.18.{number}.11"]} for number, region in enumerate(regions, start=first)]


@pytest.fixture(scope="module")
def server():
    with Route53Server() as running:
        yield running


@pytest.fixture
def route53(server):
    server.reset()
    return server


@pytest.fixture
def zone(route53):
    return route53.client().create_hosted_zone(Name="paas.test", CallerReference="zone")["HostedZone"]["Id"]


@pytest.fixture
def run(route53, zone, capsys):
    """Runs the module; returns its result, or the failure when `fails`."""

    def call(fails=False, check_mode=False, **options):
        arguments = {
            "zone": "paas.test",
            "names": [NAME],
            "access_key": "AKIA",
            "secret_key": "0123456789",
            "region": "us-east-1",
            "endpoint_url": route53.url,
            "_ansible_check_mode": check_mode,
            **options,
        }
        if "zone_id" in options:
            del arguments["zone"]
        route53.control.requests.clear()
        with patch_module_args(arguments), pytest.raises(SystemExit):
            route53_latency.main()
        result = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) is fails, result.get("msg")
        return result

    return call


def records(route53, zone, **wanted):
    page = route53.client().list_resource_record_sets(HostedZoneId=zone)
    return [
        raw
        for raw in page["ResourceRecordSets"]
        if raw["Type"] not in ("SOA", "NS") and all(raw.get(key) == value for key, value in wanted.items())
    ]


def checks(route53):
    return route53.client().list_health_checks(MaxItems="1000")["HealthChecks"]


def test_from_nothing_again_and_away(run, route53, zone):
    made = run(endpoints=endpoints(*FIVE), health_check=CHECK)
    assert sum(made["api_calls"].values()) == len(route53.control.requests) <= 30
    assert made["changed"] and len(records(route53, zone)) == 10 and len(checks(route53)) == 5

    again = run(endpoints=endpoints(*FIVE), health_check=CHECK)
    assert not again["changed"] and len(route53.control.requests) <= 4

    gone = run(state="absent")
    assert gone["changed"] and records(route53, zone) == [] and checks(route53) == []
    assert not run(state="absent")["changed"]


def test_check_mode_writes_nothing_and_tells_the_same(run, route53):
    would = run(check_mode=True, endpoints=endpoints(*FIVE), health_check=CHECK)
    assert not set(route53.control.requests) & set(WRITES)
    did = run(endpoints=endpoints(*FIVE), health_check=CHECK)
    assert would["changes"] == did["changes"] and would["diff"] == did["diff"] and would["changed"]


def test_every_record_is_as_route_53_wants_it(run, route53, zone):
    run(endpoints=endpoints("us-east-1"), health_check=CHECK, ttl=30)
    (check,) = checks(route53)
    assert records(route53, zone, Name=f"us-east-1.{NAME}.") == [
        {
            "Name": f"us-east-1.{NAME}.",
            "Type": "A",
            "SetIdentifier": "198.18.1.11",
            "MultiValueAnswer": True,
            "TTL": 30,
            "ResourceRecords": [{"Value": "198.18.1.11"}],
            "HealthCheckId": check["Id"],
        }
    ]
    (latency,) = records(route53, zone, Name=f"{NAME}.")
    assert (latency["Region"], latency["SetIdentifier"]) == ("us-east-1", "us-east-1")
    assert latency["AliasTarget"] == {"HostedZoneId": zone.rsplit("/", 1)[1], "DNSName": f"us-east-1.{NAME}", "EvaluateTargetHealth": True}
    config = check["HealthCheckConfig"]
    assert (config["Type"], config["Port"], config["FullyQualifiedDomainName"], config["ResourcePath"]) == ("HTTPS", 443, NAME, "/health")
    assert (config["RequestInterval"], config["FailureThreshold"], config["EnableSNI"]) == (10, 3, True)
    tags = route53.client().list_tags_for_resource(ResourceType="healthcheck", ResourceId=check["Id"])["ResourceTagSet"]["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags}["region"] == "us-east-1"


def test_wildcards_apex_idn_and_two_families(run, route53, zone):
    names = ["paas.test", "*.paas.test", "b\u00fccher.paas.test"]
    both = [
        {"region": region, "addresses": [f"198.18.{number}.11", f"2001:DB8::{number}"]} for number, region in enumerate(FIVE[:2], start=1)
    ]
    run(names=names, endpoints=both, health_check=CHECK)
    assert records(route53, zone, Name="\\052.paas.test.", Type="AAAA")
    assert records(route53, zone, Name="xn--bcher-kva.paas.test.")
    assert not run(names=names, endpoints=both, health_check=CHECK)["changed"]
    run(names=names, endpoints=both[:1], health_check=CHECK)
    run(names=names, state="absent")
    assert records(route53, zone) == [] and checks(route53) == []


def test_a_set_identifier_is_renamed(run, route53, zone):
    run(endpoints=endpoints("us-east-1"), health_check=CHECK)
    renamed = [{"region": "us-east-1", "label": "virginia", "addresses": ["198.18.1.11"]}]
    assert run(endpoints=renamed, health_check=CHECK)["changed"]
    assert [raw["SetIdentifier"] for raw in records(route53, zone, Name=f"{NAME}.")] == ["virginia"]
    assert not run(endpoints=renamed, health_check=CHECK)["changed"]


@pytest.mark.parametrize("record_type", ["A", "CNAME"])
def test_a_simple_record_is_shown_or_migrated(run, route53, zone, record_type):
    value = "198.18.9.9" if record_type == "A" else "www.example.org"
    standing = {"Name": NAME, "Type": record_type, "TTL": 60, "ResourceRecords": [{"Value": value}]}
    route53.client().change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": standing}]}
    )
    refused = run(fails=True, endpoints=endpoints("us-east-1"), health_check=CHECK)
    assert NAME in refused["msg"] and "replace_policy" in refused["msg"] and value in refused["msg"]
    assert not set(route53.control.requests) & set(WRITES)
    run(endpoints=endpoints("us-east-1"), health_check=CHECK, replace_policy=True)
    assert route53.control.calls["change_resource_record_sets"] == 1
    assert {raw["Type"] for raw in records(route53, zone)} == {"A"}


def test_a_check_is_updated_or_replaced(run, route53):
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    before = {check["Id"] for check in checks(route53)}
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK | {"failure_threshold": 1})
    assert {check["Id"] for check in checks(route53)} == before
    assert {check["HealthCheckConfig"]["FailureThreshold"] for check in checks(route53)} == {1}
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK | {"interval": 30})
    assert not before & {check["Id"] for check in checks(route53)} and len(checks(route53)) == 2


def test_checks_of_others_and_of_other_names_stay(run, route53):
    theirs = route53.client().create_health_check(
        CallerReference="theirs",
        HealthCheckConfig={"Type": "TCP", "IPAddress": "198.18.1.11", "Port": 22, "RequestInterval": 30, "FailureThreshold": 3},
    )["HealthCheck"]["Id"]
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    run(names=["www.paas.test"], endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    assert len(checks(route53)) == 3  # the two names share theirs
    run(state="absent")
    assert len(checks(route53)) == 3
    run(names=["www.paas.test"], state="absent")
    assert [check["Id"] for check in checks(route53)] == [theirs]


def test_a_large_zone_costs_no_more(run, route53, zone):
    client = route53.client()
    for block in range(4):
        changes = [
            {
                "Action": "CREATE",
                "ResourceRecordSet": {
                    "Name": f"h{block}-{number}.paas.test",
                    "Type": "A",
                    "TTL": 60,
                    "ResourceRecords": [{"Value": "198.18.9.9"}],
                },
            }
            for number in range(250)
        ]
        client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch={"Changes": changes})
    run(endpoints=endpoints(*FIVE), health_check=CHECK)
    assert len(route53.control.requests) <= 30
    run(endpoints=endpoints(*FIVE), health_check=CHECK)
    assert route53.control.requests == ["list_hosted_zones_by_name", "list_resource_record_sets", "list_health_checks"]


# -- what AWS does on a bad day


@pytest.mark.parametrize("code", ["Throttling", "PriorRequestNotComplete", "ServiceUnavailable"])
@pytest.mark.parametrize(
    "operation", ["list_hosted_zones_by_name", "list_resource_record_sets", "create_health_check", "change_resource_record_sets"]
)
def test_temporary_errors_are_retried(run, route53, zone, operation, code):
    route53.fail(operation, code, times=2)
    result = run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    assert result["changed"] and len(records(route53, zone)) == 4 and len(checks(route53)) == 2
    assert result["api_calls"][operation] >= 3


@pytest.mark.parametrize("operation", WRITES[:3])
def test_a_lost_answer_does_nothing_twice(run, route53, zone, operation):
    route53.fail(operation, "InternalFailure", after=True)
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    assert len(records(route53, zone)) == 4 and len(checks(route53)) == 2


@pytest.mark.parametrize("operation", WRITES[:4])
@pytest.mark.parametrize("after", [False, True])
def test_failing_in_the_middle_the_next_run_heals(run, route53, zone, operation, after):
    run(endpoints=endpoints(*FIVE[:3]), health_check=CHECK | {"interval": 30})
    route53.fail(operation, "AccessDenied", times=1, after=after)
    failed = run(fails=True, endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    assert "AccessDenied" in failed["msg"] and operation in failed["msg"]
    run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)
    assert len(records(route53, zone)) == 4 and len(checks(route53)) == 2
    assert not run(endpoints=endpoints(*FIVE[:2]), health_check=CHECK)["changed"]


def test_the_deadline_is_the_users(run, route53):
    route53.fail("change_resource_record_sets", "Throttling", times=1000)
    failed = run(fails=True, endpoints=endpoints("us-east-1"), health_check=CHECK, wait_timeout=2)
    assert "did not succeed within 2 s; the last answer was Throttling" in failed["msg"]
    assert "applied before that: create HTTPS 198.18.1.11:443/health" in failed["msg"]


def test_somebody_else_was_faster(run, route53, zone):
    run(endpoints=endpoints(*FIVE[:3]))
    other = route53.client()

    def interfere(operation):
        if operation == "change_resource_record_sets":
            route53.control.before = None
            for raw in records(route53, zone, Region="ap-southeast-2"):
                other.change_resource_record_sets(
                    HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": raw}]}
                )

    route53.control.before = interfere
    run(endpoints=endpoints(*FIVE[:2]))
    assert len(records(route53, zone, Name=f"{NAME}.")) == 2


def test_waiting_for_propagation(run, route53):
    route53.control.pending_polls = 2
    assert run(endpoints=endpoints("us-east-1"), wait=True)["api_calls"]["get_change"] == 3


# -- refusals, before anything changes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoints": endpoints("moon-1")}, "'moon-1' is not an AWS region"),
        ({"endpoints": endpoints("us-east-1", "us-east-1")}, "the region 'us-east-1' has 2 endpoints"),
        ({"endpoints": [{"region": "us-east-1", "addresses": ["x"]}]}, "'x' is not an IPv4 or IPv6 address"),
        ({"endpoints": endpoints("us-east-1"), "names": ["app.example.org"]}, "not within the zone"),
        ({"endpoints": []}, "state=absent"),
        ({"endpoints": endpoints("us-east-1"), "zone": "nothing.test"}, "no public hosted zone 'nothing.test'"),
        ({"endpoints": endpoints("us-east-1"), "zone_id": "ZNOTHING"}, "no hosted zone with the id 'ZNOTHING'"),
    ],
)
def test_refused(run, route53, options, words):
    assert words in run(fails=True, **options)["msg"]
    assert not set(route53.control.requests) & set(WRITES)


def test_an_ambiguous_zone_is_named(run, route53, zone):
    second = route53.client().create_hosted_zone(Name="paas.test", CallerReference="second")["HostedZone"]["Id"].rsplit("/", 1)[1]
    assert second in run(fails=True, endpoints=endpoints("us-east-1"))["msg"]
    assert run(zone_id=second, endpoints=endpoints("us-east-1"))["zone_id"] == second


def test_what_stays_unsaid_is_secret(run):
    result = run(endpoints=endpoints("us-east-1"), secret_key="a-very-secret-key")
    assert "a-very-secret-key" not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert result["invocation"]["module_args"]["secret_key"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
