# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The runbooks under write load, in this order. Times are printed; only counts fail."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from concurrent import futures
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


def the_primary():
    (primary,) = estate.primaries()
    return primary


def new_primary(old):
    """Of those that can be asked when the old one is away, or knows nothing of another."""
    (primary,) = [name for name in others(old) if sql(name, "SELECT pg_is_in_recovery()") == "f"]
    return primary


def late(beside, primary):
    """The rows that the old primary has committed after the promotion of another: not there, and acknowledged later. A row that is there was
    committed before, however late this computer has heard of it."""
    promoted, missing = estate.promoted_at(primary), set(beside.lost(primary))
    return [number for number, moment in beside.acknowledged if number in missing and moment > promoted]


def taken_back(old):
    primary = new_primary(old)
    run("rejoin", f"rejoin={old}", "on_divergence=rewind")
    assert estate.primaries() == [primary]
    estate.followed_by_all(primary, others(primary))


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


def test_a_follower_goes_and_a_new_machine_takes_its_place():
    """What leaves is held down with its data; the newcomer has its name and address, and nothing else."""
    primary = the_primary()
    stays, goes = others(primary)
    slots = "SELECT string_agg(slot_name, ',' ORDER BY 1) FROM pg_replication_slots"
    with Writer() as writer:
        run("remove_follower", f"follower={goes}")
        assert sql(primary, slots) == f"paas_{stays.replace('-', '_')}"
        assert sql(goes, "SELECT 1") != "1" and estate.shell(goes, "cat /var/lib/postgresql/*/main/PG_VERSION").isdigit()
        refused = run("add_follower", f"follower={goes}", check=False)
        assert refused.returncode != 0 and "is taken back by rejoin.yml" in " ".join(refused.stdout.split())
        estate.lab("down", goes)
        estate.lab("up", goes)
        run("add_follower", f"follower={goes}", "bandwidth_limit=20M")
        estate.followed_by_all(primary, [stays, goes])
        again = run("add_follower", f"follower={goes}").stdout
        writer.await_more(20)
    assert not re.search("changed=[1-9]", again), again[-2000:]
    print(f"\na follower out and a new one in: {len(writer.acknowledged)} rows, no write waited longer than {writer.gap():.2f} s")
    assert writer.lost(primary) == []


def test_a_candidate_that_fails_has_the_old_primary_put_back():
    """Its replay stands still, so that it never sees the shutdown checkpoint."""
    old = the_primary()
    target = others(old)[0]
    with Writer() as writer:
        estate.shell(target, "pkill -STOP -f '[s]tartup recovering'", check=True)
        try:
            told = run("switchover", f"new_primary={target}", "switchover_timeout=5", check=False)
        finally:
            estate.shell(target, "pkill -CONT -f '[s]tartup recovering'", check=True)
        assert told.returncode != 0 and f"{old}: the primary again, nothing was lost" in " ".join(told.stdout.split()), told.stdout[-6000:]
        writer.await_more(20)
    print(f"\nput back {old}: writes down for {writer.gap():.1f} s")
    assert estate.primaries() == [old]
    assert writer.lost(old) == []
    estate.followed_by_all(old, others(old))


def test_without_evidence_nobody_takes_over():
    # Its guard may still hear the region that does not answer.
    old = the_primary()
    asked, silent = others(old)
    for name in (old, silent):
        estate.docker("pause", f"paas-lab-{name}")
    try:
        refused = run("failover", "accept_loss=yes", check=False)
        assert refused.returncode != 0 and f"nothing proves that {old} is down" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
        assert sql(asked, "SELECT pg_is_in_recovery()") == "t"
    finally:
        for name in (old, silent):
            estate.docker("unpause", f"paas-lab-{name}")


def test_a_killed_primary_is_fenced_by_ssh():
    old = the_primary()
    with Writer() as writer, Writer(nodes=[old]) as beside:
        estate.shell(old, "pkill -KILL -x postgres")
        started = time.time()
        told = run("failover", "accept_loss=yes").stdout
        writer.await_more(20)
    primary = the_primary()
    lost = writer.lost(primary)
    print(f"\nfailover to {primary}, fenced by SSH: first row {writer.first_after(started + 0.5) - started:.1f} s after the command, {len(lost)} rows lost")
    assert primary != old
    assert not lost or "exactly" in told, "rows were lost without a word"
    assert late(beside, primary) == []
    assert estate.shell(old, "pgrep -x postgres") == ""
    nothing_comes_of_who_is_held_down(old, primary)
    taken_back(old)


def nothing_comes_of_who_is_held_down(held, primary):
    """Today's primary does not answer, and a former one is still held down: that is no evidence, and it is not put back."""
    (target,) = [name for name in others(primary) if name != held]
    absent = json.dumps({"paas_absent_regions": [estate.REGIONS[primary]]})
    estate.docker("pause", f"paas-lab-{primary}")
    try:
        refused = run("failover", "accept_loss=yes", absent, check=False)
        assert refused.returncode != 0 and f"nothing proves that {primary} is down" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
        refused = run("switchover", f"new_primary={target}", absent, check=False)
        assert refused.returncode != 0 and f"{target} cannot take over, nothing was changed" in " ".join(refused.stdout.split()), refused.stdout[-3000:]
    finally:
        estate.docker("unpause", f"paas-lab-{primary}")
    assert estate.shell(held, "pgrep -x postgres") == "" and sql(target, "SELECT pg_is_in_recovery()") == "t"


@pytest.mark.parametrize("regions", [2, 1], ids=["cut off from both regions", "cut off from one region"])
def test_a_primary_that_is_cut_off_closes_by_itself(regions):
    """Away for SSH and for other regions; the apps beside it still write to it, until its guard ends that. Where it is only cut off from one
    region, the follower in the other one lets go of it."""
    old = the_primary()
    with Writer() as writer, Writer(nodes=[old]) as beside:
        estate.cut(old, *[estate.REGIONS[name] for name in others(old)][:regions], ssh=True)
        started = time.time()
        try:
            told = run("failover", "accept_loss=yes").stdout
            assert "at least" in told and "its guard has lost the majority" in told, told[-6000:]
            primary = new_primary(old)
            promoted = estate.promoted_at(primary)
            estate.until("that a row is written after the promotion", lambda: writer.acknowledged[-1][1] > promoted)
            time.sleep(2)
        finally:
            estate.heal(old)
        last = beside.acknowledged[-1][1]
        time.sleep(3)
        assert refused_writes(estate.urls(nodes=[old])), "the old primary takes writes again, though nobody follows it"
    after = late(beside, primary)
    print(
        f"\nfailover to {primary} by its guard: it closed {last - started:.1f} s after the cut, promoted {promoted - started:.1f} s and first row"
        f" {writer.first_after(promoted) - started:.1f} s after the command, {len(after)} rows on the old primary after the promotion"
    )
    assert after == []
    estate.fence(old)
    taken_back(old)


def test_one_that_dies_while_the_guard_s_time_passes_does_not_take_over():
    old = the_primary()
    with futures.ThreadPoolExecutor(1) as beside:
        estate.cut(old, *[estate.REGIONS[name] for name in others(old)], ssh=True)
        try:
            running = beside.submit(run, "failover", "accept_loss=yes")
            estate.until("that both have let go", lambda: all(sql(name, "SHOW primary_conninfo") == "" for name in others(old)))
            # The runbook has to know it too; then it waits for a multiple of that.
            time.sleep(4)
            # Of two that are level the first one is chosen.
            chosen = max(others(old), key=lambda name: int(sql(name, "SELECT pg_last_wal_receive_lsn() - '0/0'")))
            estate.docker("kill", f"paas-lab-{chosen}")
            told = running.result().stdout
        finally:
            estate.heal(old)
    (primary,) = [name for name in others(old) if name != chosen]
    assert sql(primary, "SELECT pg_is_in_recovery()") == "f", told[-6000:]
    assert f"{chosen} did not take part" in " ".join(told.split()), told[-6000:]
    print(f"\n{chosen} died while the time of {old}'s guard passed: {primary} took over")
    estate.fence(old)
    estate.docker("start", f"paas-lab-{chosen}")
    estate.until(f"that {chosen} runs", lambda: sql(chosen, "SELECT pg_is_in_recovery()") == "t", 120)
    run("rejoin", f"rejoin={chosen}", "on_divergence=rewind")
    taken_back(old)


def test_a_machine_that_is_off_is_vouched_for_by_the_operator():
    old = the_primary()
    with Writer() as writer:
        estate.docker("kill", f"paas-lab-{old}")
        refused = run("failover", "accept_loss=yes", f"fenced_by_hand={others(old)[0]} is off", check=False)
        assert refused.returncode != 0 and f"the old primary is {old}" in " ".join(refused.stdout.split()), refused.stdout[-6000:]
        assert [sql(name, "SELECT pg_is_in_recovery()") for name in others(old)] == ["t", "t"]
        started = time.time()
        told = run("failover", "accept_loss=yes", f"fenced_by_hand={old} is off").stdout
        writer.await_more(20)
    assert f"{old} is fenced: the operator says so" in " ".join(told.split()), told[-6000:]
    primary = new_primary(old)
    lost = writer.lost(primary)
    print(f"\nfailover to {primary}, off by hand: first row {writer.first_after(started) - started:.1f} s after the command, {len(lost)} rows lost")
    estate.docker("start", f"paas-lab-{old}")
    estate.until("that the old server runs", lambda: sql(old, "SELECT pg_is_in_recovery()") == "f", 120)
    estate.fence(old)
    taken_back(old)


@pytest.fixture
def cloud():
    """A moto server, and an instance in it that stands for the primary's machine: stopped there, it is stopped here."""
    old = the_primary()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    env = {"AWS_ENDPOINT_URL": f"http://{address}:{port}", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ec2 = boto3.client("ec2", endpoint_url=env["AWS_ENDPOINT_URL"], region_name=estate.REGIONS[old], aws_access_key_id="test", aws_secret_access_key="test")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    network = ec2.create_vpc(CidrBlock="198.18.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="198.18.0.0/16")["Subnet"]["SubnetId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=estate.ADDRESSES[old])["Instances"][0]["InstanceId"]
    over = threading.Event()

    def machine():
        while not over.wait(0.2):
            if ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"] == "stopped":
                estate.docker("kill", f"paas-lab-{old}")
                return

    thread = threading.Thread(target=machine, daemon=True)
    thread.start()
    yield old, instance, env
    over.set()
    thread.join(30)
    server.stop()


def test_a_frozen_machine_is_powered_off_by_the_cloud(cloud):
    old, instance, env = cloud
    with Writer() as writer:
        estate.docker("pause", f"paas-lab-{old}")
        refused = run("failover", f"paas_ec2_instance_id={instance}", check=False, env=env)
        assert refused.returncode != 0 and "at least" in refused.stdout and "accept_loss=yes" in refused.stdout, refused.stdout[-6000:]
        started = time.time()
        run("failover", f"paas_ec2_instance_id={instance}", "accept_loss=yes", env=env)
        writer.await_more(20)
    print(f"\nfailover to {new_primary(old)}, powered off by the API: first row {writer.first_after(started) - started:.1f} s after the command")
    # It boots again and knows nothing: its server comes up as a primary, and its guard keeps it closed.
    estate.docker("start", f"paas-lab-{old}")
    estate.until("that the old server runs", lambda: sql(old, "SELECT pg_is_in_recovery()") == "f", 120)
    assert refused_writes(estate.urls(nodes=[old]))
    estate.fence(old)
    taken_back(old)


@pytest.mark.parametrize(
    "playbook, task",
    [
        ("switchover", "Promote the candidate"),
        ("switchover", "postgres_follower : Follow the primary"),
        ("failover", "Promote the new primary"),
    ],
)
def test_a_killed_runbook_is_run_again(playbook, task):
    """Killed somewhere within a step that changes something; the second run brings one primary that all others follow. The failover is from
    a server whose processes are frozen, and go on afterwards where they still are."""
    delay = random.Random(f"{SEED} {playbook} {task}").uniform(0, 1.5)
    old = the_primary()
    # The failover takes the most advanced one: another than that would leave a follower behind that has more than its primary.
    arguments = ["accept_loss=yes"] if playbook == "failover" else [f"new_primary={others(old)[0]}"]
    with Writer() as writer, Writer(nodes=[old]) as beside:
        if playbook == "failover":
            estate.shell(old, "pkill -STOP -x postgres")
        estate.run_killed(playbook, *arguments, at=task, after=delay)
        run(playbook, *arguments)
        estate.shell(old, "pkill -CONT -x postgres")
        writer.await_more(20)
    target = new_primary(old)
    (third,) = [name for name in others(old) if name != target]
    lost = writer.lost(target)
    print(f"\n{playbook} killed {delay:.2f} s into {task!r} (seed {SEED}): {len(writer.acknowledged)} rows acknowledged, {len(lost)} lost")
    assert estate.primaries() == [target]
    # Who was failed over stays held down until it is taken back.
    estate.followed_by_all(target, [third] if playbook == "failover" else [old, third])
    assert lost == [] or playbook == "failover"
    assert late(beside, target) == []


def test_the_status_tells_of_every_server_and_one_that_is_gone_keeps_no_log(tmp_path):
    """As the test before has left it: a primary, a follower, here frozen, and one that is fenced."""
    primary = the_primary()
    (fenced,) = [name for name in others(primary) if sql(name, "SELECT 1") != "1"]
    (follower,) = [name for name in others(primary) if name != fenced]
    slot = f"SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'paas_{follower.replace('-', '_')}'"
    estate.docker("pause", f"paas-lab-{follower}")
    try:
        shown = run("status", f"json={tmp_path}/status.json").stdout
        assert sql(primary, slot) == "1"
        run("remove_follower", f"follower={follower}", "gone=yes")
        assert sql(primary, slot) == "0"
    finally:
        estate.docker("unpause", f"paas-lab-{follower}")
    rows = {row["host"]: row for row in json.loads((tmp_path / "status.json").read_text())["postgres"]}
    assert (rows[primary]["role"], rows[primary]["slots"], rows[primary]["problems"]) == ("primary", 2, [])
    assert (rows[fenced]["state"], rows[fenced]["fenced"]) == ("stopped", True) and f"{fenced} is fenced" in shown
    assert rows[follower]["state"] == "no answer" and f"{follower} gives no answer" in shown
