# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each version of Consul is told, whole."""

from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.consul_config import consul_config

NEW = {
    "datacenter": "a",
    "ports": {"http": -1, "https": 8501, "grpc": -1, "grpc_tls": -1},
    "acl": {"enabled": True, "tokens": {"agent": "A", "dns": "D", "initial_management": "M", "replication": "R"}},
    "tls": {
        "defaults": {"ca_file": "ca", "cert_file": "crt", "key_file": "key", "verify_incoming": True, "verify_outgoing": True},
        "internal_rpc": {"verify_server_hostname": True},
        "https": {"verify_incoming": False},
    },
    "ui_config": {"enabled": True},
}
FLAT_TLS = {
    "ca_file": "ca",
    "cert_file": "crt",
    "key_file": "key",
    "verify_outgoing": True,
    "verify_incoming_rpc": True,
    "verify_incoming_https": False,
    "verify_server_hostname": True,
}


@pytest.mark.parametrize("version", ["1.17.0", "1.22.6", "2.0.1"])
def test_today_nothing_changes(version):
    assert consul_config(NEW, version) == NEW


def test_before_117_dns_has_the_default_token():
    for version in ("1.16.9", "1.14.0"):
        tokens = consul_config(NEW, version)["acl"]["tokens"]
        assert tokens == {"agent": "A", "default": "D", "initial_management": "M", "replication": "R"}


def test_before_114_there_is_no_port_for_grpc_with_tls():
    assert "grpc_tls" in consul_config(NEW, "1.14.0")["ports"]
    assert consul_config(NEW, "1.13.9")["ports"] == {"http": -1, "https": 8501, "grpc": -1}


def test_before_112_tls_is_single_keys():
    assert "tls" in consul_config(NEW, "1.12.0")
    result = consul_config(NEW, "1.11.11")
    assert "tls" not in result
    assert {name: result[name] for name in FLAT_TLS} == FLAT_TLS


def test_before_111_the_first_token_is_the_master():
    assert consul_config(NEW, "1.11.0")["acl"]["tokens"]["initial_management"] == "M"
    assert consul_config(NEW, "1.10.12")["acl"]["tokens"] == {"agent": "A", "default": "D", "master": "M", "replication": "R"}


def test_debians_version_whole():
    assert consul_config(NEW, "1.8.7") == {
        "datacenter": "a",
        "ports": {"http": -1, "https": 8501, "grpc": -1},
        "acl": {"enabled": True, "tokens": {"agent": "A", "default": "D", "master": "M", "replication": "R"}},
        "ui": True,
        **FLAT_TLS,
    }


def test_a_part_of_a_configuration_stays_a_part():
    assert consul_config({"encrypt": "key"}, "1.8.7") == {"encrypt": "key"}
    assert consul_config({"acl": {"tokens": {"dns": "D"}}}, "1.8.7") == {"acl": {"tokens": {"default": "D"}}}


def test_the_input_stays_as_it_is():
    before = copy.deepcopy(NEW)
    consul_config(NEW, "1.8.7")
    assert NEW == before


@pytest.mark.parametrize(
    ("config", "version", "message"),
    [
        (NEW, "1.8.0", "too old"),
        (NEW, "1.7.14", "too old"),
        (NEW, "", "no version"),
        (NEW, "new", "no version"),
        ([], "1.8.7", "is a dictionary"),
    ],
)
def test_what_is_refused(config, version, message):
    with pytest.raises(AnsibleFilterError, match=message):
        consul_config(config, version)


class NotRenderedYet(dict):
    """Such as Ansible gives to a filter that is called inside another template."""

    def __deepcopy__(self, memo):
        raise AssertionError("a copy of the template engine does not work")


def test_what_is_not_rendered_yet_is_not_copied_as_such():
    config = NotRenderedYet(acl=NotRenderedYet(tokens=NotRenderedYet(dns="d")))
    assert consul_config(config, "1.8.7") == {"acl": {"tokens": {"default": "d"}}}
    assert config == {"acl": {"tokens": {"dns": "d"}}}
