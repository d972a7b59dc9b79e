# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""prepare.py start|reload: run every check once and hand its status to Consul as the first one, so that a restart changes nothing that
others see and nothing is said to be well that is not.

prepare.py unread: say what the running agent has not read yet: `restart`, `reload` or nothing.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

FOLDER = "/etc/paas/consul"
RUN = "/run/consul"
PROGRAM = "/usr/bin/consul"
ON_START = [f"{FOLDER}/agent.d/agent.json", "/etc/systemd/system/consul.service"]
ON_RELOAD = [f"{FOLDER}/agent.d/tokens.json", f"{FOLDER}/services.json", f"{FOLDER}/tls/*.crt"]


def digest(patterns: list) -> str:
    total = hashlib.sha256()
    for pattern in patterns:
        for name in sorted(glob.glob(pattern)):
            with open(name, "rb") as file:
                total.update(file.read())
    return total.hexdigest()


def on_start() -> str:
    program = os.stat(PROGRAM)
    return f"{digest(ON_START)} {program.st_size} {program.st_mtime_ns}"


def status(check: dict) -> str:
    try:
        code = subprocess.run(check["args"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=5, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return "critical"
    return {0: "passing", 1: "warning"}.get(code, "critical")


def write(name: str, text: str) -> None:
    path = f"{RUN}/{name}"
    with open(f"{path}.new", "w", encoding="utf-8", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def read(name: str) -> str:
    try:
        with open(f"{RUN}/{name}", encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def main() -> int:
    what = sys.argv[1]
    if what == "unread":
        if read("started") != on_start():
            print("restart")
        elif read("loaded") != digest(ON_RELOAD):
            print("reload")
        return 0
    loaded = digest(ON_RELOAD)
    with open(f"{FOLDER}/services.json", encoding="utf-8") as file:
        definitions = json.load(file)
    checks = [check for service in definitions["services"] for check in service["checks"]]
    with ThreadPoolExecutor(max(1, len(checks))) as pool:
        for check, found in zip(checks, pool.map(status, checks)):
            check["status"] = found
    write("services.json", json.dumps(definitions))
    if what == "start":
        write("started", on_start())
    write("loaded", loaded)
    return 0


if __name__ == "__main__":
    sys.exit(main())
