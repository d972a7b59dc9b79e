# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kill the leader of three Consul servers again and again: seconds without catalog writes and failed DNS queries, with this collection's
settings and with Consul's own.

It starts the machines of the Molecule scenario `consul-quorum` and removes them at the end (--keep leaves them).
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
sys.path[:0] = [str(PROJECT / "molecule" / "default"), str(PROJECT / "molecule" / "consul-quorum" / "tests")]

from scenario import Watch, shell, until
from test_consul_quorum import SERVERS, healthy, kill, leader, play, writes

# What decides how long followers wait for a leader, and whether an answer needs one.
SETTINGS = {
    "this collection": {},
    "Consul's defaults": {"performance": {"raft_multiplier": 5}},
    "without stale reads": {"dns_config": {"allow_stale": False}},
}


def molecule(action: str) -> None:
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".collections"), **os.environ}
    subprocess.run([str(Path(sys.executable).parent / "molecule"), action, "-s", "consul-quorum"], cwd=PROJECT, env=environment, check=True)


def everybody_well() -> None:
    until(lambda: healthy() == sorted(SERVERS), 180)


def killed() -> tuple[float, int, int]:
    """Seconds from before the signal to the first write to the catalog, failed queries and all queries, from before the kill until the dead one is back."""
    everybody_well()
    dead = leader(SERVERS[0])
    other = next(name for name in SERVERS if name != dead)
    with Watch(other, "always.service.consul") as watch:
        before = kill(dead)
        until(lambda: writes(other))
        seconds = time.time() - before
        shell(dead, "systemctl start consul")
        everybody_well()
    return seconds, watch.failed, len(watch.answers)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--times", type=int, default=5, help="kills with each setting")
    parser.add_argument("--keep", action="store_true", help="leave the machines")
    options = parser.parse_args()
    molecule("converge")
    rows = []
    try:
        for name, settings in SETTINGS.items():
            done = play(consul_settings=settings)
            if done.returncode:
                raise RuntimeError(done.stdout[-6000:])
            found = [killed() for dummy in range(options.times)]
            seconds = [row[0] for row in found]
            failed, asked = (sum(row[column] for row in found) for column in (1, 2))
            rows.append({"settings": name, "seconds": seconds, "failed": failed, "queries": asked})
            print(
                f"{name:22} no writes for {statistics.median(seconds):5.1f} s (median of {len(seconds)}, at most {max(seconds):.1f} s); "
                f"{failed} of {asked} DNS queries failed",
                flush=True,
            )
    finally:
        results = PROJECT / "build" / "bench"
        results.mkdir(parents=True, exist_ok=True)
        (results / "consul.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        if not options.keep:
            molecule("cleanup")
    return 0


if __name__ == "__main__":
    sys.exit(main())
