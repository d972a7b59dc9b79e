# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database URLs of an app, from the database nodes of an estate."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: database_urls
short_description: The database URLs of an app
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Makes the URLs by which an app in one region reaches the estate's PostgreSQL servers, for libpq and what is built on it.
  - Every URL names all servers. C(MASTER_DATABASE_URL) and C(DATABASE_URL) lead to the one that accepts writes, whichever it is.
    C(READ_DATABASE_URL) leads to the nearest one that answers.
  - The order depends on the inventory only. A switchover or failover needs no new URLs and no restart.
  - A dead server is given up after O(connect_timeout) and the next is tried; a connection that stops answering breaks after
    O(tcp_user_timeout).
positional: _input
options:
  _input:
    description:
      - The database servers in inventory order, each with C(host), C(region) and, unless it is 5432, C(port).
    type: list
    elements: dict
    required: true
  database:
    description:
      - The database. Its roles are named after it, with C(_owner), C(_rw) or C(_ro) at the end.
    type: str
    required: true
  passwords:
    description:
      - The passwords of the roles, by C(read_write), C(read_only) and C(owner).
    type: dict
    required: true
  region:
    description:
      - The region of the app. Its servers come first in C(READ_DATABASE_URL).
    type: str
    required: true
  primary_region:
    description:
      - The region where the primary was first created. Its servers come first in the other two; they are tried in order.
    type: str
  nearest:
    description:
      - Regions by their distance from O(region), nearest first, such as P(multiregion.paas.nearest_regions#filter) gives. Orders what
        follows the own region's servers in C(READ_DATABASE_URL). A region that is not named here comes last.
    type: list
    elements: str
    default: []
  role:
    description:
      - Who writes. V(owner) is for migrations.
    type: str
    choices: [read_write, owner]
    default: read_write
  sslrootcert:
    description:
      - Path of the CA's certificate as the app sees it.
    type: str
    default: /etc/paas/ca.crt
  connect_timeout:
    description:
      - Seconds for one server to connect, with TLS and authentication, before the next is tried.
    type: int
    default: 3
  tcp_user_timeout:
    description:
      - Milliseconds that sent data may stay unacknowledged before the connection counts as dead.
    type: int
    default: 5000
"""

EXAMPLES = r"""
- name: The configuration of an app in Ireland
  ansible.builtin.set_fact:
    todo_config: >-
      {{ [{'host': '10.0.1.21', 'region': 'us-east-1'}, {'host': '10.0.2.21', 'region': 'eu-west-1'}]
         | multiregion.paas.database_urls(database='todo', passwords=paas_database_passwords.todo,
                                          region='eu-west-1', primary_region='us-east-1') }}

# READ_DATABASE_URL is then
#   postgresql://todo_ro:...@10.0.2.21:5432,10.0.1.21:5432/todo?target_session_attrs=any&connect_timeout=3&...
"""

RETURN = r"""
_value:
  description: The keys C(MASTER_DATABASE_URL), C(DATABASE_URL) and C(READ_DATABASE_URL) with their URLs.
  type: dict
"""

_SUFFIX = {"owner": "owner", "read_write": "rw", "read_only": "ro"}


def _address(node: Mapping[str, t.Any]) -> str:
    host = str(node["host"])
    return (f"[{host}]" if ":" in host else host) + f":{node.get('port', 5432)}"


def _url(nodes: Sequence[Mapping[str, t.Any]], database: str, role: str, password: str, options: Mapping[str, t.Any]) -> str:
    user = quote(f"{database}_{_SUFFIX[role]}", safe="")
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in options.items())
    hosts = ",".join(_address(node) for node in nodes)
    return f"postgresql://{user}:{quote(password, safe='')}@{hosts}/{quote(database, safe='')}?{query}"


def database_urls(
    nodes: t.Any,
    database: str,
    passwords: t.Any,
    region: str,
    primary_region: t.Optional[str] = None,
    nearest: Sequence[str] = (),
    role: str = "read_write",
    sslrootcert: str = "/etc/paas/ca.crt",
    connect_timeout: int = 3,
    tcp_user_timeout: int = 5000,
) -> dict[str, str]:
    if not isinstance(nodes, Sequence) or isinstance(nodes, str) or not nodes:
        raise AnsibleFilterError("database_urls needs a list with at least one database server")
    for node in nodes:
        if not isinstance(node, Mapping) or not node.get("host") or not node.get("region"):
            raise AnsibleFilterError("database_urls: every database server needs host and region")
    addresses = [_address(node) for node in nodes]
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise AnsibleFilterError("database_urls: servers named twice: " + ", ".join(twice))
    if role not in ("read_write", "owner"):
        raise AnsibleFilterError(f"database_urls: role is read_write or owner, not {role}")
    for name in (role, "read_only"):
        if not isinstance(passwords, Mapping) or not passwords.get(name):
            raise AnsibleFilterError(f"database_urls: no password {name} for the database {database}")

    ranks = {name: rank for rank, name in enumerate(nearest, start=1)}
    # sorted() is stable: within a region and for all that is not named, the inventory's order stays.
    writing = sorted(nodes, key=lambda node: node["region"] != primary_region)
    reading = sorted(nodes, key=lambda node: 0 if node["region"] == region else ranks.get(node["region"], len(ranks) + 1))
    common = {
        "connect_timeout": connect_timeout,
        "tcp_user_timeout": tcp_user_timeout,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "sslmode": "verify-full",
        "sslrootcert": sslrootcert,
    }
    write = _url(writing, database, role, passwords[role], {"target_session_attrs": "read-write", **common})
    # With prefer-standby the own node would be skipped while it is the primary: the nearest that answers is wanted.
    read = _url(reading, database, "read_only", passwords["read_only"], {"target_session_attrs": "any", **common})
    return {"MASTER_DATABASE_URL": write, "DATABASE_URL": write, "READ_DATABASE_URL": read}


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"database_urls": database_urls}
