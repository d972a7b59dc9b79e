# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sandbox as a fixture, one for each module of tests."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
from lab_dokku_sandbox import Sandbox, run_or_pretend

# All of them now: their folders are replaced below, and a later import would have the real ones.
from dokku_standin import checks, core, host, scheduler

for _plugin in ("apps", "certs", "config", "docker_options", "domains", "git", "network", "nginx", "plugins", "ports", "proxy", "ps", "resource", "run",
                "settings", "storage"):
    importlib.import_module(f"dokku_standin.{_plugin}")


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory, monkeypatch_module) -> Sandbox:
    box = Sandbox(tmp_path_factory.mktemp("dokku"))
    for name, value in box.environ.items():
        monkeypatch_module.setenv(name, value)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("dokku_standin."):
            for attribute, value in (("ROOT", box.root), ("LIB", box.lib)):
                if hasattr(module, attribute):
                    monkeypatch_module.setattr(module, attribute, value)
    assert core.ROOT == box.root and host.ROOT == box.root

    def answers(_app: str, entry: dict, _address: str, _port: str) -> bool:
        return entry["path"] != "/fails"

    monkeypatch_module.setattr(checks, "http", answers)
    monkeypatch_module.setattr(checks, "uptime", lambda cid, _seconds: checks.running(cid))
    monkeypatch_module.setattr(checks.time, "sleep", lambda _seconds: None)
    monkeypatch_module.setattr(subprocess, "run", run_or_pretend)
    monkeypatch_module.setattr(scheduler, "stop_later", lambda *_args: None)
    monkeypatch_module.setattr(scheduler, "SWITCH_SECONDS", 0)
    return box
