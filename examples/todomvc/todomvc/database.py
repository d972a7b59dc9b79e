# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two pools, one for each database URL, and the rule which of them serves a read.

libpq finds the node: MASTER_DATABASE_URL names every node with ``target_session_attrs=read-write``, READ_DATABASE_URL has
the region's own follower first. Here every use of a connection gets a deadline, as a frozen node or a cut network would
otherwise hold a request until TCP gives up, and a broken connection empties its pool, as its neighbours broke with it.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

log = logging.getLogger(__name__)
Result = TypeVar("Result")

# What means "not here, not now" and not "your statement is wrong".
UNAVAILABLE = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction, PoolTimeout)
# A connection lives this long at most, so that reads come back to the own follower after they had to go elsewhere.
MAX_LIFETIME = 60.0
# Opening one connection may try every node; no try waits longer than this for a node that is silent.
CONNECT_TIMEOUT = 2


class Unavailable(Exception):
    """No node answered within the deadline."""


class Watchdog:
    """Ends connections whose time is over, from one thread for all of them.

    A blocked libpq call cannot be interrupted from outside, but shutting its socket down makes it fail at once.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._entries: list[tuple[float, int, Connection]] = []
        self._live: set[int] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextmanager
    def guard(self, connection: Connection, seconds: float) -> Iterator[None]:
        number = next(self._numbers)
        with self._condition:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            self._live.add(number)
            heapq.heappush(self._entries, (time.monotonic() + seconds, number, connection))
            if self._entries[0][1] == number:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._live.discard(number)

    def _run(self) -> None:
        with self._condition:
            while True:
                if not self._entries:
                    self._condition.wait()
                    continue
                due, number, connection = self._entries[0]
                remaining = due - time.monotonic()
                if number in self._live and remaining > 0:
                    self._condition.wait(remaining)
                    continue
                heapq.heappop(self._entries)
                if number in self._live:
                    # Under the lock, so that the connection is not handed to somebody else meanwhile.
                    _shut(connection)


def _shut(connection: Connection) -> None:
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        pass


def servers(url: str) -> list[tuple[str, int]]:
    """(host, port) of every node that the URL names, in its order; none where it names no host."""
    given = conninfo_to_dict(url)
    if not given.get("host"):
        return []
    hosts, ports = str(given["host"]).split(","), str(given.get("port") or "").split(",")
    return [(host, int(port or 5432)) for host, port in zip(hosts, ports * len(hosts) if len(ports) == 1 else ports)]


class Node:
    """A pool on one database URL. Opened in the background; without a database the app starts all the same."""

    def __init__(self, url: str, name: str, size: int, watchdog: Watchdog, **settings: str) -> None:
        self._watchdog = watchdog
        given = conninfo_to_dict(url)
        given.setdefault("connect_timeout", CONNECT_TIMEOUT)
        given.setdefault("application_name", "todomvc")
        options = " ".join(f"-c {key}={value}" for key, value in settings.items())
        given["options"] = f"{given.get('options', '')} {options}".strip()
        self.pool = ConnectionPool(
            make_conninfo(**given),
            name=name,
            min_size=1,
            max_size=size,
            open=False,
            kwargs={"autocommit": True},
            timeout=2.0,
            max_lifetime=MAX_LIFETIME,
            max_idle=MAX_LIFETIME,
            # Given up early: the next request, or the probe, asks again, without the pool's growing pauses.
            reconnect_timeout=1.0,
        )

    def open(self) -> None:
        self.pool.open(wait=False)

    def close(self) -> None:
        self.pool.close(timeout=1.0)

    def return_to(self, host: str, port: int) -> None:
        """Have all connections made anew, if the node that ought to serve them answers: nobody is to wait for one that is silent."""
        try:
            psycopg.connect(self.pool.conninfo, host=host, port=port, connect_timeout=CONNECT_TIMEOUT).close()
        except psycopg.Error:
            return
        self.pool.drain()

    def run(self, work: Callable[[Connection], Result], seconds: float) -> Result:
        """Do ``work`` on a connection, again on a new one if the node went away, until the time is over.

        ``work`` must be harmless when it runs twice: a lost connection does not tell whether its commit arrived.
        """
        end = time.monotonic() + seconds
        while True:
            try:
                with self.pool.connection(timeout=max(end - time.monotonic(), 0.01)) as connection:
                    with self._watchdog.guard(connection, max(end - time.monotonic(), 0.01)):
                        return work(connection)
            except UNAVAILABLE as error:
                if not isinstance(error, PoolTimeout):
                    self.pool.drain()
                if end - time.monotonic() < 0.05:
                    raise Unavailable(f"{self.pool.name}: {type(error).__name__}") from error
                time.sleep(0.02)
