# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading, applying, retrying and healing, against a Route 53 in memory with the rules of AWS."""

from __future__ import annotations

from collections import Counter

import pytest
from route53_fake import CHECK, NAME, ZONE, FakeRoute53, Killed, Lost, Refused, current, declaration, endpoint, make_api, params, run

from ansible_collections.multiregion.paas.plugins.module_utils._route53.errors import (
    ApiError,
    DeadlineExceeded,
    NotConverged,
    PolicyConflict,
    ZoneNotFound,
)
from ansible_collections.multiregion.paas.plugins.module_utils._route53.planner import plan
from ansible_collections.multiregion.paas.plugins.module_utils._route53.runner import Runner

FIVE = [
    endpoint(region, f"192.0.2.{number}")
    for number, region in enumerate(("us-east-1", "eu-west-1", "ap-southeast-2", "eu-central-1", "us-west-2"))
]


def test_from_nothing_and_again():
    fake = FakeRoute53()
    result = run(fake, endpoints=FIVE, health_check=CHECK)
    assert result["changed"] and len(result["changes"]) == 15 and len(result["change_ids"]) == 1
    assert sum(result["api_calls"].values()) <= 29  # the zone has been asked for before
    again = run(fake, endpoints=FIVE, health_check=CHECK)
    assert not again["changed"] and again["changes"] == [] and again["diff"] == {"before": "", "after": ""}
    assert again["api_calls"] == {"list_health_checks": 1, "list_resource_record_sets": 1}


def test_the_calls_come_in_this_order():
    fake = FakeRoute53()
    run(fake, endpoints=FIVE[:1], health_check=CHECK)
    read = ["list_resource_record_sets", "list_health_checks"]
    assert fake.log == [*read, "create_health_check", "change_tags_for_resource", "change_resource_record_sets", *read]


def test_check_mode_changes_nothing_and_says_the_same():
    fake = FakeRoute53()
    would = run(fake, check_mode=True, health_check=CHECK)
    assert fake.records() == [] and not fake.checks
    did = run(fake, health_check=CHECK)
    assert would["changes"] == did["changes"] and would["diff"] == did["diff"]
    assert {check["id"] for check in would["health_checks"]} == {None}
    assert None not in {check["id"] for check in did["health_checks"]}


def test_checks_are_tagged_with_name_and_region():
    fake = FakeRoute53()
    run(fake, health_check=CHECK)
    assert fake.tags["hc-0001"] == {"Name": f"us-east-1.{NAME} 192.0.2.1", "region": "us-east-1", "managed-by": "multiregion.paas"}


def test_a_name_costs_one_reading_in_a_large_zone():
    fake = FakeRoute53()
    for number in range(3000):
        fake.put(Name=f"host{number}.example.com", Type="A", TTL=60, ResourceRecords=[{"Value": "192.0.2.1"}])
    run(fake, endpoints=FIVE, health_check=CHECK)
    for number in range(200):
        fake._create_health_check(f"theirs-{number}", {"Type": "TCP", "IPAddress": "192.0.2.99", "Port": number + 1})
    fake.log.clear()
    run(fake, endpoints=FIVE, health_check=CHECK)
    assert Counter(fake.log) == {"list_resource_record_sets": 1, "list_health_checks": 1}


def test_a_thousand_names_are_read_by_the_page():
    fake = FakeRoute53()
    names = [f"app{number:04d}.example.com" for number in range(1000)]
    run(fake, names=names, endpoints=FIVE)
    assert len(fake.records()) == 10000
    fake.log.clear()
    assert not run(fake, names=names, endpoints=FIVE)["changed"]
    assert fake.log.count("list_resource_record_sets") <= 36


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_pages_may_end_anywhere(page):
    fake = FakeRoute53(page=page)
    names = [NAME, "app-x.example.com", "*.example.com", "example.com", "zz.example.com"]
    fake.put(Name="app-y.example.com", Type="A", TTL=60, ResourceRecords=[{"Value": "192.0.2.1"}])
    many = [endpoint("us-east-1", "192.0.2.1", "192.0.2.2", "192.0.2.3"), endpoint("eu-west-1", "192.0.2.4")]
    run(fake, names=names, endpoints=many, health_check=CHECK)
    assert not run(fake, names=names, endpoints=many, health_check=CHECK)["changed"]
    run(fake, names=names, endpoints=many[:1], health_check=CHECK)
    assert run(fake, names=names, state="absent", endpoints=[])["changed"]
    assert [raw["Name"] for raw in fake.records()] == ["app-y.example.com."] and not fake.checks


def test_waiting_polls_until_insync():
    fake = FakeRoute53()
    fake.pending = 3
    result = run(fake, wait=True)
    assert result["api_calls"]["get_change"] == 4


def test_waiting_ends_at_the_deadline():
    fake = FakeRoute53()
    fake.pending = 1000
    with pytest.raises(DeadlineExceeded, match="PENDING.*applied before that"):
        run(fake, wait=True, timeout=60)


# -- temporary errors


@pytest.mark.parametrize(
    "error", [Refused("Throttling"), Refused("PriorRequestNotComplete"), Refused("Odd", status=503), Lost("connection reset")]
)
@pytest.mark.parametrize(
    "operation",
    ["list_resource_record_sets", "list_health_checks", "create_health_check", "change_tags_for_resource", "change_resource_record_sets"],
)
def test_temporary_errors_are_retried(operation, error):
    fake = FakeRoute53()
    fake.fail(operation, error, times=3)
    result = run(fake, health_check=CHECK)
    assert len(result["changes"]) == 6
    assert len(fake.checks) == 2


@pytest.mark.parametrize("operation", ["create_health_check", "change_tags_for_resource", "change_resource_record_sets"])
def test_a_lost_answer_does_nothing_twice(operation):
    fake = FakeRoute53()
    fake.fail(operation, Lost("timed out"), after=True)
    run(fake, health_check=CHECK)
    assert len(fake.checks) == 2 and len(fake.records()) == 4


def test_a_lost_answer_to_a_change_with_deletions_heals():
    fake = FakeRoute53()
    run(fake, health_check=CHECK)
    fake.fail("change_resource_record_sets", Lost("timed out"), after=True)
    assert run(fake, endpoints=FIVE[:1], health_check=CHECK)["changed"]
    assert plan(current(fake), declaration(endpoints=FIVE[:1], health_check=CHECK)).empty


def test_pauses_are_jittered_and_grow():
    fake = FakeRoute53()
    pauses = []
    for seed in range(2):
        fake.fail("list_health_checks", Refused("Throttling"), times=6)
        api = make_api(fake, seed=seed)
        slept = []
        api._sleep = lambda seconds, slept=slept, api=api: (slept.append(seconds), api.test_clock.sleep(seconds))
        api.read_checks()
        pauses.append(slept)
    assert pauses[0] != pauses[1]
    assert all(0 < pause <= 8 for slept in pauses for pause in slept)
    assert max(pauses[0][3:]) > 0.5


def test_at_the_deadline_it_says_what_was_and_was_not_applied():
    fake = FakeRoute53()
    fake.fail("change_resource_record_sets", Refused("Throttling"), times=10000)
    with pytest.raises(DeadlineExceeded) as caught:
        run(fake, health_check=CHECK, timeout=30)
    message = caught.value.message
    assert "change_resource_record_sets did not succeed within 30 s; the last answer was Throttling" in message
    assert "applied before that: create HTTPS 192.0.2.1:443/health" in message
    assert [change["type"] for change in caught.value.details["changes"]] == ["health_check"] * 2
    assert caught.value.details["api_calls"]["change_resource_record_sets"] > 3


def test_an_error_before_anything_says_that_nothing_was_changed():
    fake = FakeRoute53()
    fake.fail("list_health_checks", Refused("AccessDenied", "not you"))
    with pytest.raises(ApiError, match="list_health_checks: AccessDenied: not you; nothing was changed"):
        run(fake)


def test_permanent_errors_are_not_retried():
    fake = FakeRoute53()
    fake.fail("create_health_check", Refused("TooManyHealthChecks", "200"), times=10)
    with pytest.raises(ApiError, match="TooManyHealthChecks") as caught:
        run(fake, health_check=CHECK)
    assert caught.value.code == "TooManyHealthChecks" and fake.log.count("create_health_check") == 1


# -- others who change things meanwhile


def test_a_change_by_somebody_else_is_read_and_planned_again():
    fake = FakeRoute53()
    run(fake, endpoints=FIVE)

    def interfere(operation, _parameters):
        if operation == "change_resource_record_sets":
            fake.on_call = None
            for raw in fake.records():
                if raw.get("Region") == "us-west-2":
                    del fake.zones["Z1"]["records"][raw["Name"], raw["Type"], raw["SetIdentifier"]]

    fake.on_call = interfere
    run(fake, endpoints=FIVE[:2])
    assert plan(current(fake), declaration(endpoints=FIVE[:2])).empty


def test_a_health_check_changed_by_somebody_else_is_read_again():
    fake = FakeRoute53()
    run(fake, health_check=CHECK)

    def interfere(operation, _parameters):
        if operation == "update_health_check":
            fake.on_call = None
            fake.checks["hc-0001"]["HealthCheckVersion"] += 1

    fake.on_call = interfere
    run(fake, health_check=CHECK | {"failure_threshold": 5})
    assert {check["HealthCheckConfig"]["FailureThreshold"] for check in fake.checks.values()} == {5}


def test_a_batch_that_is_refused_for_good_is_an_error_with_aws_words():
    fake = FakeRoute53()
    fake.fail("change_resource_record_sets", Refused("InvalidChangeBatch", "for a reason of its own"), times=10)
    with pytest.raises(ApiError, match="for a reason of its own"):
        run(fake)
    assert fake.log.count("change_resource_record_sets") <= 3


def test_what_is_read_back_has_to_be_what_was_written():
    fake = FakeRoute53()

    def undo(done):
        done.zones["Z1"]["records"].clear()

    fake.on_batch = undo
    with pytest.raises(NotConverged, match="still to do: create us-east-1.app.example.com A"):
        run(fake, endpoints=FIVE[:1])


# -- deletion of health checks


def test_a_check_is_deleted_only_after_every_zone_was_read():
    fake = FakeRoute53(zones=(("Z1", "example.com.", False), ("Z2", "example.net.", False), ("Z3", "example.com.", True)))
    run(fake, health_check=CHECK)
    fake.log.clear()
    run(fake, state="absent", endpoints=[])
    assert fake.checks == {}
    assert fake.log.index("list_hosted_zones") < fake.log.index("delete_health_check")
    assert fake.log[fake.log.index("list_hosted_zones") :].count("list_resource_record_sets") == 3


@pytest.mark.parametrize("zone", ["Z1", "Z2"])
def test_a_check_that_any_record_names_is_kept(zone):
    fake = FakeRoute53(zones=(("Z1", "example.com.", False), ("Z2", "example.net.", False)))
    run(fake, health_check=CHECK)
    name = "theirs.example." + ("com" if zone == "Z1" else "net")
    fake.put(
        zone, Name=name, Type="A", TTL=60, SetIdentifier="x", Weight=1, ResourceRecords=[{"Value": "192.0.2.1"}], HealthCheckId="hc-0001"
    )
    result = run(fake, state="absent", endpoints=[])
    assert set(fake.checks) == {"hc-0001"}
    assert [change["name"] for change in result["changes"] if change["type"] == "health_check"] == [
        "HTTPS 192.0.2.2:443/health as app.example.com"
    ]


def test_a_check_that_another_declaration_made_goes_with_its_last_record():
    fake = FakeRoute53()
    run(fake, health_check=CHECK)
    run(fake, names=["www.example.com"], health_check=CHECK)
    run(fake, state="absent", endpoints=[])
    assert len(fake.checks) == 2
    run(fake, names=["www.example.com"], state="absent", endpoints=[])
    assert fake.checks == {}


def test_a_check_that_is_gone_already_is_no_error():
    fake = FakeRoute53()
    run(fake, health_check=CHECK)
    fake.fail("delete_health_check", Refused("NoSuchHealthCheck", status=404), times=2)
    run(fake, state="absent", endpoints=[])


def test_a_zone_that_goes_away_during_the_proof_names_nothing():
    fake = FakeRoute53(zones=(("Z1", "example.com.", False), ("Z2", "example.net.", False)))
    run(fake, health_check=CHECK)

    def interfere(operation, parameters):
        if operation == "list_resource_record_sets" and parameters["HostedZoneId"] == "Z2":
            fake.zones.pop("Z2", None)

    fake.on_call = interfere
    run(fake, state="absent", endpoints=[])
    assert fake.checks == {}


@pytest.mark.parametrize("operation", ["list_hosted_zones", "list_resource_record_sets"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_without_the_right_to_prove_it_nothing_is_deleted(operation, check_mode):
    fake = FakeRoute53(zones=(("Z1", "example.com.", False), ("Z2", "example.net.", False)))
    run(fake, health_check=CHECK)

    def deny(called, parameters):
        if called == operation and parameters.get("HostedZoneId") != "Z1":
            raise Refused("AccessDenied", "not this", status=403)

    fake.on_call = deny
    runner = Runner(make_api(fake), declaration(state="absent", endpoints=[]))
    result = runner.run(check_mode)
    assert len(fake.checks) == 2
    assert {change["type"] for change in result["changes"]} == {"A"}
    assert "HTTPS 192.0.2.1:443/health" in runner.warnings[0] and "route53:ListHostedZones" in runner.warnings[0]


def test_foreign_checks_survive_everything():
    fake = FakeRoute53()
    fake._create_health_check(
        "theirs", {"Type": "HTTPS", "IPAddress": "192.0.2.1", "Port": 443, "FullyQualifiedDomainName": NAME, "ResourcePath": "/health"}
    )
    run(fake, health_check=CHECK)
    run(fake, state="absent", endpoints=[])
    assert [check["CallerReference"] for check in fake.checks.values()] == ["theirs"]


# -- killed half way


OPERATIONS = ("create_health_check", "change_tags_for_resource", "change_resource_record_sets", "delete_health_check")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("skip", [0, 1])
def test_killed_anywhere_the_next_run_heals(operation, skip, after):
    fake = FakeRoute53()
    run(fake, endpoints=FIVE[:3], health_check=CHECK | {"interval": 30})
    fake.fail(operation, Killed(), skip=skip, after=after)
    wanted = {"endpoints": FIVE[1:], "health_check": CHECK}
    try:
        run(fake, **wanted)
    except Killed:
        pass
    fake.faults.clear()
    run(fake, **wanted)
    assert plan(current(fake), declaration(**wanted)).empty
    assert len(fake.checks) == len(FIVE[1:])  # nothing orphaned
    assert all(fake.tags[check].get("region") for check in fake.checks)


def test_killed_between_two_batches_nothing_is_left_behind():
    fake = FakeRoute53()
    many = [
        endpoint(region, *[f"198.51.{block}.{number}" for number in range(1, 255)])
        for block, region in enumerate(("us-east-1", "eu-west-1", "us-west-2"))
    ]
    fake.fail("change_resource_record_sets", Killed(), skip=1)
    with pytest.raises(Killed):
        run(fake, endpoints=many, health_check=CHECK)
    run(fake, health_check=CHECK)
    run(fake, state="absent", endpoints=[])
    assert fake.records() == [] and fake.checks == {}


# -- zones


ZONES = (
    ("ZA", "example.com.", False),
    ("ZB", "example.com.", True),
    ("ZC", "sub.example.com.", False),
    ("ZD", "twice.org.", False),
    ("ZE", "twice.org.", False),
)


@pytest.mark.parametrize("page", [1, 2, 100])
@pytest.mark.parametrize(
    ("name", "zone_id", "private", "expected"),
    [
        ("Example.com.", None, False, "ZA"),
        ("example.com", None, True, "ZB"),
        ("sub.example.com", None, False, "ZC"),
        (None, "/hostedzone/ZD", False, "ZD"),
        (None, "ZE", False, "ZE"),
    ],
)
def test_zones_are_found(name, zone_id, private, expected, page):
    assert make_api(FakeRoute53(ZONES, page)).find_zone(name, zone_id, private).id == expected


@pytest.mark.parametrize(
    ("name", "zone_id", "private", "words"),
    [
        ("twice.org", None, False, r"2 public hosted zones 'twice.org' \(ZD, ZE\): say which one with zone_id"),
        ("nothing.org", None, False, "no public hosted zone 'nothing.org'"),
        ("sub.example.com", None, True, r"no private hosted zone .* there is a public one \(ZC\)"),
        (None, "ZX", False, "no hosted zone with the id 'ZX'"),
        (None, "ZA", True, "is a public zone"),
    ],
)
@pytest.mark.parametrize("page", [1, 100])
def test_zones_that_are_not_found(name, zone_id, private, words, page):
    with pytest.raises(ZoneNotFound, match=words):
        make_api(FakeRoute53(ZONES, page)).find_zone(name, zone_id, private)


def test_a_conflict_is_found_before_any_change():
    fake = FakeRoute53()
    fake.put(Name=NAME, Type="CNAME", TTL=60, ResourceRecords=[{"Value": "x.example.org"}])
    with pytest.raises(PolicyConflict, match="nothing was changed"):
        run(fake, health_check=CHECK)
    assert not set(fake.log) & set(OPERATIONS)


def test_the_helpers_params_are_the_modules_options():
    from ansible_collections.multiregion.paas.plugins.modules.route53_latency import ARGUMENT_SPEC

    assert set(params()) <= set(ARGUMENT_SPEC)
    assert Runner(make_api(FakeRoute53()), declaration()).declaration.zone == ZONE
