# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role's argument spec is its documentation, so it has to tell the truth about the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
ROLES = sorted(path.name for path in (REPOSITORY / "roles").iterdir() if path.is_dir())


def load(role: str, path: str) -> dict:
    file = REPOSITORY / "roles" / role / path
    return (yaml.safe_load(file.read_text(encoding="utf-8")) or {}) if file.exists() else {}


def options(role: str) -> dict:
    return load(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_is_documented_and_every_documented_one_is_there(role):
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert set(load(role, "defaults/main.yml")) == optional


@pytest.mark.parametrize("role", ROLES)
def test_documented_defaults_are_the_real_ones(role):
    defaults = load(role, "defaults/main.yml")
    for name, option in options(role).items():
        if "default" in option:
            assert defaults[name] == option["default"], name


@pytest.mark.parametrize("role", ROLES)
def test_public_variables_carry_the_roles_name(role):
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_a_readme_and_each_option_a_description(role):
    assert (REPOSITORY / "roles" / role / "README.md").stat().st_size > 200
    assert [name for name, option in options(role).items() if not option.get("description")] == []
