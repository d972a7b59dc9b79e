# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import InvalidInput
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.tables import FEATURES, KNOWN_BAD, has_feature, known_bad_table


def bad(version, *features):
    return {entry.id for entry in KNOWN_BAD if entry.action == "reject" and entry.affects(version, features)}


@pytest.mark.parametrize(
    ("version", "features", "expected"),
    [
        ("1.10.1-1", [], {"trac-959", "CVE-2018-16843", "CVE-2019-9511"}),
        ("1.11.4-1", [], {"request-body-limit-req", "CVE-2018-16843", "CVE-2019-9511"}),
        ("1.14.2-2", [], {"CVE-2019-9511"}),
        ("1.14.2-2+deb10u1", [], set()),
        ("1.16.1-1", [], set()),
        ("1.17.2-1", [], {"CVE-2019-9511"}),
        ("1.22.1-9+deb12u10", [], set()),
        ("1.24.0-2ubuntu7", [], set()),
        ("1.30.0-1", [], {"CVE-2026-42926"}),
        ("1.30.0-4", [], set()),
        ("1.30.6-2", ["http3"], set()),
        ("1.26.3-3+deb13u4", [], set()),
        ("1.26.3-3+deb13u4", ["http3"], {"CVE-2026-40460", "CVE-2026-95101"}),
        ("1.26.3-3+deb13u10", ["http3"], set()),
        ("1.25.3-1", ["http3"], {"CVE-2024-24990", "CVE-2024-31079", "CVE-2026-40460", "CVE-2026-95101"}),
    ],
)
def test_the_table(version, features, expected):
    assert bad(version, *features) == expected


def test_a_fix_of_another_upstream_number_does_not_count():
    entry = next(entry for entry in KNOWN_BAD if entry.id == "CVE-2023-44487")
    assert entry.action == "warn"
    assert entry.affects("1.22.1-9+deb12u10", [])
    assert not entry.affects("1.24.0-2ubuntu7", [])
    assert not entry.affects("1.26.3-1", [])


def test_every_entry_has_a_source():
    assert all(entry.source.startswith("https://") and entry.reason for entry in KNOWN_BAD)


def test_overrides_add_replace_and_drop():
    table = {
        entry.id: entry
        for entry in known_bad_table(
            [
                {"id": "mine", "versions": ["1.26.*"], "source": "here"},
                {"id": "CVE-2026-42926", "fixed_revisions": ["1.30.0-1~mine"]},
                {"id": "CVE-2023-44487", "action": "ignore"},
                {"id": "CVE-2026-42055", "action": "reject"},
            ]
        )
    }
    assert table["mine"].affects("1.26.3-1", [])
    assert not table["CVE-2026-42926"].affects("1.30.0-1", [])
    assert table["CVE-2026-42926"].affects("1.29.5-1", [])
    assert "CVE-2023-44487" not in table
    assert table["CVE-2026-42055"].action == "reject"


@pytest.mark.parametrize("entry", [{"id": "mine"}, {"id": "mine", "versions": ["1.*"]}, {"id": "mine", "versions": ["?"], "source": "x"}])
def test_bad_overrides(entry):
    with pytest.raises(InvalidInput):
        known_bad_table([entry])


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.22.1-9", {"http2"}), ("1.26.3-1", {"http2", "http3"}), ("1.27.2-1", {"http2", "http3"}), ("1.27.3-1", set(FEATURES)), ("1.9.4-1", set())],
)
def test_features(version, expected):
    assert {feature for feature in FEATURES if has_feature(version, feature)} == expected
