# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""So many requests a window for each session and address, counted in the region's Valkey.

The limit protects the app, so it must not take the app down: without Valkey everybody passes, and it is asked again only
after a pause.
"""

from __future__ import annotations

import hashlib
import logging
import time

import valkey

log = logging.getLogger(__name__)
TIMEOUT = 0.2
PAUSE = 2.0


class Limiter:
    def __init__(self, url: str, limit: int, window: int) -> None:
        """At most ``limit`` requests in ``window`` seconds. No URL: no limit."""
        self._limit = limit
        self._window = window
        self._silent_until = 0.0
        self._client = (
            valkey.Valkey.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=None) if url else None
        )

    def wait(self, session: str, address: str) -> int:
        """Seconds until the next request is welcome; 0 now."""
        now = time.time()
        if self._client is None or time.monotonic() < self._silent_until:
            return 0
        window = int(now // self._window)
        who = hashlib.sha256(f"{session} {address}".encode()).hexdigest()[:32]
        key = f"todomvc:rate:{who}:{window}"
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.incr(key)
                pipeline.expire(key, self._window)
                count = pipeline.execute()[0]
        except valkey.ValkeyError as error:
            log.warning("No rate limit: Valkey does not answer (%s)", type(error).__name__)
            self._silent_until = time.monotonic() + PAUSE
            return 0
        return int((window + 1) * self._window - now) + 1 if count > self._limit else 0
