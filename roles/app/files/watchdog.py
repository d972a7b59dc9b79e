# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replace web containers whose process hangs: Dokku asks them at their start only, and Docker sees only that they run.

Any answer counts, also an error: whether the app is well is for the region health to say. A container is watched from its first
answer on, so that none is replaced while it starts. Run by paas-watchdog.timer; what was seen before is in /run.
"""

import http.client
import json
import subprocess
import sys
from pathlib import Path

CONFIG = Path("/etc/paas/watchdog.json")
STATE = Path("/run/paas-watchdog.json")
APPS = Path("/home/dokku")
ANSWER_SECONDS = 10
RESTART_SECONDS = 900


def read(path):
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def answers(address, port, path):
    connection = http.client.HTTPConnection(address, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "X-Forwarded-Proto": "https"})
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def running(container):
    """A container that was stopped on purpose does not hang."""
    words = ["docker", "container", "inspect", "--format={{.State.Running}}", container]
    found = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return found.stdout.strip() == b"true"


def replace(app):
    """A deploy of the same release: the new container serves before the old one goes."""
    words = ["dokku", "--quiet", "ps:restart", app, "web"]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False, timeout=RESTART_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main():
    config = json.loads(CONFIG.read_text())
    # For each container how often in a row it has not answered.
    before = json.loads(read(STATE) or "{}")
    after = {}
    for app, path in config["apps"].items():
        hung = []
        for file in sorted((APPS / app).glob("CONTAINER.web.*")):
            number = file.name.rpartition(".")[2]
            container, address, port = (read(APPS / app / f"{kind}.web.{number}") for kind in ("CONTAINER", "IP", "PORT"))
            if not (container and address and port):
                continue
            if answers(address, int(port), path):
                after[container] = 0
            elif container in before and running(container):
                after[container] = before[container] + 1
                if after[container] >= config["failures"]:
                    hung.append(f"web.{number}")
                    after[container] = 0
        if hung:
            print(f"{app}: {', '.join(hung)} has not answered {config['failures']} times in a row", flush=True)
            print(f"{app}: {'replaced' if replace(app) else 'could not be replaced, next try later'}", flush=True)
    STATE.write_text(json.dumps(after))


if __name__ == "__main__":
    sys.exit(main())
