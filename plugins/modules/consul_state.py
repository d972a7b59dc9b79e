#!/usr/bin/python
# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: consul_state
short_description: An estate's whole declared state in Consul
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Brings policies, tokens with secrets chosen in advance, prepared queries of every datacenter, the gossip key and the list of nodes to
    what is declared, in one task.
  - Runs on a Consul server, against its own agent over TLS.
  - A token's accessor is made from its secret, so another secret is another token. The old one goes with O(prune), after the agents
    have taken up the new one.
extends_documentation_fragment:
  - multiregion.paas.consul_agent
options:
  timeout:
    description: Seconds within which Consul has to have a leader, to have created the operator's token, and to have joined the datacenters.
    type: int
    default: 60
  datacenters:
    description: The datacenters in which the prepared queries are.
    type: list
    elements: str
    default: []
  policies:
    description: Policies. Their names begin with C(paas-); only such are ever removed.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the policy.
        type: str
        required: true
      rules:
        description: Its rules.
        type: str
        required: true
  tokens:
    description: Tokens. Their descriptions begin with C(paas) and a space; only such, and former operator's tokens, are ever removed.
    type: list
    elements: dict
    suboptions:
      description:
        description: What the token is for.
        type: str
        required: true
      secret:
        description: The token, a UUID.
        type: str
        required: true
      policies:
        description: Names of policies.
        type: list
        elements: str
      node:
        description: The node that the token may register.
        type: dict
        suboptions:
          name:
            description: Name of the node.
            type: str
            required: true
          datacenter:
            description: Its datacenter.
            type: str
            required: true
      services:
        description: The services that the token may register.
        type: list
        elements: str
  queries:
    description: >-
      Prepared queries, each in every one of O(datacenters), failing over to the others by their distance. With O(prune), others whose name
      begins with C(app-) or C(postgres-) are removed.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the query, under which DNS has it.
        type: str
        required: true
      service:
        description: The service that it finds.
        type: str
        required: true
      near:
        description: The node by whose distance the answers are sorted, such as V(_agent).
        type: str
      ttl:
        description: How long DNS clients may keep the answer.
        type: str
        default: 0s
  gossip_key:
    description: The key that all gossip is to be encrypted with. With O(prune) others go once every one of O(members) has it.
    type: str
  members:
    description: How many hosts each datacenter has, the stopped ones too.
    type: list
    elements: dict
    suboptions:
      datacenter:
        description: Name of the datacenter.
        type: str
        required: true
      agents:
        description: Number of its hosts.
        type: int
        required: true
      servers:
        description: Number of its servers.
        type: int
        required: true
  nodes:
    description: The nodes of this agent's datacenter. Others whose agent does not run are removed.
    type: list
    elements: str
  prune:
    description: Whether to remove what is not declared any more.
    type: bool
    default: false
  former_token_file:
    description: A configuration file of the agent, before it is written anew. When it has another operator's token than O(token), that one is
      used to make the servers know O(token), and nothing else is done. Without the file there is nothing to do.
    type: path
  await_tokens:
    description: Change nothing, but wait until this agent knows all O(tokens). They come to other datacenters by replication.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Reads and plans, and changes nothing.
  diff_mode:
    support: full
    description: One line a change, without secrets.
  platform:
    support: full
    platforms: posix
    description: Hosts with a Consul agent.
notes:
  - Supports C(check_mode).
seealso:
  - plugin: multiregion.paas.consul_config
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Let a host register its database
  multiregion.paas.consul_state:
    ca_file: /etc/paas/consul/tls/ca.crt
    token: "{{ paas_consul_tokens.operator }}"
    tokens:
      - description: paas register eu-west-1-pg-1
        secret: "{{ paas_consul_tokens.register }}"
        services: [postgres-primary, postgres-follower]
"""

RETURN = r"""
changes:
  description: One line a change.
  type: list
  elements: str
  returned: success
  sample: [policy paas-dns, "query postgres-primary in eu-west-1"]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.multiregion.paas.plugins.module_utils._consul.client import AGENT_OPTIONS
from ansible_collections.multiregion.paas.plugins.module_utils._consul.errors import ConsulError
from ansible_collections.multiregion.paas.plugins.module_utils._consul.runner import run

POLICY = {"name": {"type": "str", "required": True}, "rules": {"type": "str", "required": True}}
NODE = {"name": {"type": "str", "required": True}, "datacenter": {"type": "str", "required": True}}
TOKEN = {
    "description": {"type": "str", "required": True},
    "secret": {"type": "str", "required": True, "no_log": True},
    "policies": {"type": "list", "elements": "str"},
    "node": {"type": "dict", "options": NODE},
    "services": {"type": "list", "elements": "str"},
}
QUERY = {
    "name": {"type": "str", "required": True},
    "service": {"type": "str", "required": True},
    "near": {"type": "str"},
    "ttl": {"type": "str", "default": "0s"},
}
MEMBERS = {
    "datacenter": {"type": "str", "required": True},
    "agents": {"type": "int", "required": True},
    "servers": {"type": "int", "required": True},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            **AGENT_OPTIONS,
            "timeout": {"type": "int", "default": 60},
            "datacenters": {"type": "list", "elements": "str", "default": []},
            "policies": {"type": "list", "elements": "dict", "options": POLICY},
            "tokens": {"type": "list", "elements": "dict", "options": TOKEN, "no_log": False},
            "queries": {"type": "list", "elements": "dict", "options": QUERY},
            "gossip_key": {"type": "str", "no_log": True},
            "members": {"type": "list", "elements": "dict", "options": MEMBERS},
            "nodes": {"type": "list", "elements": "str"},
            "prune": {"type": "bool", "default": False},
            # A path: what it has is never told.
            "former_token_file": {"type": "path", "no_log": False},
            "await_tokens": {"type": "bool", "default": False, "no_log": False},
        },
        mutually_exclusive=[("former_token_file", "await_tokens")],
        supports_check_mode=True,
    )
    try:
        result = run(module.params, module.check_mode)
    except ConsulError as error:
        module.fail_json(msg=str(error))
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
