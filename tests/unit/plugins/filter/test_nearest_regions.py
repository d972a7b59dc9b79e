# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.nearest_regions import nearest_regions

TIMES = [
    {"between": ["us-east-1", "eu-west-1"], "ms": 75},
    {"between": ["us-east-1", "ap-southeast-2"], "ms": 200},
    {"between": ["eu-west-1", "ap-southeast-2"], "ms": "255"},
]


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("us-east-1", ["eu-west-1", "ap-southeast-2"]),
        ("eu-west-1", ["us-east-1", "ap-southeast-2"]),
        ("ap-southeast-2", ["us-east-1", "eu-west-1"]),
        ("sa-east-1", ["ap-southeast-2", "eu-west-1", "us-east-1"]),
    ],
)
def test_order(region, expected):
    assert nearest_regions(region, TIMES) == expected


def test_a_dictionary_and_its_directions():
    times = {"a": {"b": 10, "c": 5}, "b": {"a": 1}}
    assert nearest_regions("a", times) == ["c", "b"]
    assert nearest_regions("b", times) == ["a", "c"]
    assert nearest_regions("c", times) == ["a", "b"]


def test_only_some_regions_and_the_unmeasured_last():
    regions = ["us-east-1", "eu-west-1", "zz", "aa", "ap-southeast-2"]
    assert nearest_regions("us-east-1", TIMES, regions=regions, absent=["eu-west-1"]) == ["ap-southeast-2", "aa", "zz"]
    assert nearest_regions("us-east-1", TIMES, itself=True)[0] == "us-east-1"


@pytest.mark.parametrize(
    "arguments",
    [
        ["", TIMES],
        [1, TIMES],
        ["a", "text"],
        ["a", [{"between": ["a"], "ms": 1}]],
        ["a", [{"between": ["a", "b"], "ms": -1}]],
        ["a", [{"between": ["a", "b"], "ms": "far"}]],
        ["a", {"a": 1}],
        ["a", TIMES, "b"],
    ],
)
def test_bad_input(arguments):
    with pytest.raises(AnsibleFilterError, match="nearest_regions: "):
        nearest_regions(*arguments)
