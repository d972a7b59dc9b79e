# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One row for each request, written after the answer was sent, in batches, by a thread of its own.

The rows cross to the primary's region, so nobody waits for them. Without a primary they wait, up to a number; then the
newest are dropped and counted.
"""

from __future__ import annotations

import logging
import queue
import threading
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from uuid import UUID

from psycopg import Connection

from .database import Node, Unavailable
from .primary import Primary

log = logging.getLogger(__name__)
KEPT_ROWS = 10_000
BATCH_ROWS = 500


@dataclass(frozen=True)
class Row:
    at: datetime
    session_id: UUID | None
    method: str
    path: str
    status: int
    milliseconds: float
    region: str
    host: str


COLUMNS = ", ".join(field.name for field in fields(Row))
INSERT = f"""INSERT INTO audit ({COLUMNS}) SELECT * FROM unnest(
%s::timestamptz[], %s::uuid[], %s::text[], %s::text[], %s::smallint[], %s::real[], %s::text[], %s::text[])"""


class Audit:
    def __init__(self, node: Node, primary: Primary, interval: float, deadline: float) -> None:
        self._node = node
        self._primary = primary
        self._interval = interval
        self._deadline = deadline
        self._rows: queue.Queue[Row] = queue.Queue(KEPT_ROWS)
        self._unwritten: list[Row] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, if there is a primary, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(self._deadline + self._interval)

    def record(self, row: Row) -> None:
        try:
            self._rows.put_nowait(row)
        except queue.Full:
            self.dropped += 1
            if self.dropped % 1000 == 1:
                log.warning("%d audit rows dropped: there was no primary for too long", self.dropped)

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        while not self._primary.missing:
            try:
                while len(self._unwritten) < BATCH_ROWS:
                    self._unwritten.append(self._rows.get_nowait())
            except queue.Empty:
                pass
            if not self._unwritten:
                return
            columns = [list(column) for column in zip(*map(astuple, self._unwritten), strict=True)]

            def insert(connection: Connection, columns: list[list[object]] = columns) -> None:
                connection.execute(INSERT, columns)

            try:
                self._node.run(insert, self._deadline)
            except Unavailable:
                return
            except Exception:
                log.exception("%d audit rows could not be written", len(self._unwritten))
            self._unwritten = []
