# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is the primary, from what every database server says of itself."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: postgres_topology
short_description: Who is the primary, from what every database server says of itself
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - The running cluster is the truth. What the inventory calls the primary's region only counts while nobody has a cluster.
  - Fails where two servers are or would come up writable, or where two different clusters are found, and shows all of them.
  - A cluster is only to be created where every server has answered and none has one.
positional: _input
options:
  _input:
    description:
      - What M(multiregion.paas.pg_follower_info) returned, by host.
    type: dict
    required: true
  hosts:
    description:
      - All database hosts of the estate, also those that were left out.
    type: list
    elements: str
    required: true
  first:
    description:
      - The hosts of the region where the primary is first created. The first of them is it.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Find the primary
  ansible.builtin.set_fact:
    topology: >-
      {{ dict(ansible_play_hosts | zip(ansible_play_hosts | map('extract', hostvars, 'postgres')))
         | multiregion.paas.postgres_topology(groups['paas_postgres'], groups['paas_region_us_east_1']) }}
"""

RETURN = r"""
_value:
  description:
    - C(primary), the primary's host, empty where no answering server is one.
    - C(exists), whether there is a cluster already.
    - C(followers), the other hosts that answered.
    - C(system_identifier) of the cluster.
    - C(servers), role, timeline, position and marks of each host.
  type: dict
"""

_SHOWN = ("role", "running", "system_identifier", "timeline", "lsn", "fenced", "detached")


def _table(servers: Mapping[str, Mapping[str, t.Any]]) -> str:
    return "; ".join(
        f"{host}: {server['role']}"
        + ("" if server["role"] == "absent" else f" ({'running' if server.get('running') else 'stopped'}, timeline {server.get('timeline')},"
           f" at {server.get('lsn')}, system identifier {server.get('system_identifier')})")
        for host, server in servers.items()
    )


def postgres_topology(servers: t.Any, hosts: Sequence[str], first: Sequence[str]) -> dict[str, t.Any]:
    if not isinstance(servers, Mapping) or any(not isinstance(server, Mapping) or "role" not in server for server in servers.values()):
        raise AnsibleFilterError("postgres_topology needs the answer of every server; one has none")
    clusters = {host: server for host, server in servers.items() if server["role"] != "absent"}
    identifiers = sorted({str(server["system_identifier"]) for server in clusters.values()})
    if len(identifiers) > 1:
        raise AnsibleFilterError("Two different clusters are in this estate, nothing was changed. " + _table(clusters))
    primaries = [host for host, server in clusters.items() if server["role"] == "primary"]
    if len(primaries) > 1:
        raise AnsibleFilterError(
            "More than one server is writable or would be when started, nothing was changed."
            " Fence the one that is not the primary (pg_follower state=fenced). " + _table({host: clusters[host] for host in primaries})
        )
    exists = bool(clusters)
    primary = primaries[0] if primaries else ""
    if not exists:
        silent = [host for host in hosts if host not in servers]
        if silent:
            raise AnsibleFilterError(
                "No database server that was asked has a cluster, and not all were asked, so that none is created: " + ", ".join(silent)
            )
        candidates = [host for host in first if host in servers]
        if not candidates:
            raise AnsibleFilterError("No database server is in the region where the primary is to be created")
        primary = candidates[0]
    return {
        "primary": primary,
        "exists": exists,
        "followers": [host for host in servers if host != primary],
        "system_identifier": identifiers[0] if identifiers else None,
        "servers": {host: {key: server.get(key) for key in _SHOWN} for host, server in servers.items()},
    }


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"postgres_topology": postgres_topology}
