# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ground on which the site playbook stands in the lab: machines, the app's image, secrets, and what a cloud has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).resolve().parents[2] / "tests" / "lab"
sys.path.insert(0, str(LAB))


def main() -> int:
    from paaslab import estate, model

    try:
        subprocess.run([sys.executable, str(LAB / "lab.py"), "up", "estate"], check=True)
        estate.ensure_app_image(print)
        estate.playbook("playbooks/init_secrets.yml")
        estate.playbook("tests/lab/prepare.yml")
    except subprocess.CalledProcessError as error:
        return error.returncode
    except model.LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
