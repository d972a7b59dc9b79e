# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Log sequence numbers, timelines, and whether a server can follow another one."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError

_LSN = re.compile(r"^([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})$")


def parse_lsn(text: str) -> int:
    """A position in the write-ahead log, in bytes; as PostgreSQL writes it, two hexadecimal numbers with a slash."""
    match = _LSN.match(text.strip())
    if match is None:
        raise PostgresError(f"{text!r} is not a log sequence number such as 0/3000148")
    return (int(match.group(1), 16) << 32) + int(match.group(2), 16)


def format_lsn(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class Position:
    """How far a server's own log reaches.

    A server that was shut down cleanly only tells where its last record, the shutdown checkpoint, starts: `record_start`.
    """

    timeline: int
    lsn: int
    record_start: bool = False

    def __str__(self) -> str:
        return f"timeline {self.timeline} at {format_lsn(self.lsn)}"


@dataclass(frozen=True)
class Fork:
    """The timeline ended at this LSN, where the next timeline of a history begins."""

    timeline: int
    lsn: int


def parse_history(text: str) -> tuple[Fork, ...]:
    """The forks of a timeline's history file: `parent timeline <tab> LSN <tab> reason` on each line."""
    forks = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(None, 2)
        if len(words) >= 2 and words[0].isdigit():
            forks.append(Fork(int(words[0]), parse_lsn(words[1])))
    return tuple(forks)


def segment_name(timeline: int, segment: int, size: int) -> str:
    """The log's file that holds the bytes from `segment * size` on."""
    return f"{timeline:08X}{segment * size >> 32:08X}{segment % ((1 << 32) // size):08X}"


def newest_timeline(known: int, lsn: int, files: t.Iterable[str], history: t.Callable[[int], t.Sequence[Fork]], size: int) -> int:
    """The timeline of a server whose log reaches `lsn`: the newest one that has a file with the byte before it and descends from `known`."""
    segment = max(0, lsn - 1) // size
    found = [int(name[:8], 16) for name in files if len(name) == 24 and name[8:] == segment_name(0, segment, size)[8:]]
    for timeline in sorted(found, reverse=True):
        if timeline > known:
            forks = history(timeline)
            # One that begins only after that is not what the server is on.
            if known in {fork.timeline for fork in forks} and forks[-1].lsn <= lsn:
                return timeline
    return known


FOLLOW = "follow"
DIVERGED = "diverged"
AHEAD = "ahead"

Verdict = t.Tuple[str, str]


def compare(local: Position, timeline: int, lsn: int, history: t.Sequence[Fork]) -> Verdict:
    """Whether a server at `local` can follow one that is at `lsn` of `timeline` with `history`, and why (not).

    `lsn` has to be read after `local`: a follower is never ahead of its primary.
    """
    if local.timeline == timeline:
        if local.lsn < lsn or (local.lsn == lsn and not local.record_start):
            return FOLLOW, f"both are on timeline {timeline}"
        return AHEAD, f"it is at {format_lsn(local.lsn)} of timeline {timeline}, the primary only at {format_lsn(lsn)}"
    for fork in history:
        if fork.timeline == local.timeline:
            # The shutdown checkpoint starts at the LSN, so the fork has to lie strictly after it to include the record.
            if fork.lsn > local.lsn or (fork.lsn == local.lsn and not local.record_start):
                return FOLLOW, f"timeline {local.timeline} was left at {format_lsn(fork.lsn)}, after its {format_lsn(local.lsn)}"
            return DIVERGED, (
                f"its log reaches {format_lsn(local.lsn)} of timeline {local.timeline},"
                f" which the primary left at {format_lsn(fork.lsn)} for timeline {timeline}"
            )
    return DIVERGED, f"it is on timeline {local.timeline}, which is not in the history of the primary's timeline {timeline}"
