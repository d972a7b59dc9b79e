#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: dns_addresses_info
short_description: Ask the authoritative DNS servers where they send a client
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Asks every authoritative server of each name's zone for its A and AAAA records, past all caches, on behalf of a client's network
    (EDNS Client Subnet). So it tells where latency records send the users of a region, wherever it runs.
requirements:
  - dnspython >= 2.4
options:
  names:
    description:
      - The names to ask for.
    type: list
    elements: str
    required: true
  client:
    description:
      - An address of the client's network, of which the first 24 bits are sent, 56 of an IPv6 address. Not given, the servers see who asks.
    type: str
  nameservers:
    description:
      - Servers to ask instead of the delegated ones, by address or name, with C(:port) where it is not 53.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Changes nothing.
  diff_mode:
    support: none
    description: Changes nothing.
seealso:
  - module: multiregion.paas.route53_latency
"""

EXAMPLES = r"""
- name: Wait until nobody of Virginia is sent to a drained host
  multiregion.paas.dns_addresses_info:
    names: [todo.example.com]
    client: 198.51.100.11
  register: sent
  until: "'198.51.100.11' not in sent.addresses['todo.example.com']"
  retries: 30
  delay: 5
  delegate_to: localhost
"""

RETURN = r"""
addresses:
  description: By name, every address that at least one of the servers answers with. Empty where no server has the name or an address of it.
  returned: success
  type: dict
  sample:
    todo.example.com: [203.0.113.11, 203.0.113.12]
"""

import ipaddress

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import AcmeError
from ansible_collections.multiregion.paas.plugins.module_utils._acme.resolve import DNSPYTHON_IMPORT_ERROR, Dns, sent_to


def main():
    module = AnsibleModule(
        argument_spec=dict(
            names=dict(type="list", elements="str", required=True),
            client=dict(type="str"),
            nameservers=dict(type="list", elements="str", default=[]),
        ),
        supports_check_mode=True,
    )
    if DNSPYTHON_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("dnspython"), exception=DNSPYTHON_IMPORT_ERROR)
    client = module.params["client"]
    try:
        if client:
            ipaddress.ip_address(client)
    except ValueError:
        module.fail_json(msg="client: %r is no IP address" % client)
    try:
        dns = Dns(module.params["nameservers"])
        addresses = {name: sent_to(dns, name, client) for name in module.params["names"]}
    except AcmeError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, addresses=addresses)


if __name__ == "__main__":
    main()
