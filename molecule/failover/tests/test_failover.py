# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbooks under write load, in this order. Times are printed; only counts fail."""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from pathlib import Path

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import postgres_estate as estate
from postgres_estate import Writer, run, sql

testinfra_hosts = ["failover-1"]

SEED = 20260101


@pytest.fixture(autouse=True)
def table():
    estate.until("that the database takes writes", lambda: not refused_writes(estate.urls("owner")))
    estate.make_table()


def refused_writes(url):
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TEMPORARY TABLE probe (id int)")
        return False
    except psycopg.Error:
        return True


def others(primary):
    return [name for name in estate.ADDRESSES if name != primary]


def back_to_the_first(lost=()):
    """The old primary comes back as a follower, by a rewind, and takes over again."""
    (primary,) = [name for name in estate.primaries() if name != "failover-1"]
    run("rejoin", "rejoin=failover-1", "on_divergence=rewind")
    assert estate.primaries() == [primary]
    estate.followed_by_all(primary, others(primary))
    run("switchover", "new_primary=failover-1")
    assert estate.primaries() == ["failover-1"]
    estate.followed_by_all("failover-1", others("failover-1"))
    assert not lost or int(sql("failover-1", "SELECT count(*) FROM acks")) > 0


@pytest.mark.parametrize("name", ["failover-2", "failover-3", "failover-1"])
def test_a_switchover_loses_nothing(name):
    with Writer() as writer:
        run("switchover", f"new_primary={name}")
        writer.await_more(20)
    print(f"\nswitchover to {name}: writes down for {writer.gap():.2f} s, {len(writer.acknowledged)} rows")
    assert writer.lost(name) == []
    assert estate.primaries() == [name]
    estate.followed_by_all(name, others(name))
    if name == "failover-1":
        again = run("switchover", f"new_primary={name}").stdout
        assert all("changed=0" in line for line in again.splitlines() if "changed=" in line), again[-6000:]


def test_without_evidence_nobody_takes_over():
    for name in ("failover-1", "failover-3"):
        estate.docker("pause", f"paas-lab-{name}")
    try:
        # Its guard may still hear the region that does not answer.
        refused = run("failover", "accept_loss=yes", check=False)
        assert refused.returncode != 0 and "nothing proves that failover-1 is down" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
        assert sql("failover-2", "SELECT pg_is_in_recovery()") == "t"
    finally:
        for name in ("failover-1", "failover-3"):
            estate.docker("unpause", f"paas-lab-{name}")


def test_a_killed_primary_is_fenced_by_ssh():
    with Writer() as writer:
        estate.shell("failover-1", "pkill -KILL -x postgres")
        started = time.time()
        first = run("failover", check=False)
        if first.returncode != 0:
            assert "accept_loss=yes" in first.stdout, first.stdout[-6000:]
            run("failover", "accept_loss=yes")
        writer.await_more(20)
    (primary,) = estate.primaries()
    lost = writer.lost(primary)
    print(f"\nfailover to {primary}, fenced by SSH: first row {writer.first_after(started + 0.5) - started:.1f} s after the command, {len(lost)} rows lost")
    assert primary != "failover-1"
    assert not lost or first.returncode != 0, "rows were lost without a word"
    assert estate.shell("failover-1", "pgrep -x postgres") == ""
    back_to_the_first(lost)


def test_a_primary_that_is_cut_off_closes_by_itself():
    """Away for SSH and for both other regions; the apps beside it still write to it, until its guard ends that."""
    with Writer() as writer, Writer(nodes=["failover-1"]) as beside:
        estate.cut("failover-1", "eu-west-1", "ap-southeast-2", ssh=True)
        started = time.time()
        try:
            told = run("failover", "accept_loss=yes").stdout
            assert "at least" in told and "its guard has lost the majority" in told, told[-6000:]
            (primary,) = [name for name in others("failover-1") if sql(name, "SELECT pg_is_in_recovery()") == "f"]
            promoted = estate.promoted_at(primary)
            estate.until("that a row is written after the promotion", lambda: writer.acknowledged[-1][1] > promoted)
            time.sleep(2)
        finally:
            estate.heal("failover-1")
        last = beside.acknowledged[-1][1]
        time.sleep(3)
        assert refused_writes(estate.urls(nodes=["failover-1"])), "the old primary takes writes again, though nobody follows it"
    late = [moment for _number, moment in beside.acknowledged if moment > promoted]
    print(
        f"\nfailover to {primary} by its guard: it closed {last - started:.1f} s after the cut, promoted {promoted - started:.1f} s and first row"
        f" {writer.first_after(promoted) - started:.1f} s after the command, {len(late)} rows on the old primary after the promotion"
    )
    assert late == []
    estate.fence("failover-1")
    back_to_the_first()


@pytest.fixture
def cloud():
    """A moto server, and a machine in it that stands for failover-1: stopped there, it is stopped here."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    env = {"AWS_ENDPOINT_URL": f"http://{address}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ec2 = boto3.client("ec2", endpoint_url=env["AWS_ENDPOINT_URL"], region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    over = threading.Event()

    def machine():
        while not over.wait(0.2):
            if ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"] == "stopped":
                estate.docker("kill", "paas-lab-failover-1")
                return

    thread = threading.Thread(target=machine, daemon=True)
    thread.start()
    yield instance, env
    over.set()
    thread.join(30)
    server.stop()


def test_a_frozen_machine_is_powered_off_by_the_cloud(cloud):
    instance, env = cloud
    with Writer() as writer:
        estate.docker("pause", "paas-lab-failover-1")
        started = time.time()
        run("failover", "accept_loss=yes", f"paas_ec2_instance_id={instance}", env=env)
        writer.await_more(20)
    (primary,) = [name for name in others("failover-1") if sql(name, "SELECT pg_is_in_recovery()") == "f"]
    print(f"\nfailover to {primary}, powered off by the API: first row {writer.first_after(started + 0.5) - started:.1f} s after the command")
    # It boots again and knows nothing: its server comes up as a primary, and its guard keeps it closed.
    estate.docker("start", "paas-lab-failover-1")
    estate.until("that the old server runs", lambda: sql("failover-1", "SELECT 1") == "1", 120)
    assert sql("failover-1", "SELECT pg_is_in_recovery()") == "f"
    assert refused_writes(estate.urls(nodes=["failover-1"]))
    estate.fence("failover-1")
    back_to_the_first()


@pytest.mark.parametrize(
    "playbook, arguments, task, target",
    [
        ("switchover", [], "Stop the old primary and promote the candidate", "failover-2"),
        ("switchover", [], "postgres_follower : Follow the primary", "failover-1"),
        ("failover", ["accept_loss=yes"], "Promote the new primary", "failover-2"),
    ],
)
def test_a_killed_runbook_is_run_again(playbook, arguments, task, target):
    """Killed somewhere within a step that changes something; the second run brings one primary that all others follow."""
    delay = random.Random(f"{SEED} {playbook} {task}").uniform(0, 1.5)
    extra = [f"new_primary={target}", *arguments]
    with Writer() as writer:
        if playbook == "failover":
            estate.shell("failover-1", "pkill -KILL -x postgres")
        estate.run_killed(playbook, *extra, at=task, after=delay)
        print(f"\n{playbook} killed {delay:.2f} s into {task!r} (seed {SEED})")
        run(playbook, *extra)
        writer.await_more(20)
    assert estate.primaries() == [target]
    following = [name for name in others(target) if not (playbook == "failover" and name == "failover-1")]
    estate.followed_by_all(target, following)
    lost = writer.lost(target)
    print(f"{len(writer.acknowledged)} rows acknowledged, {len(lost)} lost")
    assert lost == [] or playbook == "failover"
    if playbook == "failover":
        back_to_the_first(lost)


def test_the_status_tells_of_every_server(tmp_path):
    estate.docker("pause", "paas-lab-failover-3")
    try:
        shown = run("status", f"json={tmp_path}/status.json").stdout
    finally:
        estate.docker("unpause", "paas-lab-failover-3")
    rows = {row["host"]: row for row in json.loads((tmp_path / "status.json").read_text())["postgres"]}
    assert (rows["failover-1"]["role"], rows["failover-1"]["slots"], rows["failover-1"]["problems"]) == ("primary", 2, [])
    assert (rows["failover-2"]["follows"], rows["failover-2"]["fenced"], rows["failover-2"]["problems"]) == ("failover-1", False, [])
    assert rows["failover-3"]["state"] == "no answer" and "failover-3 gives no answer" in shown
    assert "failover-1\n" in run("status", "query=postgres[?role=='primary'].host|[0]").stdout.replace('"', "")
