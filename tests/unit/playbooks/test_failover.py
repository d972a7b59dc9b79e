# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failover.yml makes of the servers' answers, by its own expressions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"
LOADER = DataLoader()
PLAYS = LOADER.load_from_file(str(PLAYBOOKS / "failover.yml"), trusted_as_template=True)
ESTATE = next(play["vars"] for play in PLAYS if "__failover_guards" in play.get("vars", {}))
GUARD = {"host": "us", "seconds": 15, "counted": {"region": "us-east-1", "regions": 3, "followers": {"paas_eu": "eu-west-1", "paas_ap": "ap-southeast-2"}}}


def follower(address):
    return {
        "role": "follower", "running": True, "accepting": True, "timeline": 1, "receive_lsn": address, "replay_lsn": address,
        "primary": {"host": "10.0.1.21"},
    }  # fmt: skip


def template(name, guards):
    hosts = {
        "us": {"paas_private_address": "10.0.1.21", "paas_region": "us-east-1", "__failover_info": {"unreachable": True}},
        "eu": {"paas_private_address": "10.0.2.21", "paas_region": "eu-west-1", "__failover_info": follower("0/2")},
        "ap": {"paas_private_address": "10.0.3.21", "paas_region": "ap-southeast-2", "__failover_info": follower("0/1")},
        "localhost": {},
    }
    for host, said in guards.items():
        hosts[host]["__failover_guard"] = said
    variables = {**ESTATE, "groups": {"paas_postgres": ["us", "eu", "ap"]}, "hostvars": hosts}
    return Templar(loader=LOADER, variables=variables).template(ESTATE[name])


def test_a_guard_s_word_is_read_from_the_followers():
    said = {"eu": {"stdout": json.dumps(GUARD)}, "ap": {"stdout": ""}}
    assert template("__failover_guards", said) == {"eu": GUARD}
    choice = template("__failover_choice", said)
    assert (choice["old"], choice["new"], choice["isolate"], choice["guard_seconds"]) == ("us", "eu", ["eu", "ap"], 15)


def test_nobody_who_says_nothing_is_counted_on():
    assert template("__failover_guards", {"eu": {"skipped": True}}) == {}
    choice = template("__failover_choice", {})
    assert (choice["old"], choice["new"], choice["isolate"]) == ("us", "eu", [])


def test_the_slots_are_there_before_the_promotion():
    """Made after it they begin with its checkpoint, and a rewind of the old primary needs the log from the one before."""
    (names,) = [[task["name"] for task in play["tasks"]] for play in PLAYS if play.get("name") == "Promote"]
    assert names.index("Keep the log for the other servers") < names.index("Promote the new primary")


def first_play(folder, argument):
    """The check of the values, with an argument as a shell hands it to ansible-playbook: without its outer quotes."""
    play = yaml.safe_load((PLAYBOOKS / "failover.yml").read_text(encoding="utf-8"))[0]
    play["tasks"].append({"ansible.builtin.debug": {"msg": "vouched: {{ __failover_vouched }}."}})
    (folder / "book.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    (folder / "hosts.yml").write_text("paas_postgres: {hosts: {us: , eu: , ap: }}\n", encoding="utf-8")
    command = [Path(sys.executable).parent / "ansible-playbook", "book.yml", "-i", "hosts.yml", "-e", argument]
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, " ".join(done.stdout.split())


@pytest.mark.parametrize("argument", ["fenced_by_hand=us is off", "fenced_by_hand='us is off'", '{"fenced_by_hand": "us is off"}'])
def test_the_operator_s_word_comes_as_the_runbook_s_page_has_it(tmp_path, argument):
    status, output = first_play(tmp_path, argument)
    assert status == 0 and "vouched: us is off." in output, output


@pytest.mark.parametrize("argument", ["fenced_by_hand=us", "fenced_by_hand=us is not off", "fenced_by_hand=them is off", "fenced_by_hand=yes"])
def test_another_word_is_none(tmp_path, argument):
    status, output = first_play(tmp_path, argument)
    assert status != 0 and 'is "HOST is off" with the old primary\'s name' in output and "vouched:" not in output, output
