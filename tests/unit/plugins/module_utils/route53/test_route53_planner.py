# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The planner, a test for each of its rules. No I/O: what is there goes in, what has to be done comes out."""

from __future__ import annotations

import pytest
from route53_fake import CHECK, NAME, FakeRoute53, current, declaration, endpoint, octal, run

from ansible_collections.multiregion.paas.plugins.module_utils._route53.errors import PolicyConflict
from ansible_collections.multiregion.paas.plugins.module_utils._route53.model import Change, Current, RecordSet
from ansible_collections.multiregion.paas.plugins.module_utils._route53.planner import batches, diff, families, plan

US = endpoint("us-east-1", "192.0.2.1")
EU = endpoint("eu-west-1", "192.0.2.2")
AP = endpoint("ap-southeast-2", "192.0.2.3")


def steps(planned):
    return [(change.action, change.record.name, change.record.type, change.record.set_identifier) for change in planned.changes]


def after(**options):
    fake = FakeRoute53()
    run(fake, **options)
    return fake


def planned(fake, **options):
    return plan(current(fake), declaration(**options))


def test_from_nothing_targets_come_before_what_points_to_them():
    assert steps(plan(Current(), declaration())) == [
        ("UPSERT", "eu-west-1.app.example.com", "A", "192.0.2.2"),
        ("UPSERT", "us-east-1.app.example.com", "A", "192.0.2.1"),
        ("UPSERT", NAME, "A", "eu-west-1"),
        ("UPSERT", NAME, "A", "us-east-1"),
    ]


def test_the_latency_set_is_an_alias_that_evaluates_health():
    record = plan(Current(), declaration()).changes[-1].record
    assert record.region == "us-east-1" and record.ttl is None
    assert (record.alias.zone_id, record.alias.name, record.alias.evaluate_health) == ("Z1", "us-east-1.app.example.com", True)


def test_one_multivalue_set_an_address_each_with_its_check():
    made = plan(Current(), declaration(endpoints=[endpoint("us-east-1", "192.0.2.1", "192.0.2.9")], health_check=CHECK))
    records = [change.record for change in made.changes if change.record.multivalue]
    assert [record.values for record in records] == [("192.0.2.1",), ("192.0.2.9",)]
    assert len({record.health_check for record in records}) == 2
    assert [create.config.key.address for create in made.creates] and len(made.creates) == 2


def test_without_regional_names_the_latency_set_has_the_address_and_the_check():
    made = plan(Current(), declaration(regional_names=False, health_check=CHECK))
    assert [(change.record.name, change.record.values, bool(change.record.health_check)) for change in made.changes] == [
        (NAME, ("192.0.2.2",), True),
        (NAME, ("192.0.2.1",), True),
    ]


def test_a_second_plan_is_empty():
    assert planned(after(health_check=CHECK), health_check=CHECK).empty


def test_a_label_replaces_the_region_in_set_identifier_and_regional_name():
    made = plan(Current(), declaration(endpoints=[endpoint("us-east-1", "192.0.2.1", label="virginia")]))
    assert steps(made) == [("UPSERT", "virginia.app.example.com", "A", "192.0.2.1"), ("UPSERT", NAME, "A", "virginia")]


def test_another_ttl_updates_only_what_has_one():
    assert steps(planned(after(), ttl=30)) == [
        ("UPSERT", "eu-west-1.app.example.com", "A", "192.0.2.2"),
        ("UPSERT", "us-east-1.app.example.com", "A", "192.0.2.1"),
    ]


def test_another_address_is_added_and_the_old_one_removed_in_the_same_step():
    made = planned(after(), endpoints=[endpoint("us-east-1", "192.0.2.7"), EU])
    assert steps(made) == [
        ("DELETE", "us-east-1.app.example.com", "A", "192.0.2.1"),
        ("UPSERT", "us-east-1.app.example.com", "A", "192.0.2.7"),
    ]
    assert len(made.units) == 1


def test_a_new_region_touches_no_other():
    assert steps(planned(after(), endpoints=[US, EU, AP])) == [
        ("UPSERT", "ap-southeast-2.app.example.com", "A", "192.0.2.3"),
        ("UPSERT", NAME, "A", "ap-southeast-2"),
    ]


def test_purge_removes_a_region_before_its_regional_name():
    assert steps(planned(after(endpoints=[US, EU, AP]))) == [
        ("DELETE", NAME, "A", "ap-southeast-2"),
        ("DELETE", "ap-southeast-2.app.example.com", "A", "192.0.2.3"),
    ]


def test_without_purge_other_regions_stay():
    fake = after(endpoints=[US, EU, AP], health_check=CHECK)
    assert planned(fake, purge=False, health_check=CHECK).empty


def test_without_purge_a_listed_endpoint_has_still_exactly_its_addresses():
    fake = after(endpoints=[endpoint("us-east-1", "192.0.2.1", "192.0.2.9")])
    assert steps(planned(fake, endpoints=[US], purge=False)) == [("DELETE", "us-east-1.app.example.com", "A", "192.0.2.9")]


def test_absent_removes_latency_sets_regional_names_and_checks():
    fake = after(health_check=CHECK)
    made = planned(fake, state="absent", endpoints=[])
    assert {step[0] for step in steps(made)} == {"DELETE"} and len(made.changes) == 4
    assert len(made.releases) == 2


def test_absent_leaves_other_types_other_names_and_other_policies():
    fake = FakeRoute53()
    fake.put(Name=NAME, Type="TXT", TTL=60, ResourceRecords=[{"Value": '"t"'}])
    fake.put(Name="us-east-1." + NAME, Type="A", TTL=60, ResourceRecords=[{"Value": "192.0.2.50"}])
    fake.put(Name="other.example.com", Type="A", TTL=60, SetIdentifier="a", Region="us-east-1", ResourceRecords=[{"Value": "192.0.2.51"}])
    assert planned(fake, state="absent", endpoints=[US]).empty


def test_a_renamed_label_replaces_the_set_in_one_step():
    made = planned(after(), endpoints=[endpoint("us-east-1", "192.0.2.1", label="virginia"), EU])
    assert steps(made) == [
        ("UPSERT", "virginia.app.example.com", "A", "192.0.2.1"),
        ("DELETE", NAME, "A", "us-east-1"),
        ("UPSERT", NAME, "A", "virginia"),
        ("DELETE", "us-east-1.app.example.com", "A", "192.0.2.1"),
    ]
    assert len(made.units) == 1


def test_a_set_of_our_region_under_a_foreign_identifier_is_replaced_even_without_purge():
    fake = FakeRoute53()
    fake.put(Name=NAME, Type="A", TTL=60, SetIdentifier="old", Region="us-east-1", ResourceRecords=[{"Value": "192.0.2.1"}])
    assert ("DELETE", NAME, "A", "old") in steps(planned(fake, purge=False))


def test_two_labels_that_swap_their_regions_are_both_deleted_first():
    fake = after(endpoints=[endpoint("us-east-1", "192.0.2.1", label="a"), endpoint("eu-west-1", "192.0.2.2", label="b")])
    swapped = [endpoint("eu-west-1", "192.0.2.1", label="a"), endpoint("us-east-1", "192.0.2.2", label="b")]
    assert [step[0] for step in steps(planned(fake, endpoints=swapped))] == ["DELETE", "DELETE", "UPSERT", "UPSERT"]
    run(fake, endpoints=swapped)


@pytest.mark.parametrize(
    "standing",
    [
        {"Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.50"}]},
        {"Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.50"}], "SetIdentifier": "w", "Weight": 10},
        {"Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.50"}], "SetIdentifier": "f", "Failover": "PRIMARY"},
        {
            "Type": "A",
            "TTL": 60,
            "ResourceRecords": [{"Value": "192.0.2.50"}],
            "SetIdentifier": "g",
            "GeoLocation": {"ContinentCode": "EU"},
        },
        {"Type": "A", "TTL": 60, "ResourceRecords": [{"Value": "192.0.2.50"}], "SetIdentifier": "m", "MultiValueAnswer": True},
        {"Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "www.example.org"}]},
        {"Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "www.example.org"}], "SetIdentifier": "l", "Region": "us-east-1"},
        {"Type": "A", "AliasTarget": {"HostedZoneId": "ZELB", "DNSName": "lb.example.org.", "EvaluateTargetHealth": False}},
    ],
)
@pytest.mark.parametrize("name", [NAME, "us-east-1." + NAME])
def test_another_policy_is_shown_or_migrated_in_the_same_step(standing, name):
    fake = FakeRoute53()
    fake.put(Name=name, **standing)
    multivalue_or_alias = standing.get("MultiValueAnswer") or "AliasTarget" in standing
    if name == NAME or not multivalue_or_alias:  # at a regional name these two are of our own kind
        with pytest.raises(PolicyConflict) as caught:
            planned(fake)
        assert name in caught.value.message and "replace_policy" in caught.value.message
    made = planned(fake, replace_policy=True)
    assert made.units[0] and len(made.units) == 1
    assert ("DELETE", name, standing["Type"], standing.get("SetIdentifier")) in steps(made)
    run(fake, replace_policy=True)
    assert planned(fake).empty


def test_other_types_do_not_stand_in_the_way():
    fake = FakeRoute53()
    fake.put(Name=NAME, Type="TXT", TTL=60, ResourceRecords=[{"Value": '"t"'}])
    fake.put(Name=NAME, Type="AAAA", TTL=60, ResourceRecords=[{"Value": "2001:db8::9"}])
    assert all(step[0] == "UPSERT" for step in steps(planned(fake)))


def test_regional_names_can_be_switched_on_and_off():
    fake = after(regional_names=False, health_check=CHECK)
    on = planned(fake, health_check=CHECK)
    assert [step[0] for step in steps(on)] == ["UPSERT"] * 4 and not on.creates
    run(fake, health_check=CHECK)
    off = planned(fake, regional_names=False, health_check=CHECK)
    assert [step[0] for step in steps(off)] == ["UPSERT", "UPSERT", "DELETE", "DELETE"] and not off.releases


def test_switching_regional_names_off_leaves_records_that_are_not_pointed_to():
    fake = after(regional_names=False)
    fake.put(
        Name="us-east-1." + NAME, Type="A", TTL=60, SetIdentifier="theirs", MultiValueAnswer=True, ResourceRecords=[{"Value": "192.0.2.77"}]
    )
    assert planned(fake, regional_names=False).empty


def test_an_endpoint_changes_from_addresses_to_a_target_and_back():
    fake = after(health_check=CHECK)
    target = endpoint("us-east-1", target={"dns_name": "lb.elb.amazonaws.com", "zone_id": "ZELB", "evaluate_target_health": None})
    made = planned(fake, endpoints=[target, EU], health_check=CHECK)
    assert steps(made) == [("DELETE", "us-east-1.app.example.com", "A", "192.0.2.1"), ("UPSERT", "us-east-1.app.example.com", "A", None)]
    assert len(made.releases) == 1
    run(fake, endpoints=[target, EU], health_check=CHECK)
    assert planned(fake, endpoints=[target, EU], health_check=CHECK).empty
    run(fake, health_check=CHECK)
    assert planned(fake, health_check=CHECK).empty


def test_a_target_without_regional_names_is_a_latency_alias():
    target = {"dns_name": "dualstack.lb.elb.amazonaws.com", "zone_id": "ZELB", "evaluate_target_health": None}
    made = plan(Current(), declaration(regional_names=False, endpoints=[endpoint("us-east-1", target=target)]))
    assert [(change.record.type, change.record.alias.name) for change in made.changes] == [
        ("A", target["dns_name"]),
        ("AAAA", target["dns_name"]),
    ]


def dual(region, number):
    return endpoint(region, f"192.0.2.{number}", f"2001:db8::{number}")


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([US, EU], ("A",)),
        ([dual("us-east-1", 1), dual("eu-west-1", 2)], ("A", "AAAA")),
        ([dual("us-east-1", 1), EU], ("A",)),
        ([endpoint("us-east-1", "2001:db8::1"), endpoint("eu-west-1", "2001:db8::2")], ("AAAA",)),
        ([US, endpoint("eu-west-1", "2001:db8::2")], ("A",)),
    ],
)
def test_aaaa_only_when_every_endpoint_has_one(endpoints, expected):
    assert families(declaration(endpoints=endpoints)) == expected


def test_aaaa_goes_when_an_endpoint_loses_it():
    fake = after(endpoints=[dual("us-east-1", 1), dual("eu-west-1", 2)])
    made = planned(fake, endpoints=[dual("us-east-1", 1), EU])
    assert {step[0] for step in steps(made)} == {"DELETE"} and {step[2] for step in steps(made)} == {"AAAA"}


def test_a_family_goes_from_the_latency_set_before_it_goes_from_the_regional_name():
    fake = after(endpoints=[dual("us-east-1", 1)])
    assert steps(planned(fake, endpoints=[US])) == [
        ("DELETE", NAME, "AAAA", "us-east-1"),
        ("DELETE", "us-east-1.app.example.com", "AAAA", "2001:db8::1"),
    ]


@pytest.mark.parametrize("wanted", [US, endpoint("us-east-1", "192.0.2.1", label="virginia"), endpoint("eu-west-1", "192.0.2.1", label="us-east-1")])
def test_without_purge_a_listed_endpoint_has_no_family_left_that_leads_nowhere(wanted):
    made = planned(after(endpoints=[dual("us-east-1", 1)]), endpoints=[wanted], purge=False)
    assert ("DELETE", NAME, "AAAA", "us-east-1") in steps(made)


def test_a_wildcard_has_its_regional_names_beside_it():
    fake = after(names=["*.example.com"])
    assert {raw["Name"] for raw in fake.records()} == {
        octal("*.example.com"),
        "us-east-1._wildcard.example.com.",
        "eu-west-1._wildcard.example.com.",
    }
    assert planned(fake, names=["*.example.com"]).empty


def test_the_apex_can_be_steered():
    fake = after(names=["example.com"])
    assert planned(fake, names=["example.com"]).empty


def test_values_are_compared_by_meaning():
    fake = FakeRoute53()
    for region, address in (("us-east-1", "2001:0DB8:0:0:0:0:0:1"), ("eu-west-1", "2001:db8::0002")):
        short = {"us-east-1": "2001:db8::1", "eu-west-1": "2001:db8::2"}[region]
        fake.put(
            Name=f"{region}.APP.example.com",
            Type="AAAA",
            SetIdentifier=short,
            MultiValueAnswer=True,
            TTL=60,
            ResourceRecords=[{"Value": address}],
        )
        alias = {"HostedZoneId": "Z1", "DNSName": f"{region}.App.Example.com.", "EvaluateTargetHealth": True}
        fake.put(Name=NAME, Type="AAAA", SetIdentifier=region, Region=region, AliasTarget=alias)
    assert planned(fake, endpoints=[endpoint("us-east-1", "2001:db8::1"), endpoint("eu-west-1", "2001:db8:0::2")]).empty


# -- health checks


def test_names_that_need_the_same_check_share_it():
    made = plan(Current(), declaration(names=[NAME, "www.example.com"], health_check=CHECK))
    assert len(made.creates) == 2
    assert len([change for change in made.changes if change.record.health_check]) == 4


def test_a_check_of_another_name_is_shared_when_it_is_ours():
    fake = after(health_check=CHECK)
    made = planned(fake, names=["www.example.com"], health_check=CHECK)
    assert not made.creates and not made.updates


def test_a_check_of_others_is_never_used_changed_or_deleted():
    fake = after(health_check=CHECK)
    for check in fake.checks.values():
        check["CallerReference"] = "somebody else"
    made = planned(fake, health_check=CHECK)
    assert len(made.creates) == 2 and not made.updates and not made.releases


@pytest.mark.parametrize(
    "change",
    [
        {"failure_threshold": 5},
        {"regions": ["us-east-1", "eu-west-1", "ap-southeast-1"]},
        {"enable_sni": False},
    ],
)
def test_what_aws_lets_change_is_updated(change):
    fake = after(health_check=CHECK)
    made = planned(fake, health_check=CHECK | change)
    assert len(made.updates) == 2 and not made.creates and not made.units and not made.releases
    run(fake, health_check=CHECK | change)
    assert planned(fake, health_check=CHECK | change).empty


def test_leaving_the_checkers_regions_out_again_resets_them():
    regions = {"regions": ["us-east-1", "eu-west-1", "ap-southeast-1"]}
    fake = after(health_check=CHECK | regions)
    run(fake, health_check=CHECK)
    assert all("Regions" not in check["HealthCheckConfig"] for check in fake.checks.values())


def test_another_search_string_is_an_update():
    fake = after(health_check=CHECK | {"search_string": "one"})
    assert len(planned(fake, health_check=CHECK | {"search_string": "two"}).updates) == 2


@pytest.mark.parametrize(
    "change",
    [{"interval": 30}, {"measure_latency": True}, {"type": "HTTP"}, {"path": "/other"}, {"host": "other.example.com"}, {"port": 8443}],
)
def test_what_aws_does_not_let_change_is_replaced(change):
    fake = after(health_check=CHECK)
    made = planned(fake, health_check=CHECK | change)
    assert len(made.creates) == 2 and len(made.units) == 1 and len(made.releases) == 2 and not made.updates


@pytest.mark.parametrize("drift", [{"Disabled": True}, {"Inverted": True}])
def test_a_check_that_was_switched_off_by_hand_is_put_right(drift):
    fake = after(health_check=CHECK)
    fake.checks["hc-0001"]["HealthCheckConfig"].update(drift)
    assert [update.id for update in planned(fake, health_check=CHECK).updates] == ["hc-0001"]


def test_no_health_check_any_more_releases_ours():
    fake = after(health_check=CHECK)
    made = planned(fake)
    assert len(made.units) == 1 and len(made.releases) == 2


def test_without_purge_nothing_is_released():
    assert not planned(after(health_check=CHECK), purge=False).releases


def test_an_orphan_of_this_declaration_is_released():
    fake = after(health_check=CHECK)
    made = planned(after(), health_check=CHECK)
    fake._create_health_check(
        fake.checks["hc-0001"]["CallerReference"][:-12] + "000000000000", {**made.creates[0].config.to_api(), "Port": 9}
    )
    assert [check.config.key.port for check in planned(fake, health_check=CHECK).releases] == [9]


def test_of_two_that_fit_the_one_in_use_stays():
    fake = after(health_check=CHECK)
    twin = dict(fake.checks["hc-0001"], Id="hc-0000", CallerReference=fake.checks["hc-0001"]["CallerReference"] + "x")
    fake.checks["hc-0000"] = twin
    made = planned(fake, health_check=CHECK)
    assert not made.units and [check.id for check in made.releases] == ["hc-0000"]


def test_a_check_that_another_name_of_the_reading_uses_is_not_released():
    fake = after(names=[NAME, "www.example.com"], health_check=CHECK)
    assert not planned(fake, names=[NAME], health_check=CHECK | {"port": 9}).releases


# -- batches


def upsert(number, size=1):
    return (
        Change("UPSERT", RecordSet(f"n{number}.example.com", "A", ttl=60, values=tuple(f"192.0.2.{number}" for _unused in range(size)))),
    )


def test_a_batch_holds_a_thousand_elements_and_an_upsert_counts_twice():
    made = batches([upsert(1) for _unused in range(501)])
    assert [len(batch) for batch in made] == [500, 1]


def test_a_batch_holds_32000_characters_counting_upserts_twice():
    long = (Change("UPSERT", RecordSet("n.example.com", "TXT", ttl=60, values=("x" * 4000,))),)
    assert [len(batch) for batch in batches([long] * 5)] == [4, 1]


def test_deletes_count_once():
    made = batches([(Change("DELETE", unit[0].record),) for unit in [upsert(1) for _unused in range(1001)]])
    assert [len(batch) for batch in made] == [1000, 1]


def test_a_unit_is_never_torn_apart():
    unit = tuple(change for number in range(300) for change in upsert(number))
    assert [len(batch) for batch in batches([unit, unit])] == [300, 300]


def test_a_name_too_large_for_one_batch_goes_in_order():
    many = [
        endpoint(region, *[f"198.51.{block}.{number}" for number in range(1, 255)])
        for block, region in enumerate(("us-east-1", "eu-west-1", "ap-southeast-2"))
    ]
    made = plan(Current(), declaration(endpoints=many))
    assert len(made.units) == 4
    assert {change.record.multivalue for change in made.units[-1]} == {False}
    gone = plan(current(after(endpoints=many)), declaration(state="absent", endpoints=[]))
    assert len(gone.units) == 1  # deletions count once


# -- for people


def test_the_diff_is_a_line_for_each_thing():
    fake = after(health_check=CHECK)
    options = {"endpoints": [US, EU, AP], "ttl": 30, "health_check": CHECK | {"failure_threshold": 1}}
    before, later = diff(current(fake), planned(fake, **options))
    assert (
        "us-east-1.app.example.com A [192.0.2.1] multivalue: 192.0.2.1, 60 s (health check HTTPS 192.0.2.1:443/health as app.example.com)\n"
        in before
    )
    assert (
        "app.example.com A [ap-southeast-2] latency ap-southeast-2: alias ap-southeast-2.app.example.com, evaluates its health\n" in later
    )
    assert "health check HTTPS 192.0.2.1:443/health as app.example.com: every 10 s, 1 failures, SNI\n" in later
    assert "new:" not in before + later
    assert before.splitlines() == sorted(before.splitlines())


def test_nothing_to_do_is_an_empty_diff():
    assert diff(current(after()), planned(after())) == ("", "")


def leavers(before, now, **options):
    """What `only_remove` does to a name that was declared with the endpoints `before`."""
    made = planned(after(endpoints=before, health_check=CHECK, **options), endpoints=now, health_check=CHECK, only_remove=True, **options)
    assert not (made.creates or made.updates or made.releases)
    return steps(made)


def test_only_remove_takes_a_region_and_its_name_out_of_the_answer():
    assert leavers([US, EU], [US]) == [("DELETE", NAME, "A", "eu-west-1"), ("DELETE", "eu-west-1.app.example.com", "A", "192.0.2.2")]


def test_only_remove_takes_a_host_out_of_its_region():
    assert leavers([US, endpoint("eu-west-1", "192.0.2.2", "192.0.2.3")], [US, EU]) == [("DELETE", "eu-west-1.app.example.com", "A", "192.0.2.3")]


def test_only_remove_adds_and_updates_nothing():
    assert leavers([US], [US, EU, AP]) == []
    assert steps(planned(after(), ttl=30, only_remove=True)) == []


def test_only_remove_leaves_what_has_no_other_to_answer():
    """A region whose only host is replaced, and a name whose only region is replaced, keep the old one until the new one is there."""
    assert leavers([US, EU], [US, endpoint("eu-west-1", "192.0.2.9")]) == []
    assert leavers([EU], [US]) == []
    assert leavers([US, EU], [US, endpoint("eu-west-1", "192.0.2.2", label="dublin")]) == []


def test_only_remove_works_without_regional_names():
    assert steps(planned(after(regional_names=False), endpoints=[US], regional_names=False, only_remove=True)) == [("DELETE", NAME, "A", "eu-west-1")]
