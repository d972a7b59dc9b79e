# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make lab` shows at its end can be typed as it stands, and the distances are measured by the median."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY / "tests" / "lab"))

from paaslab import docker, estate, machines, model

LAB = model.load(REPOSITORY / "tests" / "lab" / "lab.yml")


def test_every_program_that_is_shown_is_there(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(machines, "running_names", lambda: {machines.container(m) for m in LAB.select(["estate"])})
    shown = {line[2:16].strip(): line[18:] for line in estate.table(LAB).splitlines() if line[:2] == "  " and line[2:3].strip()}
    for what in ("as a user", "break it", "again"):
        words = [word for word in shlex.split(shown[what].partition("   (")[0]) if "=" not in word]
        assert os.access(words[0], os.X_OK), shown[what]
    assert "vault-password" in shown["again"]


def test_the_median_of_the_round_trips(monkeypatch):
    said = "\n".join(f"64 bytes from 198.18.2.5: icmp_seq={number} ttl=63 time={time} ms" for number, time in enumerate((75.4, 75.2, 900, 75, 75.3)))
    monkeypatch.setattr(machines, "running_names", lambda: {machines.container(m) for m in LAB.select(["us-east-1-admin", "eu-west-1-pg-1"])})
    monkeypatch.setattr(docker, "run", lambda arguments, **options: subprocess.CompletedProcess(arguments, 0, said, ""))
    assert machines.measure(LAB) == [("us-east-1", "eu-west-1", 75.0, 75.3)]
    monkeypatch.setattr(docker, "run", lambda arguments, **options: subprocess.CompletedProcess(arguments, 1, "", ""))
    assert machines.measure(LAB) == [("us-east-1", "eu-west-1", 75.0, None)]
