# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may reach what on a host, from the inventory."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: firewall_openings
short_description: Who may reach what on a host of the estate
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Reads the estate's groups and addresses and returns what a host has to let in. Everything else is to be dropped.
  - Web hosts let everybody in on 80 and 443, by UDP too where C(nginx_edge) and C(http3) in C(nginx_features) say that nginx listens there.
    SSH is open to everybody on admin hosts, and on all others to the admin hosts only.
    Postgres, Consul, Valkey and the image registry are open to those hosts of the estate that need them.
positional: _input
options:
  _input:
    description: The variables of every host, by host name, as C(hostvars) holds them.
    type: dict
    required: true
  groups:
    description: The inventory's groups, as the variable C(groups) holds them.
    type: dict
    required: true
  host:
    description: The host that the openings are for.
    type: str
    required: true
  ssh_port:
    description: The port that the host's SSH server listens on.
    type: int
    default: 22
"""

EXAMPLES = r"""
- name: Show who may reach this host
  ansible.builtin.debug:
    msg: "{{ hostvars | multiregion.paas.firewall_openings(groups, inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The openings, each with what it is for.
  type: list
  elements: dict
  contains:
    name:
      description: What it is for.
      type: str
    protocols:
      description: V(tcp), V(udp) or both.
      type: list
      elements: str
    ports:
      description: The ports.
      type: list
      elements: int
    sources:
      description: The addresses that are let in. Empty for everybody.
      type: list
      elements: str
"""

GROUPS = ("paas_admin", "paas_postgres", "paas_dokku", "paas_edge", "paas_consul_servers")


class _Estate:
    def __init__(self, hostvars: Mapping, groups: Mapping, host: str) -> None:
        self.hostvars = hostvars
        self.members = {name: list(groups.get(name, ())) for name in GROUPS}
        self.all = list(dict.fromkeys(member for name in GROUPS for member in self.members[name]))
        self.host = host

    def is_in(self, group: str) -> bool:
        return self.host in self.members[group]

    def region(self, host: str) -> str:
        return str(self.hostvars[host].get("paas_region", ""))

    def same_region(self, hosts: Iterable[str]) -> list:
        return [host for host in hosts if self.region(host) == self.region(self.host)]

    def addresses(self, hosts: Iterable[str], public: bool = False) -> list:
        """Private addresses of the other hosts, with public also what they are seen as from outside."""
        found = set()
        for host in hosts:
            if host == self.host:
                continue
            texts = [self.hostvars[host].get("paas_private_address")]
            if public:
                texts += self.hostvars[host].get("paas_public_addresses") or []
            for text in texts:
                try:
                    found.add(ipaddress.ip_address(str(text)))
                except ValueError as error:
                    raise AnsibleFilterError(f"firewall_openings: {host} has {text!r} as an address; see paas_private_address") from error
        return [str(address) for address in sorted(found, key=lambda address: (address.version, address))]


def firewall_openings(hostvars: Mapping, groups: Mapping, host: str, ssh_port: int = 22) -> list[dict]:
    """See DOCUMENTATION. Raises AnsibleFilterError for an address that is none."""
    if not isinstance(hostvars, Mapping) or not isinstance(groups, Mapping):
        raise AnsibleFilterError("firewall_openings: needs hostvars and groups")
    estate = _Estate(hostvars, groups, host)
    openings: list[dict] = []

    def everybody(name: str, ports: list, protocol: str = "tcp") -> None:
        openings.append({"name": name, "protocols": [protocol], "ports": ports, "sources": []})

    def only(name: str, ports: list, hosts: Iterable[str], protocols: tuple = ("tcp",), public: bool = False) -> None:
        sources = estate.addresses(hosts, public)
        if sources:
            openings.append({"name": name, "protocols": list(protocols), "ports": ports, "sources": sources})

    if estate.is_in("paas_admin"):
        everybody("SSH", [ssh_port])
    else:
        only("SSH from the admin hosts", [ssh_port], estate.members["paas_admin"], public=True)
    if estate.is_in("paas_dokku") or estate.is_in("paas_edge"):
        everybody("web", [80, 443])
        if hostvars[host].get("nginx_edge") and "http3" in (hostvars[host].get("nginx_features") or ()):
            everybody("web by HTTP/3", [443], "udp")
    if estate.is_in("paas_postgres"):
        only("Postgres", [5432], estate.members["paas_postgres"] + estate.members["paas_dokku"])
    if estate.is_in("paas_admin"):
        only("image registry", [5000], estate.members["paas_dokku"])
    if estate.is_in("paas_dokku"):
        here = estate.same_region(estate.members["paas_dokku"])
        if here[0] == host:
            only("Valkey", [6379], here)
    servers = estate.members["paas_consul_servers"]
    if servers:
        only("Consul gossip of the region", [8301], estate.same_region(estate.all), ("tcp", "udp"))
        if host in servers:
            only("Consul servers", [8300], [*estate.same_region(estate.all), *servers])
            only("Consul gossip between regions", [8302], servers, ("tcp", "udp"))
    return openings


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        return {"firewall_openings": firewall_openings}
