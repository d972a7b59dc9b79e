# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about the primary without asking it: a thread of its own asks, over the connection that it keeps warm.

Requests read the answer, so that no page waits for a far region to learn whether it may be written to, and a write that
comes to a region without a primary is refused at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from psycopg import Connection

from .consistency import number
from .database import UNAVAILABLE, Node, Unavailable

log = logging.getLogger(__name__)
KEPT_SAMPLES = 300


class Primary:
    def __init__(self, node: Node, interval: float, deadline: float) -> None:
        self._node = node
        self._interval = interval
        self._deadline = deadline
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="primary", daemon=True)
        # (when, LSN), oldest first; an LSN is kept once, with the time at which it was first seen.
        self._samples: deque[tuple[float, int]] = deque(maxlen=KEPT_SAMPLES)
        self._sampled_at = 0.0
        self.available: bool | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    @property
    def missing(self) -> bool:
        """Known to be missing. Before the first answer nothing is known."""
        return self.available is False

    def lag(self, replayed: str) -> float | None:
        """Seconds since the primary wrote the first byte that ``replayed`` lacks, or None when the primary is not heard."""
        samples = list(self._samples)
        now = time.monotonic()
        if not samples or now - self._sampled_at > 5 * self._interval:
            return None
        position = number(replayed)
        return next((now - at for at, lsn in samples if lsn > position), 0.0)

    def probe(self) -> None:
        before = time.monotonic()
        try:
            lsn = number(self._node.run(_flushed, self._deadline))
        except (Unavailable, *UNAVAILABLE) as error:
            if self.available is not False:
                log.warning("No primary: %s", error)
            self.available = False
            return
        self._sampled_at = before
        if not self._samples or self._samples[-1][1] != lsn:
            self._samples.append((before, lsn))
        if self.available is False:
            log.warning("The primary is back.")
        self.available = True

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.probe()
            except Exception:
                log.exception("The primary's probe failed")
                self.available = False
            self._stop.wait(self._interval if self.available else self._interval / 2)


def _flushed(connection: Connection) -> str:
    return connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()[0]
