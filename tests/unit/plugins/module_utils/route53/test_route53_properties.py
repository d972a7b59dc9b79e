# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties: from any state a run reaches what is declared, without a moment in which a name that stays does not answer."""

from __future__ import annotations

import copy
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from route53_fake import CHECK, REGIONS, FakeRoute53, Killed, current, declaration, endpoint, run

from ansible_collections.multiregion.paas.plugins.module_utils._route53 import planner
from ansible_collections.multiregion.paas.plugins.module_utils._route53.planner import plan

NAMES = ("app.example.com", "www.example.com", "*.example.com", "example.com", "app-x.example.com")
LABELS = ("one", "two", "three", None)

ipv4 = st.integers(1, 6).map(lambda number: f"192.0.2.{number}")
ipv6 = st.integers(1, 6).map(lambda number: f"2001:db8::{number}")


@st.composite
def endpoints(draw, single):
    regions = draw(st.lists(st.sampled_from(REGIONS), min_size=1, max_size=4, unique=True))
    labels = draw(st.permutations(LABELS))
    found = []
    for region, label in zip(regions, labels):
        if draw(st.integers(0, 9)) == 0:
            target = {
                "dns_name": draw(st.sampled_from(("lb.elb.amazonaws.com", "dualstack.lb.elb.amazonaws.com"))),
                "zone_id": "ZELB",
                "evaluate_target_health": None,
            }
            found.append(endpoint(region, label=label, target=target))
            continue
        most = 1 if single else 3
        four = draw(st.lists(ipv4, max_size=most, unique=True))
        six = draw(st.lists(ipv6, max_size=most, unique=True))
        if not four + six:
            four = [draw(ipv4)]
        found.append(endpoint(region, *four, *six, label=label))
    return found


@st.composite
def options(draw, names=None):
    regional = draw(st.booleans())
    check = draw(st.sampled_from([None, CHECK, CHECK | {"interval": 30}, CHECK | {"failure_threshold": 1}, {"type": "TCP", "port": 22}]))
    return {
        "names": names or draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)),
        "endpoints": draw(endpoints(single=not regional)),
        "regional_names": regional,
        "ttl": draw(st.sampled_from([30, 60])),
        "health_check": check,
        "purge": draw(st.integers(0, 4)) > 0,
        "replace_policy": True,
    }


foreign_sets = st.lists(
    st.sampled_from(
        [
            {"Name": "app.example.com", "Type": "TXT", "TTL": 5, "ResourceRecords": [{"Value": '"t"'}]},
            {"Name": "mail.example.com", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.200"}]},
            {
                "Name": "far.example.com",
                "Type": "A",
                "TTL": 5,
                "SetIdentifier": "f",
                "Region": "us-east-1",
                "ResourceRecords": [{"Value": "192.0.2.201"}],
            },
            {"Name": "us-east-1.example.net", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.202"}]},
        ]
    ),
    max_size=3,
)
standing_sets = st.lists(
    st.sampled_from(
        [
            [{"Name": "app.example.com", "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.203"}]}],
            [{"Name": "www.example.com", "Type": "CNAME", "TTL": 5, "ResourceRecords": [{"Value": "x.example.org"}]}],
            [
                {
                    "Name": "www.example.com",
                    "Type": "A",
                    "TTL": 5,
                    "SetIdentifier": str(number),
                    "Weight": number,
                    "ResourceRecords": [{"Value": f"192.0.2.{number}"}],
                }
                for number in (1, 2)
            ],
            [
                {
                    "Name": "app.example.com",
                    "Type": "A",
                    "TTL": 5,
                    "SetIdentifier": "x",
                    "Region": "eu-west-1",
                    "ResourceRecords": [{"Value": "192.0.2.204"}],
                }
            ],
        ]
    ),
    max_size=1,
)


def world(foreign, standing, history):
    """Any state that people and earlier runs can leave."""
    fake = FakeRoute53()
    fake._create_health_check("theirs", {"Type": "TCP", "IPAddress": "192.0.2.1", "Port": 22, "RequestInterval": 30, "FailureThreshold": 3})
    for raw in foreign + [raw for group in standing for raw in group]:
        fake.put(**copy.deepcopy(raw))
    for past in history:
        run(fake, **past)
    return fake


def watch(fake, names):
    """After every batch each name of the declaration that answered a type before, and does at the end, answers it."""
    seen = []

    def look(state):
        seen.append({(name, rdtype): bool(state.answers(name, rdtype)) for name in names for rdtype in ("A", "AAAA")})

    look(fake)
    fake.on_batch = look
    return seen


def assert_no_gap(seen):
    for key in seen[0]:
        if seen[0][key] and seen[-1][key]:
            assert all(moment[key] for moment in seen), key


def dangling(fake):
    """Aliases that lead nowhere: who is sent there gets no answer, though others of the name do."""
    inside = [raw for raw in fake.records() if raw.get("AliasTarget", {}).get("HostedZoneId") == "Z1"]
    return [raw for raw in inside if not fake.answers(raw["AliasTarget"]["DNSName"], raw["Type"])]


@given(foreign_sets, standing_sets, st.lists(options(), max_size=2), options())
def test_from_any_state_what_is_declared_is_reached(foreign, standing, history, wanted):
    fake = world(foreign, standing, history)
    seen = watch(fake, wanted["names"])
    would = run(fake, check_mode=True, **wanted)
    result = run(fake, **wanted)
    assert_no_gap(seen)
    assert dangling(fake) == []

    assert plan(current(fake), declaration(**wanted)).empty
    again = run(fake, **wanted)
    assert not again["changed"]
    assert would["changes"] == result["changes"] and would["diff"] == result["diff"]

    for raw in foreign:
        assert any(raw["Name"].rstrip(".") == found["Name"].rstrip(".") and raw["Type"] == found["Type"] for found in fake.records())
    assert any(check["CallerReference"] == "theirs" for check in fake.checks.values())
    for raw in fake.records():
        assert raw.get("HealthCheckId") in {None, *fake.checks}


@given(st.lists(options(), min_size=1, max_size=2), options(), st.sampled_from([1, 6, 20]))
def test_a_name_that_takes_several_batches_answers_in_every_region_all_the_time(history, wanted, most):
    fake = world([], [], history)
    with mock.patch.object(planner, "MAX_ELEMENTS", most):
        seen = watch(fake, wanted["names"])
        look = fake.on_batch
        loose = []
        fake.on_batch = lambda state: (look(state), loose.extend(dangling(state)))
        run(fake, **wanted)
    assert_no_gap(seen)
    assert loose == []
    assert plan(current(fake), declaration(**wanted)).empty


@given(st.lists(options(names=["app.example.com"]), min_size=1, max_size=3))
def test_absent_takes_back_everything(history):
    # Without purge a former regional name is left on purpose, and nothing tells later that it was ours.
    fake = world([], [], [{**past, "purge": True} for past in history])
    run(fake, names=["app.example.com"], state="absent", endpoints=[])
    assert fake.records() == []
    assert [check["CallerReference"] for check in fake.checks.values()] == ["theirs"]


@given(options(names=["app.example.com"]), options(names=["app.example.com"]), st.integers(0, 12), st.booleans())
def test_killed_at_any_call_the_next_run_heals_and_nothing_is_orphaned(before, wanted, skip, after):
    wanted = {**wanted, "purge": True}
    fake = world([], [], [before])
    fake.fail("*", Killed(), skip=skip, after=after)
    try:
        run(fake, **wanted)
    except Killed:
        pass
    fake.faults.clear()
    run(fake, **wanted)
    assert plan(current(fake), declaration(**wanted)).empty
    named = {raw.get("HealthCheckId") for raw in fake.records()}
    assert all(check in named or raw["CallerReference"] == "theirs" for check, raw in fake.checks.items())


@given(options(), st.randoms(use_true_random=False))
def test_the_order_and_spelling_of_what_is_declared_do_not_matter(wanted, rng):
    fake = world([], [], [wanted])
    other = copy.deepcopy(wanted)
    rng.shuffle(other["names"])
    rng.shuffle(other["endpoints"])
    other["names"] = [name.upper() + "." for name in other["names"]]
    for found in other["endpoints"]:
        if found["addresses"]:
            rng.shuffle(found["addresses"])
            found["addresses"] = [address.replace("::", ":0:0:0:0:0:").upper() for address in found["addresses"]]
    assert plan(current(fake), declaration(**other)).empty
