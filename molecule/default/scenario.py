# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scenarios' tests share: a shell on a machine, waiting for a state, and watching a name."""

from __future__ import annotations

import subprocess
import threading
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


class Watch:
    """Asks a machine's own resolver for a name five times a second, and keeps every answer; an empty one is a failure."""

    # Ends with its standard input: `docker exec` leaves what it started.
    SCRIPT = "while :; do echo \"$(getent ahostsv4 {} | awk '{{print $1; exit}}')\"; sleep 0.2; done & cat > /dev/null; kill $!"

    def __init__(self, machine, name):
        command = ["docker", "exec", "-i", f"paas-lab-{machine}", "sh", "-c", self.SCRIPT.format(name)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = []
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _read(self):
        for line in self.process.stdout:
            self.answers.append(line.strip())

    def __enter__(self):
        self.thread.start()
        until(lambda: self.answers)
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait(60)
        self.thread.join(10)

    @property
    def failed(self):
        return self.answers.count("")
