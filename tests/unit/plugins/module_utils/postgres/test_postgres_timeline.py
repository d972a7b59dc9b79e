# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server can follow another one, by position and timeline history."""

from __future__ import annotations

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.timeline import (
    AHEAD,
    DIVERGED,
    FOLLOW,
    Fork,
    Position,
    compare,
    format_lsn,
    newest_timeline,
    parse_history,
    parse_lsn,
    segment_name,
)
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_a_position_survives_being_written(lsn):
    assert parse_lsn(format_lsn(lsn)) == lsn


@pytest.mark.parametrize("text, lsn", [("0/0", 0), ("0/3000148", 0x3000148), ("1/0", 1 << 32), ("16/B374D848", 0x16B374D848), (" 0/1\n", 1)])
def test_positions_as_postgresql_writes_them(text, lsn):
    assert parse_lsn(text) == lsn


@pytest.mark.parametrize("text", ["", "0", "0/", "/0", "0/123456789", "0/G", "0/1/2", "-1/0"])
def test_what_is_no_position_is_refused(text):
    with pytest.raises(PostgresError, match="not a log sequence number"):
        parse_lsn(text)


def test_a_history_file():
    text = "1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-01-01 00:00:00+00\n"
    assert parse_history(text) == (Fork(1, 0x3000148), Fork(2, 0x5000000))


def test_a_history_file_with_comments_and_nothing():
    assert parse_history("# a comment\n\n") == ()


HISTORY = (Fork(1, 100), Fork(2, 200))


@pytest.mark.parametrize(
    "position, verdict",
    [
        # On the primary's own timeline.
        (Position(3, 250), FOLLOW),
        (Position(3, 300), FOLLOW),
        (Position(3, 301), AHEAD),
        (Position(3, 299, record_start=True), FOLLOW),
        (Position(3, 300, record_start=True), AHEAD),
        # On an older one: up to the fork and not further.
        (Position(2, 199), FOLLOW),
        (Position(2, 200), FOLLOW),
        (Position(2, 201), DIVERGED),
        (Position(1, 100), FOLLOW),
        (Position(1, 101), DIVERGED),
        (Position(1, 150), DIVERGED),
        # The shutdown checkpoint starts there; a fork at the same place is before the record.
        (Position(2, 199, record_start=True), FOLLOW),
        (Position(2, 200, record_start=True), DIVERGED),
        # On one that the primary has never heard of.
        (Position(4, 50), DIVERGED),
        (Position(9, 1000), DIVERGED),
    ],
)
def test_who_can_follow(position, verdict):
    assert compare(position, 3, 300, HISTORY)[0] == verdict


@given(
    st.integers(1, 5), st.integers(0, 1000), st.booleans(), st.integers(1, 5), st.integers(0, 1000),
    st.lists(st.integers(1, 1000), min_size=0, max_size=4),
)
def test_following_never_loses_anything(timeline, lsn, record_start, upstream_timeline, upstream_lsn, forks):
    """Whoever may follow has nothing beyond what is also in the primary's history."""
    history = [Fork(number, fork) for number, fork in enumerate(sorted(forks), start=1) if number < upstream_timeline]
    verdict, why = compare(Position(timeline, lsn, record_start), upstream_timeline, upstream_lsn, history)
    assert why
    if verdict == FOLLOW:
        shared = upstream_lsn if timeline == upstream_timeline else next(fork.lsn for fork in history if fork.timeline == timeline)
        assert lsn < shared or (lsn == shared and not record_start)


def test_the_reason_names_both_places():
    _unused, why = compare(Position(1, 0x3000148), 2, 0x4000000, (Fork(1, 0x3000000),))
    assert why == "its log reaches 0/3000148 of timeline 1, which the primary left at 0/3000000 for timeline 2"


SIZE = 16 << 20


def test_the_names_of_the_files():
    assert segment_name(2, 0x105, SIZE) == "000000020000000100000005"
    assert segment_name(2, 0xFF, SIZE) == "0000000200000000000000FF"
    assert segment_name(1, 5, 64 << 20) == "000000010000000000000005"


HISTORIES = {2: (Fork(1, 0x3000100),), 3: (Fork(1, 0x3000100), Fork(2, 0x3000200)), 7: (Fork(6, 0x2000000),)}


def newest(known, lsn, *files):
    return newest_timeline(known, lsn, [*files, "archive_status", "00000003.history"], lambda timeline: HISTORIES.get(timeline, ()), SIZE)


def test_a_file_tells_the_timeline_before_pg_control_does():
    files = [segment_name(timeline, 3, SIZE) for timeline in (1, 2, 3)]
    assert newest(1, 0x3000250, *files) == newest(2, 0x3000250, *files) == newest(3, 0x3000250, *files) == 3
    assert newest(1, 0x3000250, *files[:2]) == 2
    assert newest(1, 0x3000250) == 1


def test_the_byte_before_the_position_counts():
    assert newest(1, 0x4000000, segment_name(2, 3, SIZE)) == 2
    assert newest(1, 0x4000000, segment_name(2, 4, SIZE)) == 1


def test_a_timeline_that_began_later_or_elsewhere_is_not_the_one():
    files = [segment_name(timeline, 3, SIZE) for timeline in (1, 2, 3, 5, 7)]
    assert newest(1, 0x3000150, *files) == 2
    assert newest(1, 0x3000050, *files) == 1
