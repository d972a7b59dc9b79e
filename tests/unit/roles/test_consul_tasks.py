# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role consul decides on what it has read, by its own expressions and tasks."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles" / "consul"
LOCAL, REMOTE = ("/var/lib/consul/serf/local.keyring", "/var/lib/consul/serf/remote.keyring")


def value(name, **given):
    loader = DataLoader()
    variables = {**loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True)}
    variables.update(loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True))
    variables.update(given)
    return Templar(loader=loader, variables=variables).template(variables[name])


def tasks(name):
    return {task["name"]: task for task in yaml.safe_load((ROLE / "tasks" / f"{name}.yml").read_text(encoding="utf-8"))}


def rings(**keys):
    """What slurp tells of the files; one that is not there has no content."""
    return {
        "results": [
            {"item": item, "source": f"/var/lib/consul/serf/{item}.keyring", "content": base64.b64encode(json.dumps(found).encode()).decode()}
            if found
            else {"item": item, "failed": True}
            for item, found in keys.items()
        ]
    }


def written(own, keepers):
    files = value("__consul_keyring_files", consul_gossip_key="new", __consul_keyrings=own, __consul_keeper="k", hostvars={"k": {"__consul_keyrings": keepers}})
    return [(one["path"], json.loads(one["content"]) if "content" in one else one["state"]) for one in files]


FORGOTTEN = ("/run/consul/started", "absent")


def test_a_host_that_has_the_key_is_left_alone():
    assert written(rings(local=["new"], remote=["new", "old"]), rings(local=["new"], remote=["new"])) == []


def test_the_key_goes_behind_one_that_the_others_still_have():
    """Servers restart one after the other: those that come later know only the old one."""
    found = written(rings(local=["old"], remote=["old"]), rings(local=["new", "old"], remote=["new", "old"]))
    assert found == [FORGOTTEN, (LOCAL, ["old", "new"]), (REMOTE, ["old", "new"])]


def test_the_key_goes_before_one_that_nobody_else_has():
    assert written(rings(local=["strange"]), rings(local=["new", "old"], remote=["new"])) == [FORGOTTEN, (LOCAL, ["new", "strange"])]


def test_an_agent_that_has_made_no_ring_yet():
    assert written(rings(local=None, remote=None), rings(local=["new"], remote=["new"])) == []


def test_what_is_written_forgets_the_agents_start_first():
    """The next run restarts the agent when this one is killed: see `unread` in prepare.py."""
    assert written(rings(local=["old"]), rings(local=["new"]))[0] == FORGOTTEN


@pytest.mark.parametrize(
    ("keeper", "registered", "check_mode", "may"),
    [
        ("", {}, False, False),
        ("k", {"changes": []}, False, True),
        ("k", {"changes": ["gossip key installed"]}, False, True),
        # A dry run has installed nothing.
        ("k", {"changes": ["gossip key installed"]}, True, False),
        ("k", {"changes": ["query a in b"]}, True, True),
        # The first keeper failed, and this one has written nothing.
        ("k", {"skipped": True}, False, False),
        ("k", None, False, False),
    ],
)
def test_only_a_key_that_is_in_the_ring_is_written(keeper, registered, check_mode, may):
    hostvars = {"k": {} if registered is None else {"__consul_shared": registered}}
    assert value("__consul_ring_has_key", __consul_keeper=keeper, hostvars=hostvars, ansible_check_mode=check_mode) is may


def test_servers_that_missed_the_key_restart_one_after_the_other():
    found = tasks("keyring")
    writes = found["Add the key to keyrings that missed it"]["multiregion.paas.config_files"]
    assert "service" not in writes and "take_up" not in writes
    like = tasks("run")["Restart the servers that need it, one after the other"]
    roll = found["Restart the servers that got it, one after the other"]
    assert (roll["ansible.builtin.include_tasks"], roll["loop"], roll["loop_control"]) == (
        like["ansible.builtin.include_tasks"],
        like["loop"],
        like["loop_control"],
    )
    assert "inventory_hostname == __consul_turn" in roll["when"]
    assert tasks("run")["Bring a host that missed a change of the gossip key back"]["when"] == "__consul_ring_has_key | bool"


@pytest.mark.parametrize(
    ("keeper", "changes", "new"),
    [("", [], False), ("k", [], False), ("k", ["policy paas-dns"], False), ("k", ["policy paas-dns", "token paas dns"], True)],
)
def test_new_tokens_are_awaited(keeper, changes, new):
    hostvars = {"k": {"__consul_tokens_written": {"changes": changes}}}
    assert value("__consul_new_tokens", __consul_keeper=keeper, hostvars=hostvars) is new


def test_new_tokens_are_awaited_before_any_agent_reads_them():
    order = list(tasks("run"))
    wait = order.index("Wait until the servers of all datacenters know new tokens")
    assert order.index("Write policies and tokens") < order.index("Start all other agents") < wait
    assert wait < order.index("Restart the servers that need it, one after the other") < order.index("Have tokens, services and certificates read")


def test_the_operators_token_is_handed_over_before_the_configuration_is_written():
    order = [task["ansible.builtin.import_tasks"] for task in tasks("main").values()]
    assert order.index("operator.yml") < order.index("install.yml") < order.index("configure.yml")


@pytest.mark.parametrize(("check_mode", "changed", "due"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_dry_run_asks_nothing_with_a_token_that_it_did_not_make(check_mode, changed, due):
    hostvars = {"k": {"__consul_operator": {"changed": changed}}}
    assert value("__consul_operator_due", __consul_keeper="k", hostvars=hostvars, ansible_check_mode=check_mode) is due
    assert value("__consul_operator_due", __consul_keeper="", hostvars={}, ansible_check_mode=check_mode) is False


@pytest.mark.parametrize(("repository", "paths"), [("", ["50-consul.pref"]), ("https://packages.example", ["50-consul.pref", "hashicorp.sources"])])
def test_apt_is_held_to_the_version(repository, paths):
    files = value("__consul_sources", consul_repository=repository, consul_version="1.22.*", ansible_facts={"distribution_release": "trixie"})
    assert [Path(one["path"]).name for one in files] == paths
    assert files[0]["content"].endswith("Package: consul\nPin: version 1.22.*\nPin-Priority: 1001\n")
    order = list(tasks("install"))
    assert order.index("Have this version only, and HashiCorp's packages") < order.index("Ask whether the packages would change")
    if repository:
        assert "URIs: https://packages.example\nSuites: trixie\n" in files[1]["content"]


def test_the_key_of_the_packages_may_be_held_too():
    assert tasks("install")["Have the key of HashiCorp's packages"]["ansible.builtin.get_url"]["checksum"] == "{{ consul_repository_key_checksum }}"
