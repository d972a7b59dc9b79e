# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every scenario runs somewhere: in `make test`, or on a machine of its own."""

from __future__ import annotations

import runpy
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def test_what_make_test_leaves_out_runs_nightly():
    left_out = runpy.run_path(str(REPOSITORY / "tests/tools/run_tests.py"))["ALONE"]
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/scenarios.yml").read_text(encoding="utf-8"))
    nightly = workflow["jobs"]["scenario"]["strategy"]["matrix"]["scenario"]
    assert {f"molecule:{name}" for name in nightly} == left_out
