# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that keeps the instances of an nginx that cannot ask Consul itself."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles" / "nginx" / "files" / "follow_consul.py"
SPEC = importlib.util.spec_from_file_location("follow_consul", FILE)
program = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(program)


def node(address, port=443, host="198.18.0.1"):
    return {"Node": {"Address": host}, "Service": {"Address": address, "Port": port}}


class World:
    """Consul and nginx, as far as the program sees them."""

    def __init__(self, folder):
        self.folder, self.answer, self.wrong, self.reloads = folder, [], "", 0
        self.follower = program.Follower(self, str(folder), {"todo": "app-todo"}, "max_fails=3", self.takes)

    def execute(self, query):
        assert query == "app-todo"
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def takes(self):
        if not self.wrong:
            self.reloads += 1
        return self.wrong

    def step(self, answer):
        self.answer = answer
        self.follower.step()
        return program.read(str(self.folder / "todo.servers"))


@pytest.fixture()
def world(tmp_path):
    return World(tmp_path)


def test_a_list_in_one_order():
    text = program.servers([node("10.0.0.2"), node("fd00::1", 80), node("", 8001), node("10.0.0.2")], "max_fails=3")
    assert text == "server 10.0.0.2:443 max_fails=3;\nserver 198.18.0.1:8001 max_fails=3;\nserver [fd00::1]:80 max_fails=3;\n"


def test_nginx_reloads_only_for_a_change(world):
    first = world.step([node("10.0.0.1"), node("10.0.0.2")])
    assert first.count("server ") == 2
    assert world.step([node("10.0.0.2"), node("10.0.0.1")]) == first
    assert world.reloads == 1
    assert world.step([node("10.0.0.2")]) == "server 10.0.0.2:443 max_fails=3;\n"
    assert world.reloads == 2


@pytest.mark.parametrize("answer", [[], ConnectionRefusedError("refused"), ValueError("status 500"), [{"Node": {}}], [None]])
def test_the_last_good_list_stays(world, answer, capsys):
    good = world.step([node("10.0.0.1")])
    capsys.readouterr()
    assert world.step(answer) == good
    assert world.step(answer) == good
    assert world.reloads == 1
    assert capsys.readouterr().out.count("the last list stays") == 1


def test_what_nginx_does_not_take_goes_back(world):
    good = world.step([node("10.0.0.1")])
    world.wrong = "host not found"
    assert world.step([node("10.0.0.2")]) == good
    world.wrong = ""
    # The same list is not tried every second.
    assert world.step([node("10.0.0.2")]) == good
    assert world.step([node("10.0.0.3")]) != good
    assert world.reloads == 2
