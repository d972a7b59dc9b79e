# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an inventory to endpoints."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.latency_endpoints import latency_endpoints


def host(region, *addresses, **more):
    return {"paas_region": region, "paas_public_addresses": list(addresses), **more}


HOSTVARS = {
    "us-1": host("us-east-1", "203.0.113.12", "2001:DB8::12"),
    "us-2": host("us-east-1", "203.0.113.2"),
    "eu-1": host("eu-west-1", "198.51.100.11"),
    "bare": {},
}


def test_one_endpoint_a_region_with_all_addresses_in_order():
    assert latency_endpoints(HOSTVARS, ["us-1", "eu-1", "us-2"]) == [
        {"label": "eu-west-1", "region": "eu-west-1", "addresses": ["198.51.100.11"]},
        {"label": "us-east-1", "region": "us-east-1", "addresses": ["203.0.113.2", "203.0.113.12", "2001:db8::12"]},
    ]


def test_the_order_of_hosts_does_not_matter():
    assert latency_endpoints(HOSTVARS, ["us-1", "eu-1", "us-2"]) == latency_endpoints(HOSTVARS, ["us-2", "us-1", "eu-1"])


def test_hosts_outside_aws_name_the_nearest_region():
    hostvars = {"a": host("falkenstein", "203.0.113.1", paas_aws_region="eu-central-1")}
    assert latency_endpoints(hostvars, ["a"]) == [{"label": "falkenstein", "region": "eu-central-1", "addresses": ["203.0.113.1"]}]


def test_an_empty_aws_region_is_none():
    assert latency_endpoints({"a": host("eu-west-1", "203.0.113.1", paas_aws_region="")}, ["a"])[0]["region"] == "eu-west-1"


def test_other_variables_may_be_named():
    hostvars = {"a": {"where": "eu-west-1", "ips": ["203.0.113.1"], "near": "eu-west-2"}}
    found = latency_endpoints(hostvars, ["a"], addresses="ips", region="where", aws_region="near")
    assert found == [{"label": "eu-west-1", "region": "eu-west-2", "addresses": ["203.0.113.1"]}]


def test_the_same_address_on_two_hosts_of_a_region_is_listed_once():
    hostvars = {"a": host("eu-west-1", "203.0.113.1"), "b": host("eu-west-1", "203.0.113.1")}
    assert latency_endpoints(hostvars, ["a", "b"])[0]["addresses"] == ["203.0.113.1"]


def test_no_hosts_are_no_endpoints():
    assert latency_endpoints(HOSTVARS, []) == []


@pytest.mark.parametrize(
    ("hostvars", "hosts", "words"),
    [
        (HOSTVARS, ["nobody"], "nobody is not in the inventory"),
        (HOSTVARS, ["bare"], "bare has no paas_region"),
        ({"a": {"paas_region": "eu-west-1"}}, ["a"], "a has no list of addresses"),
        ({"a": {"paas_region": "eu-west-1", "paas_public_addresses": "203.0.113.1"}}, ["a"], "a has no list of addresses"),
        ({"a": host("eu-west-1", "203.0.113")}, ["a"], "'203.0.113' in paas_public_addresses is no IP address"),
        (
            {"a": host("one", "203.0.113.1", paas_aws_region="eu-west-1"), "b": host("two", "203.0.113.2", paas_aws_region="eu-west-1")},
            ["a", "b"],
            "one and two both name the AWS region eu-west-1",
        ),
        (
            {"a": host("one", "203.0.113.1", paas_aws_region="eu-west-1"), "b": host("one", "203.0.113.2")},
            ["a", "b"],
            "b names one in paas_aws_region, but one's other hosts name eu-west-1",
        ),
        ([], ["a"], "hostvars, a dictionary"),
        (HOSTVARS, "us-1", "list of host names"),
    ],
)
def test_what_is_wrong_is_said(hostvars, hosts, words):
    with pytest.raises(AnsibleFilterError, match=words):
        latency_endpoints(hostvars, hosts)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(AnsibleFilterError, match="bare has no paas_region; nobody is not"):
        latency_endpoints(HOSTVARS, ["bare", "nobody"])
