# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml's last plays: users are sent nowhere new by a run in which a step failed on some host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
BEFORE = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.add_host: {name: "{{ item }}", groups: paas_present}
      loop: [first, second, third]
- hosts: paas_present
  gather_facts: false
  tasks:
    - ansible.builtin.assert: {that: inventory_hostname not in failing}
"""


def run(folder: Path, failing: list[str]) -> subprocess.CompletedProcess[str]:
    """The last two plays after one that failed, with a sentence in the place of the role that writes DNS."""
    plays = yaml.safe_load((REPOSITORY / "playbooks" / "site.yml").read_text(encoding="utf-8"))[-2:]
    assert [role["role"] for role in plays[1].pop("roles")] == ["multiregion.paas.latency_dns"]
    plays[1]["tasks"] = [{"ansible.builtin.debug": {"msg": "DNS is written"}}]
    book = folder / "book.yml"
    book.write_text(yaml.safe_dump([*yaml.safe_load(BEFORE), *plays]), encoding="utf-8")
    hosts = {name: {"ansible_connection": "local"} for name in ("first", "second", "third")}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}), encoding="utf-8")
    command = [Path(sys.executable).parent / "ansible-playbook", "book.yml", "-i", "hosts.yml", "-e", json.dumps({"failing": failing})]
    environment = {**{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}, "NO_COLOR": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("failing", [["second"], ["first", "third"]])
def test_no_dns_after_a_failure(tmp_path, failing):
    done = run(tmp_path, failing)
    assert done.returncode != 0 and "DNS is written" not in done.stdout, done.stdout + done.stderr
    assert f"not every step was done on {', '.join(failing)}" in " ".join(done.stdout.split()), done.stdout


def test_dns_when_all_came_through(tmp_path):
    done = run(tmp_path, [])
    assert done.returncode == 0 and "DNS is written" in done.stdout, done.stdout + done.stderr
