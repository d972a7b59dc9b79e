#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: consul_restart
short_description: Restart a Consul agent without losing the quorum
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Restarts the Consul agent of this host and waits until it is healthy again and its datacenter has a leader.
  - A server is restarted only when enough of the others are healthy. It waits for them for O(timeout), and then refuses.
  - The only server of a datacenter is restarted, as there is nobody to wait for; so is one that has known no leader for O(timeout).
extends_documentation_fragment:
  - multiregion.paas.consul_agent
options:
  name:
    description: The agent's node name.
    type: str
    required: true
  server:
    description: Whether it is a server.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the others before the restart, and for this one after it.
    type: int
    default: 90
attributes:
  check_mode:
    support: full
    description: Tells whether the quorum allows it.
  diff_mode:
    support: none
    description: There is nothing to show.
  platform:
    support: full
    platforms: posix
    description: Hosts with systemd.
notes:
  - Supports C(check_mode).
seealso:
  - module: multiregion.paas.consul_state
"""

EXAMPLES = r"""
- name: Restart the server
  multiregion.paas.consul_restart:
    name: "{{ inventory_hostname }}"
    server: true
    ca_file: /etc/paas/consul/tls/ca.crt
    token: "{{ paas_consul_tokens.operator }}"
  throttle: 1
"""

RETURN = r""" # """

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._consul.client import AGENT_OPTIONS
from ansible_collections.multiregion.paas.plugins.module_utils._consul.errors import ConsulError
from ansible_collections.multiregion.paas.plugins.module_utils._consul.restart import run


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "server": {"type": "bool", "default": False},
            **AGENT_OPTIONS,
            "timeout": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except ConsulError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
