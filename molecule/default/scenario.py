# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' tests share: a shell on a machine, and waiting for a state."""

from __future__ import annotations

import subprocess
import time


def shell(name, script, check=True, data=None):
    """What the script prints on the machine; a status other than 0 fails."""
    done = subprocess.run(
        ["docker", "exec", "-i", f"paas-lab-{name}", "sh", "-c", script], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stdout
    return done.stdout.strip()


def until(wanted, seconds=120):
    """Seconds until wanted() is true; fails when they are over."""
    started = time.monotonic()
    while not wanted():
        assert time.monotonic() - started < seconds, f"it has not come true within {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - started
