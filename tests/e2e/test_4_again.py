# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site playbook on an estate that is as it should be, from the built and installed artifact."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import estate


def test_again_changes_nothing():
    assert (estate.COLLECTIONS / "ansible_collections" / "multiregion" / "paas" / "MANIFEST.json").exists(), (
        "build and install the artifact first: make build"
    )
    again = estate.site("again")
    assert again.changed == {}, again.changes


def test_check_mode_from_an_inventory_elsewhere_changes_and_reports_nothing(tmp_path):
    """Nothing of the working copy is in reach: neither its ansible.cfg nor its collections path nor its inventory."""
    copy = tmp_path / "estate"
    shutil.copytree(estate.INVENTORY, copy, symlinks=False)
    checked = estate.site("check", "--check", "--diff", inventory=copy, cwd=tmp_path)
    assert checked.changed == {}, checked.changes
    assert not [line for line in checked.output.splitlines() if line.startswith(("--- ", "+++ "))]
    assert not Path(tmp_path, "ansible.cfg").exists() and "ANSIBLE_CONFIG" not in estate.ansible_environment()


def python(version: str) -> str | None:
    """An interpreter of that version, on the path or where pyenv keeps them."""
    found = shutil.which(f"python{version}")
    if found and estate.run(found, "--version", check=False).returncode == 0:
        return found
    return next((str(path) for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))), None)


def test_unit_tests_pass_on_the_newest_ansible():
    """The oldest one is that of the locked requirements, on which everything else here runs."""
    interpreter = python("3.13")
    if interpreter is None:
        pytest.skip("there is no Python 3.13")
    folder = estate.BUILD / "newest"
    if not (folder / "bin" / "pytest").exists():
        shutil.rmtree(folder, ignore_errors=True)
        estate.run(interpreter, "-m", "venv", folder)
        wanted = newest_requirements()
        estate.run(folder / "bin" / "pip", "install", "--quiet", *wanted, timeout=900)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    for name in [name for name in environment if name.startswith(("ANSIBLE_", "MOLECULE_", "PYTEST_"))]:
        del environment[name]
    done = estate.run(folder / "bin" / "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", cwd=estate.REPOSITORY, env=environment, timeout=900)
    estate.say(done.stdout.strip().splitlines()[-1])


def newest_requirements() -> list[str]:
    """Those of requirements.in, with the newest ansible-core in place of the oldest."""
    lines = [line.split("#")[0].strip() for line in (estate.REPOSITORY / "requirements.in").read_text(encoding="utf-8").splitlines()]
    unwanted = ("ansible-core", "ansible=", "ansible<", "ansible>", "ansible~", "molecule", "ansible-lint", "netfilterqueue", "galaxy", "antsibull")
    kept = [line for line in lines if line and not line.startswith("-") and not line.lower().startswith(unwanted) and line != "ansible"]
    return ["ansible-core>=2.21,<2.22", "ansible>=14", *kept]
