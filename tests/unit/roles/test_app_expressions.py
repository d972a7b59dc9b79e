# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release command is given, when it is refused, and how long a drain waits, by the role's own expressions."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

LOADER = DataLoader()
ROLE = Path(__file__).resolve().parents[3] / "roles" / "app"
HERE, THERE = "us-1", "eu-1"
GROUPS = {"paas_dokku": [HERE, THERE], "paas_postgres": [], "paas_region_us": [HERE], "paas_region_eu": [THERE]}
HOSTVARS = {
    HERE: {"paas_region": "us", "paas_private_address": "10.0.0.1", "paas_region_config": {"PLACE": "Virginia", "WHERE": "us"}},
    THERE: {"paas_region": "eu", "paas_private_address": "10.0.0.2", "paas_region_config": {"PLACE": "Dublin", "WHERE": "eu"}},
    "eu-pg": {"paas_region": "eu"},
}


@cache
def load(path):
    return LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)


def template(expression, **given):
    """As the first host of a play has it, which is the one that a task with run_once is for."""
    variables = {
        **load("defaults/main.yml"),
        **load("vars/main.yml"),
        "groups": GROUPS, "hostvars": HOSTVARS, "inventory_hostname": HERE, "ansible_play_hosts": [HERE, THERE], "ansible_check_mode": False,
        **HOSTVARS[HERE], **given,
    }  # fmt: skip
    return Templar(loader=LOADER, variables=variables).template(expression)


def environment(**given):
    app = {"key": "shop", "value": {"image": "shop", "config": {"WHERE": "app", "ONE": 1}, "region_config": {"eu": {"ONE": "eu"}, "us": {"ONE": "us"}}}}
    text = trust_as_template((ROLE / "templates" / "release.json.j2").read_text())
    variables = {"__app_item": app, "__app_digests": {}, "app_apps": {"shop": app["value"]}, "app_valkey_password": "a b", **given}
    return json.loads(template(text, **variables))


def test_a_release_command_has_the_config_of_the_region_where_it_runs():
    found = environment(app_ledger_host="eu-pg")
    assert found == {
        "PAAS_REGION": "eu", "PAAS_RELEASE": "shop", "VALKEY_URL": "redis://:a%20b@10.0.0.2:6379/0", "PLACE": "Dublin", "WHERE": "app", "ONE": "eu",
    }  # fmt: skip


def test_a_play_s_own_variables_count_where_it_runs_on_this_host():
    found = environment(app_ledger_host="", app_primary_region="us", app_region_config={"PLACE": "here"}, app_valkey_address="10.9.9.9")
    assert (found["PLACE"], found["VALKEY_URL"], found["ONE"]) == ("here", "redis://:a%20b@10.9.9.9:6379/0", "us")


def test_there_may_be_no_valkey():
    assert "VALKEY_URL" not in environment(app_ledger_host="eu-pg", app_valkey_password="")
    none_there = {**HOSTVARS, THERE: {**HOSTVARS[THERE], "app_valkey_address": ""}}
    assert "VALKEY_URL" not in environment(app_ledger_host="eu-pg", hostvars=none_there)


@pytest.mark.parametrize(
    ("ledger", "app", "refused"),
    [("", {"release_command": ["migrate"]}, ["shop"]), ("eu-pg", {"release_command": ["migrate"]}, []), ("", {}, [])],
)
def test_a_release_command_without_a_ledger_is_refused(ledger, app, refused):
    found = template(trust_as_template("{{ __app_unaccounted }}"), app_ledger_host=ledger, app_apps={"shop": {"image": "shop", **app}})
    assert found == refused
    task = load("tasks/release.yml")[0]
    assert task["ansible.builtin.assert"]["that"] == "__app_unaccounted | length == 0"


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 90),
        ({"latency_dns_ttl": 10, "latency_dns_health_check": {"type": "HTTPS", "interval": 10, "failure_threshold": "2"}}, 30),
        # What route53_latency takes when they are not named.
        ({"latency_dns_health_check": {"type": "TCP"}}, 150),
        ({"latency_dns_health_check": {}}, 0),
        ({"groups": {**GROUPS, "paas_edge": ["edge-1"]}}, 0),
        ({"groups": {**GROUPS, "paas_edge": ["edge-1"]}, "inventory_hostname": "edge-1"}, 90),
        ({"latency_dns_hosts": [THERE]}, 0),
    ],
)
def test_a_drain_waits_as_long_as_dns_needs(given, seconds):
    assert template(trust_as_template("{{ app_drain_dns_wait }}"), **given) == seconds


def test_a_drain_counts_connections_only_after_dns():
    dns, users = load("tasks/leave.yml")
    asked, forgotten = dns["block"]
    assert template(trust_as_template(asked["retries"])) * asked["delay"] == 120
    assert template(forgotten["ansible.builtin.wait_for"]["timeout"]) == 60
    assert template(dns["rescue"][2]["ansible.builtin.wait_for"]["timeout"]) == 90
    assert users["block"][0]["ansible.builtin.command"]["argv"][0] == "ss"


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ({"addresses": {"todo.example.com": ["192.0.2.2"]}}, True),
        ({"addresses": {"todo.example.com": ["192.0.2.1"]}}, False),
        ({"addresses": {"todo.example.com": ["192.0.2.2"], "shop.example.com": ["192.0.2.1", "192.0.2.2"]}}, False),
        ({"failed": True, "msg": "timed out"}, False),
    ],
)
def test_a_drained_host_is_left_when_no_name_leads_there(answer, left):
    asked = load("tasks/leave.yml")[0]["block"][0]
    assert template(trust_as_template("{{ " + asked["until"] + " }}"), paas_public_addresses=["192.0.2.1"], __app_sent=answer) is left
