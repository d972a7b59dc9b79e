# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say an agent's configuration in the words of the Consul that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: consul_config
short_description: Say a Consul agent's configuration in the words of its version
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Takes an agent's configuration as Consul 1.17 and later read it and returns it as the given version reads it.
  - Before 1.17 there is no C(acl.tokens.dns), and DNS is answered with C(acl.tokens.default), which also serves every
    other request without a token. Let it read nothing that DNS does not tell.
  - Before 1.14 there is no C(ports.grpc_tls); before 1.12 the C(tls) blocks are single keys; before 1.11
    C(acl.tokens.initial_management) is called C(master); before 1.9 C(ui_config.enabled) is called C(ui).
  - Versions before 1.8.1 are refused, as they have no identities of nodes in their access lists.
positional: _input
options:
  _input:
    description: The configuration as Consul 1.17 and later read it.
    type: dict
    required: true
  version:
    description: The version of Consul that will read it, such as V(1.8.7).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Write the agent's configuration
  ansible.builtin.copy:
    content: "{{ settings | multiregion.paas.consul_config('1.8.7') | to_nice_json }}"
    dest: /etc/consul.d/agent.json
    mode: "0640"
  no_log: true
"""

RETURN = r"""
_value:
  description: The same configuration in that version's words.
  type: dict
"""

OLDEST = (1, 8, 1)


def _dns_token(config: dict) -> None:
    tokens = config.get("acl", {}).get("tokens", {})
    if "dns" in tokens:
        tokens["default"] = tokens.pop("dns")


def _grpc_tls(config: dict) -> None:
    config.get("ports", {}).pop("grpc_tls", None)


def _tls(config: dict) -> None:
    blocks = config.pop("tls", None)
    if blocks is None:
        return
    defaults, rpc, https = (blocks.get(name, {}) for name in ("defaults", "internal_rpc", "https"))
    for name in ("ca_file", "cert_file", "key_file", "verify_outgoing"):
        if name in defaults:
            config[name] = defaults[name]
    config["verify_incoming_rpc"] = rpc.get("verify_incoming", defaults.get("verify_incoming", False))
    config["verify_incoming_https"] = https.get("verify_incoming", defaults.get("verify_incoming", False))
    config["verify_server_hostname"] = rpc.get("verify_server_hostname", False)


def _management_token(config: dict) -> None:
    tokens = config.get("acl", {}).get("tokens", {})
    if "initial_management" in tokens:
        tokens["master"] = tokens.pop("initial_management")


def _ui(config: dict) -> None:
    if "ui_config" in config:
        config["ui"] = config.pop("ui_config").get("enabled", False)


# The version that brought the words, and how an older one says the same.
CHANGES = (((1, 17), _dns_token), ((1, 14), _grpc_tls), ((1, 12), _tls), ((1, 11), _management_token), ((1, 9), _ui))


def _copied(value: object) -> object:
    # Not copy.deepcopy: what Ansible has not rendered yet would be copied together with its template engine, which does not survive that.
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


def consul_config(config: Mapping, version: str) -> dict:
    """See DOCUMENTATION. Raises AnsibleFilterError for what is no configuration, no version, or a version that is too old."""
    if not isinstance(config, Mapping):
        raise AnsibleFilterError("consul_config: the configuration is a dictionary")
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", str(version))
    if not found:
        raise AnsibleFilterError(f"consul_config: {version!r} is no version of Consul such as 1.8.7")
    number = tuple(int(part) for part in found.groups())
    if number < OLDEST:
        raise AnsibleFilterError(f"consul_config: Consul {version} is too old; 1.8.1 is the oldest that works")
    result = _copied(config)
    for since, older in CHANGES:
        if number < since:
            older(result)
    return result


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        return {"consul_config": consul_config}
