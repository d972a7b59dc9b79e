# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site playbook on an estate that is as it should be, from the built and installed artifact."""

from __future__ import annotations

import shutil
from pathlib import Path

import estate


def test_check_mode_from_an_inventory_elsewhere_changes_and_reports_nothing(tmp_path):
    """Nothing of the working copy is in reach: neither its ansible.cfg nor its collections path nor its inventory."""
    assert (estate.COLLECTIONS / "ansible_collections" / "multiregion" / "paas" / "MANIFEST.json").exists(), (
        "build and install the artifact first: make build"
    )
    copy = tmp_path / "estate"
    shutil.copytree(estate.INVENTORY, copy, symlinks=False)
    checked = estate.site("check", "--check", "--diff", inventory=copy, cwd=tmp_path)
    assert checked.changed == {}, checked.changes
    assert not [line for line in checked.output.splitlines() if line.startswith(("--- ", "+++ "))]
    assert not Path(tmp_path, "ansible.cfg").exists() and "ANSIBLE_CONFIG" not in estate.ansible_environment()
