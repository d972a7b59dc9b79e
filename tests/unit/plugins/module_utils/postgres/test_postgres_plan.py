# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_follower does in which situation."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._postgres import plan as p
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import Refused
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import Fork, Position

UPSTREAM = p.Upstream("7", 2, 300, history=(Fork(1, 200),), slot_exists=True)
CONNINFO = "host=primary port=5432"
FOLLOWING = p.Desired("following", conninfo=CONNINFO, slot="paas_here")

RUNNING = p.Current(
    data=p.CLUSTER, running=True, accepting=True, in_recovery=True, standby_signal=True, control_state="in archive recovery",
    system_identifier="7", timeline=2, checkpoint_timeline=2, position=Position(2, 300), streaming=True, conninfo=CONNINFO, slot_name="paas_here",
)
PRIMARY = replace(RUNNING, in_recovery=False, standby_signal=False, control_state="in production", streaming=False, conninfo="", slot_name="")
SHUT_DOWN = replace(
    PRIMARY, running=False, accepting=False, in_recovery=None, control_state="shut down", timeline=1,
    position=Position(1, 150, record_start=True),
)
CRASHED = replace(SHUT_DOWN, control_state="in production", position=None)
STOPPED = replace(
    RUNNING, running=False, accepting=False, in_recovery=None, streaming=False, control_state="shut down in recovery", position=Position(2, 250),
)


def steps(current, desired=FOLLOWING, upstream=UPSTREAM):
    return [step.do for step in p.plan(current, desired, upstream).steps]


def action(current, desired=FOLLOWING, upstream=UPSTREAM):
    return p.plan(current, desired, upstream).action


# Following: nothing there

def test_nothing_there_is_cloned():
    assert steps(p.Current()) == ["clone", "install_clone"]
    assert action(p.Current()) == "cloned"


def test_an_own_unfinished_clone_goes():
    assert steps(p.Current(clone=p.PARTIAL)) == ["discard_clone", "clone", "install_clone"]


def test_an_own_finished_clone_is_used():
    assert steps(p.Current(clone=p.COMPLETE)) == ["install_clone"]
    assert p.plan(p.Current(clone=p.COMPLETE), FOLLOWING, UPSTREAM).again


def test_a_slot_without_its_log_is_made_anew_for_a_clone():
    assert steps(p.Current(), upstream=replace(UPSTREAM, slot_lost=True)) == ["drop_slot", "clone", "install_clone"]


def test_foreign_files_are_left_alone():
    with pytest.raises(Refused, match="not a database cluster"):
        steps(p.Current(data=p.FOREIGN))


def test_a_fresh_clone_starts_with_its_primary():
    fresh = replace(STOPPED, control_state="in production", position=None, backup_label=True)
    assert steps(fresh) == ["release", "start", "await_ready"]


# Following: a running server

def test_a_level_follower_is_left_alone():
    assert p.plan(RUNNING, FOLLOWING, UPSTREAM) == p.Plan()


def test_a_follower_gives_up_the_slots_of_a_primary():
    assert steps(replace(RUNNING, slots=(p.Slot("paas_eu", False),))) == ["collect_slots"]
    for slot in (p.Slot("paas_eu", True), p.Slot("backup", False), p.Slot("paas_x", False, physical=False), p.Slot("paas_y", False, temporary=True)):
        assert steps(replace(RUNNING, slots=(slot,))) == []


def test_a_server_that_was_just_started_is_looked_at_once_more():
    started = p.plan(replace(RUNNING, streaming=False, slots=(p.Slot("paas_eu", False),)), FOLLOWING, UPSTREAM)
    assert [step.do for step in started.steps] == ["await_streaming"] and started.action == "none" and started.again


def test_another_primary_takes_a_reload():
    moved = replace(RUNNING, conninfo="host=old", streaming=True)
    assert steps(moved) == ["configure", "await_streaming"]
    assert action(moved) == "repointed"


def test_another_slot_takes_a_reload():
    assert steps(replace(RUNNING, slot_name="old")) == ["configure", "await_streaming"]
    assert action(replace(RUNNING, slot_name="old")) == "attached"


def test_a_missing_slot_is_made():
    assert steps(RUNNING, upstream=replace(UPSTREAM, slot_exists=False)) == ["create_slot", "await_streaming"]


def test_a_detached_follower_is_taken_back():
    detached = replace(RUNNING, conninfo="", slot_name="", streaming=False, detached=True, position=Position(1, 150))
    assert steps(detached) == ["configure", "release", "await_streaming"]
    assert action(detached) == "attached"


def test_one_that_does_not_stream_is_waited_for():
    waiting = p.plan(replace(RUNNING, streaming=False), FOLLOWING, UPSTREAM)
    assert [step.do for step in waiting.steps] == ["await_streaming"]
    assert waiting.action == "none"


def test_one_that_accepts_no_connections_yet():
    starting = replace(RUNNING, accepting=False, in_recovery=None, position=None, streaming=False)
    assert steps(starting) == ["await_ready"]
    assert steps(replace(starting, conninfo="host=old")) == ["configure", "await_ready"]


def test_a_writable_primary_is_never_demoted():
    for on_divergence in ("fail", "rewind", "reclone"):
        with pytest.raises(Refused, match="running, writable primary"):
            steps(PRIMARY, replace(FOLLOWING, on_divergence=on_divergence))


def test_a_follower_is_not_followed():
    with pytest.raises(Refused, match="itself a follower"):
        steps(RUNNING, upstream=replace(UPSTREAM, in_recovery=True))


@pytest.mark.parametrize("current", [RUNNING, SHUT_DOWN, CRASHED, STOPPED, replace(STOPPED, rewinding=True), replace(SHUT_DOWN, fenced=True)])
@pytest.mark.parametrize("on_divergence", ["fail", "rewind", "reclone"])
def test_a_foreign_cluster_is_refused_and_both_are_shown(current, on_divergence):
    with pytest.raises(Refused, match="identifier is 8, the primary's 7"):
        steps(replace(current, system_identifier="8"), replace(FOLLOWING, on_divergence=on_divergence))


def test_following_needs_a_primary():
    with pytest.raises(Refused):
        p.plan(RUNNING, FOLLOWING, None)


# Following: a stopped server

def test_a_stopped_follower_is_started():
    assert steps(STOPPED) == ["release", "start", "await_ready"]


def test_an_old_primary_that_lost_nothing_follows():
    fenced = replace(SHUT_DOWN, fenced=True, start_disabled=True, standby_signal=True)
    assert steps(fenced) == ["configure", "release", "start", "await_ready"]
    assert steps(SHUT_DOWN) == ["write_standby_signal", "configure", "release", "start", "await_ready"]
    assert action(SHUT_DOWN) == "attached"


def test_an_old_primary_whose_last_record_was_not_taken_over_does_not():
    with pytest.raises(Refused, match="on_divergence=rewind"):
        steps(replace(SHUT_DOWN, position=Position(1, 200, record_start=True)))


def test_a_crashed_primary_recovers_out_of_reach_and_stays_fenced():
    fenced = replace(CRASHED, fenced=True, start_disabled=True, standby_signal=True)
    assert steps(CRASHED) == ["write_standby_signal", "recover"]
    assert steps(fenced) == ["recover"]
    assert p.plan(fenced, FOLLOWING, UPSTREAM).again


def test_a_crashed_follower_needs_its_primary_to_recover():
    assert steps(replace(STOPPED, control_state="in archive recovery", position=None)) == ["release", "start", "await_ready"]


def test_a_crashed_primary_never_starts_writable():
    for state, signal, label, conninfo in itertools.product(
        ("in production", "in crash recovery", "shutting down", "in archive recovery", "starting up"), (True, False), (True, False), ("", CONNINFO)
    ):
        current = replace(CRASHED, control_state=state, standby_signal=signal, backup_label=label, conninfo=conninfo)
        done = steps(current)
        if not signal:
            assert done[0] == "write_standby_signal"


def test_an_own_recovery_that_was_left_behind_is_stopped_first():
    recovering = replace(CRASHED, running=True, accepting=True, in_recovery=True, standby_signal=True, recovering=True, recovery_runs=True)
    for desired in (FOLLOWING, DETACHED, p.Desired("promoted")):
        assert steps(recovering, desired) == ["stop"] and p.plan(recovering, desired, UPSTREAM).again
    assert steps(recovering, FENCED) == ["hold_down", "stop"]


def test_an_own_recovery_that_was_killed_is_done_again_out_of_reach():
    killed = replace(CRASHED, control_state="in archive recovery", standby_signal=True, recovering=True)
    assert steps(killed) == ["recover"]


def test_one_that_was_asked_to_promote_itself_follows_only_after_a_restart():
    assert steps(replace(RUNNING, promoting=True)) == ["stop"] and p.plan(replace(RUNNING, promoting=True), FOLLOWING, UPSTREAM).again
    assert steps(replace(STOPPED, promoting=True)) == ["release", "start", "await_ready"]


# Following: diverged

DIVERGED = replace(RUNNING, position=Position(1, 250), streaming=False, conninfo="", slot_name="", exact=True)
REWIND = ["remote_checkpoint", "rewind", "configure", "write_standby_signal", "release", "start", "await_ready"]


def test_divergence_fails_by_default_and_says_why():
    with pytest.raises(Refused, match=r"reaches 0/FA of timeline 1, which the primary left at 0/C8"):
        steps(DIVERGED)


def test_divergence_is_rewound():
    desired = replace(FOLLOWING, on_divergence="rewind")
    assert steps(DIVERGED, desired) == ["hold_down_for_rewind", "stop", *REWIND]
    assert action(DIVERGED, desired) == "rewound"
    assert p.plan(DIVERGED, desired, UPSTREAM).again


def test_a_fenced_server_is_held_down_already():
    fenced = replace(SHUT_DOWN, fenced=True, start_disabled=True, position=Position(1, 250, record_start=True))
    assert steps(fenced, replace(FOLLOWING, on_divergence="rewind")) == REWIND


def test_the_timeline_is_made_sure_of_before_anything_is_thrown_away():
    assert steps(replace(DIVERGED, exact=False), replace(FOLLOWING, on_divergence="reclone")) == ["restartpoint"]


def test_reclone_rewinds_first():
    planned = p.plan(DIVERGED, replace(FOLLOWING, on_divergence="reclone"), UPSTREAM)
    assert [step.do for step in planned.steps] == ["hold_down_for_rewind", "stop", *REWIND]
    assert next(step for step in planned.steps if step.do == "rewind").value == "reclone"


def test_an_interrupted_rewind_is_finished():
    interrupted = replace(STOPPED, rewinding=True, start_disabled=True, standby_signal=False)
    assert steps(interrupted, replace(FOLLOWING, on_divergence="rewind")) == REWIND
    with pytest.raises(Refused, match="interrupted"):
        steps(interrupted)


AHEAD = replace(DIVERGED, position=Position(2, 301))
RECLONE = ["hold_down_for_rewind", "stop", "clone", "keep_aside", "install_clone"]


def test_a_server_ahead_on_the_same_timeline_cannot_be_rewound():
    with pytest.raises(Refused, match="no common point"):
        steps(AHEAD, replace(FOLLOWING, on_divergence="rewind"))
    assert steps(AHEAD, replace(FOLLOWING, on_divergence="reclone")) == RECLONE
    assert action(AHEAD, replace(FOLLOWING, on_divergence="reclone")) == "recloned"


def test_a_server_whose_log_is_gone_is_cloned_anew_only_when_asked():
    lost = replace(UPSTREAM, slot_lost=True)
    behind = replace(RUNNING, streaming=False, position=Position(2, 100))
    with pytest.raises(Refused, match="max_slot_wal_keep_size"):
        steps(behind, upstream=lost)
    with pytest.raises(Refused, match="does not help"):
        steps(behind, replace(FOLLOWING, on_divergence="rewind"), lost)
    done = steps(behind, replace(FOLLOWING, on_divergence="reclone"), lost)
    assert done == ["hold_down_for_rewind", "stop", "drop_slot", "clone", "keep_aside", "install_clone"]


def test_a_server_that_never_gets_ready_for_want_of_log_is_cloned_anew_only_when_asked():
    starved = replace(RUNNING, accepting=False, in_recovery=None, streaming=False, starved=True)
    assert steps(replace(starved, starved=False)) == ["await_ready"]
    with pytest.raises(Refused, match="thrown away log that it needs to get ready.*reclone"):
        steps(starved, replace(FOLLOWING, on_divergence="rewind"))
    done = steps(starved, replace(FOLLOWING, on_divergence="reclone"))
    assert done == ["hold_down_for_rewind", "stop", "clone", "keep_aside", "install_clone"]
    # Another primary may have it.
    assert steps(replace(starved, conninfo="host=10.0.9.9"))[-1] == "await_ready"
    with pytest.raises(Refused, match="waits for log"):
        p.plan(starved, replace(FOLLOWING, state="promoted"), None)


def test_the_old_directory_steps_aside_only_for_a_whole_copy():
    for current in (AHEAD, replace(AHEAD, clone=p.PARTIAL)):
        done = steps(current, replace(FOLLOWING, on_divergence="reclone"))
        assert done.index("clone") < done.index("keep_aside") < done.index("install_clone")


def test_one_that_streams_is_not_diverged():
    assert p.plan(replace(RUNNING, position=Position(2, 301)), FOLLOWING, UPSTREAM) == p.Plan()


# Promoted

PROMOTED = p.Desired("promoted")


def test_a_follower_is_promoted():
    assert steps(RUNNING, PROMOTED) == ["promote", "checkpoint", "configure"]
    assert steps(RUNNING, replace(PROMOTED, after_lsn=300)) == ["await_replay", "promote", "checkpoint", "configure"]
    assert action(RUNNING, PROMOTED) == "promoted"


def test_the_slots_of_its_followers_are_there_before_the_promotion():
    """Made after it they begin with its checkpoint, and a rewind of the old primary needs the log from the one before."""
    wanted = replace(PROMOTED, slots=("paas_us", "paas_ap"), after_shutdown=True)
    assert steps(RUNNING, wanted) == ["create_slots", "await_shutdown", "promote", "checkpoint", "configure"]
    some = replace(RUNNING, slots=(p.Slot("paas_us", False),))
    assert [step.value for step in p.plan(some, wanted, None).steps if step.do == "create_slots"] == ["paas_ap"]
    every = replace(RUNNING, slots=(p.Slot("paas_us", False), p.Slot("paas_ap", True)))
    assert "create_slots" not in steps(every, wanted)


def test_a_promoted_server_is_no_longer_detached():
    detached = replace(RUNNING, conninfo="", slot_name="", streaming=False, detached=True)
    assert steps(detached, PROMOTED) == ["promote", "checkpoint", "configure", "release"]
    assert steps(replace(PRIMARY, detached=True), PROMOTED) == ["release"]
    assert p.plan(PRIMARY, PROMOTED) == p.Plan()


def test_a_switchover_waits_for_the_shutdown():
    assert steps(RUNNING, replace(PROMOTED, after_shutdown=True)) == ["await_shutdown", "promote", "checkpoint", "configure"]


def test_a_fence_is_lifted_from_a_primary_only():
    lifting = replace(PROMOTED, lift_fence=True)
    fenced = replace(SHUT_DOWN, fenced=True, start_disabled=True, standby_signal=True)
    assert steps(fenced, lifting) == ["remove_standby_signal", "release", "start", "await_ready"]
    assert action(fenced, lifting) == "promoted"
    # Killed because it did not stop in time: its own recovery brings all of it back.
    assert steps(replace(fenced, control_state="in production"), lifting) == ["remove_standby_signal", "release", "start", "await_ready"]
    for not_one in ({"control_state": "shut down in recovery"}, {"control_state": "in archive recovery"}, {"rewinding": True}):
        with pytest.raises(Refused, match="not lifted"):
            steps(replace(fenced, **not_one), lifting)


def test_a_half_fence_is_lifted_from_a_primary_that_runs_on():
    half = replace(PRIMARY, fenced=True, start_disabled=True, standby_signal=True)
    assert steps(half, replace(PROMOTED, lift_fence=True)) == ["remove_standby_signal", "release"]
    with pytest.raises(Refused, match="fenced"):
        steps(half, PROMOTED)


def test_a_primary_stays_one():
    assert p.plan(PRIMARY, PROMOTED) == p.Plan()


def test_an_interrupted_promotion_gets_its_checkpoint():
    assert steps(replace(PRIMARY, checkpoint_timeline=1), PROMOTED) == ["checkpoint"]


@pytest.mark.parametrize(
    "current, why",
    [
        (p.Current(), "no cluster"),
        (STOPPED, "not running"),
        (replace(STOPPED, fenced=True), "only come back as a follower"),
        (replace(RUNNING, fenced=True), "only come back as a follower"),
        (replace(STOPPED, rewinding=True), "rewind"),
    ],
)
def test_who_is_not_promoted(current, why):
    with pytest.raises(Refused, match=why):
        steps(current, PROMOTED)


def test_one_that_starts_is_waited_for():
    starting = replace(RUNNING, accepting=False, in_recovery=None)
    assert steps(starting, PROMOTED) == ["await_ready"]
    assert p.plan(starting, PROMOTED).again


# Detached

DETACHED = p.Desired("detached")


def test_a_follower_is_detached():
    assert steps(RUNNING, DETACHED) == ["mark_detached", "configure", "await_detached"]
    assert steps(STOPPED, DETACHED) == ["mark_detached", "configure"]
    assert p.plan(replace(RUNNING, detached=True, conninfo=""), DETACHED) == p.Plan()


@pytest.mark.parametrize("current", [PRIMARY, SHUT_DOWN, p.Current()])
def test_only_a_follower_is_detached(current):
    with pytest.raises(Refused):
        steps(current, DETACHED)


# Fenced

FENCED = p.Desired("fenced")


def test_the_start_is_barred_before_the_stop():
    assert steps(PRIMARY, FENCED) == ["hold_down", "write_standby_signal", "stop"]
    assert steps(RUNNING, FENCED) == ["hold_down", "stop", "configure"]
    assert steps(CRASHED, FENCED) == ["hold_down", "write_standby_signal"]
    assert action(PRIMARY, FENCED) == "fenced"


def test_a_half_fenced_server_is_finished():
    half = replace(CRASHED, fenced=True, start_disabled=True)
    assert steps(half, FENCED) == ["write_standby_signal"]
    assert p.plan(replace(half, standby_signal=True), FENCED) == p.Plan()
    assert steps(replace(half, standby_signal=True, start_disabled=False), FENCED) == ["hold_down"]


def test_what_has_outlived_its_postmaster_is_stopped_too():
    assert steps(replace(CRASHED, processes=True), FENCED) == ["hold_down", "write_standby_signal", "stop"]
    assert steps(replace(CRASHED, fenced=True, start_disabled=True, standby_signal=True, processes=True), FENCED) == ["stop"]


def test_nothing_cannot_be_fenced():
    with pytest.raises(Refused):
        steps(p.Current(), FENCED)


# Over all situations

EVERY = [
    replace(
        base, system_identifier="7", running=running, accepting=accepting and running, in_recovery=recovery if accepting and running else None,
        standby_signal=signal, fenced=fenced, start_disabled=fenced, rewinding=rewinding, position=position, control_state=state,
    )
    for base in (RUNNING,)
    for running, accepting, recovery, signal, fenced, rewinding, position, state in itertools.product(
        (True, False), (True, False), (True, False), (True, False), (True, False), (True, False),
        (None, Position(1, 150), Position(1, 250), Position(2, 301), Position(3, 1)),
        ("in production", "shut down", "shut down in recovery", "in archive recovery"),
    )
]


@pytest.mark.parametrize("on_divergence", ["fail", "rewind", "reclone"])
def test_whatever_is_found_no_rule_is_broken(on_divergence):
    for current in EVERY:
        try:
            done = steps(current, replace(FOLLOWING, on_divergence=on_divergence))
        except Refused:
            continue
        if current.running and current.in_recovery is False:
            pytest.fail("a writable server was touched")
        if "start" in done or "recover" in done:
            start = done.index("start") if "start" in done else done.index("recover")
            assert current.standby_signal or "write_standby_signal" in done[:start], "it could come up writable"
        if "rewind" in done or "keep_aside" in done:
            assert on_divergence != "fail"
            assert not current.running or "stop" in done
            assert current.start_disabled or "hold_down_for_rewind" in done
        if "keep_aside" in done:
            assert on_divergence == "reclone"
        if current.rewinding and not (current.running and not current.accepting):
            assert "rewind" in done or "clone" in done


def test_the_gravest_action_is_told():
    assert p.gravest("attached", "rewound", "none") == "rewound"
    assert p.gravest("none") == "none"
    assert p.gravest("rewound", "recloned") == "recloned"


@pytest.mark.parametrize(
    "current, role",
    [
        (p.Current(), "absent"), (p.Current(data=p.FOREIGN), "absent"), (RUNNING, "follower"), (PRIMARY, "primary"), (SHUT_DOWN, "primary"),
        (replace(SHUT_DOWN, standby_signal=True), "follower"), (STOPPED, "follower"), (replace(SHUT_DOWN, rewinding=True), "follower"),
        (replace(CRASHED, fenced=True, start_disabled=True), "follower"),
        # Half fenced: it runs on as what it was, and what does not answer may only be frozen.
        (replace(PRIMARY, fenced=True, start_disabled=True, standby_signal=True), "primary"),
        (replace(PRIMARY, accepting=False, in_recovery=None, fenced=True, start_disabled=True, standby_signal=True), "primary"),
        (replace(RUNNING, accepting=False, in_recovery=None), "follower"),
        (replace(RUNNING, accepting=False, in_recovery=None, control_state="in production", backup_label=True), "follower"),
    ],
)
def test_roles(current, role):
    assert current.role == role
