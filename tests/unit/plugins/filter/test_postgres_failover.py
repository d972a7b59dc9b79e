# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.postgres_failover import postgres_failover

ADDRESSES = {"us": "10.0.1.21", "eu": "10.0.2.21", "ap": "10.0.3.21"}


def follower(replay, **more):
    return {
        "role": "follower", "running": True, "accepting": True, "fenced": False, "timeline": 1, "receive_lsn": replay, "replay_lsn": replay,
        "primary": {"host": "10.0.1.21", "port": 5432}, **more,
    }


def stopped(lsn, **more):
    return {"role": "follower", "running": False, "accepting": False, "fenced": True, "timeline": 1, "lsn": lsn, **more}


def test_the_most_advanced_takes_over():
    choice = postgres_failover({"eu": follower("0/100"), "ap": follower("0/200")}, ADDRESSES)
    assert (choice["old"], choice["new"], choice["others"]) == ("us", "ap", ["eu"])
    assert not choice["known"] and not choice["lossless"]


def test_positions_are_numbers_and_a_timeline_counts_more():
    assert postgres_failover({"eu": follower("A/0"), "ap": follower("9/FFFFFFFF")}, ADDRESSES)["new"] == "eu"
    assert postgres_failover({"eu": follower("0/1", timeline=2), "ap": follower("0/9")}, ADDRESSES)["new"] == "eu"


def test_another_one_can_be_named_and_its_lack_is_told():
    choice = postgres_failover({"eu": follower("0/100"), "ap": follower("0/200")}, ADDRESSES, "eu")
    assert choice["new"] == "eu" and choice["lost_bytes"] == 0x100 and not choice["known"]
    assert choice["ahead"] == ["ap"]
    assert postgres_failover({"eu": follower("0/100"), "ap": follower("0/200")}, ADDRESSES)["ahead"] == []


@pytest.mark.parametrize("end, lost, lossless", [("0/1F0", 0, True), ("0/200", 1, False), ("0/300", 0x100, False)])
def test_a_readable_log_tells_exactly(end, lost, lossless):
    choice = postgres_failover({"us": stopped(end), "eu": follower("0/200")}, ADDRESSES)
    assert choice["old"] == "us" and choice["known"]
    assert (choice["lost_bytes"], choice["lossless"]) == (lost, lossless)


def test_a_running_primary_is_not_at_its_end():
    choice = postgres_failover({"us": {"role": "primary", "running": True, "lsn": "0/100"}, "eu": follower("0/200")}, ADDRESSES)
    assert choice["old"] == "us" and not choice["known"]


def test_a_primary_that_answers_is_left_alone():
    alive = {"role": "primary", "running": True, "accepting": True, "lsn": "0/100"}
    choice = postgres_failover({"us": alive, "eu": follower("0/100")}, ADDRESSES)
    assert choice["done"] and choice["new"] == "us" and choice["others"] == ["eu"]
    with pytest.raises(AnsibleFilterError, match="switch over instead"):
        postgres_failover({"us": alive, "eu": follower("0/100")}, ADDRESSES, "eu")


def test_a_killed_run_goes_on():
    new = {"role": "primary", "running": True, "accepting": True, "lsn": "0/100", "timeline": 2}
    choice = postgres_failover({"us": stopped("0/1"), "eu": new, "ap": follower("0/1")}, ADDRESSES)
    assert choice["done"] and (choice["new"], choice["others"]) == ("eu", ["ap"])


FOUR = {**ADDRESSES, "sa": "10.0.4.21"}


def test_who_is_held_down_since_an_earlier_failover_is_not_taken_for_the_old_primary():
    """us was failed over to eu, which is away now."""
    servers = {"us": stopped("0/9"), "ap": follower("0/100", timeline=2, primary={"host": "10.0.2.21"})}
    choice = postgres_failover(servers, ADDRESSES)
    assert (choice["old"], choice["new"], choice["known"], choice["lossless"]) == ("eu", "ap", False, False)
    # And when it has been fenced in this run, its own log counts and not the other's.
    servers["eu"] = stopped("0/180", timeline=2)
    choice = postgres_failover(servers, ADDRESSES)
    assert (choice["old"], choice["known"], choice["lost_bytes"]) == ("eu", True, 0x80)


def test_a_follower_that_was_not_pointed_to_the_new_primary_does_not_count():
    servers = {
        "us": stopped("0/9"), "sa": follower("0/900", timeline=1), "ap": follower("0/100", timeline=2, primary={"host": "10.0.2.21"}),
    }  # fmt: skip
    choice = postgres_failover(servers, FOUR)
    assert (choice["old"], choice["new"]) == ("eu", "ap")


def test_a_primary_of_former_days_that_is_only_stopped_is_refused():
    former = {"role": "primary", "running": False, "accepting": False, "lsn": "0/9", "timeline": 1}
    with pytest.raises(AnsibleFilterError, match="us would come up as a primary.*configured for eu"):
        postgres_failover({"us": former, "ap": follower("0/100", timeline=2, primary={"host": "10.0.2.21"})}, ADDRESSES)


def test_a_new_primary_that_died_before_the_others_came_to_it():
    died = {"role": "primary", "running": False, "accepting": False, "lsn": "0/150", "timeline": 2}
    choice = postgres_failover({"us": stopped("0/9"), "eu": died, "ap": follower("0/100")}, ADDRESSES)
    assert (choice["old"], choice["new"], choice["known"]) == ("eu", "ap", False)


def test_positions_of_two_timelines_are_not_compared():
    """A follower that went its own way has a higher position, and still has not got everything."""
    choice = postgres_failover({"us": stopped("0/100", timeline=2), "eu": follower("0/900", timeline=1)}, ADDRESSES)
    assert choice["old"] == "us" and not choice["known"] and not choice["lossless"]


def test_who_was_found_before_stays_the_old_primary():
    servers = {"us": stopped("0/9"), "eu": stopped("0/9"), "ap": follower("0/100", primary=None)}
    with pytest.raises(AnsibleFilterError, match="do not tell"):
        postgres_failover(servers, ADDRESSES)
    assert postgres_failover(servers, ADDRESSES, old="eu")["old"] == "eu"


REGIONS = {"us": "us-east-1", "eu": "eu-west-1", "ap": "ap-southeast-2"}


def guard_of(regions, seconds=15):
    counted = {"region": "us-east-1", "regions": len(set(regions.values())), "followers": {f"paas_{host}": region for host, region in regions.items()}}
    return {"host": "us", "seconds": seconds, "counted": counted}


@pytest.mark.parametrize(
    "answering, counted, isolate",
    [
        (["eu", "ap"], REGIONS, ["eu", "ap"]),
        # One region of three leaves it two, which are a majority.
        (["eu"], REGIONS, []),
        # A second server of the region might still stream.
        (["eu", "ap"], {**REGIONS, "eu-2": "eu-west-1"}, []),
        (["eu", "ap"], {**REGIONS, "us-2": "us-east-1"}, ["eu", "ap"]),
        # With four regions two are enough, with two one.
        (["eu", "ap"], {**REGIONS, "sa": "sa-east-1"}, ["eu", "ap"]),
        (["eu"], {"us": "us-east-1", "eu": "eu-west-1"}, ["eu"]),
        # The guard was never told of ap, which is in the inventory since.
        (["eu", "ap"], {"us": "us-east-1", "eu": "eu-west-1"}, ["eu"]),
        # The inventory has lost eu since, whose server streams on.
        (["ap"], REGIONS, []),
    ],
)
def test_who_takes_the_majority_from_the_old_primary(answering, counted, isolate):
    servers = {host: follower("0/100", guards={}) for host in answering}
    servers[answering[0]]["guards"] = {"us": guard_of(counted), "eu": guard_of({})}
    choice = postgres_failover(servers, ADDRESSES)
    assert choice["new"] == answering[0] and (choice["isolate"], choice["guard_seconds"]) == (isolate, 15)


@pytest.mark.parametrize("guards", [None, {}, {"us": {"host": "us", "seconds": 15, "counted": None}}, {"ap": guard_of(REGIONS)}])
def test_without_its_guard_s_word_nobody_can_isolate_the_old_primary(guards):
    servers = {"eu": follower("0/200", guards=guards), "ap": follower("0/100", guards={"us": guard_of(REGIONS)})}
    assert postgres_failover(servers, ADDRESSES)["isolate"] == []
    assert postgres_failover({"eu": follower("0/200")}, ADDRESSES)["isolate"] == []


def test_detached_followers_still_tell_who_was_the_primary():
    servers = {"eu": follower("0/100", primary=None, detached=True, detached_from="10.0.1.21"), "ap": follower("0/200")}
    assert postgres_failover(servers, ADDRESSES)["old"] == "us"


@pytest.mark.parametrize(
    "servers, why",
    [
        ({}, "do not tell"),
        ({"us": stopped("0/1")}, "nobody to take over"),
        ({"us": {"role": "primary", "running": True}, "ap": {"role": "primary", "running": False}, "eu": follower("0/1")}, "More than one"),
        ({"eu": follower("0/1", primary={"host": "10.9.9.9"})}, "do not tell"),
    ],
)
def test_what_is_refused(servers, why):
    with pytest.raises(AnsibleFilterError, match=why):
        postgres_failover(servers, ADDRESSES)


def test_a_server_that_is_away_cannot_be_named():
    with pytest.raises(AnsibleFilterError, match="no running follower"):
        postgres_failover({"eu": follower("0/1")}, ADDRESSES, "ap")
