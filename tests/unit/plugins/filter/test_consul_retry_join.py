# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.consul_retry_join import consul_retry_join

HOSTVARS = {
    "a1": {"paas_region": "a", "paas_private_address": "10.0.0.12"},
    "a2": {"paas_region": "a", "paas_private_address": "10.0.0.9"},
    "a3": {"paas_region": "a", "paas_private_address": "2001:db8::1"},
    "b1": {"paas_region": "b", "paas_private_address": "10.1.0.1"},
    "c1": {"paas_region": "c", "paas_private_address": "10.2.0.1"},
    "nowhere": {"paas_private_address": "10.3.0.1"},
    "silent": {"paas_region": "a"},
    "wrong": {"paas_region": "a", "paas_private_address": "a.example.com"},
}
SERVERS = ["a1", "a2", "a3", "b1", "c1"]


def test_the_own_region():
    assert consul_retry_join(HOSTVARS, SERVERS, "a") == ["10.0.0.9", "10.0.0.12", "[2001:db8::1]"]


def test_the_other_regions():
    assert consul_retry_join(HOSTVARS, SERVERS, "a", wan=True) == ["10.1.0.1", "10.2.0.1"]
    assert consul_retry_join(HOSTVARS, SERVERS, "a", wan=True, absent=["b"]) == ["10.2.0.1"]
    assert consul_retry_join(HOSTVARS, ["a1"], "a", wan=True) == []


@pytest.mark.parametrize(
    ("hosts", "message"),
    [
        (["nowhere"], "nowhere has no paas_region"),
        (["silent"], "silent has no paas_private_address"),
        (["wrong"], "wrong has 'a.example.com' as its paas_private_address"),
        (["unknown"], "unknown has no paas_region"),
        ("a1", "hosts is a list"),
    ],
)
def test_bad_input(hosts, message):
    with pytest.raises(AnsibleFilterError, match=message):
        consul_retry_join(HOSTVARS, hosts, "a")
