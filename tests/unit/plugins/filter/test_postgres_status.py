# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.postgres_status import postgres_status

ADDRESSES = {"us": "10.0.1.21", "eu": "10.0.2.21", "ap": "10.0.3.21"}
REGIONS = {"us": "us-east-1", "eu": "eu-west-1", "ap": "ap-southeast-2"}
BASE = {"running": True, "accepting": True, "timeline": 1, "fenced": False, "detached": False, "system_identifier": "7", "followers": [], "slots": []}


def primary(**more):
    return {**BASE, "role": "primary", "primary": None, "lag_bytes": None, "lag_seconds": None, **more}


def follower(**more):
    return {**BASE, "role": "follower", "streaming": True, "primary": {"host": "10.0.1.21"}, "lag_bytes": 0, "lag_seconds": 0.0, **more}


def rows(**answers):
    return {row["host"]: row for row in postgres_status(answers, ADDRESSES, REGIONS)}


def test_a_well_estate_has_no_problems():
    found = rows(us=primary(), eu=follower(), ap=follower())
    assert [row["problems"] for row in found.values()] == [[], [], []]
    assert (found["eu"]["region"], found["eu"]["follows"], found["eu"]["state"]) == ("eu-west-1", "us", "running")


def test_the_primary_knows_the_lag_best():
    sender = {"name": "paas_eu", "address": "10.0.2.21", "lag_bytes": 512}
    assert rows(us=primary(followers=[sender]), eu=follower())["eu"]["lag_bytes"] == 512
    assert rows(us={"msg": "no route"}, eu=follower(lag_bytes=3))["eu"]["lag_bytes"] == 3


def test_the_slot_furthest_behind_keeps_the_disk():
    slots = [
        {"name": "paas_eu", "active": True, "retained_bytes": 10, "wal_status": "reserved"},
        {"name": "paas_ap", "active": False, "retained_bytes": 4000, "wal_status": "extended"},
        {"name": "paas_old", "active": False, "retained_bytes": None, "wal_status": "lost"},
    ]
    row = rows(us=primary(slots=slots))["us"]
    assert (row["slots"], row["slots_kept_bytes"]) == (3, 4000)
    assert row["problems"] == ["the slot paas_old has lost log that its follower needs"]


@pytest.mark.parametrize(
    "answer, said",
    [
        ({}, "gives no answer: it was left out"),
        ({"unreachable": True, "msg": "Connection timed out\n"}, "gives no answer: Connection timed out"),
        ({"role": "absent", "running": False}, "add_follower.yml"),
        (follower(running=False, accepting=False, fenced=True), "is fenced: rejoin.yml"),
        (follower(running=False, accepting=False), "is stopped"),
        (follower(accepting=False), "is not accepting"),
        (follower(detached=True, streaming=False, primary=None), "was detached on purpose"),
        (follower(streaming=False), "streams from nobody"),
        (follower(primary={"host": "10.0.3.21"}), "follows ap, which is not the primary"),
        (follower(system_identifier="8"), "2 different clusters, this one to 8"),
        (primary(), "more than one server is writable or would be when started: us, eu"),
    ],
)
def test_what_is_wrong_is_told(answer, said):
    (problem,) = rows(us=primary(), eu=answer, ap=follower())["eu"]["problems"]
    assert said in problem


def test_anything_else_is_refused():
    with pytest.raises(AnsibleFilterError, match="by host"):
        postgres_status({"us": None}, ADDRESSES, REGIONS)
