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

    def __init__(self, current, *answers):
        self.current, self.answers = current, list(answers)

    def require_installed(self):
        pass

    lock = require_installed

    def read(self, _exact=False):
        return self.current

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
    assert cluster.current == FOLLOWING


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
