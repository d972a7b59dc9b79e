# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import InvalidInput
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.version import compare, newest, parse_constraint, upstream_of

# Each below the next, as `dpkg --compare-versions` says.
ASCENDING = [
    "1.18.0-6.1+deb11u3",
    "1.22.1-9~bpo11+1",
    "1.22.1-9",
    "1.22.1-9+deb12u1",
    "1.22.1-9+deb12u2",
    "1.22.1-9+deb12u10",
    "1.24.0-2",
    "1.24.0-2ubuntu7",
    "1.24.0-2ubuntu7.5",
    "1.26.3-1~trixie",
    "1.26.3-1",
    "1.26.3-3+deb13u10",
    "1.26.3-3+deb13u10+bad1",
    "1.26.10-1",
    "1.30.0~rc1-1",
    "1.30.0-1",
    "1.30.6-2",
    "1:1.2.0-1",
]


def test_the_order_is_debians():
    for i, left in enumerate(ASCENDING):
        for j, right in enumerate(ASCENDING):
            assert (compare(left, right) > 0) - (compare(left, right) < 0) == (i > j) - (i < j), (left, right)


def test_the_newest():
    assert newest(reversed(ASCENDING)) == "1:1.2.0-1"
    assert newest([]) is None


@pytest.mark.parametrize(
    ("version", "upstream"),
    [("1.26.3-3+deb13u1", "1.26.3"), ("1.26.3+dfsg-1", "1.26.3"), ("2:1.30.0~rc1-1", "1.30.0"), ("1.26.3", "1.26.3"), ("nonsense", "")],
)
def test_the_upstream_number(version, upstream):
    assert upstream_of(version) == upstream


CANDIDATES = ["1.22.1-9+deb12u10", "1.26.0-1", "1.26.3-3+deb13u7", "1.26.3-3+deb13u10", "1.30.6-2", "1.31.0-1"]


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("*", CANDIDATES),
        (">=1.25.1,<1.31", CANDIDATES[1:5]),
        (" >= 1.26 , < 1.30.6 ", CANDIDATES[1:4]),
        ("1.26.*", CANDIDATES[1:4]),
        ("=1.26.*", CANDIDATES[1:4]),
        ("!=1.26.*", [CANDIDATES[0], *CANDIDATES[4:]]),
        ("1.26", [CANDIDATES[1]]),
        ("==1.26.3", CANDIDATES[2:4]),
        ("!=1.30.6", [*CANDIDATES[:4], CANDIDATES[5]]),
        (">1.26.3", CANDIDATES[4:]),
        ("<=1.26.0", CANDIDATES[:2]),
        ("=1.26.3-3+deb13u7", [CANDIDATES[2]]),
        (">=1.26.3-3+deb13u8,<1.27", [CANDIDATES[3]]),
    ],
)
def test_constraints(text, allowed):
    constraint = parse_constraint(text)
    assert [version for version in CANDIDATES if constraint.allows(version)] == allowed
    assert parse_constraint(str(constraint)) == constraint


def test_the_broken_terms_are_told():
    assert [str(term) for term in parse_constraint(">=1.25.1,<1.31,!=1.26.*").broken("1.22.1-9")] == [">=1.25.1"]


@pytest.mark.parametrize("text", ["", "newest", ">=", ">=1.2.*", "1.2*", "=>1.2", "1.2.x", ">=1.2,,<2", "1..2", "~1.2"])
def test_what_cannot_be_understood(text):
    with pytest.raises(InvalidInput, match="The version constraint"):
        parse_constraint(text)
