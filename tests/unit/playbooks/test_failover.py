# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What failover.yml makes of the servers' answers, by its own expressions."""

from __future__ import annotations

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
ESTATE = next(play["vars"] for play in PLAYS if "__failover_choice" in play.get("vars", {}))
GUARD = {"host": "us", "seconds": 15, "counted": {"region": "us-east-1", "regions": 3, "followers": {"paas_eu": "eu-west-1", "paas_ap": "ap-southeast-2"}}}


def follower(address):
    return {
        "role": "follower", "running": True, "accepting": True, "timeline": 1, "receive_lsn": address, "replay_lsn": address,
        "primary": {"host": "10.0.1.21"},
    }  # fmt: skip


def template(name, **said):
    """An expression of the playbook's, with what the hosts said beside what is always so."""
    hosts = {
        "us": {"paas_private_address": "10.0.1.21", "paas_region": "us-east-1", "__failover_info": {"unreachable": True}},
        "eu": {"paas_private_address": "10.0.2.21", "paas_region": "eu-west-1", "__failover_info": follower("0/2")},
        "ap": {"paas_private_address": "10.0.3.21", "paas_region": "ap-southeast-2", "__failover_info": follower("0/1")},
        "localhost": {},
    }
    for host, more in said.items():
        hosts[host]["__failover_info"].update(more)
    variables = {**ESTATE, "groups": {"paas_postgres": ["us", "eu", "ap"]}, "hostvars": hosts}
    return Templar(loader=LOADER, variables=variables).template(ESTATE[name])


def test_a_guard_s_word_is_read_from_the_one_that_takes_over():
    choice = template("__failover_choice", eu={"guards": {"us": GUARD}}, ap={"guards": {}})
    assert (choice["old"], choice["new"], choice["isolate"], choice["guard_seconds"]) == ("us", "eu", ["eu", "ap"], 15)


def test_nobody_who_says_nothing_is_counted_on():
    choice = template("__failover_choice")
    assert (choice["old"], choice["new"], choice["isolate"]) == ("us", "eu", [])


def asked_again(host, held=None, **said):
    """Whether that host is, where the old primary has been asked to be held down and nobody vouches for it."""
    (task,) = [task for task in tasks_of(PLAYS) if task["name"] == "Ask each server whose answer may be another one now"]
    answers = {"us": {"unreachable": True}, "eu": {**follower("0/2"), "guards": {}}, "ap": {**follower("0/1"), "guards": {}}}
    hosts = {name: {"__failover_info": {**answer, "streaming": True, **said.get(name, {})}} for name, answer in answers.items()}
    hosts["us"]["__failover_fence"] = held or {"skipped": True}
    hosts["localhost"] = {"__failover_found": {"old": "us", "done": False}}
    variables = {**ESTATE, **hosts[host], "groups": {"paas_postgres": ["us", "eu", "ap"]}, "hostvars": hosts, "inventory_hostname": host}
    templar = Templar(loader=LOADER, variables=variables)
    return all(templar.evaluate_conditional(condition) for condition in task["when"])


def test_before_other_evidence_is_made_only_those_are_asked_again_whose_answer_is_not_enough():
    down = {"unreachable": False, "role": "primary", "running": False, "accepting": False}
    assert [asked_again(host) for host in ("us", "eu", "ap")] == [False, False, False]
    assert asked_again("us", {"failed": True, "msg": "ssh has gone"}, us=down), "or what it said would count, that it is down"
    assert asked_again("eu", eu={"accepting": False}) and asked_again("eu", eu={"guards": None})
    assert asked_again("ap", {"fenced": True, "lsn": "0/3"}, us={**down, "lsn": "0/3"}), "it was receiving until then"


@pytest.mark.parametrize("found, chosen, goes_on", [(False, False, True), (True, True, True), (False, True, False)])
def test_a_primary_that_answers_only_when_it_is_asked_again_is_left_alone(found, chosen, goes_on):
    (task,) = [task for task in tasks_of(PLAYS) if task["name"] == "Refuse where a primary answers after all"]
    hosts = {"localhost": {"__failover_found": {"done": found}, "__failover_chosen": {"done": chosen, "new": "us"}}}
    templar = Templar(loader=LOADER, variables={**ESTATE, "hostvars": hosts})
    assert templar.evaluate_conditional(task["ansible.builtin.assert"]["that"]) is goes_on


@pytest.mark.parametrize(
    "machine, evidence",
    [
        (None, ""),
        ({"rc": 0}, "powered off by the cloud's API"),
        ({"rc": 1}, ""),
        ({"skipped": True}, ""),
        ({"skipped": True, "rc": 0}, ""),
    ],
    ids=["not asked", "stopped", "not stopped", "no instance", "dry run"],
)
def test_a_machine_is_off_when_the_cloud_has_said_so(machine, evidence):
    play = next(play["vars"] for play in PLAYS if "__failover_evidence" in play.get("vars", {}))
    hosts = {"us": {}, "localhost": {"__failover_found": {"old": "us", "done": False}}}
    variables = {**play, "hostvars": hosts, **({} if machine is None else {"__failover_machine": machine})}
    assert Templar(loader=LOADER, variables=variables).template(play["__failover_evidence"]) == evidence


def tasks_of(plays):
    for play in plays:
        for task in play.get("tasks", []):
            yield from task.get("block", [task])


@pytest.mark.parametrize("name", ["failover", "switchover"])
def test_the_others_have_their_slots_before_the_promotion(name):
    plays = LOADER.load_from_file(str(PLAYBOOKS / f"{name}.yml"), trusted_as_template=True)
    promotions = [task["multiregion.paas.pg_follower"] for task in tasks_of(plays) if task.get("multiregion.paas.pg_follower", {}).get("state") == "promoted"]
    (promoted,) = [options for options in promotions if not options.get("lift_fence")]
    variables = {"groups": {"paas_postgres": ["us", "eu", "ap"]}, "inventory_hostname": "eu", "new_primary": "eu"}
    assert list(Templar(loader=LOADER, variables=variables).template(promoted["followers"])) == ["us", "ap"]


@pytest.mark.parametrize(
    "loss, told",
    [
        ({"lossless": True, "ahead": []}, "nothing is lost"),
        (
            {"lossless": False, "known": True, "lost_bytes": 168, "ahead": []},
            "exactly 168 bytes of the old primary's log are lost, from 0/2 on",
        ),
        (
            {"lossless": False, "known": False, "lost_bytes": 8, "ahead": ["ap"]},
            "at least 8 bytes of the old primary's log are lost, from 0/2 on; ap has more of it: without new_primary it takes over,"
            " and with it rejoin.yml has to take it back",
        ),
    ],
    ids=["nothing", "some", "another one has it"],
)
def test_what_is_lost_is_told(loss, told):
    (task,) = [task for task in tasks_of(PLAYS) if task["name"] == "Refuse to lose writes without being told to"]
    variables = {"__failover_loss": loss, "__failover_new": "eu", "__failover_servers": {"eu": follower("0/2")}}
    text = Templar(loader=LOADER, variables=variables).template(task["vars"]["__failover_told"])
    assert text.strip() == told


STOPPED = {"role": "primary", "running": False, "accepting": False, "streaming": False, "timeline": 1, "lsn": "0/3"}


@pytest.mark.parametrize(
    "said, held, expected",
    [
        ({}, {"fenced": True, "lsn": "0/3"}, True),
        ({}, {"fenced": True, "lsn": "0/4"}, False),
        ({"us": {"lsn": None}}, {"fenced": True, "lsn": None}, False),
        ({"us": {"running": True}}, {"fenced": True, "lsn": "0/3"}, False),
        ({}, {"failed": True, "msg": "no"}, False),
        ({"ap": {"streaming": True}}, {"fenced": True, "lsn": "0/3"}, False),
    ],
    ids=["down since before", "it was started meanwhile", "its end is not known", "it ran", "it is not fenced", "somebody still received"],
)
def test_the_first_answers_hold_where_nothing_can_have_come_since(said, held, expected):
    assert settled(said, held) is expected


@pytest.mark.parametrize("remembered, new", [({}, "eu"), ({"__failover_chosen": {"new": "ap"}}, "ap")], ids=["they hold", "asked again"])
def test_the_first_choice_counts_until_there_is_another_one(remembered, new):
    hosts = {"localhost": {"__failover_found": {"new": "eu"}, **remembered}}
    assert Templar(loader=LOADER, variables={**ESTATE, "hostvars": hosts}).template(ESTATE["__failover_new"]) == new


def test_who_has_not_answered_is_asked_again():
    assert settled({}, {"fenced": True, "lsn": "0/3"}, failed={"failed": True, "msg": "not in time"}) is False
    assert settled({}, {"fenced": True, "lsn": "0/3"}, failed={"unreachable": True}) is True
    assert settled({}, {"fenced": True, "lsn": "0/3"}, failed=None) is True


def settled(said, held, failed=None):
    answers = {"us": STOPPED, "eu": {**follower("0/2"), "streaming": False}, "ap": {**follower("0/1"), "streaming": False}}
    hosts = {host: {"__failover_info": {**answer, **said.get(host, {})}} for host, answer in answers.items()}
    hosts["us"]["__failover_fence"] = held
    hosts["sa"] = {"__failover_info": failed} if failed else {}
    hosts["localhost"] = {"__failover_found": {"old": "us", "done": False}}
    variables = {**ESTATE, "groups": {"paas_postgres": ["us", "eu", "ap", "sa"]}, "hostvars": hosts}
    return Templar(loader=LOADER, variables=variables).template(ESTATE["__failover_settled"])


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
