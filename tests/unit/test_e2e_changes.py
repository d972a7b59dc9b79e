# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end-to-end check of what a newcomer may change on the others sees a change that is not in its list."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
LOG = """
TASK [multiregion.paas.postgres_server : Install PostgreSQL] *******************
ok: [old-pg]
changed: [new-pg]

TASK [multiregion.paas.certificate : Tell them to the issuing host] ************
changed: [new-web -> admin(198.18.1.5)]

TASK [multiregion.paas.app : Declare the apps] *********************************
changed: [old-web] => (item=todo)
changed: [new-web] => (item=todo)
"""
FOREIGN = """
TASK [multiregion.paas.nginx : Write the configuration, prove it and have it taken up] ***
changed: [{host}]
"""


@pytest.fixture()
def grow(monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "tests" / "e2e"))
    return importlib.import_module("test_6_grow")


def site(grow, folder, text):
    log = folder / "site.log"
    log.write_text(text, encoding="utf-8")
    return grow.estate.Site((), log)


def test_what_names_the_newcomer_may_change(grow, tmp_path):
    grow.only_names_the_others(site(grow, tmp_path, LOG + FOREIGN.format(host="new-web")), {"new-pg", "new-web"})


@pytest.mark.parametrize("host", ["old-web", "new-web -> old-web(198.18.1.11)"])
def test_any_other_change_fails(grow, tmp_path, host):
    with pytest.raises(AssertionError, match="nginx : Write the configuration"):
        grow.only_names_the_others(site(grow, tmp_path, LOG + FOREIGN.format(host=host)), {"new-pg", "new-web"})


def test_the_list_names_tasks_that_are_there(grow):
    def names(tasks):
        for task in tasks or ():
            yield task["name"]
            for part in ("block", "rescue", "always"):
                yield from names(task.get(part))

    there = {
        f"{path.parts[-3]} : {name}"
        for path in (REPOSITORY / "roles").glob("*/tasks/*.yml")
        for name in names(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
    assert there >= grow.NAMES_THE_OTHERS
