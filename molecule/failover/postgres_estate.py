# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three database servers of this scenario: the runbooks run on them, a writer that keeps what was acknowledged, and what breaks them.

The scenario's tests and tests/bench/bench_postgres.py use it.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg

PROJECT = Path(__file__).resolve().parents[2]
DATABASE_URLS = importlib.util.spec_from_file_location("database_urls", PROJECT / "plugins/filter/database_urls.py")
database_urls = importlib.util.module_from_spec(DATABASE_URLS)
DATABASE_URLS.loader.exec_module(database_urls)
STATE = PROJECT / ".lab/molecule/failover"
ADDRESSES = {"failover-1": "198.18.1.31", "failover-2": "198.18.2.31", "failover-3": "198.18.3.31"}
REGIONS = {"failover-1": "us-east-1", "failover-2": "eu-west-1", "failover-3": "ap-southeast-2"}
PASSWORDS = {"owner": "todo-owner", "read_write": "todo-writes", "read_only": "todo-reads"}
INVENTORIES = [argument for name in ("hosts", "failover") for argument in ("-i", str(PROJECT / f"molecule/inventory/{name}.yml"))]
# What is read of the runbooks knows no colours.
PLAIN = {"ANSIBLE_FORCE_COLOR": "0"}


def urls(role="read_write", nodes=tuple(ADDRESSES)):
    """MASTER_DATABASE_URL as an app in us-east-1 has it."""
    entries = [{"host": ADDRESSES[name], "region": REGIONS[name]} for name in nodes]
    return database_urls.database_urls(
        entries, "todo", PASSWORDS, "us-east-1", primary_region="us-east-1", role=role, sslrootcert=str(STATE / "ca.crt"), connect_timeout=2
    )["MASTER_DATABASE_URL"]


def _command(name, arguments):
    command = ["ansible-playbook", str(PROJECT / f"playbooks/{name}.yml"), *INVENTORIES]
    for argument in arguments:
        command += ["-e", argument]
    return command


def run(name, *arguments, check=True, env=None):
    """A runbook with these extra variables."""
    done = subprocess.run(
        _command(name, arguments), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400,
        env={**os.environ, **PLAIN, **(env or {})},
    )
    if check:
        assert done.returncode == 0, done.stdout[-6000:]
    return done


def run_killed(name, *arguments, at, after):
    """A runbook that is killed `after` seconds into the task `at`."""
    process = subprocess.Popen(
        _command(name, arguments), cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env={**os.environ, **PLAIN, "PYTHONUNBUFFERED": "1"},
    )
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("TASK [") and at in line:
            time.sleep(after)
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL, "it has ended before that task:\n" + "".join(seen)[-4000:]


def fence(name):
    """What an operator does with a server that came back as a second primary."""
    command = ["ansible", name, *INVENTORIES, "-m", "multiregion.paas.pg_follower", "-a", "state=fenced"]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]


def lab(*arguments):
    """The lab's own command line: a machine goes, or a new one comes under its name and address."""
    subprocess.run([sys.executable, str(PROJECT / "tests/lab/lab.py"), *arguments], stdout=subprocess.DEVNULL, check=True, timeout=600)


def docker(*arguments):
    subprocess.run(["docker", *arguments], stdout=subprocess.DEVNULL, check=True)


def shell(name, script, check=False):
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "sh", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=check).stdout.strip()


def sql(name, text, database="todo"):
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", text]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.strip()


def until(what, probe, timeout=60):
    deadline = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < deadline, f"{what} has not happened within {timeout} s"
        time.sleep(0.2)


def primaries():
    return [name for name in ADDRESSES if sql(name, "SELECT pg_is_in_recovery()") == "f"]


def streams_to(primary):
    return set(sql(primary, "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'").split())


def followed_by_all(primary, others):
    until(f"that {others} follow {primary}", lambda: streams_to(primary) == {"paas_" + name.replace("-", "_") for name in others})


def promoted_at(name):
    """When its timeline began, by this computer's clock, which the machines share. pg_stat_file() would tell whole seconds only."""
    timeline = sql(name, "SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)")
    return float(shell(name, f"stat -c %.3Y {sql(name, 'SHOW data_directory')}/pg_wal/{timeline}.history", check=True))


def cut(name, *regions, ssh=False):
    """Nothing passes between the machine and these regions, and nobody gets in by SSH; the apps of its own region still reach it."""
    networks = ", ".join(ADDRESSES[other].rsplit(".", 1)[0] + ".0/24" for other in ADDRESSES if REGIONS[other] in regions)
    rules = "add table inet cut\n"
    for chain, hook in (("in", "input"), ("out", "output")):
        rules += f"add chain inet cut {chain} {{ type filter hook {hook} priority 0 ; }}\n"
    if networks:
        rules += f"add rule inet cut in ip saddr {{ {networks} }} drop\nadd rule inet cut out ip daddr {{ {networks} }} drop\n"
    if ssh:
        rules += "add rule inet cut in tcp dport 22 drop\n"
    shell(name, f"nft -f - <<'END'\n{rules}END", check=True)


def heal(name):
    shell(name, "nft delete table inet cut", check=True)


def _network(name, rules):
    """nftables' rules in the network of a machine whose own programs stand still."""
    inspected = subprocess.run(["docker", "inspect", "--format", "{{.Config.Image}}", f"paas-lab-{name}"], stdout=subprocess.PIPE, text=True, check=True)
    image = inspected.stdout.strip()
    docker("run", "--rm", "--network", f"container:paas-lab-{name}", "--cap-add", "NET_ADMIN", "--entrypoint", "nft", image, rules)


def freeze(name):
    """The whole machine with its kernel: of a paused container, that would go on to acknowledge what the machine is sent."""
    docker("pause", f"paas-lab-{name}")
    chains = (f"add chain inet frozen {hook} {{ type filter hook {hook} priority 0 ; policy drop ; }}" for hook in ("input", "output"))
    _network(name, "; ".join(["add table inet frozen", *chains]))


def thaw(name):
    _network(name, "delete table inet frozen")
    docker("unpause", f"paas-lab-{name}")


class Writer(threading.Thread):
    """Writes one row after the other, and keeps the id of every row that was acknowledged and when."""

    FIRST = 1

    def __init__(self, nodes=tuple(ADDRESSES)):
        super().__init__(daemon=True)
        self.url = urls(nodes=nodes)
        self.acknowledged = []
        self.done = threading.Event()
        # Each writer has rows of its own.
        self.next, Writer.FIRST = Writer.FIRST, Writer.FIRST + 1_000_000

    def run(self):
        while not self.done.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self.done.is_set():
                        number, self.next = self.next, self.next + 1
                        connection.execute("INSERT INTO acks VALUES (%s)", [number])
                        self.acknowledged.append((number, time.time()))
                        time.sleep(0.005)
            except psycopg.Error:
                # As an app that waits a moment: at once again, it would take the processors from what it measures.
                time.sleep(0.1)

    def __enter__(self):
        self.start()
        self.await_more(20)
        return self

    def __exit__(self, *_exception):
        self.done.set()
        self.join(30)

    def await_more(self, count, timeout=60):
        target = len(self.acknowledged) + count
        until("that writes go on", lambda: len(self.acknowledged) >= target, timeout)

    def gap(self):
        times = [moment for _number, moment in self.acknowledged]
        return max(after - before for before, after in zip(times, times[1:]))

    def first_after(self, moment):
        return min(when for _number, when in self.acknowledged if when > moment)

    def lost(self, name):
        present = {int(number) for number in sql(name, "SELECT id FROM acks").split()}
        return [number for number, _moment in self.acknowledged if number not in present]


def make_table():
    with psycopg.connect(urls("owner"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS acks")
        connection.execute("CREATE TABLE acks (id int PRIMARY KEY)")
