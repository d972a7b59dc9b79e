# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The todos of a session: reads and writes, each one round trip."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import ClientCursor, Connection

from .consistency import NOTHING, POSITION, REMEMBER_TIMELINE, WRITTEN, Position
from .database import Node, Unavailable
from .primary import Primary

COLUMNS = "id, title, completed"
LIST = f"SELECT {COLUMNS} FROM todo WHERE session_id = %(session)s ORDER BY position"
# The same identifier again is the same todo: a repeated request adds none.
ADD = f"""INSERT INTO todo (session_id, id, title) VALUES (%(session)s, %(id)s, %(title)s)
ON CONFLICT (session_id, id) DO UPDATE SET title = excluded.title RETURNING {COLUMNS}"""
CHANGE = f"""UPDATE todo SET title = coalesce(%(title)s, title), completed = coalesce(%(completed)s, completed)
WHERE session_id = %(session)s AND id = %(id)s RETURNING {COLUMNS}"""
REMOVE = f"DELETE FROM todo WHERE session_id = %(session)s AND id = %(id)s RETURNING {COLUMNS}"
TOGGLE_ALL = f"UPDATE todo SET completed = %(completed)s WHERE session_id = %(session)s RETURNING {COLUMNS}"
CLEAR_COMPLETED = f"DELETE FROM todo WHERE session_id = %(session)s AND completed RETURNING {COLUMNS}"


class ReadOnly(Exception):
    """There is no primary to write to at present."""


@dataclass(frozen=True)
class Todo:
    id: UUID
    title: str
    completed: bool


@dataclass(frozen=True)
class Served:
    """Which node answered a read. ``stale``: it lacks the user's own last write, and there was no other."""

    address: str
    port: int
    role: str
    replayed: str
    stale: bool = False


@dataclass(frozen=True)
class Read:
    todos: list[Todo]
    served: Served


@dataclass(frozen=True)
class Written:
    todos: list[Todo]
    position: Position


class Todos:
    def __init__(
        self, reader: Node, writer: Node, primary: Primary, read_deadline: float, write_deadline: float, follower_wait: float
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._primary = primary
        self._read_deadline = read_deadline
        self._write_deadline = write_deadline
        self._follower_wait = follower_wait

    def list(self, session: UUID, written: Position = NOTHING) -> Read:
        """The session's todos, from the own follower unless it has not replayed ``written`` yet."""
        parameters = {"session": session, "timeline": written.timeline, "lsn": written.lsn}
        return self._read(LIST, parameters, written)

    def served(self, written: Position = NOTHING) -> Served:
        """Which node a read would be served by."""
        parameters = {"timeline": written.timeline, "lsn": written.lsn}
        return self._read("SELECT NULL::uuid, '', false WHERE false", parameters, written).served

    def _read(self, query: str, parameters: dict[str, Any], written: Position) -> Read:
        def once(connection: Connection) -> Read:
            return _read(connection, query, parameters, written)

        def patient(connection: Connection) -> Read:
            end = time.monotonic() + self._follower_wait
            while True:
                read = once(connection)
                if not read.served.stale or time.monotonic() >= end:
                    return read
                time.sleep(0.005)

        read = None
        try:
            read = self._reader.run(patient, self._read_deadline)
            if not read.served.stale or self._primary.missing:
                return read
            return self._writer.run(once, self._write_deadline)
        except Unavailable:
            if read is None:
                raise
            return read

    def add(self, session: UUID, todo: UUID, title: str) -> Written:
        return self._write(ADD, {"session": session, "id": todo, "title": title})

    def change(self, session: UUID, todo: UUID, title: str | None, completed: bool | None) -> Written:
        return self._write(CHANGE, {"session": session, "id": todo, "title": title, "completed": completed})

    def remove(self, session: UUID, todo: UUID) -> Written:
        return self._write(REMOVE, {"session": session, "id": todo})

    def toggle_all(self, session: UUID, completed: bool) -> Written:
        return self._write(TOGGLE_ALL, {"session": session, "completed": completed})

    def clear_completed(self, session: UUID) -> Written:
        return self._write(CLEAR_COMPLETED, {"session": session})

    def _write(self, statement: str, parameters: dict[str, Any]) -> Written:
        # Known to be missing: one short try, as it may have come back this very moment.
        seconds = 0.5 if self._primary.missing else self._write_deadline
        try:
            return self._writer.run(lambda connection: _write(connection, statement, parameters), seconds)
        except Unavailable as error:
            raise ReadOnly(str(error)) from error


def _read(connection: Connection, query: str, parameters: dict[str, Any], written: Position) -> Read:
    with connection.pipeline():
        position = connection.execute(POSITION, parameters)
        rows = connection.execute(query, parameters)
    # Fetched after the pipeline: within it, each fetch would be a round trip of its own.
    recovery, lsn, reached, followed = position.fetchone()
    served = Served(
        address=connection.info.hostaddr or connection.info.host,
        port=connection.info.port,
        role="follower" if recovery else "primary",
        replayed=lsn,
        stale=written != NOTHING and not (reached and followed),
    )
    return Read(_todos(rows.fetchall()), served)


def _write(connection: Connection, statement: str, parameters: dict[str, Any]) -> Written:
    """Write and learn where the commit ended in one message, so in one round trip: the primary may be 200 ms away."""
    # Only PostgreSQL's simple protocol takes several statements at once; there the parameters become quoted literals here.
    with ClientCursor(connection) as cursor:
        cursor.execute(f"BEGIN; {REMEMBER_TIMELINE}; {statement}; COMMIT; {WRITTEN}", parameters)
        results = [cursor.fetchall() if cursor.description else [] for cursor in cursor.results()]
    _begin, _timeline, rows, _commit, [(timeline, lsn)] = results
    return Written(_todos(rows), Position(timeline, lsn))


def _todos(rows: Sequence[tuple[Any, ...]]) -> list[Todo]:
    return [Todo(*row) for row in rows]
