# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory that users copy passes the check that every playbook begins with, once its hosts answer and its secrets are made."""

from __future__ import annotations

from pathlib import Path

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.multiregion.paas.plugins.filter.estate_problems import estate_problems
from ansible_collections.multiregion.paas.plugins.filter.estate_secrets import estate_secrets

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS = {"distribution": "Debian", "distribution_version": "13.1", "effective_user_id": 0}
# Those of preflight.yml.
SECRETS = (
    "paas_ca_key", "paas_ca_certificate", "paas_postgres_replication_password", "paas_registry_password", "paas_valkey_password",
    "paas_consul_gossip_key", "paas_consul_tokens",
)  # fmt: skip


def problems(made):
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(REPOSITORY / "inventories" / "prod")])
    manager = VariableManager(loader=loader, inventory=inventory)
    manager._extra_vars = made
    for host in inventory.get_hosts():
        manager.set_host_facts(host.name, FACTS)
    return estate_problems(HostVars(inventory, manager, loader), inventory.get_groups_dict(), secrets=SECRETS)


def test_the_example_inventory_is_whole():
    apps = yaml.safe_load((REPOSITORY / "inventories/prod/group_vars/all/estate.yml").read_text(encoding="utf-8"))["paas_apps"]
    assert problems(estate_secrets({}, apps=apps)) == []


def test_without_secrets_it_says_so():
    found = problems({})
    assert found and all("playbooks/init_secrets.yml" in problem for problem in found), found
