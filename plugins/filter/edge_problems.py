# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the sites of an edge before nginx gets them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: edge_problems
short_description: List everything that is wrong with the sites of an edge
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Reads the sites that the role C(nginx) is to serve from instances that Consul knows, and returns one sentence for each thing that is wrong.
  - An empty list means that they can be served.
positional: _input, dokku_names
options:
  _input:
    description: The sites, as C(nginx_edge) of the role C(nginx) holds them.
    type: list
    elements: dict
    required: true
  dokku_names:
    description: The names that Dokku serves on the same host.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Show what is wrong with the sites
  ansible.builtin.debug:
    msg: "{{ nginx_edge | multiregion.paas.edge_problems(['todo.example.com']) }}"
"""

RETURN = r"""
_value:
  description: One sentence a problem, with the site and what to do.
  type: list
  elements: str
"""

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
NAME = re.compile(r"(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
PATH = re.compile(r"/[^\s;{}\"'\\$]+")
SIZE = re.compile(r"[0-9]+[kKmMgG]?")
# nginx takes 0 as "at once", which no answer survives.
TIME = re.compile(r"[1-9][0-9]*(ms|[smhd])?")


def _own_problems(label: str, site: Mapping) -> Iterator[str]:
    """What is wrong with a site by itself."""
    if not LABEL.fullmatch(str(site.get("name") or "")):
        yield f"{label}: its name is to have lower case letters, digits and hyphens only."
    names = site.get("server_names")
    if isinstance(names, str) or not isinstance(names, Sequence) or not names:
        yield f"{label}: server_names is to be a list of the names that users ask for."
    else:
        for name in names:
            if not NAME.fullmatch(str(name)):
                yield f"{label}: {name!r} in server_names is no name of a host in lower case."
    if site.get("service") is not None and not LABEL.fullmatch(str(site["service"])):
        yield f"{label}: service is to be the name of a prepared query of Consul, such as app-todo."
    if site.get("host") is not None and (not NAME.fullmatch(str(site["host"])) or str(site["host"]).startswith("*")):
        yield f"{label}: host is to be the one name that the instances are asked for."
    for key in ("certificate", "certificate_key"):
        if not PATH.fullmatch(str(site.get(key) or "")):
            yield f"{label}: {key} is to be the absolute path of a file on the host."
    if not PATH.fullmatch(str(site.get("health_path", "/health"))):
        yield f"{label}: health_path is to be a path such as /.well-known/region-health."
    if not SIZE.fullmatch(str(site.get("max_body", "1m"))):
        yield f"{label}: max_body is to be a size such as 20m."
    if not TIME.fullmatch(str(site.get("read_timeout", "60s"))):
        yield f"{label}: read_timeout is to be a time such as 60s or 1h."


def edge_problems(sites: Sequence, dokku_names: Sequence = ()) -> list[str]:
    """See DOCUMENTATION. Raises AnsibleFilterError for what is no list of sites."""
    if isinstance(sites, str) or not isinstance(sites, Sequence) or not all(isinstance(site, Mapping) for site in sites):
        raise AnsibleFilterError("edge_problems: the input is a list of sites, each a dictionary")
    problems: list[str] = []
    owners: dict[str, str] = {}
    named: set[str] = set()
    for number, site in enumerate(sites, start=1):
        label = f"Site {site.get('name') or number}"
        problems += _own_problems(label, site)
        if site.get("name") in named:
            problems.append(f"{label}: there are two of that name.")
        named.add(site.get("name"))
        names = site.get("server_names")
        for name in names if isinstance(names, Sequence) and not isinstance(names, str) else ():
            if owners.setdefault(str(name), label) != label:
                problems.append(f"{label}: {owners[str(name)]} has the name {name}, too.")
            if name in dokku_names:
                problems.append(
                    f"{label}: Dokku serves {name} on this host, so the request would come back to the edge for ever. Give the site another name, "
                    "and as host the name that Dokku serves; or put the edge on hosts of its own, in the group paas_edge."
                )
    return problems


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        return {"edge_problems": edge_problems}
