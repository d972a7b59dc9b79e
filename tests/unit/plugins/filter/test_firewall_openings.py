# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.firewall_openings import firewall_openings

HOSTVARS = {
    "admin": {"paas_region": "a", "paas_private_address": "10.1.0.5", "paas_public_addresses": ["203.0.113.5", "2001:db8::5"]},
    "a-web-1": {"paas_region": "a", "paas_private_address": "10.1.0.11"},
    "a-web-2": {"paas_region": "a", "paas_private_address": "10.1.0.12"},
    "a-pg": {"paas_region": "a", "paas_private_address": "10.1.0.21"},
    "b-web": {"paas_region": "b", "paas_private_address": "10.2.0.11"},
    "b-pg": {"paas_region": "b", "paas_private_address": "10.2.0.21"},
}
GROUPS = {
    "paas_admin": ["admin"],
    "paas_dokku": ["a-web-1", "a-web-2", "b-web"],
    "paas_postgres": ["a-pg", "b-pg"],
    "paas_consul_servers": ["a-pg", "b-pg"],
}


def openings(host, groups=None, hostvars=None, **options):
    found = firewall_openings(hostvars or HOSTVARS, groups or GROUPS, host, **options)
    return {opening["name"]: (opening["protocols"], opening["ports"], opening["sources"]) for opening in found}


ADMIN = ["10.1.0.5", "203.0.113.5", "2001:db8::5"]
BOTH = ["tcp", "udp"]


def test_an_admin_host():
    assert openings("admin") == {
        "SSH": (["tcp"], [22], []),
        "image registry": (["tcp"], [5000], ["10.1.0.11", "10.1.0.12", "10.2.0.11"]),
        "Consul gossip of the region": (BOTH, [8301], ["10.1.0.11", "10.1.0.12", "10.1.0.21"]),
    }


def test_the_first_web_host_of_a_region_has_its_valkey():
    assert openings("a-web-1") == {
        "SSH from the admin hosts": (["tcp"], [22], ADMIN),
        "web": (["tcp"], [80, 443], []),
        "Valkey": (["tcp"], [6379], ["10.1.0.12"]),
        "Consul gossip of the region": (BOTH, [8301], ["10.1.0.5", "10.1.0.12", "10.1.0.21"]),
    }


def test_another_web_host_has_not():
    assert "Valkey" not in openings("a-web-2")
    # Nobody else is there to use it.
    assert "Valkey" not in openings("b-web")


def test_a_database_host_that_is_a_consul_server():
    assert openings("b-pg") == {
        "SSH from the admin hosts": (["tcp"], [22], ADMIN),
        "Postgres": (["tcp"], [5432], ["10.1.0.11", "10.1.0.12", "10.1.0.21", "10.2.0.11"]),
        "Consul gossip of the region": (BOTH, [8301], ["10.2.0.11"]),
        "Consul servers": (["tcp"], [8300], ["10.1.0.21", "10.2.0.11"]),
        "Consul gossip between regions": (BOTH, [8302], ["10.1.0.21"]),
    }


def test_without_consul_nothing_is_open_for_it():
    groups = {name: members for name, members in GROUPS.items() if name != "paas_consul_servers"}
    assert set(openings("b-pg", groups)) == {"SSH from the admin hosts", "Postgres"}


def test_ssh_on_a_port_of_its_own():
    assert openings("admin", ssh_port=2222)["SSH"] == (["tcp"], [2222], [])
    assert openings("b-web", ssh_port=2222)["SSH from the admin hosts"][1] == [2222]


def test_a_second_admin_host_is_a_second_way_in():
    groups = {**GROUPS, "paas_admin": ["admin", "b-web"]}
    assert openings("a-pg", groups)["SSH from the admin hosts"][2] == ["10.1.0.5", "10.2.0.11", "203.0.113.5", "2001:db8::5"]
    assert openings("b-web", groups)["SSH"] == (["tcp"], [22], [])


def test_an_edge_host_is_a_web_host():
    hostvars = {**HOSTVARS, "edge": {"paas_region": "a", "paas_private_address": "10.1.0.31"}}
    assert openings("edge", {**GROUPS, "paas_edge": ["edge"]}, hostvars)["web"] == (["tcp"], [80, 443], [])


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"nginx_edge": [{"name": "todo"}]}, None),
        ({"nginx_features": ["http2", "http3"]}, None),
        ({"nginx_edge": [{"name": "todo"}], "nginx_features": ["http2", "http3"]}, (["udp"], [443], [])),
    ],
)
def test_an_edge_with_http3_is_reached_by_udp(variables, expected):
    hostvars = {**HOSTVARS, "a-web-1": {**HOSTVARS["a-web-1"], **variables}}
    assert openings("a-web-1", hostvars=hostvars).get("web by HTTP/3") == expected


@pytest.mark.parametrize("address", [None, "a.example.com", "10.1.0.300"])
def test_an_address_that_is_none(address):
    hostvars = {**HOSTVARS, "b-web": {"paas_region": "b", "paas_private_address": address}}
    with pytest.raises(AnsibleFilterError, match="b-web"):
        openings("b-pg", hostvars=hostvars)


def test_what_is_no_inventory():
    with pytest.raises(AnsibleFilterError, match="hostvars and groups"):
        firewall_openings([], GROUPS, "admin")
