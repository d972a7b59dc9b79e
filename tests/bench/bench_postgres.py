# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switchovers in a row between regions, under write load, and the runbook killed at each of its steps that change something.

It starts the servers of the Molecule scenario `failover`, a region each, and removes them at the end (--keep leaves them). The gap is
between the last row that the writer got acknowledged from the old primary and the first from the new one; the writer is in us-east-1.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "molecule" / "failover"))

import postgres_estate as estate

SEED = 20260101
# The two hosts that are 75 ms apart.
PAIR = ("failover-1", "failover-2")
STEPS = (
    "Keep the log for the other servers on the candidate",
    "Stop the old primary and promote the candidate",
    "postgres_follower : Follow the primary",
)


def molecule(action: str) -> None:
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".collections"), **os.environ}
    subprocess.run([str(Path(sys.executable).parent / "molecule"), action, "-s", "failover"], cwd=PROJECT, env=environment, check=True)


def other(primary: str) -> str:
    return PAIR[1] if primary == PAIR[0] else PAIR[0]


def settled(primary: str) -> None:
    assert estate.primaries() == [primary], estate.primaries()
    estate.followed_by_all(primary, [name for name in estate.ADDRESSES if name != primary])


def switchovers(count: int) -> None:
    (primary,) = estate.primaries()
    if primary not in PAIR:
        estate.run("switchover", f"new_primary={PAIR[0]}")
        primary = PAIR[0]
    gaps, rows, lost = [], 0, 0
    for number in range(1, count + 1):
        target = other(primary)
        with estate.Writer() as writer:
            estate.run("switchover", f"new_primary={target}")
            writer.await_more(20)
        settled(target)
        gaps.append(writer.gap())
        rows += len(writer.acknowledged)
        lost += len(writer.lost(target))
        print(f"{number:3} {primary} -> {target}: writes down for {gaps[-1]:.2f} s, {len(writer.acknowledged)} rows, {lost} lost so far", flush=True)
        primary = target
    print(f"{count} switchovers: median {statistics.median(gaps):.2f} s, longest {max(gaps):.2f} s, {rows} rows acknowledged, {lost} lost")


def killed() -> None:
    for step in STEPS:
        (primary,) = estate.primaries()
        target = other(primary)
        delay = random.Random(f"{SEED} {step}").uniform(0, 1.5)
        with estate.Writer() as writer:
            estate.run_killed("switchover", f"new_primary={target}", at=step, after=delay)
            estate.run("switchover", f"new_primary={target}")
            writer.await_more(20)
        settled(target)
        print(f"killed {delay:.2f} s into {step!r} and run again: {target} is the primary, {len(writer.lost(target))} rows lost", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--switchovers", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="leave the servers running")
    options = parser.parse_args()
    molecule("converge")
    try:
        estate.make_table()
        switchovers(options.switchovers)
        killed()
    finally:
        if not options.keep:
            molecule("cleanup")


if __name__ == "__main__":
    main()
