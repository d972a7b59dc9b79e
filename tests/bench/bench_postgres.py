# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switchover, failover and rejoin between regions under write load, beside Patroni; and the runbooks killed at every step that changes something.

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
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "molecule" / "failover"))

import patroni_peer as patroni
import postgres_estate as estate

SEED = 20260101
# The two hosts that are 75 ms apart.
PAIR = ("failover-1", "failover-2")
PARTS = ("switchovers", "patroni", "killed", "frozen", "rejoin")


def tell(text: str) -> None:
    print(text, flush=True)


def molecule(action: str) -> None:
    environment = {"ANSIBLE_COLLECTIONS_PATH": str(PROJECT / ".collections"), **os.environ}
    subprocess.run([str(Path(sys.executable).parent / "molecule"), action, "-s", "failover"], cwd=PROJECT, env=environment, check=True)


def other(primary: str) -> str:
    return PAIR[1] if primary == PAIR[0] else PAIR[0]


def all_but(*names: str) -> list[str]:
    return [name for name in estate.ADDRESSES if name not in names]


def settled(primary: str) -> None:
    estate.until(f"that {primary} is the primary", lambda: estate.primaries() == [primary])
    estate.followed_by_all(primary, all_but(primary))


def the_primary() -> str:
    """One of the pair, where it is not yet."""
    (primary,) = estate.primaries()
    if primary not in PAIR:
        estate.run("switchover", f"new_primary={PAIR[0]}")
        return PAIR[0]
    return primary


def taken_back(old: str) -> str:
    """The old primary as a follower again; returns who is the primary."""
    (primary,) = [name for name in all_but(old) if estate.sql(name, "SELECT pg_is_in_recovery()") == "f"]
    estate.run("rejoin", f"rejoin={old}", "on_divergence=rewind")
    settled(primary)
    return primary


def row(what: str, gaps: list[float], rows: int, lost: int) -> str:
    return f"{what}: {len(gaps)} times, writes down for {statistics.median(gaps):.2f} s in the median, {max(gaps):.2f} s at most, {rows} rows, {lost} lost"


def switchovers(count: int) -> None:
    primary, gaps, rows, lost = the_primary(), [], 0, 0
    for number in range(1, count + 1):
        target = other(primary)
        with estate.Writer() as writer:
            estate.run("switchover", f"new_primary={target}")
            writer.await_more(20)
        settled(target)
        gaps.append(writer.gap())
        rows += len(writer.acknowledged)
        lost += len(writer.lost(target))
        tell(f"{number:3} {primary} -> {target}: writes down for {gaps[-1]:.2f} s, {lost} rows lost so far")
        primary = target
    tell(row("switchover", gaps, rows, lost))
    seconds, gone = machine_killed()
    tell(f"the primary's machine killed, fenced by hand: first row {seconds:.1f} s after the command, {gone} rows lost")


def machine_killed() -> tuple[float, int]:
    old = the_primary()
    with estate.Writer() as writer:
        estate.docker("kill", f"paas-lab-{old}")
        began = time.time()
        estate.run("failover", "accept_loss=yes", f"fenced_by_hand={old} is off")
        writer.await_more(20)
    seconds = writer.first_after(began + 0.5) - began
    estate.docker("start", f"paas-lab-{old}")
    estate.until("that the old server runs", lambda: estate.sql(old, "SELECT pg_is_in_recovery()") == "f", 120)
    estate.fence(old)
    return seconds, len(writer.lost(taken_back(old)))


def beside_patroni(count: int) -> None:
    patroni.start()
    try:
        primary = patroni.leader()
        if primary not in PAIR:
            patroni.switchover(PAIR[0])
            patroni.level()
            primary = PAIR[0]
        patroni.make_table()
        gaps, rows, lost = [], 0, 0
        for number in range(1, count + 1):
            target = other(primary)
            with patroni.writer() as writer:
                patroni.switchover(target)
                writer.await_more(20, timeout=120)
            patroni.level()
            gaps.append(writer.gap())
            rows += len(writer.acknowledged)
            lost += len(patroni.lost(writer, target))
            tell(f"{number:3} Patroni {primary} -> {target}: writes down for {gaps[-1]:.2f} s, {lost} rows lost so far")
            primary = target
        tell(row("Patroni's switchover", gaps, rows, lost))
        seconds, gone = patroni.machine_killed()
        tell(f"Patroni, the leader's machine killed: first row {seconds:.1f} s after its death, {gone} rows lost")
    finally:
        patroni.stop()


def changing_steps(output: str) -> list[str]:
    """The tasks of a run that changed something, in their order."""
    steps, task = [], ""
    for line in output.splitlines():
        if line.startswith("TASK ["):
            task = line[len("TASK [") : line.rindex("]")]
        elif line.startswith("changed:") and task not in steps:
            steps.append(task)
    return steps


def killed() -> None:
    primary = the_primary()
    steps = changing_steps(estate.run("switchover", f"new_primary={other(primary)}").stdout)
    for step in steps:
        primary = the_primary()
        target = other(primary)
        delay = random.Random(f"{SEED} {step}").uniform(0, 1.5)
        with estate.Writer() as writer:
            estate.run_killed("switchover", f"new_primary={target}", at=step, after=delay)
            estate.run("switchover", f"new_primary={target}")
            writer.await_more(20)
        settled(target)
        tell(f"switchover killed {delay:.2f} s into {step!r} and run again: {target} is the primary, {len(writer.lost(target))} rows lost")
    old = the_primary()
    estate.shell(old, "pkill -KILL -x postgres")
    steps = changing_steps(estate.run("failover", "accept_loss=yes").stdout)
    taken_back(old)
    for step in steps:
        old = the_primary()
        delay = random.Random(f"{SEED} {step}").uniform(0, 1.5)
        with estate.Writer() as writer:
            estate.shell(old, "pkill -KILL -x postgres")
            estate.run_killed("failover", "accept_loss=yes", at=step, after=delay)
            estate.run("failover", "accept_loss=yes")
            writer.await_more(20)
        primary = taken_back(old)
        tell(f"failover killed {delay:.2f} s into {step!r} and run again: {primary} is the primary, {len(writer.lost(primary))} rows lost")


def synchronous(names: str) -> None:
    for name in estate.ADDRESSES:
        estate.sql(name, f"ALTER SYSTEM SET synchronous_standby_names = '{names}'" if names else "ALTER SYSTEM RESET synchronous_standby_names")
        estate.sql(name, "SELECT pg_reload_conf()")


def frozen(quorum: bool) -> None:
    """The primary's whole machine stops, another one takes over, and the machine goes on with its clients beside it."""
    old = the_primary()
    if quorum:
        synchronous("ANY 1 (" + ", ".join("paas_" + name.replace("-", "_") for name in estate.ADDRESSES) + ")")
    try:
        with estate.Writer() as writer, estate.Writer(nodes=[old]) as beside:
            estate.freeze(old)
            try:
                estate.run("failover", "accept_loss=yes")
                writer.await_more(20)
            finally:
                thawed = time.time()
                estate.thaw(old)
            # Longer than the guard of the old primary takes.
            time.sleep(25)
        late = [moment for _number, moment in beside.acknowledged if moment >= thawed]
        span = f" within {late[-1] - thawed:.2f} s" if late else ""
        tell(f"frozen and thawed{', with quorum commit' if quorum else ''}: {len(late)} rows acknowledged by the old primary after the thaw{span}")
        estate.fence(old)
        taken_back(old)
    finally:
        if quorum:
            synchronous("")


def received(name: str) -> int:
    """Bytes that the machine's network interface has received."""
    return int(estate.shell(name, "cat /sys/class/net/eth0/statistics/rx_bytes"))


def rejoin(gigabytes: float) -> None:
    """A primary that has rows of its own is taken back by rewind, and, for comparison, copied anew into another folder."""
    old = the_primary()
    estate.sql(old, "CREATE TABLE ballast (id bigint, filler text)")
    parts = max(1, round(gigabytes * 4))
    for number in range(parts):
        # Not more at once than the slots keep for a follower that is behind.
        estate.sql(old, "INSERT INTO ballast SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 250000) g")
        caught_up = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn() - 16777216"
        estate.until("that the followers are level", lambda: estate.sql(old, caught_up) == str(len(all_but(old))), 600)
        tell(f"filled {number + 1} of {parts}")
    size = int(estate.sql(old, "SELECT sum(pg_database_size(oid)) FROM pg_database"))
    with estate.Writer(nodes=[old]):
        # Not within reach of SSH either: it writes on until its guard ends that, and diverges.
        estate.cut(old, *(estate.REGIONS[name] for name in all_but(old)), ssh=True)
        time.sleep(3)
        estate.run("failover", "accept_loss=yes")
        estate.heal(old)
    estate.fence(old)
    before, began = received(old), time.monotonic()
    primary = taken_back(old)
    rewind = (time.monotonic() - began, received(old) - before)
    before, began = received(old), time.monotonic()
    estate.shell(
        old,
        "cd / && runuser -u postgres -- env PGPASSFILE=/var/lib/postgresql/.paas/passfile pg_basebackup --checkpoint=fast --wal-method=stream"
        f" --pgdata=/var/lib/postgresql/paas-bench-clone --dbname='host={estate.ADDRESSES[primary]} user=replicator sslmode=require'",
        check=True,
    )
    clone = (time.monotonic() - began, received(old) - before)
    estate.shell(old, "rm -r /var/lib/postgresql/paas-bench-clone")
    estate.sql(primary, "DROP TABLE ballast")
    tell(
        f"rejoin of a diverged primary of {size / 1e9:.1f} GB: by rewind {rewind[0]:.0f} s and {rewind[1] / 1e6:.0f} MB received (the whole runbook),"
        f" a fresh copy {clone[0]:.0f} s and {clone[1] / 1e6:.0f} MB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--switchovers", type=int, default=20)
    parser.add_argument("--gigabytes", type=float, default=5, help="size of the database that is taken back")
    parser.add_argument("--only", choices=PARTS, action="append", help="only this part; may be given again")
    parser.add_argument("--keep", action="store_true", help="leave the servers running")
    options = parser.parse_args()
    wanted = options.only or PARTS
    molecule("converge")
    try:
        estate.make_table()
        if "switchovers" in wanted:
            switchovers(options.switchovers)
        if "patroni" in wanted:
            beside_patroni(options.switchovers)
        if "killed" in wanted:
            killed()
        if "frozen" in wanted:
            frozen(quorum=False)
            frozen(quorum=True)
        if "rejoin" in wanted:
            rejoin(options.gigabytes)
    finally:
        if not options.keep:
            molecule("cleanup")


if __name__ == "__main__":
    main()
