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
import subprocess
import time
import typing as t

from ansible_collections.multiregion.paas.plugins.module_utils._atomic import sync_folder, write_atomically
from ansible_collections.multiregion.paas.plugins.module_utils._postgres import plan as p
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import CommandFailed, PostgresError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.settings import (
    format_conninfo,
    parse_conninfo,
    read_settings,
    with_settings,
)
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import Fork, Position, format_lsn, parse_history, parse_lsn

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

_UPSTREAM_QUERY = """
SELECT json_build_object('in_recovery', pg_is_in_recovery(), 'slots',
  (SELECT coalesce(json_agg(json_build_object('name', slot_name, 'wal_status', wal_status)), '[]') FROM pg_replication_slots))
"""

# The default size of a file of the log. With another one, more or less than that is looked through, nothing else.
_SEGMENT = 16 * 1024 * 1024
_ALL_WAL = "1TB"


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
        self.data_dir = self._config().get("data_directory", f"/var/lib/postgresql/{self.version}/{self.short_name}").rstrip("/")
        self.clone_dir = self.data_dir + ".paas-clone"
        try:
            self.owner: t.Optional[pwd.struct_passwd] = pwd.getpwnam("postgres")
        except KeyError:
            self.owner = None
        home = self.owner.pw_dir if self.owner else "/var/lib/postgresql"
        self.state_dir = os.path.join(home, ".paas", f"{self.version}-{self.short_name}")
        self._lock: t.Optional[t.IO[str]] = None

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

    def require_installed(self) -> None:
        if self.owner is None or not os.path.exists(self.program("postgres")):
            raise PostgresError(f"PostgreSQL {self.version} is not installed on this host; install postgresql-{self.version}")
        if not os.path.exists(self.config_file):
            raise PostgresError(f"the cluster {self.name} has no configuration: {self.config_file} does not exist")

    def lock(self) -> None:
        """One run at a time: two of them would take each other's half-made clone away.

        A run whose controller was killed goes on by itself for a while, so the next one waits for its end, as long as for anything else.
        """
        self._own_dir(os.path.dirname(self.state_dir))
        self._own_dir(self.state_dir)
        self._lock = open(os.path.join(self.state_dir, "lock"), "w", encoding="utf-8")  # pylint: disable=consider-using-with
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

    def _own_dir(self, path: str) -> None:
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
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
            as_owner = {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": os.getgrouplist("postgres", self.owner.pw_gid)}
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
        if not lines or not lines[0].strip().isdigit() or int(lines[0]) not in self.processes():
            return None
        lines += [""] * (8 - len(lines))
        return {"pid": lines[0].strip(), "port": lines[3].strip(), "socket": lines[4].strip(), "status": lines[7].strip()}

    def processes(self) -> list[int]:
        """Every process of this server, also those that have outlived their postmaster: all of them live in its directory."""
        found = []
        with self._as_owner():
            for entry in os.listdir("/proc"):
                if not entry.isdigit():
                    continue
                try:
                    if os.readlink(f"/proc/{entry}/cwd") != self.data_dir:
                        continue
                    if os.path.basename(os.readlink(f"/proc/{entry}/exe").split(" ")[0]) == "postgres":
                        found.append(int(entry))
                except OSError:
                    continue
        return found

    @contextlib.contextmanager
    def _as_owner(self) -> t.Iterator[None]:
        """Root may not look into another user's processes where it lacks CAP_SYS_PTRACE, as in containers; their owner may."""
        if self.owner is None or os.geteuid() != 0:
            yield
            return
        group = os.getegid()
        os.setegid(self.owner.pw_gid)
        os.seteuid(self.owner.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)

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

    def read(self, exact: bool = False) -> p.Current:
        marks = self.marks()
        common: dict[str, t.Any] = {
            "clone": self._clone_state(),
            "fenced": "fenced" in marks,
            "detached": "detached" in marks,
            "detached_from": (marks.get("detached") or {}).get("from", ""),
            "rewinding": "rewinding" in marks,
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
            if not stopped and not common["rewinding"]:
                stopped = {"position": self._end_of_log(control)}
            return p.Current(**{**common, **stopped})
        status = self.status()
        if status is None:
            return p.Current(**common, running=True)
        return p.Current(**{**common, **_running(status, common["timeline"])}, running=True, accepting=True, exact=exact)

    def _end_of_log(self, control: t.Mapping[str, str]) -> t.Optional[Position]:
        """Where the last record of a crashed server starts, by reading on from its last checkpoint as recovery would."""
        timeline = int(control["Latest checkpoint's TimeLineID"])
        last = self._last_record(timeline, control["Latest checkpoint's REDO location"])
        return None if last is None else Position(timeline, last[0], record_start=True)

    def _last_record(self, timeline: int, start: str) -> t.Optional[tuple[int, str]]:
        """Position and description of the last record from `start` on. pg_waldump ends with an error where the log does."""
        argv = [self.program("pg_waldump"), "-p", os.path.join(self.data_dir, "pg_wal"), "-t", str(timeline), "-s", start]
        try:
            text = self.run(argv, ok=(0, 1))
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

    def clone_progress(self) -> t.Optional[str]:
        """The last line of a running base backup's progress."""
        if self._clone_state() != p.PARTIAL:
            return None
        lines = [line.strip() for line in re.split(r"[\r\n]+", self._text(os.path.join(self.state_dir, "basebackup.log"))) if line.strip()]
        return lines[-1] if lines else None

    def log_errors(self, count: int = 3) -> list[str]:
        """The last errors in the server's log, for a failure's message."""
        try:
            with open(self.log_file, "rb") as handle:
                handle.seek(max(0, os.path.getsize(self.log_file) - 20000))
                lines = handle.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        return [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR):", line)][-count:]

    # The primary

    def upstream(self, conninfo: t.Mapping[str, t.Any], slot: str, passfile: t.Optional[str]) -> p.Upstream:
        """Ask the server to follow. Its log position is read after this server's own."""
        status = json.loads(self.remote(conninfo, _UPSTREAM_QUERY, passfile))
        identity = self.remote(conninfo, "IDENTIFY_SYSTEM", passfile, replication=True).split("|")
        timeline = int(identity[1])
        history: tuple[Fork, ...] = ()
        if timeline > 1:
            history = parse_history(self.remote(conninfo, f"TIMELINE_HISTORY {timeline}", passfile, replication=True).split("|", 1)[1])
        slots = {entry["name"]: entry["wal_status"] for entry in status["slots"]}
        return p.Upstream(
            system_identifier=identity[0],
            timeline=timeline,
            lsn=parse_lsn(identity[2]),
            in_recovery=status["in_recovery"],
            history=history,
            slot_exists=slot in slots,
            slot_lost=slots.get(slot) == "lost",
        )

    def remote(self, conninfo: t.Mapping[str, t.Any], sql: str, passfile: t.Optional[str], replication: bool = False) -> str:
        parameters = {key: value for key, value in conninfo.items() if key not in ("application_name", "passfile")}
        parameters["dbname"] = "postgres"
        if replication:
            parameters["replication"] = "true"
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
        if self.postmaster() is not None:
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

    def hold_down(self, **marks: t.Any) -> None:
        """start.conf `disabled` is what pg_ctlcluster, and through it systemd, obeys; it holds over a reboot."""
        before = self._start_mode()
        self.mark(start=before if before != "disabled" else self.marks().get("start"), **marks)
        self.write(self.start_conf, "# Held down by pg_follower; state=following releases it.\ndisabled\n", 0o644)
        self._daemon_reload()

    def release(self) -> None:
        if self._start_mode() == "disabled":
            self.write(self.start_conf, (self.marks().get("start") or "auto") + "\n", 0o644)
            self._daemon_reload()
        self.mark(start=None, fenced=None, detached=None, rewinding=None)

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
            if self.status() is not None:
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
        options = f"-c config_file={self.config_file} -c listen_addresses= -c primary_conninfo= -c wal_keep_size={_ALL_WAL}"
        self.run(
            [self.program("pg_ctl"), "-D", self.data_dir, "-s", "-w", "-t", str(int(self.timeout)), "-l", self.log_file, "-o", options, "start"],
            timeout=self.timeout + 5,
            output=os.path.join(self.state_dir, "recover.log"),
        )
        self.await_ready()
        self.restartpoint()
        self.stop()

    def restartpoint(self) -> None:
        # The first may find a checkpoint to copy; a second one finds none and stores how far replay has come, with its timeline.
        self.query("CHECKPOINT; CHECKPOINT;")

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
        # Within the segment of the last record, and near it: pg_waldump finds the first record after any position by itself.
        start = max((replayed - 1) // _SEGMENT * _SEGMENT, replayed - 1 - 65536)
        last = self._last_record(timeline, format_lsn(start))
        return last is not None and last[1].startswith("CHECKPOINT_SHUTDOWN ") and last[0] < replayed

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


def _running(status: t.Mapping[str, t.Any], timeline: int) -> dict[str, t.Any]:
    receiver = status["receiver"] or {}
    if status["in_recovery"]:
        timeline = max(timeline, status["recovery_timeline"] or 0, receiver.get("timeline") or 0)
        ends = [parse_lsn(text) for text in (status["receive_lsn"], status["replay_lsn"]) if text]
        position = Position(timeline, max(ends)) if ends else None
    else:
        timeline = int(status["current_file"][:8], 16)
        position = Position(timeline, parse_lsn(status["current_lsn"]))
    receive = parse_lsn(status["receive_lsn"]) if status["receive_lsn"] else None
    replay = parse_lsn(status["replay_lsn"]) if status["replay_lsn"] else None
    lag: t.Optional[float] = None
    if status["in_recovery"]:
        # The age of the last transaction says nothing while the primary is idle: level is level.
        lag = 0.0 if receive is not None and receive == replay else status["replay_age"]
    return {
        "in_recovery": status["in_recovery"],
        "timeline": timeline,
        "position": position,
        "receive_lsn": receive,
        "replay_lsn": replay,
        "lag_seconds": lag,
        "streaming": receiver.get("status") == "streaming" and _from(receiver, status["conninfo"]),
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
