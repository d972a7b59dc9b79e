# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.postgres_topology import postgres_topology

HOSTS = ["us-pg-1", "eu-pg-1", "ap-pg-1"]
ABSENT = {"role": "absent"}


def server(role, identifier="7", **more):
    return {"role": role, "system_identifier": identifier, "timeline": 1, "lsn": "0/1", "running": True, **more}


def topology(*servers, hosts=None, first=("us-pg-1",)):
    hosts = HOSTS if hosts is None else hosts
    return postgres_topology(dict(zip(hosts, servers)), hosts, list(first))


def test_the_running_cluster_is_the_truth():
    result = topology(server("follower"), server("primary"), ABSENT)
    assert (result["primary"], result["exists"], result["followers"]) == ("eu-pg-1", True, ["us-pg-1", "ap-pg-1"])
    assert result["system_identifier"] == "7"


def test_the_first_primary_is_in_its_region():
    result = topology(ABSENT, ABSENT, ABSENT, first=("eu-pg-1",))
    assert (result["primary"], result["exists"]) == ("eu-pg-1", False)


def test_no_cluster_is_created_while_somebody_is_silent():
    with pytest.raises(AnsibleFilterError, match="ap-pg-1"):
        postgres_topology({"us-pg-1": ABSENT, "eu-pg-1": ABSENT}, HOSTS, ["us-pg-1"])


def test_an_unreachable_primary_is_not_replaced():
    result = postgres_topology({"eu-pg-1": server("follower"), "ap-pg-1": server("follower")}, HOSTS, ["us-pg-1"])
    assert (result["primary"], result["exists"], result["followers"]) == ("", True, ["eu-pg-1", "ap-pg-1"])


def test_a_stopped_primary_is_still_the_primary():
    assert topology(server("primary", running=False), server("follower"), ABSENT)["primary"] == "us-pg-1"


def test_two_primaries_stop_the_play():
    with pytest.raises(AnsibleFilterError, match="us-pg-1: primary .running.*eu-pg-1: primary .stopped"):
        topology(server("primary"), server("primary", running=False), server("follower"))


def test_two_clusters_stop_the_play():
    with pytest.raises(AnsibleFilterError, match="system identifier 7.*system identifier 8"):
        topology(server("primary"), server("follower", "8"), ABSENT)


def test_a_server_without_an_answer_stops_the_play():
    with pytest.raises(AnsibleFilterError, match="answer of every server"):
        topology(server("primary"), {"msg": "failed"}, ABSENT)


def test_a_region_without_hosts_gets_no_primary():
    with pytest.raises(AnsibleFilterError, match="region"):
        topology(ABSENT, ABSENT, ABSENT, first=())


def test_marks_are_handed_on():
    result = topology(server("primary"), server("follower", detached=True, fenced=False), ABSENT)
    assert result["servers"]["eu-pg-1"]["detached"] is True
