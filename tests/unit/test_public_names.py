# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What meta/runtime.yml and the README say is there must be there, and the other way round."""

from __future__ import annotations

from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = {path.stem for path in (REPOSITORY / "plugins" / "modules").glob("*.py")}
FILTERS = {path.stem for path in (REPOSITORY / "plugins" / "filter").glob("*.py")}
ROLES = {path.name for path in (REPOSITORY / "roles").iterdir() if path.is_dir()}


def test_the_action_group_all_holds_every_module():
    groups = yaml.safe_load((REPOSITORY / "meta" / "runtime.yml").read_text(encoding="utf-8"))["action_groups"]
    assert set(groups["all"]) == MODULES
    assert set(groups["aws"]) <= MODULES


def test_the_readme_names_all_that_is_there():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert {name for name in MODULES | FILTERS | ROLES if f"`{name}`" not in text} == set()
