# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a handler owes is forgotten when a run is killed; `config_files` remembers it."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def test_nobody_is_notified() -> None:
    tasks = [path for folder in ("roles", "playbooks") for path in sorted((REPOSITORY / folder).rglob("*.yml"))]
    assert tasks
    assert [path for path in tasks if re.search(r"(?m)^\s*(- )?(notify|listen|handlers):", path.read_text(encoding="utf-8"))] == []
    assert not list((REPOSITORY / "roles").glob("*/handlers"))
