# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.status_table import status_table


def test_columns_are_the_plain_values():
    rows = [
        {"host": "us", "lag": None, "fenced": False, "slots": [1], "problems": []},
        {"host": "eu-west", "lag": 12, "fenced": True, "slots": [], "problems": ["is fenced"]},
    ]
    assert status_table({"postgres": rows, "apps": []}) == [
        "== postgres",
        "host     lag  fenced",
        "us       -    no",
        "eu-west  12   yes",
        "",
        "== apps",
        "nothing",
        "",
        "== problems",
        "eu-west is fenced",
    ]


def test_no_problem_is_said_too():
    assert status_table({"apps": [{"app": "todo"}]})[-2:] == ["== problems", "none"]


@pytest.mark.parametrize("report", [None, [], {"postgres": ["us"]}])
def test_anything_else_is_refused(report):
    with pytest.raises(AnsibleFilterError, match="sections by name"):
        status_table(report)
