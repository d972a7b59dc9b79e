# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys to every region under constant load, each of them started by two controllers at once.

On the machines of the scenario `deploy`: `molecule converge -s deploy` first. Each deploy is a new release, whose release command must
run exactly once; every request is counted, and every user reads their own writes. Prints a line each, and JSON with --json FILE.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "molecule" / "deploy"))

from deploy_estate import HOSTS, Load, end, running, shell, sql, start

REGISTRY = "198.18.1.82:5000"
BUILD = (
    "docker build --quiet --tag {image} --build-arg version={version} /var/tmp/app >/dev/null"
    " && docker --config /home/dokku/.docker push --quiet {image} >/dev/null"
)


def deploy(version: str) -> dict:
    shell("deploy-dokku-1", BUILD.format(image=f"{REGISTRY}/todo:{version}", version=version))
    began = time.monotonic()
    for controller in [start("deploy", "app=todo", f"release={version}") for _number in range(2)]:
        end(controller)
    seconds = time.monotonic() - began
    runs = int(sql(f"SELECT count(*) FROM release_runs WHERE version = '{version}'"))
    return {"release": version, "seconds": round(seconds, 1), "release_commands": runs, "everywhere": running() == [version] * len(HOSTS)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploys", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    first = int(time.time())
    with Load(users_a_host=2) as load:
        rows = []
        for number in range(options.deploys):
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
    if options.json:
        options.json.write_text(json.dumps({**result, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0 if len(good) == len(rows) and not load.failures else 1


if __name__ == "__main__":
    sys.exit(main())
