# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is first in the inventory is first in every run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = [path for folder in ("roles", "playbooks") for path in sorted((REPOSITORY / folder).rglob("*.yml"))]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(REPOSITORY)) for path in FILES])
def test_no_filter_that_loses_the_order(path: Path) -> None:
    """Ansible's set filters give another order in each process; `select('in', ...)` and `reject('in', ...)` keep it."""
    found = re.findall(r"\|\s*(?:intersect|difference|union|symmetric_difference)\(.*", path.read_text(encoding="utf-8"))
    assert not found, f"{path}: {found}"
