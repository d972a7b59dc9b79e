# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a cluster from what it is to what is asked for: look, plan, do, and look again where the plan says so."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass, replace

from ansible_collections.multiregion.paas.plugins.module_utils._postgres import plan as p
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.cluster import Cluster
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import CommandFailed, PostgresError, Refused
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.settings import format_conninfo, parse_conninfo, passfile_line
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import format_lsn, parse_lsn

# Enough for: finish a killed clone, recover it, find it diverged, rewind, look once more. More would be a loop.
_ROUNDS = 8


@dataclass(frozen=True)
class Primary:
    """The server to follow, as the caller names it."""

    host: str
    port: int = 5432
    user: str = "replicator"
    password: t.Optional[str] = None
    passfile: t.Optional[str] = None
    sslmode: str = "verify-full"
    sslrootcert: t.Optional[str] = None


@dataclass(frozen=True)
class Request:
    """What a task asks for."""

    state: str
    primary: t.Optional[Primary] = None
    slot: t.Optional[str] = None
    on_divergence: str = "fail"
    after_lsn: t.Optional[str] = None
    bandwidth_limit: t.Optional[str] = None
    await_promotion: bool = False
    followers: tuple[str, ...] = ()
    lift_fence: bool = False


def slot_name(host: str) -> str:
    """A replication slot's name for a host: PostgreSQL takes lower-case letters, digits and underscores, 63 at the most."""
    return ("paas_" + re.sub(r"[^a-z0-9_]", "_", host.lower()))[:63]


class Follower:
    """One task on one cluster."""

    def __init__(self, cluster: Cluster, request: Request, hostname: str, check: bool = False) -> None:
        self.cluster = cluster
        self.request = request
        self.check = check
        self.kept_aside: t.Optional[str] = None
        self.steps: list[str] = []
        self.dropped_slots: list[str] = []
        # Once asked, a server may promote itself at any later time, also after this has given up waiting.
        self.promotion_begun = False
        self.passfile: t.Optional[str] = None
        self.conninfo: dict[str, t.Any] = {}
        self.slot = request.slot or slot_name(hostname.split(".")[0])
        if request.primary is not None:
            self.passfile = request.primary.passfile
            if request.primary.password is not None:
                self.passfile = os.path.join(cluster.state_dir, "passfile")
            self.conninfo = {
                "host": request.primary.host,
                "port": request.primary.port,
                "user": request.primary.user,
                "passfile": self.passfile,
                "sslmode": request.primary.sslmode,
                "sslrootcert": request.primary.sslrootcert,
                "application_name": self.slot,
                "connect_timeout": 10,
                # A dead primary is noticed in seconds and not after the kernel's quarter of an hour.
                "tcp_user_timeout": 10000,
            }

    def run(self) -> tuple[p.Current, p.Current, str]:
        """The cluster before, after, and the gravest thing done. In check mode `after` is what is foreseen."""
        try:
            return self._run()
        except (OSError, subprocess.SubprocessError) as error:
            raise PostgresError(f"the cluster {self.cluster.name}: {error}") from error

    def _run(self) -> tuple[p.Current, p.Current, str]:
        if self.check and self.request.state == "following" and not self.cluster.installed:
            # An earlier task would have installed it by now.
            nothing = p.Current()
            self.steps.append("Take a base backup of the primary, once PostgreSQL is installed and configured")
            return nothing, replace(nothing, data=p.CLUSTER, running=True, in_recovery=True), "cloned"
        self.cluster.require_installed()
        if not self.check:
            # Whoever holds the lock may be promoting it.
            self.promotion_begun = True
            self.cluster.lock()
        self.promotion_begun = "promoting" in self.cluster.marks()
        before = current = self.cluster.read()
        self.promotion_begun = current.promoting
        action, exact = "none", False
        desired = p.Desired(
            state=self.request.state,
            conninfo=format_conninfo(self.conninfo) if self.request.state == "following" else "",
            slot=self.slot,
            on_divergence=self.request.on_divergence,
            after_lsn=parse_lsn(self.request.after_lsn) if self.request.after_lsn and self.request.after_lsn != "shutdown" else None,
            after_shutdown=self.request.after_lsn == "shutdown",
            lift_fence=self.request.lift_fence,
            slots=tuple(slot_name(host) for host in self.request.followers),
        )
        if self.request.primary is not None and self.request.primary.password is not None and not self.check:
            if self._write_passfile():
                action = "attached" if before.role == "follower" else "none"
        for _round in range(_ROUNDS):
            upstream = self._upstream() if self.request.state == "following" else None
            if upstream is not None and upstream.in_recovery and self.request.await_promotion and not self.check:
                upstream = self._promoted_upstream()
            planned = p.plan(current, desired, upstream)
            action = p.gravest(action, planned.action)
            self.steps += [step.tell for step in planned.steps]
            if self.check:
                return before, self._foreseen(current, desired, planned, upstream), action
            if self.request.state == "fenced":
                self._fence(planned.steps, current)
            else:
                for step in planned.steps:
                    if step.do == "rewind":
                        action = p.gravest(action, self._rewind(step, upstream))
                    else:
                        self._do(step, current, upstream)
                    exact = exact or step.do == "restartpoint"
            if planned.steps:
                current = self.cluster.read(exact)
            if not planned.again:
                break
        else:
            raise PostgresError(f"the cluster {self.cluster.name} does not settle; the last steps were: " + "; ".join(self.steps[-6:]))
        if self.request.state == "fenced" and (current.running or current.processes):
            raise PostgresError(f"the cluster {self.cluster.name} is held down, but it runs again or still")
        known = current.running and current.in_recovery is not None and not (current.in_recovery and current.promoting)
        if known and "promoting" in self.cluster.marks():
            # It has promoted itself, or was restarted and has forgotten it.
            self.cluster.mark(promoting=None)
            self.promotion_begun = self.request.state == "promoted"
        return before, current, action

    def _do(self, step: p.Step, current: p.Current, upstream: t.Any = None) -> None:
        getattr(self, "_do_" + step.do)(step, current, upstream)

    def _fence(self, steps: t.Sequence[p.Step], current: p.Current) -> None:
        """Whatever cannot be written, the server stops: a full disk must not keep it writable. It is tried again after the stop."""
        postponed = []
        for number, step in enumerate(steps):
            try:
                self._do(step, current)
            except OSError as error:
                if all(later.do != "stop" for later in steps[number:]):
                    raise PostgresError(f"{self.cluster.name} is stopped, but not done is: {step.tell}. {error}") from error
                postponed.append(step)
        for step in postponed:
            try:
                self._do(step, current)
            except OSError as error:
                raise PostgresError(f"{self.cluster.name} is stopped, but not done is: {step.tell}. {error}") from error

    def _foreseen(self, current: p.Current, desired: p.Desired, planned: p.Plan, upstream: t.Optional[p.Upstream]) -> p.Current:
        if not planned.steps:
            return current
        if desired.state == "following" and upstream is not None:
            return replace(
                current, data=p.CLUSTER, running=True, in_recovery=True, standby_signal=True, conninfo=desired.conninfo, slot_name=desired.slot,
                system_identifier=upstream.system_identifier, timeline=upstream.timeline, fenced=False, detached=False, streaming=True,
            )
        if desired.state == "promoted":
            return replace(current, in_recovery=False, standby_signal=False, conninfo="", slot_name="")
        if desired.state == "detached":
            return replace(current, detached=True, conninfo="", slot_name="", streaming=False)
        return replace(current, running=False, in_recovery=None, standby_signal=True, fenced=True, conninfo="", slot_name="", streaming=False)

    def _write_passfile(self) -> bool:
        primary = t.cast(Primary, self.request.primary)
        line = passfile_line(primary.host, primary.port, primary.user, t.cast(str, primary.password))
        path = t.cast(str, self.passfile)
        try:
            with open(path, encoding="utf-8") as handle:
                if handle.read() == line and os.stat(path).st_mode & 0o777 == 0o600:
                    return False
        except OSError:
            pass
        self.cluster.write(path, line)
        return True

    def _promoted_upstream(self) -> p.Upstream:
        found = []

        def promoted() -> bool:
            found.append(self._upstream())
            return not found[-1].in_recovery

        self.cluster.wait(f"The promotion of {self.conninfo['host']}", promoted)
        return found[-1]

    def _upstream(self) -> p.Upstream:
        primary = t.cast(Primary, self.request.primary)
        passfile = self.passfile
        temporary: t.Optional[str] = None
        if self.check and primary.password is not None:
            # Check mode asks the primary too, with a passfile that does not stay.
            descriptor, temporary = tempfile.mkstemp(prefix="paas-", suffix=".passfile")
            os.close(descriptor)
            self.cluster.write(temporary, passfile_line(primary.host, primary.port, primary.user, primary.password))
            passfile = temporary
        try:
            return self.cluster.upstream(self.conninfo, self.slot, passfile)
        except CommandFailed as error:
            raise PostgresError(f"the primary at {primary.host}:{primary.port} does not answer: {error.output}") from error
        finally:
            if temporary is not None:
                os.unlink(temporary)

    # The steps of a plan, each safe to do again.

    def _do_hold_down(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.hold_down(fenced=True)

    def _do_hold_down_for_rewind(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.hold_down()
        self.cluster.keep_wal()

    def _do_stop(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.stop()

    def _do_write_standby_signal(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.write_standby_signal()

    def _do_configure(self, step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        if step.value == "primary":
            self.cluster.configure(format_conninfo(self.conninfo), self.slot)
        else:
            self.cluster.configure("", "")

    def _do_mark_detached(self, _step: p.Step, current: p.Current, _upstream: t.Any) -> None:
        source = parse_conninfo(current.conninfo).get("host", "") if current.conninfo else current.detached_from
        self.cluster.mark(detached={"from": source})

    def _do_await_detached(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.wait("That the server receives nothing more", lambda: (self.cluster.status() or {"receiver": True})["receiver"] is None)

    def _do_await_ready(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.await_ready()

    def _do_await_streaming(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.wait(f"That it streams from {self.conninfo['host']}", lambda: self.cluster.read().streaming)

    def _do_await_replay(self, step: p.Step, current: p.Current, _upstream: t.Any) -> None:
        try:
            self.cluster.wait("The replay", lambda: self.cluster.replay_past(parse_lsn(step.value)))
        except PostgresError as error:
            status = self.cluster.status() or {}
            raise Refused(
                f"not promoted: it has replayed up to {status.get('replay_lsn', 'nowhere')}, not past {step.value};"
                " what the primary acknowledged after that would be lost"
            ) from error

    def _do_await_shutdown(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        try:
            self.cluster.wait("The primary's shutdown", self.cluster.shutdown_replayed, interval=0.03)
        except PostgresError as error:
            raise Refused(
                "not promoted: the primary's shutdown checkpoint has not arrived as the last record;"
                " what the primary acknowledged since would be lost"
            ) from error

    def _do_remove_standby_signal(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.remove_standby_signal()

    def _do_create_slots(self, step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.create_slots(step.value.split(","))

    def _do_promote(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.mark_promoting()
        self.promotion_begun = True
        self.cluster.promote()

    def _do_checkpoint(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        # It is the primary by now, also where an earlier run has promoted it.
        self.promotion_begun = True
        self.cluster.query("CHECKPOINT;")

    def _do_restartpoint(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.restartpoint()

    def _do_collect_slots(self, _step: p.Step, current: p.Current, _upstream: t.Any) -> None:
        self.dropped_slots += self.cluster.drop_slots([slot.name for slot in current.slots if slot.leftover])

    def _do_release(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.release()

    def _do_start(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.start()

    def _do_recover(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.recover()

    def _do_create_slot(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        sql = f"SELECT pg_create_physical_replication_slot('{self.slot}', true)"
        try:
            self.cluster.remote(self.conninfo, sql, self.passfile)
        except CommandFailed as error:
            if "already exists" not in error.output:
                raise

    def _do_drop_slot(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.remote(self.conninfo, f"SELECT pg_drop_replication_slot('{self.slot}')", self.passfile)

    def _do_discard_clone(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.discard_clone()

    def _do_clone(self, _step: p.Step, _current: p.Current, upstream: p.Upstream) -> None:
        self.cluster.clone(
            self.conninfo, format_conninfo(self.conninfo), self.slot,
            create_slot=not upstream.slot_exists or upstream.slot_lost, passfile=self.passfile, rate=self.request.bandwidth_limit,
        )

    def _do_install_clone(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.cluster.install_clone()

    def _do_keep_aside(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        self.kept_aside = self.cluster.keep_aside()

    def _do_remote_checkpoint(self, _step: p.Step, _current: p.Current, _upstream: t.Any) -> None:
        """pg_rewind reads the primary's timeline from its last checkpoint, which right after a promotion is still the old one."""
        self.cluster.remote(self.conninfo, "CHECKPOINT", self.passfile)

    def _rewind(self, step: p.Step, upstream: t.Any) -> str:
        self.cluster.mark(rewinding=True)
        try:
            self.cluster.rewind(self.conninfo, self.passfile)
        except CommandFailed as error:
            if step.value != "reclone":
                raise PostgresError(
                    f"{error}. The server is held down; on_divergence=reclone takes a new base backup and keeps the old directory aside"
                ) from error
            current = self.cluster.read()
            # The rewind's slot exists by now, whatever the primary said before.
            for follow in p.reclone(current, replace(upstream, slot_exists=True)):
                self._do(follow, current, replace(upstream, slot_exists=True))
            self.cluster.mark(rewinding=None)
            return "recloned"
        return "rewound"


def report(cluster: Cluster, current: p.Current) -> dict[str, t.Any]:
    """What both modules return of a cluster."""

    def lsn(value: t.Optional[int]) -> t.Optional[str]:
        return None if value is None else format_lsn(value)

    followers: list[dict[str, t.Any]] = []
    if current.running and current.accepting:
        status = cluster.status()
        followers = status["followers"] if status else []
    lag_bytes: t.Optional[int] = None
    if current.streaming and current.receive_lsn is not None and current.replay_lsn is not None:
        lag_bytes = max(0, current.receive_lsn - current.replay_lsn)
    primary = parse_conninfo(current.conninfo) if current.conninfo else {}
    return {
        "role": current.role,
        "running": current.running,
        "accepting": current.accepting,
        "system_identifier": current.system_identifier,
        "timeline": current.timeline,
        "lsn": lsn(current.position.lsn) if current.position else None,
        "receive_lsn": lsn(current.receive_lsn),
        "replay_lsn": lsn(current.replay_lsn),
        "shutdown_checkpoint_lsn": lsn(current.shutdown_checkpoint_lsn),
        "lag_bytes": lag_bytes,
        "lag_seconds": current.lag_seconds,
        "streaming": current.streaming,
        "primary": {"host": primary["host"], "port": int(primary.get("port", "5432"))} if "host" in primary else None,
        "slot": current.slot_name or None,
        "slots": [
            {"name": slot.name, "active": slot.active, "retained_bytes": slot.retained_bytes, "wal_status": slot.wal_status}
            for slot in current.slots
        ],
        "followers": followers,
        "fenced": current.fenced,
        "detached": current.detached,
        "detached_from": current.detached_from or None,
        "clone_progress": cluster.clone_progress(),
        "data_directory": cluster.data_dir,
    }


def summary(current: p.Current) -> dict[str, t.Any]:
    """What a diff shows: the settled things, nothing that moves by itself."""
    return {
        "role": current.role,
        "running": current.running,
        "system_identifier": current.system_identifier,
        "timeline": current.timeline,
        "primary_conninfo": current.conninfo,
        "primary_slot_name": current.slot_name,
        "fenced": current.fenced,
        "detached": current.detached,
    }
