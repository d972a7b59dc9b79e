# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the endpoints of route53_latency from an inventory."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: latency_endpoints
short_description: Make the endpoints of route53_latency from an inventory
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Groups hosts by region and returns one endpoint for each, with the public addresses of all its hosts.
  - Only inventory variables are read, so hosts that do not answer are in the result as well. Health checks steer away from them.
positional: _input
options:
  _input:
    description: The variables of every host, by host name, as C(hostvars) holds them.
    type: dict
    required: true
  hosts:
    description: The hosts that users are sent to, as C(groups['paas_dokku']) names them.
    type: list
    elements: str
    required: true
  addresses:
    description: The variable that holds the list of a host's public IPv4 and IPv6 addresses.
    type: str
    default: paas_public_addresses
  region:
    description: The variable that holds a host's region. It becomes the label, the first part of the regional names.
    type: str
    default: paas_region
  aws_region:
    description: The variable that holds the nearest AWS region. Where a host has none, its region is taken for one.
    type: str
    default: paas_aws_region
seealso:
  - plugin: multiregion.paas.route53_latency
    plugin_type: module
"""

EXAMPLES = r"""
- name: Send users to the nearest region
  multiregion.paas.route53_latency:
    zone: example.com
    names: [app.example.com]
    endpoints: "{{ hostvars | multiregion.paas.latency_endpoints(groups['paas_dokku']) }}"
"""

RETURN = r"""
_value:
  description: One endpoint a region, ordered by label.
  type: list
  elements: dict
  sample:
    - label: eu-west-1
      region: eu-west-1
      addresses: [198.51.100.11]
    - label: us-east-1
      region: us-east-1
      addresses: [203.0.113.11, 203.0.113.12]
"""


def _address_order(address: str):
    parsed = ipaddress.ip_address(address)
    return parsed.version, parsed.packed


def latency_endpoints(
    hostvars: Mapping,
    hosts: Sequence,
    addresses: str = "paas_public_addresses",
    region: str = "paas_region",
    aws_region: str = "paas_aws_region",
) -> list[dict]:
    if not isinstance(hostvars, Mapping):
        raise AnsibleFilterError("latency_endpoints: the input is hostvars, a dictionary")
    if isinstance(hosts, str) or not isinstance(hosts, Sequence):
        raise AnsibleFilterError("latency_endpoints: hosts is a list of host names")
    problems: list[str] = []
    found: dict[str, dict] = {}
    for host in hosts:
        if host not in hostvars:
            problems.append(f"{host} is not in the inventory")
            continue
        variables = hostvars[host]
        label = variables.get(region)
        if not label:
            problems.append(f"{host} has no {region}")
            continue
        listed = variables.get(addresses)
        if not listed or isinstance(listed, str):
            problems.append(f"{host} has no list of addresses in {addresses}")
            continue
        nearest = variables.get(aws_region) or label
        endpoint = found.setdefault(label, {"label": label, "region": nearest, "addresses": []})
        if endpoint["region"] != nearest:
            problems.append(f"{host} names {nearest} in {aws_region}, but {label}'s other hosts name {endpoint['region']}")
        for text in listed:
            try:
                address = str(ipaddress.ip_address(str(text)))
            except ValueError:
                problems.append(f"{host}: {text!r} in {addresses} is no IP address")
                continue
            if address not in endpoint["addresses"]:
                endpoint["addresses"].append(address)
    owners: dict[str, str] = {}
    for label, endpoint in found.items():
        other = owners.setdefault(endpoint["region"], label)
        if other != label:
            problems.append(
                f"{other} and {label} both name the AWS region {endpoint['region']}, which Route 53 can send to one of them only: "
                f"name the next nearest in {aws_region} of one"
            )
        endpoint["addresses"].sort(key=_address_order)
    if problems:
        raise AnsibleFilterError("latency_endpoints: " + "; ".join(problems))
    return [found[label] for label in sorted(found)]


class FilterModule:
    def filters(self):
        return {"latency_endpoints": latency_endpoints}
