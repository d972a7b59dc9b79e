# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""machines.py up|down SCENARIO: the lab's machines of a scenario.

They are the hosts of the group molecule_<scenario> in molecule/inventory/hosts.yml; without such a group, only the services.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

MOLECULE = Path(__file__).resolve().parent.parent


def main() -> int:
    what, scenario = sys.argv[1:]
    inventory = yaml.safe_load((MOLECULE / "inventory" / "hosts.yml").read_text(encoding="utf-8"))
    group = inventory["all"]["children"].get(f"molecule_{scenario.replace('-', '_')}")
    names = list(group["hosts"]) if group else ["services"]
    lab = MOLECULE.parent / "tests" / "lab" / "lab.py"
    return subprocess.run([sys.executable, str(lab), what, *names], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
