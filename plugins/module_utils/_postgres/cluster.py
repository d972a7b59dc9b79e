# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster in Debian's layout: where its parts are, what it says of itself, and the single things that can be done to it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import glob
import json
import os
import pwd
import re
import shutil
import signal
import struct
import subprocess
import time
import typing as t
from dataclasses import replace

from ansible_collections.multiregion.paas.plugins.module_utils._atomic import sync_folder, write_atomically
from ansible_collections.multiregion.paas.plugins.module_utils._postgres import plan as p
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import CommandFailed, PostgresError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.settings import (
    format_conninfo,
    parse_conninfo,
    read_settings,
    with_settings,
)
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import (
    Fork,
    Position,
    format_lsn,
    newest_timeline,
    parse_history,
    parse_lsn,
    segment_name,
)

_STATUS_QUERY = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'timeline', (pg_control_checkpoint()).timeline_id,
  'recovery_timeline', (pg_control_recovery()).min_recovery_end_timeline,
  'current_lsn', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_flush_lsn() END,
  'current_file', CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_flush_lsn()) END,
  'receive_lsn', pg_last_wal_receive_lsn(),
  'replay_lsn', pg_last_wal_replay_lsn(),
  'replay_age', extract(epoch FROM now() - pg_last_xact_replay_timestamp()),
  'receiver', (SELECT json_build_object('status', status, 'timeline', received_tli,
                      'host', sender_host, 'port', sender_port) FROM pg_stat_wal_receiver),
  'conninfo', current_setting('primary_conninfo'),
  'slot_name', current_setting('primary_slot_name'),
  'slots', (SELECT coalesce(json_agg(json_build_object(
              'name', slot_name, 'active', active, 'physical', slot_type = 'physical', 'temporary', temporary,
              'wal_status', wal_status,
              'retained_bytes', pg_wal_lsn_diff(
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn))
              ORDER BY slot_name), '[]') FROM pg_replication_slots),
  'followers', (SELECT coalesce(json_agg(json_build_object(
              'name', application_name, 'address', client_addr, 'state', state, 'sync_state', sync_state,
              'sent_lsn', sent_lsn, 'flush_lsn', flush_lsn, 'replay_lsn', replay_lsn,
              'lag_bytes', pg_wal_lsn_diff(
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, replay_lsn))
              ORDER BY application_name), '[]') FROM pg_stat_replication WHERE state <> 'backup')
)
"""

# Whether it is the primary before on which timeline, so that a promotion in between is not missed. All in one connection: over an ocean
# each is a second and more.
_UPSTREAM_SCRIPT = r"""
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'slots',
  (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'wal_status', wal_status)), '[]') FROM pg_replication_slots));
IDENTIFY_SYSTEM \gset
\echo :systemid :timeline :xlogpos
SELECT :timeline > 1 AS has_history \gset
\if :has_history
TIMELINE_HISTORY :timeline;
\endif
"""

# What each primary's isolation guard has written down; it is replicated, so a follower can tell when the primary is gone.
_GUARDS_SCRIPT = r"""
SELECT to_regclass('public.paas_guard') IS NOT NULL AS here \gset
\if :here
SELECT json_object_agg(host, row_to_json(paas_guard)) FROM public.paas_guard;
\endif
"""

_ALL_WAL = "1TB"
# A failure in the server's log, but not that it turns away those who ask whether it is ready.
_WRONG = re.compile(r"\b(FATAL|PANIC|ERROR):(?!  the database system is )")
_THROWN_AWAY = re.compile(r"requested WAL segment [0-9A-F]{24} has already been removed")
# By this in its command line a server is known that only recovers, on the local socket, for us.
_RECOVERY = "cluster_name=paas_recovery"
# For what takes as long as it takes; the caller's own limit ends it.
_NO_LIMIT = 7 * 86400.0
_FENCED_LINE = "# It is fenced: only as a follower it comes back."


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


class Cluster:
    """One cluster of this host. Programs of PostgreSQL's run as the owner of its files, never as root."""

    def __init__(self, name: t.Optional[str], timeout: float = 60) -> None:
        if name is None:
            raise PostgresError("this host has no configuration of a cluster; install and configure PostgreSQL first")
        match = re.match(r"^(\d+)/([A-Za-z0-9_.-]+)$", name)
        if match is None:
            raise PostgresError(f"{name!r} does not name a cluster; it is a version and a name, such as 17/main")
        self.name = name
        self.version, self.short_name = int(match.group(1)), match.group(2)
        self.timeout = timeout
        self.bin = f"/usr/lib/postgresql/{self.version}/bin"
        self.config_dir = f"/etc/postgresql/{self.version}/{self.short_name}"
        self.unit = f"postgresql@{self.version}-{self.short_name}.service"
        self.log_file = f"/var/log/postgresql/postgresql-{self.version}-{self.short_name}.log"
        self.config_file = os.path.join(self.config_dir, "postgresql.conf")
        self.start_conf = os.path.join(self.config_dir, "start.conf")
        # Without links, as the server's processes show it, and so that what lies beside it is on the same disk.
        self.data_dir = os.path.realpath(self._config().get("data_directory", f"/var/lib/postgresql/{self.version}/{self.short_name}"))
        self.clone_dir = self.data_dir + ".paas-clone"
        try:
            postgres: t.Optional[pwd.struct_passwd] = pwd.getpwnam("postgres")
        except KeyError:
            postgres = None
        self.owner = self._data_owner() or postgres
        home = postgres.pw_dir if postgres else "/var/lib/postgresql"
        self.state_dir = os.path.join(home, ".paas", f"{self.version}-{self.short_name}")
        self._lock: t.Optional[int] = None
        self._segment_size: t.Optional[int] = None

    @staticmethod
    def only() -> t.Optional[str]:
        """The name of the only cluster that this host has a configuration of, None where it has none."""
        found = sorted(glob.glob("/etc/postgresql/*/*/postgresql.conf"))
        names = ["/".join(path.split("/")[3:5]) for path in found]
        if len(names) > 1:
            raise PostgresError("this host has more than one cluster, say which one: " + ", ".join(names))
        return names[0] if names else None

    # Files

    def _config(self) -> dict[str, str]:
        settings = {}
        paths = [self.config_file]
        included = os.path.join(self.config_dir, "conf.d")
        if os.path.isdir(included):
            paths += sorted(os.path.join(included, entry) for entry in os.listdir(included) if entry.endswith(".conf"))
        for path in paths:
            try:
                with open(path, encoding="utf-8") as handle:
                    settings.update(read_settings(handle.read()))
            except OSError:
                continue
        return settings

    @property
    def installed(self) -> bool:
        return self.owner is not None and os.path.exists(self.program("postgres")) and os.path.exists(self.config_file)

    def _data_owner(self) -> t.Optional[pwd.struct_passwd]:
        """Debian's tools too run a server as whom its files belong to. Root's is an empty mount point."""
        try:
            uid = os.stat(self.data_dir).st_uid
        except OSError:
            return None
        if uid == 0:
            return None
        try:
            return pwd.getpwuid(uid)
        except KeyError as error:
            raise PostgresError(f"{self.data_dir} belongs to the user id {uid}, which this host has no name for") from error

    def require_installed(self) -> None:
        if self.owner is None or not os.path.exists(self.program("postgres")):
            raise PostgresError(f"PostgreSQL {self.version} is not installed on this host; install postgresql-{self.version}")
        if not os.path.exists(self.config_file):
            raise PostgresError(f"the cluster {self.name} has no configuration: {self.config_file} does not exist")

    def lock(self) -> None:
        """One run at a time: two of them would take each other's half-made clone away.

        A run whose controller was killed goes on by itself for a while, so the next one waits for its end, as long as for anything else.
        """
        try:
            # An owner other than `postgres` has to get through.
            self._own_dir(os.path.dirname(self.state_dir), 0o711)
            self._own_dir(self.state_dir)
            self._lock = os.open(os.path.join(self.state_dir, "lock"), os.O_RDONLY | os.O_CREAT, 0o600)
        except OSError:
            # On a full disk, and a fence has to work there too. Nobody holds a lock that could not even be made.
            self._lock = os.open(self.config_dir, os.O_RDONLY)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise PostgresError(
                        f"another run has been working on the cluster {self.name} for {self.timeout:.0f} seconds and more;"
                        " wait for its end, then run this again"
                    ) from error
            time.sleep(0.2)

    def _own_dir(self, path: str, mode: int = 0o700) -> None:
        if not os.path.isdir(path):
            os.mkdir(path, mode)
            self._own(path)

    def _own(self, path: str) -> None:
        if self.owner is not None and os.geteuid() == 0:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def write(self, path: str, text: str, mode: int = 0o600, root: bool = False) -> None:
        """Old or new, never half; the server's own unless it is root's."""
        owner = None if root or os.geteuid() != 0 else self.owner
        write_atomically(path, text, mode, owner and owner.pw_uid, owner and owner.pw_gid)

    @staticmethod
    def _text(path: str) -> str:
        try:
            with open(path, encoding="utf-8", errors="replace") as handle:
                return handle.read()
        except OSError:
            return ""

    def marks(self) -> dict[str, t.Any]:
        text = self._text(os.path.join(self.state_dir, "state.json"))
        return json.loads(text) if text else {}

    def mark(self, **changes: t.Any) -> None:
        marks = {key: value for key, value in {**self.marks(), **changes}.items() if value is not None}
        self.write(os.path.join(self.state_dir, "state.json"), json.dumps(marks, indent=2) + "\n")

    def auto_conf(self, directory: t.Optional[str] = None) -> str:
        return os.path.join(directory or self.data_dir, "postgresql.auto.conf")

    # Programs

    def run(
        self,
        argv: t.Sequence[str],
        stdin: str = "",
        timeout: t.Optional[float] = None,
        passfile: t.Optional[str] = None,
        output: t.Optional[str] = None,
        ok: t.Sequence[int] = (0,),
    ) -> str:
        """Run a program as the cluster's owner. Its standard output, or with `output` both of its outputs into that file."""
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PGAPPNAME": "pg_follower"}
        if passfile:
            environment["PGPASSFILE"] = passfile
        as_owner: dict[str, t.Any] = {}
        if os.geteuid() == 0 and self.owner is not None:
            as_owner = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": os.getgrouplist(self.owner.pw_name, self.owner.pw_gid)}
        what = os.path.basename(argv[0])
        try:
            if output is not None:
                with open(output, "w", encoding="utf-8") as handle:
                    done = subprocess.run(
                        argv, stdin=subprocess.DEVNULL, stdout=handle, stderr=handle, env=environment, cwd="/",
                        timeout=timeout, check=False, **as_owner,
                    )
                text = self._text(output)
                errors = re.sub(r"[^\r\n]*\r", "", text)
            else:
                done = subprocess.run(
                    argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, cwd="/",
                    timeout=timeout or self.timeout, check=False, text=True, **as_owner,
                )
                text, errors = done.stdout, done.stderr or done.stdout
        except subprocess.TimeoutExpired as error:
            raise PostgresError(f"{what} has not ended within {error.timeout:.0f} seconds") from error
        except OSError as error:
            raise PostgresError(f"{what} cannot be started: {error}") from error
        if done.returncode not in ok:
            raise CommandFailed(what, done.returncode, errors)
        return text

    def program(self, name: str) -> str:
        return os.path.join(self.bin, name)

    # What it says of itself

    def control_data(self, directory: t.Optional[str] = None) -> dict[str, str]:
        text = self.run([self.program("pg_controldata"), "-D", directory or self.data_dir])
        return {key.strip(): value.strip() for key, _colon, value in (line.partition(":") for line in text.splitlines())}

    def postmaster(self) -> t.Optional[dict[str, str]]:
        """The running server's lock file, or None when nothing runs on this data directory."""
        lines = self._text(os.path.join(self.data_dir, "postmaster.pid")).splitlines()
        if not lines or not lines[0].strip().isdigit():
            return None
        if int(lines[0]) not in self.processes():
            if self._may_be_server(lines[0].strip()):
                raise PostgresError(
                    f"{self.data_dir}/postmaster.pid names the process {lines[0].strip()}, which runs and cannot be looked into;"
                    " see by hand whether it is this cluster's server"
                )
            return None
        lines += [""] * (8 - len(lines))
        return {
            "pid": lines[0].strip(), "started": lines[2].strip(), "port": lines[3].strip(), "socket": lines[4].strip(), "status": lines[7].strip(),
        }

    def processes(self) -> list[int]:
        """Every process of this server, also those that have outlived their postmaster: all of them live in its directory."""
        try:
            here = os.stat(self.data_dir)
        except OSError:
            return []
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and self._is_server(entry):
                home = self._home(entry)
                if home is not None and os.path.samestat(home, here):
                    found.append(int(entry))
        return found

    def _is_server(self, process: str) -> bool:
        # A zombie has ended, and has no directory any more.
        match = re.match(r"^\d+ \((postgres|postmaster)\) ([A-Za-z])", self._text(f"/proc/{process}/stat"))
        return match is not None and match.group(2) not in "ZX"

    def _startup_process(self) -> str:
        """What the process that replays the log calls itself, empty where there is none. It is made after the server has begun its log."""
        names = (self._text(f"/proc/{process}/cmdline") for process in self.processes())
        return next((name for name in names if re.match(r"postgres: .*\bstartup\b", name)), "")

    def _may_be_server(self, process: str) -> bool:
        """Whether a process that was not found may still be this cluster's server. Another cluster's has a directory, only not this one."""
        hidden = not self._text(f"/proc/{process}/stat")
        if not hidden and not self._is_server(process) or self._home(process) is not None:
            return False
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return hidden or self._is_server(process)

    def _home(self, process: str) -> t.Optional[os.stat_result]:
        """A process's directory, None where it has ended or cannot be looked into. By what it is, as one directory can have many names."""
        try:
            owner = os.stat(f"/proc/{process}")
            with self._as(owner.st_uid, owner.st_gid):
                return os.stat(f"/proc/{process}/cwd")
        except OSError:
            return None

    @staticmethod
    @contextlib.contextmanager
    def _as(user: int, group: int) -> t.Iterator[None]:
        """Root may not look into another user's processes where it lacks CAP_SYS_PTRACE, as in containers; their owner may."""
        if os.geteuid() != 0:
            yield
            return
        before = os.getegid()
        os.setegid(group)
        os.seteuid(user)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(before)

    def query(self, sql: str, timeout: t.Optional[float] = None) -> str:
        server = self.postmaster()
        if server is None:
            raise PostgresError(f"the cluster {self.name} is not running")
        argv = [self.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", server["socket"] or "/var/run/postgresql", "-p", server["port"], "-d", "postgres"]
        return self.run(argv, stdin=sql, timeout=timeout).strip()

    def status(self) -> t.Optional[dict[str, t.Any]]:
        """The running server's own answer, or None while it accepts no connections."""
        try:
            return json.loads(self.query(_STATUS_QUERY + ";\n", timeout=min(15.0, self.timeout)))
        except CommandFailed as error:
            # 2: no connection. Anything else is a fault of the question, not of the server.
            if error.code != 2:
                raise
            return None
        except PostgresError:
            return None

    def guards(self) -> t.Optional[dict[str, t.Any]]:
        """What the isolation guards have written, by host; None where it cannot be read."""
        try:
            return json.loads(self.query(_GUARDS_SCRIPT, timeout=min(2.0, self.timeout)) or "{}")
        except PostgresError:
            # Who asks wants to know the rest also when a lock is on it.
            return None

    def read(self, exact: bool = False) -> p.Current:
        marks = self.marks()
        common: dict[str, t.Any] = {
            "clone": self._clone_state(),
            "fenced": "fenced" in marks or self._held_fenced(),
            "detached": "detached" in marks,
            "detached_from": (marks.get("detached") or {}).get("from", ""),
            "rewinding": "rewinding" in marks,
            "recovering": "recovering" in marks,
            "promoting": "promoting" in marks,
            "start_disabled": self._start_mode() == "disabled",
        }
        try:
            entries = os.listdir(self.data_dir)
        except FileNotFoundError:
            entries = []
        if not entries:
            return p.Current(data=p.ABSENT, **common)
        if not os.path.exists(os.path.join(self.data_dir, "global", "pg_control")):
            return p.Current(data=p.FOREIGN, **common)
        version = self._text(os.path.join(self.data_dir, "PG_VERSION")).strip()
        if version != str(self.version):
            raise PostgresError(f"{self.data_dir} belongs to PostgreSQL {version}, the cluster's name says {self.version}")

        control = self.control_data()
        settings = read_settings(self._text(self.auto_conf()))
        common.update(
            data=p.CLUSTER,
            standby_signal=os.path.exists(os.path.join(self.data_dir, "standby.signal")),
            backup_label=os.path.exists(os.path.join(self.data_dir, "backup_label")),
            control_state=control.get("Database cluster state"),
            system_identifier=control.get("Database system identifier"),
            timeline=int(control["Latest checkpoint's TimeLineID"]),
            checkpoint_timeline=int(control["Latest checkpoint's TimeLineID"]),
            conninfo=settings.get("primary_conninfo", ""),
            slot_name=settings.get("primary_slot_name", ""),
        )
        server = self.postmaster()
        if server is None:
            stopped = _stopped(control)
            if stopped and control.get("Database cluster state") == "shut down in recovery":
                timeline = self._timeline_at(stopped["position"].lsn, stopped["timeline"])
                stopped = {"position": replace(stopped["position"], timeline=timeline), "timeline": timeline}
            elif not stopped and not common["rewinding"]:
                end = self._end_of_log(control)
                stopped = {"position": end, "timeline": end.timeline if end else common["timeline"]}
            return p.Current(**{**common, **stopped}, processes=bool(self.processes()))
        common.update(running=True, processes=True, recovery_runs=_RECOVERY in self._text(f"/proc/{server['pid']}/cmdline"))
        status = self.status()
        if status is None:
            return p.Current(**common, starved=self._starved())
        found = _running(status, common["timeline"], self._timeline_at)
        if found["in_recovery"] and marks.get("promoting") and marks["promoting"] != self._run_of(server):
            # A server that starts forgets that it was asked to promote itself.
            found["promoting"] = False
        return p.Current(**{**common, **found}, accepting=True, exact=exact)

    @staticmethod
    def _run_of(server: t.Mapping[str, str]) -> dict[str, str]:
        """What tells one run of a server from another one."""
        return {"pid": server["pid"], "started": server["started"]}

    # Its log

    def segment_size(self, control: t.Optional[t.Mapping[str, str]] = None) -> int:
        if self._segment_size is None:
            self._segment_size = int((control or self.control_data())["Bytes per WAL segment"])
        return self._segment_size

    def _wal(self, name: str = "") -> str:
        return os.path.join(self.data_dir, "pg_wal", name)

    def _wal_files(self) -> list[str]:
        try:
            return os.listdir(self._wal())
        except OSError:
            return []

    def _history(self, timeline: int) -> tuple[Fork, ...]:
        return parse_history(self._text(self._wal(f"{timeline:08X}.history")))

    def _timeline_at(self, lsn: int, known: int) -> int:
        """pg_control learns a follower's timeline late, at a restartpoint; the names of the log's own files tell it at once."""
        return newest_timeline(known, lsn, self._wal_files(), self._history, self.segment_size())

    def _end_of_log(self, control: t.Mapping[str, str]) -> t.Optional[Position]:
        """Where the last record of a crashed server starts, by reading on from its last checkpoint as recovery would."""
        size = self.segment_size(control)
        redo = parse_lsn(control["Latest checkpoint's REDO location"])
        first = int(control["Latest checkpoint's TimeLineID"])
        # A server that was promoted notes its timeline here before it takes writes, and its checkpoint comes later.
        known = max(first, int(control["Min recovery ending loc's timeline"]))
        timelines = {known}
        if control.get("Database cluster state") not in p.PRIMARY_STATES:
            timelines |= {int(name[:8], 16) for name in self._wal_files() if re.match(r"^[0-9A-F]{24}$", name) and int(name[:8], 16) > known}
        for timeline in sorted(timelines, reverse=True):
            history = self._history(timeline)
            if timeline != first and first not in {fork.timeline for fork in history}:
                continue
            if timeline != known and known not in {fork.timeline for fork in history}:
                continue
            start = redo if timeline == first else max(redo, history[-1].lsn)
            last = self._last_from(timeline, start, size)
            if last is not None:
                return Position(timeline, last, record_start=True)
        return None

    def _last_from(self, timeline: int, start: int, size: int) -> t.Optional[int]:
        """Where the last record at or after `start` begins. There may be gigabytes in between: only the last file with log is read."""
        first = last = start // size
        if not self._is_filled(timeline, first, size):
            return None
        while self._is_filled(timeline, last + 1, size):
            last += 1
        for segment in range(last, first - 1, -1):
            # One file back where no record begins in this one, as the end of a long one.
            found = self._last_in(timeline, max(start, segment * size), (last + 1) * size)
            if found is not None:
                return found
        return None

    def _is_filled(self, timeline: int, segment: int, size: int) -> bool:
        """Whether log was written into this file since it got its name: a recycled one still begins with the address it had before."""
        header = struct.Struct("=HHIQ")
        try:
            with open(self._wal(segment_name(timeline, segment, size)), "rb") as handle:
                return header.unpack(handle.read(header.size))[3] == segment * size
        except (OSError, struct.error):
            return False

    def _last_in(self, timeline: int, start: int, end: int) -> t.Optional[int]:
        try:
            self.run(self._waldump(timeline, start, end, "-q"))
        except CommandFailed as error:
            match = re.search(r"error in WAL record at ([0-9A-F]+/[0-9A-F]+)", error.output)
            if match is not None:
                return parse_lsn(match.group(1)) if parse_lsn(match.group(1)) >= start else None
        except PostgresError:
            return None
        # The log fills the file to its end: that is no error.
        for near in (max(start, end - 65536), start):
            last = self._last_record(timeline, near, end)
            if last is not None:
                return last[0]
        return None

    def _waldump(self, timeline: int, start: int, end: int, *options: str) -> list[str]:
        """With the files' names: without them it takes the first one that it sees for an example, and fails where that is still empty."""
        size = self.segment_size()
        names = [segment_name(timeline, segment, size) for segment in (start // size, (end - 1) // size)]
        return [self.program("pg_waldump"), *options, "-p", self._wal(), "-s", format_lsn(start), *names]

    def _last_record(self, timeline: int, start: int, end: int) -> t.Optional[tuple[int, str]]:
        """Position and description of the last record from `start` on, up to the end of the file before `end`."""
        try:
            text = self.run(self._waldump(timeline, start, end), ok=(0, 1))
        except PostgresError:
            return None
        last = text.rstrip().rpartition("\n")[2]
        match = re.search(r"lsn: ([0-9A-F]+/[0-9A-F]+).*?desc: (.*)", last)
        return None if match is None else (parse_lsn(match.group(1)), match.group(2))

    def _clone_state(self) -> t.Optional[str]:
        if not os.path.isdir(self.clone_dir):
            return None
        return p.COMPLETE if os.path.exists(os.path.join(self.clone_dir, "standby.signal")) else p.PARTIAL

    def _start_mode(self) -> str:
        for line in self._text(self.start_conf).splitlines():
            word = line.split("#", 1)[0].strip()
            if word:
                return word
        return "auto"

    def _held_fenced(self) -> bool:
        return _FENCED_LINE in self._text(self.start_conf) and self._start_mode() == "disabled"

    def clone_progress(self) -> t.Optional[str]:
        """The last line of a running base backup's progress."""
        if self._clone_state() != p.PARTIAL:
            return None
        lines = [line.strip() for line in re.split(r"[\r\n]+", self._text(os.path.join(self.state_dir, "basebackup.log"))) if line.strip()]
        return lines[-1] if lines else None

    def log_errors(self, count: int = 3) -> list[str]:
        """The last errors in the server's log, for a failure's message."""
        return [line for line in self._log_tail() if _WRONG.search(line)][-count:]

    def _log_tail(self) -> list[str]:
        try:
            with open(self.log_file, "rb") as handle:
                handle.seek(max(0, os.path.getsize(self.log_file) - 20000))
                return handle.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []

    def _starved(self) -> bool:
        """Whether the last thing that went wrong since its start is that the primary has no more of the log which it needs to get ready."""
        if not self._startup_process():
            # Until it has one, its log is that of the run before.
            return False
        lines = self._log_tail()
        started = max((number for number, line in enumerate(lines) if "LOG:  starting PostgreSQL " in line), default=0)
        wrong = [line for line in lines[started:] if _WRONG.search(line)]
        # An archive may still bring it.
        return bool(wrong) and _THROWN_AWAY.search(wrong[-1]) is not None and not self._config().get("restore_command")

    # The primary

    def upstream(self, conninfo: t.Mapping[str, t.Any], slot: str, passfile: t.Optional[str]) -> p.Upstream:
        """Ask the server to follow. Its log position is read after this server's own."""
        answer, identity, *history = self.remote(conninfo, _UPSTREAM_SCRIPT, passfile, replication=True).split("\n", 2)
        status = json.loads(answer)
        system_identifier, timeline, lsn = identity.split()
        slots = {entry["name"]: entry["wal_status"] for entry in status["slots"]}
        return p.Upstream(
            system_identifier=system_identifier,
            timeline=int(timeline),
            lsn=parse_lsn(lsn),
            in_recovery=status["in_recovery"],
            # Its name comes before it.
            history=parse_history(history[0].split("|", 1)[1]) if history else (),
            slot_exists=slot in slots,
            slot_lost=slots.get(slot) == "lost",
        )

    def remote(self, conninfo: t.Mapping[str, t.Any], sql: str, passfile: t.Optional[str], replication: bool = False) -> str:
        parameters = {key: value for key, value in conninfo.items() if key not in ("application_name", "passfile")}
        parameters["dbname"] = "postgres"
        if replication:
            # It then knows queries and the replication protocol's commands.
            parameters["replication"] = "database"
        argv = [self.program("psql"), "-XAtq", "-w", "-v", "ON_ERROR_STOP=1", "-d", format_conninfo(parameters)]
        return self.run(argv, stdin=sql + ";\n", passfile=passfile).strip()

    # Steps

    def wait(self, what: str, probe: t.Callable[[], bool], timeout: t.Optional[float] = None, interval: float = 0.1) -> None:
        deadline = time.monotonic() + (self.timeout if timeout is None else timeout)
        while not probe():
            if time.monotonic() >= deadline:
                last = "; ".join(self.log_errors())
                said = f". The server's log says: {last}" if last else ""
                raise PostgresError(f"{what} has not happened within {self.timeout:.0f} seconds{said}")
            time.sleep(interval)

    def configure(self, conninfo: str, slot: str, directory: t.Optional[str] = None) -> None:
        """primary_conninfo and primary_slot_name, in effect at once where the server runs: both need a reload only."""
        path = self.auto_conf(directory)
        text = self._text(path)
        self.write(path, with_settings(text, {"primary_conninfo": conninfo, "primary_slot_name": slot}))
        if directory is None:
            self.reload()

    def keep_wal(self) -> None:
        """A rewind reads the own log from before the fork on. The checkpoint of a stop would throw that away."""
        path = self.auto_conf()
        self.write(path, with_settings(self._text(path), {"wal_keep_size": _ALL_WAL}))
        # One that is not ready cannot be asked, and is not rewound but cloned anew.
        if self.postmaster() is not None and self.status() is not None:
            self.reload()
            self.wait("The reload", lambda: self.query("SHOW wal_keep_size") == _ALL_WAL)

    def reload(self) -> None:
        server = self.postmaster()
        if server is not None:
            os.kill(int(server["pid"]), signal.SIGHUP)

    def write_standby_signal(self) -> None:
        self.write(os.path.join(self.data_dir, "standby.signal"), "")

    def remove_standby_signal(self) -> None:
        os.unlink(os.path.join(self.data_dir, "standby.signal"))
        sync_folder(self.data_dir)

    def hold_down(self, fenced: bool = False) -> None:
        """start.conf `disabled` is what pg_ctlcluster, and through it systemd, obeys; it holds over a reboot. systemd need not read it anew.

        It also says that the server is fenced and how it was started before: it is on another disk than the marks as a rule, which may be full.
        """
        lines = ["# Held down by pg_follower; state=following releases it."]
        if fenced or self._held_fenced():
            lines.append(_FENCED_LINE)
        self.write(self.start_conf, "\n".join([*lines, f"# Before: {self._start_before()}", "disabled", ""]), 0o644)
        if fenced:
            with contextlib.suppress(OSError):
                self.mark(fenced=True)

    def _start_before(self) -> str:
        """How the server was started before it was held down."""
        mode = self._start_mode()
        if mode != "disabled":
            return mode
        match = re.search(r"^# Before: (\w+)$", self._text(self.start_conf), re.MULTILINE)
        return match.group(1) if match else self.marks().get("start") or "auto"

    def release(self) -> None:
        if self._start_mode() == "disabled":
            self.write(self.start_conf, self._start_before() + "\n", 0o644)
            self._daemon_reload()
        self.mark(start=None, fenced=None, detached=None, rewinding=None, recovering=None, promoting=None)

    def _systemd(self) -> bool:
        return os.path.isdir("/run/systemd/system") and os.geteuid() == 0

    @staticmethod
    def _systemctl(*arguments: str) -> str:
        nothing = subprocess.DEVNULL
        return subprocess.run(["systemctl", *arguments], check=False, stdin=nothing, stdout=subprocess.PIPE, stderr=nothing, text=True).stdout

    def _daemon_reload(self) -> None:
        # start.conf decides, through a generator, what starts at boot.
        if self._systemd():
            self._systemctl("daemon-reload")

    def start(self) -> None:
        if self._systemd():
            argv = ["systemctl", "start", "--no-block", self.unit]
            if self.postmaster() is None:
                # A server that died a moment ago may still count as running, and a start would do nothing.
                self._systemctl("stop", self.unit)
            self._systemctl("reset-failed", self.unit)
        else:
            argv = ["pg_ctlcluster", str(self.version), self.short_name, "start"]
        done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=self.timeout)
        if done.returncode != 0:
            last = "; ".join(self.log_errors())
            raise PostgresError(f"the cluster {self.name} does not start: {done.stdout.strip()} {last}")

    def await_ready(self) -> None:
        def ready() -> bool:
            # One that starves never is, and the next look says so.
            if self.status() is not None or self._starved():
                return True
            if self.postmaster() is None and self._failed():
                raise PostgresError(f"the cluster {self.name} does not start. " + "; ".join(self.log_errors()))
            return False

        self.wait(f"That the cluster {self.name} accepts connections", ready)

    def _failed(self) -> bool:
        """Whether the unit has failed for good: while a job waits, the failure is the one before."""
        if not self._systemd():
            return False
        shown = self._systemctl("show", "--property=ActiveState,Job", self.unit)
        return "ActiveState=failed" in shown and not re.search(r"^Job=[1-9]", shown, re.MULTILINE)

    def stop(self) -> None:
        """Fast, so that every connected follower gets all of it; then by force, also when the processes are frozen."""
        server = self.postmaster()
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(server["pid"]), signal.SIGINT)
            deadline = time.monotonic() + self.timeout
            while self.processes() and time.monotonic() < deadline:
                time.sleep(0.05)
        self.kill()
        if self._systemd():
            # The unit has to know that it is down, or a later start does nothing.
            self._systemctl("stop", self.unit)

    def kill(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            processes = self.processes()
            if not processes:
                return
            if time.monotonic() >= deadline:
                raise PostgresError(f"processes of the cluster {self.name} cannot be killed: {processes}")
            for process in processes:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    def recover(self) -> None:
        """Recover as a follower without an upstream, on the local socket only, and stop cleanly: then pg_control tells the end."""
        self.mark(recovering=True)
        options = f"-c config_file={self.config_file} -c {_RECOVERY} -c listen_addresses= -c primary_conninfo= -c wal_keep_size={_ALL_WAL}"
        try:
            try:
                self.run(
                    [self.program("pg_ctl"), "-D", self.data_dir, "-s", "-w", "-t", str(int(self.timeout)), "-l", self.log_file, "-o", options, "start"],
                    timeout=self.timeout + 5,
                    output=os.path.join(self.state_dir, "recover.log"),
                )
            except CommandFailed:
                # Not ready in this time is no failure: how long it takes depends on how much log there is.
                if self.postmaster() is None:
                    raise
            self._await_recovered()
            self.restartpoint(_NO_LIMIT)
        finally:
            # It runs outside systemd and with its own settings; nobody else can make use of it.
            self.stop()
        self.mark(recovering=None)

    def _await_recovered(self) -> None:
        """As long as it gets on. One that waits for log which it has not got never comes to an end by itself."""
        deadline = time.monotonic() + self.timeout
        while self.status() is None:
            if self.postmaster() is None:
                raise PostgresError(f"the cluster {self.name} does not recover. " + "; ".join(self.log_errors()))
            if not re.search(r" startup +waiting for ", self._startup_process()):
                deadline = time.monotonic() + self.timeout
            if time.monotonic() >= deadline:
                raise PostgresError(f"the cluster {self.name} does not recover, it waits for log that it has not got. " + "; ".join(self.log_errors()))
            time.sleep(0.1)

    def restartpoint(self, timeout: t.Optional[float] = None) -> None:
        # The first may find a checkpoint to copy; a second one finds none and stores how far replay has come, with its timeline.
        self.query("CHECKPOINT; CHECKPOINT;", timeout)

    def discard_clone(self) -> None:
        if os.path.lexists(self.clone_dir):
            shutil.rmtree(self.clone_dir)

    def clone(self, conninfo: t.Mapping[str, t.Any], full: str, slot: str, create_slot: bool, passfile: t.Optional[str], rate: t.Optional[str]) -> None:
        """A base backup beside the data directory, under the name that marks it as ours until it is whole."""
        if os.path.ismount(self.data_dir):
            raise PostgresError(f"{self.data_dir} is a mount point, a base backup cannot be moved onto it; mount its parent instead")
        self.discard_clone()
        parent = os.path.dirname(self.data_dir)
        if not os.path.isdir(parent):
            os.makedirs(parent, 0o755)
            self._own(parent)
        parameters = {key: value for key, value in conninfo.items() if key != "passfile"}
        argv = [
            self.program("pg_basebackup"), "-D", self.clone_dir, "-d", format_conninfo(parameters), "-w", "-X", "stream",
            "-c", "fast", "-S", slot, "--progress", "--verbose",
        ]
        if create_slot:
            argv.append("--create-slot")
        if rate:
            argv += ["--max-rate", rate]
        self.run(argv, passfile=passfile, output=os.path.join(self.state_dir, "basebackup.log"))
        self.configure(full, slot, self.clone_dir)
        # Last, because it says that the copy is whole.
        self.write(os.path.join(self.clone_dir, "standby.signal"), "")

    def install_clone(self) -> None:
        if os.path.isdir(self.data_dir):
            os.rmdir(self.data_dir)
        os.rename(self.clone_dir, self.data_dir)
        sync_folder(os.path.dirname(self.data_dir))

    def keep_aside(self) -> str:
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        kept = f"{self.data_dir}.kept-{stamp}"
        os.rename(self.data_dir, kept)
        sync_folder(os.path.dirname(kept))
        return kept

    def rewind(self, conninfo: t.Mapping[str, t.Any], passfile: t.Optional[str]) -> None:
        parameters = {key: value for key, value in conninfo.items() if key not in ("passfile", "application_name")}
        parameters["dbname"] = "postgres"
        argv = [self.program("pg_rewind"), "-D", self.data_dir, "--source-server", format_conninfo(parameters), "--no-ensure-shutdown", "--progress"]
        if self._config().get("restore_command"):
            argv += ["--restore-target-wal", f"--config-file={self.config_file}"]
        self.run(argv, passfile=passfile, output=os.path.join(self.state_dir, "rewind.log"))

    def mark_promoting(self) -> None:
        """Before it is asked, and on the disk: from then on it may promote itself, whatever becomes of this run."""
        server = self.postmaster()
        if server is None:
            raise PostgresError(f"the cluster {self.name} is not running")
        self.mark(promoting=self._run_of(server))

    def promote(self) -> None:
        if self.query(f"SELECT pg_promote(true, {max(1, int(self.timeout))});", timeout=self.timeout + 5) != "t":
            raise PostgresError(f"the cluster {self.name} was not promoted within {self.timeout:.0f} seconds")

    def replay_past(self, lsn: int) -> bool:
        status = self.status()
        return status is not None and status["replay_lsn"] is not None and parse_lsn(status["replay_lsn"]) > lsn

    def shutdown_replayed(self) -> bool:
        """Whether the primary was shut down cleanly and this follower has all of it: no stream, all replayed, and the last record
        of the log is the shutdown checkpoint. So the follower has the proof itself, without asking a server that is down."""
        answer = self.query(
            "SELECT pg_last_wal_replay_lsn(), pg_last_wal_replay_lsn() >= coalesce(pg_last_wal_receive_lsn(), '0/0'),"
            " (SELECT min_recovery_end_timeline FROM pg_control_recovery()), (SELECT timeline_id FROM pg_control_checkpoint()),"
            " NOT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming');"
        ).split("|")
        if answer[1] != "t" or answer[4] != "t":
            return False
        replayed, timeline = parse_lsn(answer[0]), max(int(answer[2]), int(answer[3]))
        # Near the last record: pg_waldump finds the first record after any position by itself, and ends with an error where the log does.
        timeline = self._timeline_at(replayed, timeline)
        size = self.segment_size()
        near = max(0, replayed - 1 - 65536)
        # One file back only where the record begins there: after a switch of the log the end of a file is empty.
        last = self._last_record(timeline, max((replayed - 1) // size * size, near), replayed) or self._last_record(timeline, near, replayed)
        return last is not None and last[1].startswith("CHECKPOINT_SHUTDOWN ") and last[0] < replayed

    def create_slots(self, names: t.Sequence[str]) -> None:
        """With the log from the last checkpoint on, at once."""
        self.query("".join(f"SELECT pg_create_physical_replication_slot({_literal(name)}, true);\n" for name in names))

    def drop_slots(self, names: t.Sequence[str]) -> list[str]:
        """Those that were dropped. One that somebody has begun to stream from since it was looked at is left for the next run."""
        dropped = []
        for name in names:
            try:
                self.query(f"SELECT pg_drop_replication_slot({_literal(name)});")
            except CommandFailed as error:
                if "is active for PID" not in error.output:
                    raise
            else:
                dropped.append(name)
        return dropped


def _stopped(control: t.Mapping[str, str]) -> dict[str, t.Any]:
    state = control.get("Database cluster state")
    if state == "shut down":
        lsn = parse_lsn(control["Latest checkpoint location"])
        timeline = int(control["Latest checkpoint's TimeLineID"])
        return {"position": Position(timeline, lsn, record_start=True), "timeline": timeline, "shutdown_checkpoint_lsn": lsn}
    if state == "shut down in recovery":
        timeline = int(control["Min recovery ending loc's timeline"]) or int(control["Latest checkpoint's TimeLineID"])
        lsn = parse_lsn(control["Minimum recovery ending location"])
        if lsn:
            return {"position": Position(timeline, lsn), "timeline": timeline}
        # Never replayed past the shutdown checkpoint it started from.
        return {"position": Position(timeline, parse_lsn(control["Latest checkpoint location"]), record_start=True), "timeline": timeline}
    return {}


def _running(status: t.Mapping[str, t.Any], timeline: int, timeline_at: t.Callable[[int, int], int]) -> dict[str, t.Any]:
    receiver = status["receiver"] or {}
    if status["in_recovery"]:
        timeline = max(timeline, status["recovery_timeline"] or 0, receiver.get("timeline") or 0)
        ends = [parse_lsn(text) for text in (status["receive_lsn"], status["replay_lsn"]) if text]
        if ends:
            timeline = timeline_at(max(ends), timeline)
        position = Position(timeline, max(ends)) if ends else None
    else:
        timeline = int(status["current_file"][:8], 16)
        position = Position(timeline, parse_lsn(status["current_lsn"]))
    receive = parse_lsn(status["receive_lsn"]) if status["receive_lsn"] else None
    replay = parse_lsn(status["replay_lsn"]) if status["replay_lsn"] else None
    streaming = receiver.get("status") == "streaming" and _from(receiver, status["conninfo"])
    lag: t.Optional[float] = None
    if status["in_recovery"]:
        # The age of the last transaction says nothing while the primary is idle. One that receives nothing knows nothing of its primary.
        lag = 0.0 if streaming and receive is not None and receive == replay else status["replay_age"]
    return {
        "in_recovery": status["in_recovery"],
        "timeline": timeline,
        "position": position,
        "receive_lsn": receive,
        "replay_lsn": replay,
        "lag_seconds": lag,
        "streaming": streaming,
        "conninfo": status["conninfo"],
        "slot_name": status["slot_name"],
        "slots": tuple(
            p.Slot(entry["name"], entry["active"], entry["physical"], entry["temporary"], entry["retained_bytes"], entry["wal_status"])
            for entry in status["slots"]
        ),
    }


def _from(receiver: t.Mapping[str, t.Any], conninfo: str) -> bool:
    """Whether it receives from the server that is configured, and no longer from the one before."""
    parameters = parse_conninfo(conninfo)
    return receiver["host"] == parameters.get("host") and str(receiver["port"]) == parameters.get("port", "5432")
