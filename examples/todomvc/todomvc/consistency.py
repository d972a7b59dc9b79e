# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading one's own writes on a follower.

After a write the user's browser holds where in the WAL it ended: timeline and LSN, signed, for a while. A node has that
write when it has replayed the LSN and has followed that timeline. LSNs of different timelines do not compare: a follower
which was left behind on the old one may be far past the number and still miss the write.
"""

from __future__ import annotations

from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

COOKIE = "written"

# Run before a read, on the same connection; replay only goes forward, so what was there stays there.
POSITION = """
SELECT recovery, lsn::text, (lsn >= %(lsn)s::pg_lsn) AS reached,
       EXISTS (SELECT FROM timeline WHERE timeline >= %(timeline)s) AS followed
FROM (SELECT pg_is_in_recovery() AS recovery,
             CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0') ELSE pg_current_wal_flush_lsn() END AS lsn
     ) AS node
"""

# In the write's own transaction. No row is written but the first of a timeline.
REMEMBER_TIMELINE = """
INSERT INTO timeline (timeline)
SELECT current FROM (SELECT ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::integer AS current) AS now
WHERE NOT EXISTS (SELECT FROM timeline WHERE timeline = current)
ON CONFLICT DO NOTHING
"""

# After the commit. The flushed position is at or past it, and unlike the insert position it is always the end of a record.
WRITTEN = """
SELECT ('x' || substr(pg_walfile_name(lsn), 1, 8))::bit(32)::integer, lsn::text FROM (SELECT pg_current_wal_flush_lsn() AS lsn) AS now
"""


@dataclass(frozen=True)
class Position:
    """Where a write ended."""

    timeline: int
    lsn: str


NOTHING = Position(0, "0/0")


def newest(first: Position, second: Position) -> Position:
    return max(first, second, key=lambda position: (position.timeline, number(position.lsn)))


def number(lsn: str) -> int:
    """``16/B374D848`` -> bytes since the beginning of the WAL."""
    high, _unused, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


class Signer:
    """Positions as the text of a cookie that nobody else can make and that expires."""

    def __init__(self, secret: str, max_age: int) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt="todomvc.written")
        self.max_age = max_age

    def dump(self, position: Position) -> str:
        return self._serializer.dumps([position.timeline, position.lsn])

    def load(self, text: str | None) -> Position:
        """``NOTHING`` when there is none, or it is forged or too old."""
        if not text:
            return NOTHING
        try:
            timeline, lsn = self._serializer.loads(text, max_age=self.max_age)
            number(lsn)
            return Position(int(timeline), str(lsn))
        except (BadData, TypeError, ValueError):
            return NOTHING
