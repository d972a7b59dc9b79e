# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose code ours leans on, and where."""

from __future__ import annotations

from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"


def test_one_file_knows_the_code_of_amazon_aws():
    importing = {path.relative_to(PLUGINS).as_posix() for path in PLUGINS.rglob("*.py") if "ansible_collections.amazon.aws" in path.read_text(encoding="utf-8")}
    assert importing == {"module_utils/_aws.py"}
