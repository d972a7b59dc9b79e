# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbooks under write load. Times are printed; only counts fail."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

testinfra_hosts = ["failover-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
DATABASE_URLS = importlib.util.spec_from_file_location("database_urls", PROJECT / "plugins/filter/database_urls.py")
database_urls = importlib.util.module_from_spec(DATABASE_URLS)
DATABASE_URLS.loader.exec_module(database_urls)
STATE = PROJECT / ".lab/molecule/failover"
ADDRESSES = {"failover-1": "198.18.1.31", "failover-2": "198.18.2.31", "failover-3": "198.18.3.31"}
REGIONS = {"failover-1": "us-east-1", "failover-2": "eu-west-1", "failover-3": "ap-southeast-2"}
PASSWORDS = {"owner": "todo-owner", "read_write": "todo-writes", "read_only": "todo-reads"}


def urls(role="read_write"):
    nodes = [{"host": address, "region": REGIONS[name]} for name, address in ADDRESSES.items()]
    return database_urls.database_urls(
        nodes, "todo", PASSWORDS, "us-east-1", primary_region="us-east-1", role=role, sslrootcert=str(STATE / "ca.crt"), connect_timeout=2
    )


def run(name, *arguments, check=True):
    command = ["ansible-playbook", str(PROJECT / f"playbooks/{name}.yml")]
    for inventory in ("inventory/hosts.yml", "inventory/failover.yml"):
        command += ["-i", str(PROJECT / "molecule" / inventory)]
    for argument in arguments:
        command += ["-e", argument]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400)
    if check:
        assert done.returncode == 0, done.stdout[-6000:]
    return done


def shell(name, script, check=False):
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "sh", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=check).stdout.strip()


def sql(name, text, database="todo"):
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", text]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.strip()


class Writer(threading.Thread):
    """Writes one row after the other, and keeps the id of every row that was acknowledged and when."""

    def __init__(self):
        super().__init__(daemon=True)
        self.url = urls()["MASTER_DATABASE_URL"]
        self.acknowledged = []
        self.done = threading.Event()
        self.next = 1

    def run(self):
        while not self.done.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    while not self.done.is_set():
                        number, self.next = self.next, self.next + 1
                        row = connection.execute("INSERT INTO acks VALUES (%s) RETURNING pg_current_wal_insert_lsn()", [number]).fetchone()
                        assert row
                        self.acknowledged.append((number, time.monotonic()))
                        time.sleep(0.005)
            except psycopg.Error:
                time.sleep(0.02)

    def __enter__(self):
        self.start()
        self.await_more(20)
        return self

    def __exit__(self, *_exception):
        self.done.set()
        self.join(30)

    def await_more(self, count, timeout=60):
        target, deadline = len(self.acknowledged) + count, time.monotonic() + timeout
        while len(self.acknowledged) < target:
            assert time.monotonic() < deadline, "writes do not go on"
            time.sleep(0.02)

    def gap(self):
        times = [moment for _number, moment in self.acknowledged]
        return max(after - before for before, after in zip(times, times[1:]))

    def lost(self, name):
        present = {int(number) for number in sql(name, "SELECT id FROM acks").split()}
        return [number for number, _moment in self.acknowledged if number not in present]


@pytest.fixture(autouse=True)
def table():
    with psycopg.connect(urls("owner")["MASTER_DATABASE_URL"], autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS acks")
        connection.execute("CREATE TABLE acks (id int PRIMARY KEY)")


def roles():
    return {name: sql(name, "SELECT pg_is_in_recovery()") for name in ADDRESSES}


def eventually_everywhere(count):
    for name in ADDRESSES:
        deadline = time.monotonic() + 30
        while int(sql(name, "SELECT count(*) FROM acks") or 0) < count and time.monotonic() < deadline:
            time.sleep(0.2)
        assert int(sql(name, "SELECT count(*) FROM acks")) >= count, name


@pytest.mark.parametrize("name", ["failover-2", "failover-3", "failover-1"])
def test_a_switchover_loses_nothing(name):
    with Writer() as writer:
        run("switchover", f"new_primary={name}")
        writer.await_more(20)
    print(f"\nswitchover to {name}: writes down for {writer.gap():.2f} s, {len(writer.acknowledged)} rows")
    assert writer.lost(name) == []
    assert [one for one, recovery in roles().items() if recovery == "f"] == [name]
    eventually_everywhere(len(writer.acknowledged))
    again = run("switchover", f"new_primary={name}")
    assert all("changed=0" in line for line in again.stdout.splitlines() if "changed=" in line)


def test_without_evidence_nobody_takes_over():
    subprocess.run(["docker", "pause", "paas-lab-failover-1"], check=True)
    try:
        refused = run("failover", check=False)
        assert refused.returncode != 0 and "nothing proves that failover-1 is down" in refused.stdout.replace("\n", " ")
        assert {roles()[name] for name in ("failover-2", "failover-3")} == {"t"}
    finally:
        subprocess.run(["docker", "unpause", "paas-lab-failover-1"], check=True)


def test_a_failover_and_the_way_back():
    with Writer() as writer:
        shell("failover-1", "pkill -KILL -x postgres")
        killed = time.monotonic()
        started = time.monotonic()
        first = run("failover", check=False)
        if first.returncode != 0:
            assert "accept_loss=yes" in first.stdout
            run("failover", "accept_loss=yes")
        writer.await_more(20)
    after = [moment for _number, moment in writer.acknowledged if moment > killed + 0.5]
    primary = next(one for one, recovery in roles().items() if recovery == "f")
    lost = writer.lost(primary)
    print(f"\nfailover to {primary}: first row {after[0] - started:.1f} s after the command, {len(lost)} acknowledged rows lost")
    assert primary != "failover-1"
    assert not lost or first.returncode != 0, "rows were lost without a word"
    assert shell("failover-1", "pgrep -x postgres") == ""

    run("rejoin", "rejoin=failover-1", "on_divergence=rewind")
    assert [one for one, recovery in roles().items() if recovery == "f"] == [primary]
    eventually_everywhere(len(writer.acknowledged) - len(lost))
    run("switchover", "new_primary=failover-1")
