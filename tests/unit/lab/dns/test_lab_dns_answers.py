# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab's DNS answers, rule by rule, against what Route 53's developer guide says."""

from __future__ import annotations

import ipaddress

import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from lab_dns_helpers import CLIENTS, GEOGRAPHY, World, alias, app, multivalue, record

import dns_answers

REGIONS = dict(us_east_1=["198.18.1.11", "198.18.1.12"], eu_west_1=["198.18.2.11"], ap_southeast_2=["198.18.3.11"])
APP = "app.example.test."


@pytest.mark.parametrize(
    ("client", "expected"),
    [("us-east-1", ["198.18.1.11", "198.18.1.12"]), ("eu-west-1", ["198.18.2.11"]), ("ap-southeast-2", ["198.18.3.11"])],
)
def test_each_client_gets_its_own_region(client, expected):
    assert World(*app(**REGIONS)).values(APP, client=client) == expected


def test_a_client_of_no_region_counts_as_one_of_the_default_region():
    assert World(*app(**REGIONS)).values(APP, client="203.0.113.9") == ["198.18.1.11", "198.18.1.12"]


def test_the_answer_bears_the_asked_name_and_the_targets_ttl():
    sets = [alias(APP, "x.example.test.", SetIdentifier="a", Region="us-east-1"), record("x.example.test.", "A", "198.18.1.11", ttl=17)]
    (rrset,) = World(*sets).ask("APP.example.test.").answer
    assert rrset.name.to_text() == "APP.example.test."
    assert rrset.ttl == 17


def test_a_sick_host_leaves_its_region():
    world = World(*app(**REGIONS))
    world.sick = {"198.18.1.11"}
    assert world.values(APP) == ["198.18.1.12"]


@pytest.mark.parametrize(
    ("sick", "client", "expected"),
    [
        ("eu-west-1", "eu-west-1", ["198.18.1.11", "198.18.1.12"]),
        ("us-east-1", "us-east-1", ["198.18.2.11"]),
        ("ap-southeast-2", "ap-southeast-2", ["198.18.1.11", "198.18.1.12"]),
    ],
)
def test_a_sick_region_sends_its_clients_to_the_next_nearest(sick, client, expected):
    world = World(*app(**REGIONS))
    world.sick = set(REGIONS[sick.replace("-", "_")])
    assert world.values(APP, client=client) == expected


def test_all_sick_counts_as_all_healthy():
    world = World(*app(**REGIONS))
    world.sick = {address for addresses in REGIONS.values() for address in addresses}
    assert world.values(APP, client="eu-west-1") == ["198.18.2.11"]


def test_a_drained_regional_name_still_answers_on_its_own():
    world = World(*app(**REGIONS))
    world.sick = {"198.18.2.11"}
    assert world.values(f"eu-west-1.{APP}") == ["198.18.2.11"]


def test_health_is_evaluated_through_a_chain_of_aliases():
    sets = [
        alias(APP, "a.example.test.", SetIdentifier="us-east-1", Region="us-east-1"),
        alias(APP, "b.example.test.", SetIdentifier="eu-west-1", Region="eu-west-1"),
        alias("a.example.test.", "aa.example.test."),
        multivalue("aa.example.test.", "198.18.1.11", check="c"),
        record("b.example.test.", "A", "198.18.2.11"),
    ]
    world = World(*sets)
    assert world.values(APP) == ["198.18.1.11"]
    world.sick = {"c"}
    assert world.values(APP) == ["198.18.2.11"]


def test_an_alias_that_does_not_evaluate_is_healthy_whatever_its_target_is():
    sets = [
        alias(APP, "a.example.test.", evaluate=False, SetIdentifier="us-east-1", Region="us-east-1"),
        record(APP, "A", "198.18.2.11", SetIdentifier="eu-west-1", Region="eu-west-1"),
        multivalue("a.example.test.", "198.18.1.11", check="c"),
    ]
    world = World(*sets)
    world.sick = {"c"}
    assert world.values(APP) == ["198.18.1.11"]


def test_an_alias_with_a_check_of_its_own_needs_both():
    sets = [
        alias(APP, "a.example.test.", SetIdentifier="us-east-1", Region="us-east-1", HealthCheckId="own"),
        record(APP, "A", "198.18.2.11", SetIdentifier="eu-west-1", Region="eu-west-1"),
        record("a.example.test.", "A", "198.18.1.11"),
    ]
    world = World(*sets)
    world.sick = {"own"}
    assert world.values(APP) == ["198.18.2.11"]


def test_an_alias_that_evaluates_nothing_is_withdrawn():
    sets = [
        alias(APP, "missing.example.test.", SetIdentifier="us-east-1", Region="us-east-1"),
        record(APP, "A", "198.18.2.11", SetIdentifier="eu-west-1", Region="eu-west-1"),
    ]
    assert World(*sets).values(APP) == ["198.18.2.11"]


def test_a_circle_of_aliases_ends():
    world = World(alias("a.example.test.", "b.example.test."), alias("b.example.test.", "a.example.test."))
    answer = world.ask("a.example.test.")
    assert answer.rcode == dns.rcode.NOERROR and not answer.answer


def test_plain_latency_records_carry_their_own_checks():
    sets = [
        record(APP, "A", "198.18.1.11", SetIdentifier="us", Region="us-east-1", HealthCheckId="us"),
        record(APP, "A", "198.18.2.11", SetIdentifier="eu", Region="eu-west-1", HealthCheckId="eu"),
    ]
    world = World(*sets)
    world.sick = {"us"}
    assert world.values(APP) == ["198.18.2.11"]


def test_multivalue_answers_at_most_eight_and_in_changing_order():
    world = World(*[multivalue(APP, f"198.18.1.{number}") for number in range(1, 21)])
    answers = [tuple(rdata.to_text() for rdata in world.ask(APP).answer[0]) for _unused in range(20)]
    assert {len(answer) for answer in answers} == {8}
    assert len(set(answers)) > 1


def test_multivalue_leaves_out_the_sick_before_it_counts_to_eight():
    world = World(*[multivalue(APP, f"198.18.1.{number}", check=str(number)) for number in range(1, 21)])
    world.sick = {str(number) for number in range(1, 15)}
    assert world.values(APP) == sorted(f"198.18.1.{number}" for number in range(15, 21))


def test_weighted_records_follow_their_weights_and_zero_is_never_chosen_beside_others():
    sets = [record(APP, "A", "198.18.1.1", SetIdentifier="a", Weight=0), record(APP, "A", "198.18.1.2", SetIdentifier="b", Weight=5)]
    world = World(*sets)
    assert {tuple(world.values(APP)) for _unused in range(20)} == {("198.18.1.2",)}


def test_weighted_records_with_only_zero_weights_are_all_chosen():
    sets = [record(APP, "A", f"198.18.1.{number}", SetIdentifier=str(number), Weight=0) for number in (1, 2)]
    world = World(*sets)
    assert {tuple(world.values(APP)) for _unused in range(40)} == {("198.18.1.1",), ("198.18.1.2",)}


def test_failover_prefers_the_healthy_primary():
    sets = [
        record(APP, "A", "198.18.1.2", SetIdentifier="b", Failover="SECONDARY"),
        record(APP, "A", "198.18.1.1", SetIdentifier="a", Failover="PRIMARY", HealthCheckId="p"),
    ]
    world = World(*sets)
    assert world.values(APP) == ["198.18.1.1"]
    world.sick = {"p"}
    assert world.values(APP) == ["198.18.1.2"]


def test_a_and_aaaa_are_steered_apart():
    sets = [
        *app(**REGIONS),
        multivalue(f"eu-west-1.{APP}", "2001:db8::1"),
        alias(APP, f"eu-west-1.{APP}", "AAAA", SetIdentifier="eu", Region="eu-west-1"),
    ]
    world = World(*sets)
    assert world.values(APP, "AAAA") == ["2001:db8::1"]
    assert world.values(APP, "A") == ["198.18.1.11", "198.18.1.12"]


def test_a_name_without_the_type_is_nodata_and_bears_the_soa():
    answer = World(*app(**REGIONS)).ask(APP, "CAA")
    assert answer.rcode == dns.rcode.NOERROR and not answer.answer
    assert answer.authority[0].rdtype == dns.rdatatype.SOA


def test_a_missing_name_is_nxdomain_and_bears_the_soa():
    answer = World(*app(**REGIONS)).ask("nothing.example.test.")
    assert answer.rcode == dns.rcode.NXDOMAIN
    assert answer.authority[0].name.to_text() == "example.test."


def test_the_negative_ttl_is_the_lesser_of_the_soas_ttl_and_minimum():
    soa = "ns.example.test. admin.example.test. 1 7200 900 1209600 30"
    answer = World(record("example.test.", "SOA", soa, ttl=900)).ask("nothing.example.test.")
    assert answer.authority[0].ttl == 30
    assert World().ask("nothing.example.test.").authority[0].ttl == 900


def test_an_empty_non_terminal_is_nodata():
    answer = World(record("a.b.example.test.", "A", "198.18.1.1")).ask("b.example.test.")
    assert answer.rcode == dns.rcode.NOERROR and not answer.answer


@pytest.mark.parametrize("name", ["x.w.example.test.", "x.y.w.example.test."])
def test_a_wildcard_answers_for_any_depth(name):
    answer = World(record("\\052.w.example.test.", "A", "198.18.1.1")).ask(name)
    assert answer.answer[0].name.to_text() == name


def test_a_wildcard_does_not_answer_for_its_own_parent_nor_beside_what_exists():
    world = World(record("*.w.example.test.", "A", "198.18.1.1"), record("real.w.example.test.", "TXT", '"t"'))
    assert world.ask("w.example.test.").answer == []
    assert world.ask("real.w.example.test.").answer == []
    assert world.ask("below.real.w.example.test.").rcode == dns.rcode.NXDOMAIN
    assert world.ask("x.w.example.test.", "TXT").rcode == dns.rcode.NOERROR


def test_a_cname_is_followed_within_our_zones():
    others = [("Z2", "other.test.", [record("end.other.test.", "A", "198.18.1.9")])]
    answer = World(record("c.example.test.", "CNAME", "end.other.test"), others=others).ask("c.example.test.")
    assert [dns.rdatatype.to_text(rrset.rdtype) for rrset in answer.answer] == ["CNAME", "A"]


def test_a_cname_that_leaves_our_zones_is_handed_on():
    answer = World(record("c.example.test.", "CNAME", "www.example.org")).ask("c.example.test.")
    assert len(answer.answer) == 1
    assert answer.continue_at.to_text() == "www.example.org."


def test_a_cname_asked_for_itself_is_not_followed():
    answer = World(record("c.example.test.", "CNAME", "c2.example.test")).ask("c.example.test.", "CNAME")
    assert len(answer.answer) == 1 and answer.continue_at is None


def test_a_circle_of_cnames_ends():
    world = World(record("a.example.test.", "CNAME", "b.example.test"), record("b.example.test.", "CNAME", "a.example.test"))
    assert len(world.ask("a.example.test.").answer) == 2


def test_an_alias_to_a_load_balancer_is_handed_on():
    answer = World(alias(APP, "lb.elb.amazonaws.com", zone="ZELB", SetIdentifier="a", Region="us-east-1")).ask(APP)
    assert answer.continue_at.to_text() == "lb.elb.amazonaws.com."


def test_txt_values_are_all_answered():
    world = World(record("_acme-challenge.example.test.", "TXT", '"one"', '"two"'))
    assert world.values("_acme-challenge.example.test.", "TXT") == ['"one"', '"two"']


def test_the_deepest_zone_answers():
    world = World(
        record("x.sub.example.test.", "A", "198.18.1.1"),
        others=[("Z2", "sub.example.test.", [record("x.sub.example.test.", "A", "198.18.1.2")])],
    )
    assert world.values("x.sub.example.test.") == ["198.18.1.2"]


def test_a_delegation_is_a_referral_with_glue():
    world = World(record("sub.example.test.", "NS", "ns.sub.example.test"), record("ns.sub.example.test.", "A", "198.18.1.3"))
    answer = world.ask("x.sub.example.test.")
    assert not answer.authoritative and not answer.answer
    assert answer.authority[0].rdtype == dns.rdatatype.NS
    assert answer.additional[0][0].to_text() == "198.18.1.3"


def test_the_zones_name_servers_are_this_server():
    world = World()
    servers = world.values("example.test.", "NS")
    assert len(servers) == 4
    assert {tuple(world.values(server)) for server in servers} == {("198.18.0.10",)}
    assert world.ask(servers[0], "AAAA").rcode == dns.rcode.NOERROR


def test_other_names_are_not_ours():
    assert World().ask("www.example.org.") is None


def test_any_is_answered_with_one_record_set():
    assert len(World(record(APP, "A", "198.18.1.1"), record(APP, "TXT", '"t"')).ask(APP, "ANY").answer) == 1


def test_located_says_whether_the_clients_place_mattered():
    world = World(*app(**REGIONS), record("plain.example.test.", "A", "198.18.1.1"))
    assert world.ask(APP).located
    assert not world.ask("plain.example.test.").located


def test_the_longest_network_wins():
    geography = dns_answers.Geography.from_config({"regions": {"a": "198.18.0.0/15", "b": ["198.18.7.0/24", "2001:db8::/32"]}})
    assert geography.locate(ipaddress.ip_address("198.18.7.1")) == ("b", 24)
    assert geography.locate(ipaddress.ip_address("198.18.8.1")) == ("a", 15)
    assert geography.locate(ipaddress.ip_address("2001:db8::1")) == ("b", 32)


@pytest.mark.parametrize(
    "config",
    [
        {
            "regions": [{"name": "a", "subnet": "198.18.1.0/24"}, {"name": "b", "subnet": "198.18.2.0/24"}],
            "rtt_ms": [{"between": ["a", "b"], "ms": 7}],
        },
        {"regions": {"a": {"subnet": "198.18.1.0/24"}, "b": "198.18.2.0/24"}, "rtt_ms": {"b a": 7}},
        {
            "networks": {
                "services": {"subnet": "198.18.0.0/24"},
                "a": {"subnet": "198.18.1.0/24", "region": True},
                "b": {"subnet": "198.18.2.0/24", "region": True},
            },
            "round_trip_times": [{"between": ["b", "a"], "ms": 7}],
        },
        {"regions": {"a": "198.18.1.0/24", "b": "198.18.2.0/24"}, "rtt_ms": {"a": {"b": 7}}},
    ],
)
def test_the_configuration_may_be_written_in_several_ways(config):
    geography = dns_answers.Geography.from_config(config)
    assert geography.locate(ipaddress.ip_address("198.18.1.9")) == ("a", 24)
    assert geography.locate(ipaddress.ip_address("198.18.0.9"))[0] == "a"
    assert geography.distance("a", "b") == geography.distance("b", "a") == 7
    assert geography.distance("a", "a") == 0
    assert geography.distance("a", "unknown") == dns_answers.UNKNOWN_DISTANCE


def test_the_helpers_geography_knows_all_clients():
    assert {GEOGRAPHY.locate(ipaddress.ip_address(address))[0] for address in CLIENTS.values()} == set(CLIENTS)
