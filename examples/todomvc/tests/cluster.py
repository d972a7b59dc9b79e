# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL primary and a follower of it on loopback, for tests."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

ROLES = """
CREATE ROLE todo_owner LOGIN;
CREATE ROLE todo_rw LOGIN;
CREATE DATABASE todo OWNER todo_owner;
"""
GRANTS = """
GRANT USAGE ON SCHEMA public TO todo_rw;
GRANT CREATE ON SCHEMA public TO todo_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE todo_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO todo_rw;
"""


def programs() -> Path | None:
    """The newest PostgreSQL's programs, where Debian puts them."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return folders[-1].parent if folders else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    folder: Path
    port: int
    programs: Path

    @property
    def _user(self) -> list[str]:
        # PostgreSQL refuses to run as root.
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._user, str(self.programs / program), *arguments],
            check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    def start(self) -> None:
        options = f"-p {self.port} -k '' -c listen_addresses=127.0.0.1"
        self.run("pg_ctl", "-w", "-t", "30", "-D", str(self.folder), "-l", f"{self.folder}.log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        if (self.folder / "postmaster.pid").exists():
            self.run("pg_ctl", "-w", "-t", "30", "-D", str(self.folder), "-m", mode, "stop")

    def promote(self) -> None:
        self.run("pg_ctl", "-w", "-t", "30", "-D", str(self.folder), "promote")

    def sql(self, query: str, database: str = "todo", user: str = "postgres") -> list[tuple]:
        url = f"host=127.0.0.1 port={self.port} dbname={database} user={user} connect_timeout=3"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []


@dataclass
class Cluster:
    folder: Path
    primary: Server
    follower: Server
    stopped: list[int] = field(default_factory=list)

    def url(self, *servers: Server, user: str = "todo_rw", mode: str = "any") -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        return f"postgresql://{user}@{hosts}/todo?target_session_attrs={mode}&connect_timeout=2"

    @property
    def master_url(self) -> str:
        return self.url(self.primary, self.follower, mode="read-write")

    @property
    def read_url(self) -> str:
        return self.url(self.follower, self.primary)

    def wait_for_follower(self, seconds: float = 60) -> None:
        position = self.primary.sql("SELECT pg_current_wal_flush_lsn()::text")[0][0]
        wait(lambda: self.follower.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'")[0][0], seconds)

    def destroy(self) -> None:
        for server in (self.follower, self.primary):
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def wait(question, seconds: float = 60, pause: float = 0.05):
    """Ask until the answer is true; exceptions count as no."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = question()
            if answer:
                return answer
        except Exception:
            if time.monotonic() > end:
                raise
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s")
        time.sleep(pause)


def new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="todomvc-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


@functools.cache
def template(found: Path) -> Path:
    """An initialized data directory; each test's primary is a copy of it."""
    folder = new_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Server(folder / "template", 0, found)
    server.run("initdb", "-D", str(server.folder), "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8")
    with open(server.folder / "postgresql.auto.conf", "a", encoding="utf-8") as file:
        # Synchronous commits of a test need no disk.
        file.write("fsync = off\nwal_level = replica\nhot_standby = on\nwal_log_hints = on\n")
    return server.folder


def create() -> Cluster:
    found = programs()
    assert found is not None
    folder = new_folder()
    primary = Server(folder / "primary", free_port(), found)
    subprocess.run([*primary._user, "cp", "-a", str(template(found)), str(primary.folder)], check=True)
    primary.start()
    for statement in ROLES.strip().splitlines():
        primary.sql(statement, "postgres")
    for statement in GRANTS.strip().splitlines():
        primary.sql(statement)
    follower = Server(folder / "follower", free_port(), found)
    source = f"host=127.0.0.1 port={primary.port} user=postgres"
    follower.run("pg_basebackup", "-D", str(follower.folder), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync")
    follower.start()
    return Cluster(folder, primary, follower)


class Tap:
    """A relay to a server that counts round trips: how often the client speaks after it has heard something."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.turns = 0
        self._heard = True
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _peer = self._listener.accept()
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._relay, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self._relay, args=(server, client, False), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, speaks: bool) -> None:
        while data := source.recv(65536):
            if speaks and self._heard:
                self.turns += 1
            self._heard = not speaks
            target.sendall(data)
        target.close()
