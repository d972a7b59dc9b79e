# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys to every region under constant load, each of them started by two controllers at once.

It starts the machines of the Molecule scenario `deploy` and removes them at the end; with --standing it takes those that
`molecule converge -s deploy` has made, and leaves them. Each deploy is a new release, whose release command must run exactly once; every
request is counted, and every user reads their own writes. Prints a line each, and JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "molecule" / "deploy"))

from deploy_estate import HOSTS, Load, end, running, shell, sql, start

REGISTRY = "198.18.1.82:5000"
BUILD = (
    "docker build --quiet --tag {image} --build-arg version={version} /var/tmp/app >/dev/null"
    " && docker --config /home/dokku/.docker push --quiet {image} >/dev/null"
)


def molecule(action: str) -> None:
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".collections"), **os.environ}
    subprocess.run([str(Path(sys.executable).parent / "molecule"), action, "-s", "deploy"], cwd=PROJECT, env=environment, check=True)


def deploy(version: str) -> dict:
    shell("deploy-dokku-1", BUILD.format(image=f"{REGISTRY}/todo:{version}", version=version))
    began = time.monotonic()
    for controller in [start("deploy", "app=todo", f"release={version}") for _number in range(2)]:
        end(controller)
    seconds = time.monotonic() - began
    runs = int(sql(f"SELECT count(*) FROM release_runs WHERE version = '{version}'"))
    return {"release": version, "seconds": round(seconds, 1), "release_commands": runs, "everywhere": running() == [version] * len(HOSTS)}


def measure(deploys: int, file: Path | None) -> bool:
    """Whether every deploy was made once, everywhere, and unnoticed."""
    first = int(time.time())
    with Load(users_a_host=2) as load:
        rows = []
        for number in range(deploys):
            rows.append(deploy(f"bench-{first + number}"))
            print(rows[-1], f"{load.requests} requests, {len(load.failures)} failed", flush=True)
    good = [row for row in rows if row["release_commands"] == 1 and row["everywhere"]]
    result = {
        "deploys": len(rows),
        "good": len(good),
        "median_seconds": statistics.median(row["seconds"] for row in rows),
        "requests": load.requests,
        "failed": len(load.failures),
        "wrong": load.wrong,
    }
    print(json.dumps(result), *load.failures[:20], sep="\n")
    if file:
        file.write_text(json.dumps({**result, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return len(good) == len(rows) and not load.failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploys", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--standing", action="store_true", help="take the machines as they stand, and leave them so")
    parser.add_argument("--keep", action="store_true", help="leave the machines running")
    options = parser.parse_args()
    try:
        if not options.standing:
            molecule("converge")
        return 0 if measure(options.deploys, options.json) else 1
    finally:
        if not options.standing and not options.keep:
            molecule("cleanup")


if __name__ == "__main__":
    sys.exit(main())
