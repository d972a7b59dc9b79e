# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a task does around its plan; the steps themselves are tested on real servers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._postgres import plan as p
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError, Refused
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.follower import Follower, Primary, Request
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import Fork, Position

FOLLOWING = p.Current(
    data=p.CLUSTER, running=True, accepting=True, in_recovery=True, standby_signal=True, system_identifier="1", timeline=1, position=Position(1, 100),
    conninfo="host=old", slot_name="paas_third",
)
CANDIDATE = p.Upstream("1", 1, 100, in_recovery=True, slot_exists=True)
PROMOTED = p.Upstream("1", 2, 200, history=(Fork(1, 100),), slot_exists=True)


class Cluster:
    """A server that streams once it is configured, and a primary that answers one after the other of these."""

    name, installed, timeout = "17/main", True, 1

    def __init__(self, current, *answers, marks=None):
        self.current, self.answers, self.noted, self.done = current, list(answers), marks or {}, []

    def require_installed(self):
        pass

    lock = require_installed

    def read(self, _exact=False):
        return replace(self.current, promoting="promoting" in self.noted)

    def marks(self):
        return self.noted

    def mark(self, **changes):
        self.noted = {key: value for key, value in {**self.noted, **changes}.items() if value is not None}

    def mark_promoting(self):
        self.mark(promoting=True)

    def upstream(self, _conninfo, _slot, _passfile):
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def configure(self, conninfo, slot):
        self.current = replace(self.current, conninfo=conninfo, slot_name=slot, streaming=True)

    def wait(self, what, probe):
        for _attempt in range(5):
            if probe():
                return
        raise PostgresError(f"{what} has not happened")

    def promote(self):
        raise PostgresError("the cluster was not promoted in time")


def follow(cluster, **options):
    return Follower(cluster, Request("following", Primary("new", passfile="/passfile"), slot="paas_third", **options), "third")


def test_a_follower_comes_when_the_candidate_is_promoted():
    cluster = Cluster(FOLLOWING, CANDIDATE, CANDIDATE, PROMOTED)
    _before, after, action = follow(cluster, await_promotion=True).run()
    assert action == "repointed" and after.streaming and "host=new" in after.conninfo


def test_a_promotion_that_does_not_come_changes_nothing():
    cluster = Cluster(FOLLOWING, CANDIDATE)
    with pytest.raises(PostgresError, match="The promotion of new has not happened"):
        follow(cluster, await_promotion=True).run()
    assert cluster.current == FOLLOWING and cluster.noted == {}


def test_a_follower_is_not_followed_by_mistake():
    with pytest.raises(Refused, match="itself a follower"):
        follow(Cluster(FOLLOWING, CANDIDATE, PROMOTED)).run()


def test_who_was_asked_to_promote_itself_is_told_from_who_was_not():
    asked = Follower(Cluster(FOLLOWING), Request("promoted"), "candidate")
    with pytest.raises(PostgresError):
        asked.run()
    assert asked.promotion_begun
    refused = Follower(Cluster(replace(FOLLOWING, fenced=True)), Request("promoted"), "candidate")
    with pytest.raises(Refused):
        refused.run()
    assert not refused.promotion_begun


def test_a_later_run_knows_that_an_earlier_one_has_asked():
    cluster = Cluster(FOLLOWING)
    with pytest.raises(PostgresError, match="not promoted in time"):
        Follower(cluster, Request("promoted"), "candidate").run()
    assert "promoting" in cluster.noted
    cluster.current = replace(FOLLOWING, running=False, accepting=False, in_recovery=None)
    later = Follower(cluster, Request("promoted"), "candidate")
    with pytest.raises(Refused, match="not running"):
        later.run()
    assert later.promotion_begun


def test_a_run_beside_another_one_does_not_know():
    class Busy(Cluster):
        def lock(self):
            raise PostgresError("another run has been working on the cluster")

    beside = Follower(Busy(FOLLOWING), Request("promoted", after_lsn="shutdown"), "candidate")
    with pytest.raises(PostgresError, match="another run"):
        beside.run()
    assert beside.promotion_begun


def test_what_cannot_be_read_does_not_hide_that_it_was_asked():
    class Unreadable(Cluster):
        def read(self, _exact=False):
            raise OSError("pg_control cannot be read")

    for marks, asked in (({"promoting": {"pid": "1"}}, True), ({}, False)):
        later = Follower(Unreadable(FOLLOWING, marks=marks), Request("promoted"), "candidate")
        with pytest.raises(PostgresError, match="cannot be read"):
            later.run()
        assert later.promotion_begun is asked


def test_a_promotion_that_is_done_is_not_remembered():
    class Promoting(Cluster):
        def promote(self):
            self.current = replace(FOLLOWING, in_recovery=False, standby_signal=False, timeline=2, checkpoint_timeline=1, conninfo="")

        def query(self, _sql):
            assert "promoting" in self.noted, "until the checkpoint is written it is not done"

        def configure(self, _conninfo, _slot):
            pass

    cluster = Promoting(FOLLOWING)
    run = Follower(cluster, Request("promoted"), "candidate")
    assert run.run()[2] == "promoted" and run.promotion_begun and cluster.noted == {}
    again = Follower(cluster, Request("promoted"), "candidate")
    cluster.current = replace(cluster.current, checkpoint_timeline=2)
    assert again.run()[2] == "none" and not again.promotion_begun


class Fencing(Cluster):
    """A primary on a disk that is full."""

    def __init__(self, *failing):
        super().__init__(replace(FOLLOWING, in_recovery=False, standby_signal=False, conninfo=""))
        self.failing = list(failing)

    def _do(self, what):
        self.done.append(what)
        if what in self.failing:
            raise OSError(28, "No space left on device")

    def hold_down(self, fenced):
        self._do("hold_down")
        self.current = replace(self.current, fenced=fenced, start_disabled=True)

    def write_standby_signal(self):
        self._do("write_standby_signal")
        self.current = replace(self.current, standby_signal=True)

    def stop(self):
        self.done.append("stop")
        self.current = replace(self.current, running=False, accepting=False, in_recovery=None)


def test_a_fence_stops_the_server_whatever_cannot_be_written():
    for failing in ("hold_down", "write_standby_signal"):
        cluster = Fencing(failing)
        with pytest.raises(PostgresError, match="is stopped, but not done is.*No space left"):
            Follower(cluster, Request("fenced"), "old").run()
        assert not cluster.current.running and cluster.done == ["hold_down", "write_standby_signal", "stop", failing]


def test_a_fence_that_leaves_the_server_running_is_none():
    class Undead(Fencing):
        def stop(self):
            pass

    with pytest.raises(PostgresError, match="runs again or still"):
        Follower(Undead(), Request("fenced"), "old").run()
