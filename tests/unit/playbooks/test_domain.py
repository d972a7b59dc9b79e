# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What domain.yml refuses before anything is changed, by its own expressions."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

PLAYBOOK = Path(__file__).resolve().parents[3] / "playbooks" / "domain.yml"
DOMAIN = "shop.example.com"
APPS = {"www": {"domains": ["www.example.com"]}, "other": {"domains": []}}


def problems(having=(), **given):
    """The sentences for a call, in an estate in which the apps of `having` have the domain."""
    loader = DataLoader()
    plays = loader.load_from_file(str(PLAYBOOK), trusted_as_template=True)
    (task,) = next(play for play in plays if play["name"] == "Check what was asked for")["tasks"]
    apps = {name: {"domains": app["domains"] + ([DOMAIN] if name in having else [])} for name, app in APPS.items()}
    variables = {"paas_domain": "example.com", "paas_apps": apps, "domain": DOMAIN, **given, **task["vars"]}
    return Templar(loader=loader, variables=variables).template(task["vars"]["__domain_problems"])


@pytest.mark.parametrize(
    "call",
    [
        {"having": ["www"], "operation": "attach", "app": "www"},
        {"having": ["other"], "operation": "move", "app": "other", "from_app": "www"},
        {"operation": "detach", "app": "www"},
        {"having": ["www"], "operation": "attach", "app": "www", "domain": DOMAIN},
    ],
)
def test_what_is_right(call):
    assert problems(**call) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"operation": "give", "app": "www"}, "Say what to do"),
        ({"app": "www"}, "Say what to do"),
        ({"operation": "attach", "app": "www", "domain": "Shop.example.com"}, "Name the domain in lower case"),
        ({"operation": "attach", "app": "www", "domain": "shop..example.com"}, "Name the domain in lower case"),
        ({"operation": "attach", "app": "www", "domain": "shop.example.org"}, "is not in the zone example.com"),
        ({"operation": "attach", "app": "nobody"}, "Name the app, -e app=NAME, one of www, other."),
        ({"operation": "move", "app": "www", "having": ["www"]}, "Name the app that has the domain until now"),
        ({"operation": "move", "app": "www", "from_app": "www", "having": ["www"]}, "Name the app that has the domain until now"),
        ({"operation": "attach", "app": "www", "from_app": "other", "having": ["www"]}, "Only a move has"),
        ({"operation": "attach", "app": "www"}, "The inventory gives shop.example.com to no app"),
        ({"operation": "attach", "app": "www", "having": ["other"]}, "The inventory gives shop.example.com to other"),
        ({"operation": "attach", "app": "www", "having": ["www", "other"]}, "The inventory gives shop.example.com to www and other"),
        ({"operation": "detach", "app": "www", "having": ["www"]}, "The inventory still gives shop.example.com to www"),
    ],
)
def test_what_is_wrong_is_told(call, message):
    assert any(message in problem for problem in problems(**call)), problems(**call)
