# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done so that a cluster becomes what is asked for. Pure: no input, no output, no clock."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import Refused
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import (
    AHEAD,
    FOLLOW,
    Fork,
    Position,
    compare,
    format_lsn,
)

# What lies at the data directory's path.
ABSENT = "absent"  # nothing, or an empty directory
FOREIGN = "foreign"  # files that are no data directory
CLUSTER = "cluster"

# What lies beside it, under the name that marks our own unfinished clone.
PARTIAL = "partial"
COMPLETE = "complete"

CLEAN_STATES = ("shut down", "shut down in recovery")
# Of a stopped server that was writable to the end, however it ended.
PRIMARY_STATES = ("shut down", "shutting down", "in production")


@dataclass(frozen=True)
class Slot:
    name: str
    active: bool
    physical: bool = True
    temporary: bool = False
    retained_bytes: t.Optional[int] = None
    wal_status: t.Optional[str] = None

    @property
    def leftover(self) -> bool:
        """Of our own naming and unused. On a follower such a slot only keeps log: from when it was a primary, or was to be one."""
        return self.physical and not self.active and not self.temporary and self.name.startswith("paas_")


@dataclass(frozen=True)
class Current:
    """A cluster as it is."""

    data: str = ABSENT
    clone: t.Optional[str] = None
    running: bool = False
    accepting: bool = False
    in_recovery: t.Optional[bool] = None
    standby_signal: bool = False
    backup_label: bool = False
    control_state: t.Optional[str] = None
    system_identifier: t.Optional[str] = None
    timeline: t.Optional[int] = None
    checkpoint_timeline: t.Optional[int] = None
    position: t.Optional[Position] = None
    exact: bool = False
    replay_lsn: t.Optional[int] = None
    receive_lsn: t.Optional[int] = None
    shutdown_checkpoint_lsn: t.Optional[int] = None
    lag_seconds: t.Optional[float] = None
    streaming: bool = False
    conninfo: str = ""
    slot_name: str = ""
    slots: tuple[Slot, ...] = ()
    fenced: bool = False
    detached: bool = False
    detached_from: str = ""
    rewinding: bool = False
    recovering: bool = False  # a recovery out of reach was begun and has not ended
    recovery_runs: bool = False
    starved: bool = False  # the primary has no more of the log that it needs to get ready
    promoting: bool = False  # it was asked to promote itself and may do so at any time
    processes: bool = False  # also those that have outlived their postmaster
    start_disabled: bool = False

    @property
    def role(self) -> str:
        if self.data != CLUSTER:
            return "absent"
        if self.running and self.in_recovery is not None:
            return "follower" if self.in_recovery else "primary"
        if self.running and self.control_state in ("in production", "shutting down") and not self.backup_label:
            # A fence writes standby.signal before the stop. Until then the server is what it was, also while it does not answer.
            return "primary"
        held = self.fenced and self.start_disabled and not self.running
        return "follower" if self.standby_signal or self.rewinding or held else "primary"


@dataclass(frozen=True)
class Upstream:
    """The primary to follow, as it answers from its own address."""

    system_identifier: str
    timeline: int
    lsn: int
    in_recovery: bool = False
    history: tuple[Fork, ...] = ()
    slot_exists: bool = False
    slot_lost: bool = False


@dataclass(frozen=True)
class Desired:
    state: str
    conninfo: str = ""
    slot: str = ""
    on_divergence: str = "fail"
    after_lsn: t.Optional[int] = None
    after_shutdown: bool = False
    lift_fence: bool = False
    slots: tuple[str, ...] = ()  # of those that will follow it


@dataclass(frozen=True)
class Step:
    """One thing to do, and the words in which a person is told of it."""

    do: str
    tell: str
    value: str = ""


@dataclass(frozen=True)
class Plan:
    """The next steps. `again` asks to look anew after them, because what they uncover decides what follows."""

    steps: tuple[Step, ...] = ()
    action: str = "none"
    again: bool = False
    warnings: tuple[str, ...] = field(default=())


# A run may do several of these; the result names the gravest.
ACTIONS = ("none", "attached", "repointed", "detached", "rewound", "cloned", "recloned", "promoted", "fenced")


def gravest(*actions: str) -> str:
    return max(actions, key=ACTIONS.index)


def plan(current: Current, desired: Desired, upstream: t.Optional[Upstream] = None) -> Plan:
    if desired.state == "fenced":
        return _fence(current)
    if current.recovery_runs:
        # Ours alone and out of reach; it obeys its command line and not its configuration.
        return Plan((Step("stop", "Stop the recovery that a killed run has left behind"),), "attached", again=True)
    if desired.state == "promoted":
        return _promote(current, desired)
    if desired.state == "detached":
        return _detach(current)
    if upstream is None:
        raise Refused("following needs a primary to follow")
    return _follow(current, desired, upstream)


def _fence(current: Current) -> Plan:
    if current.data != CLUSTER:
        raise Refused("there is no cluster to fence")
    steps = []
    if not current.fenced or not current.start_disabled:
        steps.append(Step("hold_down", "Keep the server from being started"))
    # Before the stop, so that a host that dies in between does not come up writable. A running server does not look at it.
    if not current.standby_signal:
        steps.append(Step("write_standby_signal", "Write standby.signal, so that it never comes up writable"))
    if current.running or current.processes:
        steps.append(Step("stop", "Stop the server"))
    if current.conninfo:
        steps.append(Step("configure", "Clear primary_conninfo"))
    return Plan(tuple(steps), "fenced" if steps else "none")


def _detach(current: Current) -> Plan:
    if current.data != CLUSTER or current.role != "follower":
        raise Refused("only a follower can be detached, this is " + ("a primary" if current.data == CLUSTER else "no cluster"))
    if current.detached and not current.conninfo:
        return Plan()
    steps = [Step("mark_detached", "Remember that it was detached on purpose"), Step("configure", "Clear primary_conninfo")]
    if current.running:
        steps.append(Step("await_detached", "Wait until it receives nothing more"))
    return Plan(tuple(steps), "detached")


def _promote(current: Current, desired: Desired) -> Plan:
    if current.data != CLUSTER:
        raise Refused("there is no cluster to promote")
    if current.fenced and desired.lift_fence:
        return _put_back(current)
    if current.fenced:
        raise Refused("the server is fenced: it can only come back as a follower (state=following)")
    if current.rewinding:
        raise Refused("a rewind of this server was interrupted; it has to be finished first (state=following)")
    if not current.running:
        raise Refused("the server is not running; start it first")
    if current.in_recovery is None:
        if current.starved:
            raise Refused("it is not ready, and waits for log that its primary has thrown away")
        return Plan((Step("await_ready", "Wait until the server accepts connections"),), again=True)
    if not current.in_recovery:
        steps = []
        if current.checkpoint_timeline is not None and current.timeline is not None and current.checkpoint_timeline < current.timeline:
            # Promoted, and stopped before this: until then nobody may rewind to it.
            steps.append(Step("checkpoint", "Write the checkpoint of the new timeline"))
        if current.detached:
            steps.append(_FORGET_DETACHED)
        return Plan(tuple(steps), "promoted" if steps else "none")
    steps = []
    missing = [name for name in desired.slots if name not in {slot.name for slot in current.slots}]
    if missing:
        # Made after the promotion they would begin with its checkpoint, and the old primary's rewind needs the log from the one before.
        steps.append(Step("create_slots", "Create the slots " + ", ".join(missing), ",".join(missing)))
    if desired.after_lsn is not None:
        steps.append(Step("await_replay", f"Replay past {format_lsn(desired.after_lsn)}", format_lsn(desired.after_lsn)))
    elif desired.after_shutdown:
        steps.append(Step("await_shutdown", "Replay the primary's shutdown checkpoint"))
    steps.append(Step("promote", "Promote the server"))
    steps.append(Step("checkpoint", "Write the checkpoint of the new timeline"))
    steps.append(Step("configure", "Clear primary_conninfo"))
    if current.detached:
        steps.append(_FORGET_DETACHED)
    return Plan(tuple(steps), "promoted")


def _put_back(current: Current) -> Plan:
    """A primary that was fenced for a switchover which then did not take place."""
    signal = (Step("remove_standby_signal", "Remove standby.signal"),) if current.standby_signal else ()
    if current.running and current.in_recovery is False:
        # The fence was killed before the stop.
        return Plan((*signal, _START[0]), "promoted")
    if current.running or current.rewinding or current.control_state not in PRIMARY_STATES:
        raise Refused(f"the fence is not lifted: only a stopped server that was a primary can be put back, its state is {current.control_state}")
    return Plan((*signal, *_START), "promoted")


def _follow(current: Current, desired: Desired, upstream: Upstream) -> Plan:
    if current.running and current.in_recovery is False:
        raise Refused(
            "this server is a running, writable primary. It is not made a follower while it may accept writes:"
            " fence it first (state=fenced), or switch over"
        )
    if upstream.in_recovery:
        raise Refused("the server given as primary is itself a follower; name the writable one")
    if current.data == FOREIGN:
        raise Refused("the data directory holds files that are not a database cluster; it is not touched")

    if current.data == ABSENT:
        if current.clone == COMPLETE:
            # Killed after the copy was whole. Whether it can still follow is decided like for any stopped follower.
            return Plan((Step("install_clone", "Move the finished base backup into place"),), "cloned", again=True)
        return Plan(_clone(current, upstream), "cloned", again=True)

    if current.system_identifier != upstream.system_identifier:
        raise Refused(
            f"this is another cluster: its system identifier is {current.system_identifier},"
            f" the primary's {upstream.system_identifier}. Nothing was changed; move it away by hand if it is not needed"
        )
    if current.running and current.promoting:
        # Only a restart takes that back. Else it would leave its primary some time later, writable.
        return Plan((Step("stop", "Stop the server, as it was asked to promote itself"),), "attached", again=True)
    if current.rewinding:
        return _diverged(current, desired, upstream, "a rewind of it was interrupted", FOLLOW)
    if current.running and not current.accepting:
        # A fresh base backup needs the primary before it accepts connections. A diverged one does no harm: it refuses itself.
        steps = _configure(current, desired, upstream)
        if current.starved and not steps:
            return _diverged(current, desired, upstream, "the primary has thrown away log that it needs to get ready", "lost")
        steps.append(Step("await_ready", "Wait until the server accepts connections"))
        return Plan(tuple(steps), "attached" if len(steps) > 1 else "none", again=True)

    if not current.running:
        clean = current.control_state in CLEAN_STATES and current.position is not None
        if not clean:
            return _recover(current, desired, upstream)
    if current.position is None:
        raise Refused("the server does not tell how far its log reaches")

    verdict, why = compare(current.position, upstream.timeline, upstream.lsn, upstream.history)
    if upstream.slot_lost and not current.streaming:
        verdict, why = "lost", f"the primary has thrown away log that the slot {desired.slot} needs (max_slot_wal_keep_size)"
    if current.streaming and current.conninfo == desired.conninfo and verdict != FOLLOW:
        verdict, why = FOLLOW, "it streams from the primary"
    if verdict != FOLLOW:
        if current.running and not current.exact and verdict != "lost":
            # Without a receiver a follower's timeline is that of its last restartpoint, which may be the one before.
            return Plan((Step("restartpoint", "Write a restartpoint, to know the timeline"),), again=True)
        return _diverged(current, desired, upstream, why, verdict)

    steps = []
    if not current.running:
        if not current.standby_signal:
            steps.append(Step("write_standby_signal", "Write standby.signal"))
        return Plan((*steps, *_configure(current, desired, upstream), *_START), "attached", again=True)
    steps += _configure(current, desired, upstream)
    if steps or not current.streaming:
        changed = bool(steps)
        steps.append(Step("await_streaming", "Wait until it streams from the primary"))
        repointed = bool(current.conninfo) and current.conninfo != desired.conninfo
        # Once more: an old primary that has just been started still has the slots of its followers.
        return Plan(tuple(steps), ("repointed" if repointed else "attached") if changed else "none", again=True)
    if current.fenced or current.detached or current.start_disabled:
        return Plan((Step("release", "Let the server be started"),), "attached")
    if any(slot.leftover for slot in current.slots):
        return Plan((Step("collect_slots", "Drop the unused slots of a former or intended primary"),), "attached")
    return Plan()


def _configure(current: Current, desired: Desired, upstream: Upstream) -> list[Step]:
    steps = []
    if not upstream.slot_exists:
        steps.append(Step("create_slot", f"Create the slot {desired.slot} on the primary"))
    if current.conninfo != desired.conninfo or current.slot_name != desired.slot:
        steps.append(Step("configure", "Set primary_conninfo and primary_slot_name", "primary"))
    if current.detached and current.running:
        steps.append(_FORGET_DETACHED)
    return steps


def _clone(current: Current, upstream: Upstream) -> tuple[Step, ...]:
    steps = []
    if current.clone is not None:
        steps.append(Step("discard_clone", "Remove the own unfinished base backup"))
    if upstream.slot_lost:
        steps.append(Step("drop_slot", "Drop the slot that has lost its log"))
    steps.append(Step("clone", "Take a base backup of the primary"))
    steps.append(Step("install_clone", "Move the base backup into place"))
    return tuple(steps)


_FORGET_DETACHED = Step("release", "Forget that it was detached")
_START = (
    Step("release", "Let the server be started"),
    Step("start", "Start the server"),
    Step("await_ready", "Wait until the server accepts connections"),
)


def _recover(current: Current, desired: Desired, upstream: Upstream) -> Plan:
    """A server that crashed tells how far its log reaches only after recovery; as a follower it stays read-only in it."""
    if current.standby_signal and (current.backup_label or current.control_state == "in archive recovery") and not current.recovering:
        # It has been a follower. It may need the primary to become consistent, and refuses by itself what it cannot follow.
        return Plan((*_configure(current, desired, upstream), *_START), "attached", again=True)
    steps = []
    if not current.standby_signal:
        steps.append(Step("write_standby_signal", "Write standby.signal, so that it recovers without becoming writable"))
    if current.conninfo:
        steps.append(Step("configure", "Clear primary_conninfo"))
    steps.append(Step("recover", "Recover it read-only and out of reach, to see how far its log reaches"))
    return Plan(tuple(steps), "attached", again=True)


def _diverged(current: Current, desired: Desired, upstream: Upstream, why: str, verdict: str) -> Plan:
    if desired.on_divergence == "fail":
        raise Refused(
            f"this server cannot simply follow: {why}. What it has and the primary has not would be lost:"
            " on_divergence=rewind throws that away, on_divergence=reclone keeps the old directory aside"
        )
    if desired.on_divergence == "rewind" and verdict == "lost":
        raise Refused(f"this server cannot follow, and a rewind does not help: {why}. on_divergence=reclone takes a new base backup")
    if desired.on_divergence == "rewind" and verdict == AHEAD:
        raise Refused(
            f"this server cannot follow, and there is no common point to rewind to: {why}. on_divergence=reclone takes a new base backup"
        )
    hold = [] if current.start_disabled else [Step("hold_down_for_rewind", "Keep the server from being started meanwhile")]
    if current.running:
        hold.append(Step("stop", "Stop the server"))
    if verdict in ("lost", AHEAD):
        # The clone is taken first, the old directory steps aside when it is whole.
        return Plan((*hold, *reclone(current, upstream)), "recloned", again=True)
    steps = list(hold)
    if not upstream.slot_exists:
        steps.append(Step("create_slot", f"Create the slot {desired.slot} on the primary"))
    steps.append(Step("remote_checkpoint", "Write a checkpoint on the primary"))
    steps.append(Step("rewind", "Rewind to where the primary's timeline left", desired.on_divergence))
    steps.append(Step("configure", "Set primary_conninfo and primary_slot_name", "primary"))
    steps.append(Step("write_standby_signal", "Write standby.signal"))
    return Plan((*steps, *_START), "rewound", again=True)


def reclone(current: Current, upstream: Upstream) -> list[Step]:
    clone, install = _clone(current, upstream)[:-1], _clone(current, upstream)[-1]
    return [*clone, Step("keep_aside", "Keep the old data directory aside under a dated name"), install]
