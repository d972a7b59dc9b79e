# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make Consul's retry_join lists from an inventory."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: consul_retry_join
short_description: Make Consul's retry_join lists from an inventory
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Returns the private addresses of the Consul servers of one region, for C(retry_join), or of those of all other regions, for C(retry_join_wan).
  - Only inventory variables are read, so a server that does not answer is in the list as well. Consul goes on trying it.
positional: _input
options:
  _input:
    description: The variables of every host, by host name, as C(hostvars) holds them.
    type: dict
    required: true
  hosts:
    description: The Consul servers, as C(groups['paas_consul_servers']) names them.
    type: list
    elements: str
    required: true
  region:
    description: The region of the host that joins.
    type: str
    required: true
  wan:
    description: Whether the list is for C(retry_join_wan).
    type: bool
    default: false
  absent:
    description: Regions to leave out.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Write who to join
  ansible.builtin.copy:
    dest: /etc/consul.d/join.json
    content: "{{ join | to_nice_json }}"
    mode: "0644"
  vars:
    servers: "{{ groups['paas_consul_servers'] }}"
    join:
      retry_join: "{{ hostvars | multiregion.paas.consul_retry_join(servers, paas_region) }}"
      retry_join_wan: "{{ hostvars | multiregion.paas.consul_retry_join(servers, paas_region, wan=true) }}"
"""

RETURN = r"""
_value:
  description: Addresses in ascending order, IPv6 in brackets, as Consul wants it.
  type: list
  elements: str
  sample: [10.1.0.11, 10.1.0.12, "[2001:db8::11]"]
"""


def consul_retry_join(hostvars: Mapping, hosts: Sequence, region: str, wan: bool = False, absent: Sequence = ()) -> list[str]:
    if not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("consul_retry_join: the input is hostvars, a dictionary")
    for name, value in (("hosts", hosts), ("absent", absent)):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise AnsibleFilterError(f"consul_retry_join: {name} is a list")
    problems, found = [], set()
    for host in hosts:
        variables = hostvars.get(host) or {}
        its_region = variables.get("paas_region")
        if not its_region:
            problems.append(f"{host} has no paas_region")
            continue
        if its_region in absent or (its_region == region) == wan:
            continue
        address = variables.get("paas_private_address")
        try:
            found.add(ipaddress.ip_address(str(address)))
        except ValueError:
            problems.append(f"{host} has {address!r} as its paas_private_address" if address else f"{host} has no paas_private_address")
    if problems:
        raise AnsibleFilterError(f"consul_retry_join: {'; '.join(problems)}")
    ordered = sorted(found, key=lambda address: (address.version, address.packed))
    return [str(address) if address.version == 4 else f"[{address}]" for address in ordered]


class FilterModule:
    def filters(self) -> dict:
        return {"consul_retry_join": consul_retry_join}
