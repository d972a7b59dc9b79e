# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.apps_status import apps_status

REGIONS = {"us": "us-east-1", "eu": "eu-west-1", "ap": "ap-southeast-2"}
ONE, TWO = ("registry:5000/todo@sha256:" + digit * 64 for digit in "12")


def app(host, source=ONE, **more):
    return {
        "name": "todo",
        "exists": True,
        "running": "true",
        "release": {"source": source, "digest": source.rpartition("@")[2] if "@" in source else ""},
        "processes": {"web": 2},
        "domains": ["todo.test", f"{REGIONS[host]}.todo.test"],
        "config": {"SECRET": "aa", "PAAS_HOST": host, "DOKKU_APP_RESTORE": host, "READ_DATABASE_URL": host},
        "certificate": {"serial": "0a1b", "expires": "2027-01-01T00:00:00Z"},
        **more,
    }


def rows(drained=None, local=None, **apps):
    answers = {host: more if {"apps", "msg"} & more.keys() else {"apps": [app(host, **more)]} for host, more in apps.items()}
    return {row["host"]: row for row in apps_status(answers, REGIONS, drained, local)}


def problems(**apps):
    return {host: row["problems"] for host, row in rows(**apps).items()}


def test_the_same_everywhere_has_no_problems():
    found = rows(us={}, eu={}, ap={}, drained={"us": False})
    assert [row["problems"] for row in found.values()] == [[], [], []]
    us = found["us"]
    assert (us["host"], us["region"], us["app"], us["state"], us["release"]) == ("us", "us-east-1", "todo", "running", "1" * 12)
    assert (us["processes"], us["config_keys"], us["certificate"], us["drained"]) == ("web=2", 4, "0a1b", False)
    assert us["details"]["release"]["source"] == ONE


def test_most_hosts_are_right_and_the_first_in_a_draw():
    assert problems(us={"source": TWO}, eu={}, ap={}) == {"us": [f"todo has the release {'2' * 12}, others {'1' * 12}"], "eu": [], "ap": []}
    assert problems(us={"source": TWO}, eu={}) == {"us": [], "eu": [f"todo has the release {'1' * 12}, others {'2' * 12}"]}


@pytest.mark.parametrize(
    ("facet", "value", "words"),
    [
        ("processes", {"web": 1}, "has the processes web=1, others web=2"),
        ("domains", ["todo.test"], "has the domains todo.test, others REGION.todo.test, todo.test"),
        ("certificate", {"serial": "ff", "expires": "2026-12-01T00:00:00Z"}, "has the certificate ff, others 0a1b"),
        ("certificate", None, "has the certificate none, others 0a1b"),
        ("config", {"SECRET": "bb"}, "has another SECRET in its config"),
        ("config", {}, "has no SECRET in its config"),
        ("config", {"SECRET": "aa", "MORE": "1"}, "has MORE in its config, others do not"),
    ],
)
def test_each_facet_that_drifts(facet, value, words):
    assert problems(us={}, eu={facet: value}, ap={}) == {"us": [], "eu": ["todo " + words], "ap": []}


def test_what_is_declared_for_one_region_may_differ():
    differing = {"us": {}, "eu": {"config": {"SECRET": "aa", "CURRENCY": "1", "PAAS_REGION": "eu"}}}
    assert problems(**differing)["eu"] == ["todo has CURRENCY in its config, others do not"]
    assert rows(**differing, local={"todo": ["CURRENCY"]})["eu"]["problems"] == []


def test_what_is_not_as_it_should_be_and_drifts_from_nothing():
    absent = {"apps": [{"name": "todo", "exists": False}]}
    found = rows(us={}, eu=absent, ap={"source": "", "running": "false"})
    assert (found["eu"]["state"], found["ap"]["state"], found["us"]["problems"]) == ("no app", "not deployed", [])
    assert found["eu"]["problems"] == ["todo is not there: site.yml sets it up"]
    assert found["ap"]["problems"] == ["todo is not deployed: site.yml gives it its release"]
    assert problems(us={"running": "mixed"}, eu={"running": "false"}) == {"us": ["todo is partly running"], "eu": ["todo is stopped"]}


def test_a_host_that_gives_no_answer_is_one_row():
    found = rows(us={}, eu={"msg": "no route"}, ap={"apps": []})
    assert list(found) == ["us", "eu"]
    assert (found["eu"]["state"], found["eu"]["app"], found["eu"]["problems"]) == ("no answer", None, ["gives no answer: no route"])


def test_a_drained_host_is_told_of_once():
    two = {"apps": [app("us"), {**app("us"), "name": "shop"}]}
    found = apps_status({"us": two}, REGIONS, {"us": True})
    assert [row["problems"] for row in found] == [["is drained: undrain.yml lets it serve again"], []]


@pytest.mark.parametrize("answers", [[], {"us": None}])
def test_other_input_is_refused(answers):
    with pytest.raises(AnsibleFilterError, match="dokku_app_info"):
        apps_status(answers, REGIONS)
