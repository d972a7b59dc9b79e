# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_follower and pg_follower_info on real PostgreSQL servers, three of each version."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import subprocess
import time
from pathlib import Path

import pytest
from containers import docker
from postgres_servers import NETWORK, PASSWORD, ROLES, SUBNET, Failed, Server, build_image

GUARD = Path(__file__).resolve().parents[2] / "roles/postgres_server/files/postgres_guard.py"


@pytest.fixture(scope="module")
def network():
    docker("network", "create", "--subnet", SUBNET, NETWORK, check=False)
    yield
    docker("network", "rm", NETWORK, check=False)


# What differs between versions is in these; PAAS_TEST_FULL=1 runs all on every version, and on 18, which no supported Debian has yet.
ON_EVERY_VERSION = {
    "test_clone_and_leave_alone", "test_switchover_and_back", "test_the_candidate_sees_the_shutdown_itself",
    "test_a_diverged_primary_is_rewound", "test_fenced_holds", "test_a_follower_whose_log_is_gone",
}


def pytest_generate_tests(metafunc):
    if "machines" in metafunc.fixturenames:
        every = [17, 15] if metafunc.function.__name__ in ON_EVERY_VERSION else [17]
        metafunc.parametrize("machines", [18, 17, 15] if os.environ.get("PAAS_TEST_FULL") else every, indirect=True, scope="module")


@pytest.fixture(scope="module")
def machines(request, network):
    version = request.param
    image = build_image(version)
    servers = [Server(f"pg{version}-{number}", f"198.18.203.{version}{number}", version) for number in (1, 2, 3)]
    try:
        for server in servers:
            server.create(image)
        for server in servers:
            server.shell("until systemctl is-system-running --wait 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.2; done")
        yield servers
    finally:
        for server in servers:
            server.remove()


@pytest.fixture
def empty(machines):
    for server in machines:
        server.wipe()
    return machines


@pytest.fixture
def servers(empty):
    """The first is a primary, the others have nothing."""
    empty[0].become_primary()
    empty[0].sql(ROLES)
    return empty


@pytest.fixture
def pair(servers):
    """The second follows the first."""
    servers[1].follow(servers[0])
    return servers


def insert(server, first, last):
    server.sql(f"INSERT INTO rows SELECT generate_series({first}, {last});")


def begin(server, arguments):
    """The module in the background."""
    command = ["docker", "exec", "-i", server.container, "python3", "/opt/paas-test/run.py"]
    running = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    running.stdin.write(json.dumps(arguments).encode())
    running.stdin.close()
    return running


def begin_sql(server, text):
    """A session in the background."""
    command = ["docker", "exec", server.container, "runuser", "-u", "postgres", "--", "psql", "-Xc", text]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# Following from nothing


def test_a_server_without_a_cluster(empty):
    assert empty[0].info()["role"] == "absent"
    with pytest.raises(Failed, match="does not answer"):
        empty[1].follow(empty[0])
    assert empty[1].info()["role"] == "absent"


def test_clone_and_leave_alone(servers):
    primary, follower, _third = servers
    insert(primary, 1, 100)
    foreseen = follower.follow(primary, check=True)
    assert foreseen["changed"] and foreseen["action"] == "cloned" and follower.info()["role"] == "absent"
    assert follower.shell("ls /var/lib/postgresql") == "17\nforeign\ntemplate".replace("17", str(follower.version))

    result = follower.follow(primary)
    assert result["action"] == "cloned" and result["changed"] and result["streaming"] and result["role"] == "follower"
    assert PASSWORD not in json.dumps(result)
    follower.rows(100)

    for check in (False, True):
        again = follower.follow(primary, check=check)
        assert not again["changed"] and again["action"] == "none" and again["steps"] == []

    insert(primary, 101, 200)
    follower.rows(200)
    info = follower.info()
    assert info["lag_seconds"] == 0 and info["lag_bytes"] == 0 and info["primary"] == {"host": primary.address, "port": 5432}
    seen = primary.info()
    assert seen["role"] == "primary" and seen["system_identifier"] == info["system_identifier"]
    assert [slot["name"] for slot in seen["slots"]] == [f"paas_{follower.name}".replace("-", "_")] and seen["slots"][0]["active"]
    assert [one["state"] for one in seen["followers"]] == ["streaming"]


def test_the_password_is_in_the_passfile_only(pair):
    follower = pair[1]
    assert follower.shell("grep -rlF cret-pa /var/lib/postgresql /etc/postgresql /var/log/postgresql; true") \
        .splitlines() == [f"/var/lib/postgresql/.paas/{follower.version}-main/passfile"]
    assert follower.shell(f"stat -c '%a %U' /var/lib/postgresql/.paas/{follower.version}-main/passfile") == "600 postgres"
    assert "password" not in follower.sql("SHOW primary_conninfo").replace("passfile", "")


def test_a_killed_clone_heals(servers):
    primary, follower, _third = servers
    primary.sql("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 20000);")
    arguments = {
        "_module": "pg_follower", "cluster": f"{follower.version}/main", "state": "following", "bandwidth_limit": "2M",
        "primary": {"host": primary.address, "password": PASSWORD, "sslmode": "require"},
    }
    running = begin(follower, arguments)
    deadline = time.monotonic() + 30
    while not (follower.info()["clone_progress"] or "").count("%"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(Failed, match="another run"):
        follower.follow(primary, timeout=1)
    follower.shell("pkill -KILL -f '[p]aas-test/run.py'; pkill -KILL pg_basebackup; true")
    running.wait()
    assert follower.info()["role"] == "absent"
    assert follower.shell(f"test -d {follower.data}.paas-clone && ! test -e {follower.data} && echo half") == "half"
    result = follower.follow(primary)
    assert result["action"] == "cloned" and result["streaming"]
    assert follower.shell(f"ls /var/lib/postgresql/{follower.version}") == "main"


def test_a_run_waits_for_the_end_of_another(servers):
    primary, follower, _third = servers
    arguments = {
        "_module": "pg_follower", "cluster": f"{follower.version}/main", "state": "following", "bandwidth_limit": "10M",
        "primary": {"host": primary.address, "password": PASSWORD, "sslmode": "require"},
    }
    running = begin(follower, arguments)
    deadline = time.monotonic() + 30
    while not follower.info()["clone_progress"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    result = follower.follow(primary)
    assert running.wait(30) == 0
    assert result["action"] == "none" and not result["changed"] and result["streaming"]


def test_an_empty_directory_is_used_and_foreign_files_are_not(servers):
    primary, follower, other = servers
    follower.shell(f"install -d -o postgres -g postgres -m 700 {follower.data}")
    assert follower.follow(primary)["action"] == "cloned"
    other.shell(f"mkdir {other.data} && echo precious > {other.data}/file")
    with pytest.raises(Failed, match="not a database cluster"):
        other.follow(primary, on_divergence="reclone")
    assert other.shell(f"cat {other.data}/file") == "precious"


def test_a_foreign_cluster_is_refused(servers):
    primary, other, _third = servers
    other.shell(f"cp -a /var/lib/postgresql/foreign {other.data}")
    before = other.info()
    for on_divergence in ("fail", "rewind", "reclone"):
        with pytest.raises(Failed, match=f"{before['system_identifier']}.*{primary.info()['system_identifier']}"):
            other.follow(primary, on_divergence=on_divergence)
    assert other.info() == before


def test_a_writable_primary_is_not_demoted(servers):
    primary, other, _third = servers
    other.become_primary()
    with pytest.raises(Failed, match="running, writable primary"):
        other.follow(primary, on_divergence="reclone")
    assert other.info()["role"] == "primary"


def test_following_a_follower_is_refused(pair):
    with pytest.raises(Failed, match="itself a follower"):
        pair[2].follow(pair[1])


# Planned: nothing is lost


def test_switchover_and_back(pair):
    old, new, third = pair
    third.follow(old)
    insert(old, 1, 50)
    started = third.start_time()
    fenced = old.state("fenced")
    assert fenced["action"] == "fenced" and fenced["fenced"] and not fenced["running"]
    assert not old.state("fenced")["changed"]
    promoted = new.state("promoted", after_lsn=fenced["shutdown_checkpoint_lsn"])
    assert promoted["action"] == "promoted" and promoted["role"] == "primary" and promoted["timeline"] == 2
    assert not new.state("promoted")["changed"]
    insert(new, 51, 60)

    moved = third.follow(new)
    assert moved["action"] == "repointed" and moved["streaming"]
    assert third.start_time() == started, "re-pointing restarted the server"
    third.rows(60)

    back = old.follow(new)
    assert back["action"] == "attached" and back["streaming"] and not back["fenced"]
    assert back["dropped_slots"] and old.info()["slots"] == []
    old.rows(60)
    assert not old.follow(new)["changed"]
    assert old.sql("SELECT pg_is_in_recovery()") == "t"

    fenced = new.state("fenced")
    assert old.state("promoted", after_lsn=fenced["shutdown_checkpoint_lsn"])["timeline"] == 3
    assert new.follow(old)["action"] == "attached"
    assert third.follow(old)["action"] == "repointed"
    insert(old, 61, 70)
    new.rows(70)
    third.rows(70)


def test_the_candidate_sees_the_shutdown_itself(pair):
    old, new, _third = pair
    insert(old, 1, 10)
    with pytest.raises(Failed, match="shutdown checkpoint has not arrived"):
        new.state("promoted", after_lsn="shutdown", timeout=1)
    old.shell("pkill -KILL -x postgres")
    with pytest.raises(Failed, match="shutdown checkpoint has not arrived"):
        new.state("promoted", after_lsn="shutdown", timeout=1)
    old.start()
    new.wait("SELECT status FROM pg_stat_wal_receiver", "streaming")
    old.state("fenced")
    assert new.state("promoted", after_lsn="shutdown")["action"] == "promoted"
    assert old.follow(new)["action"] == "attached"


def test_a_fence_is_lifted_when_nobody_was_promoted(pair):
    old, new, _third = pair
    old.state("fenced")
    result = old.state("promoted", lift_fence=True)
    assert result["role"] == "primary" and result["timeline"] == 1 and not result["fenced"]
    insert(old, 1, 10)
    new.rows(10)


def test_what_is_missing_is_not_promoted(pair):
    old, new, _third = pair
    assert new.state("detached")["action"] == "detached"
    insert(old, 1, 10)
    fenced = old.state("fenced")
    with pytest.raises(Failed, match="not promoted"):
        new.state("promoted", after_lsn=fenced["shutdown_checkpoint_lsn"], timeout=1)
    assert new.info()["role"] == "follower"


def test_an_exact_after_lsn_is_not_enough(pair):
    """The shutdown checkpoint starts at the position that is told; one that ends there has not got it."""
    _old, new, _third = pair
    replayed = new.info()["replay_lsn"]
    with pytest.raises(Failed, match="not promoted"):
        new.state("promoted", after_lsn=replayed, timeout=1)


# Unplanned: what was not sent is told and thrown away only when asked for


def diverge(pair, kill=True, followers=()):
    old, new, _third = pair
    insert(old, 1, 10)
    new.rows(10)
    new.state("detached")
    insert(old, 11, 20)
    if kill:
        old.shell("pkill -KILL -x postgres")
    old.state("fenced", timeout=5)
    new.state("promoted", followers=list(followers))
    insert(new, 101, 105)
    return old, new


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "stopped"])
def test_a_diverged_primary_is_rewound(pair, kill):
    old, new = diverge(pair, kill)
    foreseen = old.info()
    assert foreseen["fenced"] and foreseen["role"] == "follower" and not foreseen["running"]
    with pytest.raises(Failed, match="would be lost"):
        old.follow(new)
    still = old.info()
    assert still["fenced"] and not still["running"]
    rewound = old.follow(new, on_divergence="rewind")
    assert rewound["action"] == "rewound" and rewound["streaming"] and rewound["kept_aside"] is None
    old.rows(15)
    assert not old.follow(new)["changed"]


def test_a_rewind_that_cannot_work_keeps_the_old_directory(servers):
    old, new, _third = servers
    old.wipe()
    old.become_primary(template="foreign", settings="wal_log_hints = off")
    old.sql(ROLES)
    new.follow(old)
    old, new = diverge(servers)
    with pytest.raises(Failed, match="held down"):
        old.follow(new, on_divergence="rewind")
    assert not old.info()["running"]
    result = old.follow(new, on_divergence="reclone")
    assert result["action"] == "recloned" and result["kept_aside"].startswith(old.data + ".kept-")
    old.rows(15)
    assert old.shell(f"cat {result['kept_aside']}/PG_VERSION") == str(old.version)


@contextlib.contextmanager
def starting_slowly(server):
    """So that for some seconds the server's log is that of the run before."""
    folder = f"/run/systemd/system/{server.unit}.service.d"
    server.shell(f"mkdir {folder}; printf '[Service]\\nExecStartPre=sleep 3\\n' > {folder}/slow.conf; systemctl daemon-reload")
    try:
        yield
    finally:
        server.shell(f"rm -r {folder}; systemctl daemon-reload")


@pytest.mark.parametrize("kept", [True, False], ids=["kept by a slot", "thrown away"])
def test_a_rewind_needs_the_log_since_the_last_common_checkpoint(pair, kept):
    """A slot that was made before the promotion keeps it; one that is made afterwards begins with the new timeline's checkpoint."""
    old, new, _third = pair
    new.sql("ALTER SYSTEM SET wal_keep_size = 0; ALTER SYSTEM SET max_slot_wal_keep_size = -1;")
    new.sql("SELECT pg_reload_conf()")
    old.sql("CHECKPOINT")
    for number in (201, 202, 203):
        insert(old, number, number)
        old.sql("SELECT pg_switch_wal()")
    new.rows(3)
    old.sql("TRUNCATE rows")
    diverge(pair, followers=["kept"] if kept else [])
    for number in (204, 205, 206):
        insert(new, number, number)
        new.sql("SELECT pg_switch_wal()")
    new.sql("CHECKPOINT")
    if kept:
        assert old.follow(new, on_divergence="rewind", slot="paas_kept")["action"] == "rewound"
    else:
        with pytest.raises(Failed, match="thrown away log that it needs to get ready.*reclone takes a new base backup"):
            old.follow(new, on_divergence="rewind", slot="late")
        with starting_slowly(old):
            taken_back = old.follow(new, on_divergence="reclone", slot="late")
        assert taken_back["action"] == "recloned" and taken_back["kept_aside"]
    old.rows(18)


def killed_taking_back(old, new, name, script):
    """Take the old primary back, and kill the module while this program of PostgreSQL's, here a script, hangs after the script's lines."""
    program = f"/usr/lib/postgresql/{old.version}/bin/{name}"
    stub = f"#!/bin/sh\\n{script.format(real=program + '.real')}\\ntouch /tmp/hanging\\nsleep 60\\n"
    old.shell(f"mv {program} {program}.real && printf '{stub}' > {program} && chmod 755 {program}")
    arguments = {
        "_module": "pg_follower", "cluster": f"{old.version}/main", "state": "following", "on_divergence": "rewind",
        "primary": {"host": new.address, "password": PASSWORD, "sslmode": "require"},
    }
    running = begin(old, arguments)
    old.shell("for i in $(seq 300); do test -e /tmp/hanging && break; sleep 0.1; done; test -e /tmp/hanging")
    kill_module(old, "sleep")
    running.wait()
    old.shell(f"rm /tmp/hanging; mv {program}.real {program}")


def test_a_killed_rewind_is_held_down_and_heals(pair):
    old, new = diverge(pair)
    # In the middle of it standby.signal is gone, as the primary has none.
    killed_taking_back(old, new, "pg_rewind", f"rm -f {old.data}/standby.signal")
    old.shell(f"systemctl start {old.unit}", check=False)
    old.shell(f"pg_ctlcluster {old.version} main start", check=False)
    assert not old.info()["running"] and old.info()["role"] == "follower"
    with pytest.raises(Failed, match="only come back as a follower|rewind"):
        old.state("promoted")
    assert old.follow(new, on_divergence="rewind")["action"] == "rewound"
    old.rows(15)


def test_a_follower_that_went_too_far_is_rewound(pair):
    """Two followers, and the one that is promoted had received less."""
    old, new, third = pair
    third.follow(old)
    new.state("detached")
    insert(old, 1, 10)
    third.rows(10)
    old.state("fenced")
    new.state("promoted")
    with pytest.raises(Failed, match="would be lost"):
        third.follow(new)
    assert third.info()["running"], "a follower that cannot follow still serves reads"
    assert third.follow(new, on_divergence="rewind")["action"] == "rewound"
    third.rows(0)


def test_a_follower_whose_log_is_gone(pair):
    primary, follower, _third = pair
    follower.shell(f"systemctl stop {follower.unit}")
    for _round in range(7):
        primary.sql("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS x (); DROP TABLE x;")
    primary.sql("CHECKPOINT")
    primary.wait("SELECT wal_status FROM pg_replication_slots", "lost")
    with pytest.raises(Failed, match="max_slot_wal_keep_size"):
        follower.follow(primary)
    result = follower.follow(primary, on_divergence="reclone")
    assert result["action"] == "recloned" and result["kept_aside"] and result["streaming"]


# Detached and fenced


def test_detached_ends_the_stream_and_lasts(pair):
    primary, follower, _third = pair
    started = follower.start_time()
    assert follower.state("detached", check=True)["changed"] and follower.info()["streaming"]
    result = follower.state("detached")
    assert result["action"] == "detached" and result["detached"] and not result["streaming"]
    primary.wait("SELECT count(*) FROM pg_stat_replication", "0")
    assert follower.start_time() == started
    follower.shell(f"systemctl restart {follower.unit}")
    follower.wait("SELECT pg_is_in_recovery()", "t")
    assert not follower.state("detached")["changed"] and follower.info()["detached"]
    assert follower.info()["detached_from"] == primary.address
    assert follower.follow(primary)["action"] == "attached" and not follower.info()["detached"]
    with pytest.raises(Failed, match="only a follower"):
        primary.state("detached")


def test_fenced_holds(pair):
    primary = pair[0]
    assert primary.state("fenced", check=True)["changed"] and primary.info()["running"]
    primary.state("fenced")
    for command in (f"systemctl start {primary.unit}", "systemctl restart postgresql", f"pg_ctlcluster {primary.version} main start"):
        primary.shell(command, check=False)
        assert primary.shell("pgrep -x postgres", check=False) == "", command
    docker("restart", "-t", "2", primary.container)
    primary.shell("until systemctl is-system-running --wait 2>/dev/null | grep -qE 'running|degraded'; do sleep 0.2; done")
    assert primary.shell("pgrep -x postgres", check=False) == ""
    with pytest.raises(Failed, match="only come back as a follower"):
        primary.state("promoted")
    # By the lowest tools it starts, and is not writable.
    primary.shell(
        f"runuser -u postgres -- /usr/lib/postgresql/{primary.version}/bin/pg_ctl -D {primary.data} -w -l /tmp/log"
        f" -o '-c config_file=/etc/postgresql/{primary.version}/main/postgresql.conf' start"
    )
    assert primary.sql("SELECT pg_is_in_recovery()") == "t"
    assert primary.state("fenced")["action"] == "fenced"


def test_a_frozen_server_is_fenced(pair):
    primary = pair[0]
    primary.shell("pkill -STOP -x postgres")
    started = time.monotonic()
    assert not primary.state("fenced", timeout=2)["running"]
    assert time.monotonic() - started < 60
    assert primary.shell("pgrep -x postgres", check=False) == ""


def test_a_crashed_follower_comes_back(pair):
    primary, follower, _third = pair
    insert(primary, 1, 5)
    follower.rows(5)
    follower.shell("pkill -KILL -x postgres")
    insert(primary, 6, 10)
    assert follower.follow(primary)["action"] == "attached"
    follower.rows(10)


# Half way


def last_record(server):
    """Where the log ends, by printing all of it."""
    program = f"/usr/lib/postgresql/{server.version}/bin"
    return server.shell(
        f"export LC_ALL=C; {program}/pg_controldata {server.data} | sed -n 's/.*REDO location: *//p' > /tmp/redo;"
        f" {program}/pg_waldump -p {server.data}/pg_wal -t 1 -s $(cat /tmp/redo) 2>/dev/null | tail -n 1 | sed 's/.*lsn: //; s/,.*//'"
    )


def offset(lsn):
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def kill_module(server, *programs):
    server.shell("pkill -KILL -f '[p]aas-test/run.py'; " + " ".join(f"pkill -KILL -x {program};" for program in programs) + " true")


def test_a_server_behind_a_link_is_fenced(empty):
    server = empty[1]
    server.shell(f"rm -rf /srv/elsewhere; cp -a /var/lib/postgresql/template /srv/elsewhere; ln -s /srv/elsewhere {server.data}")
    try:
        server.start()
        assert server.info()["running"] and server.info()["role"] == "primary"
        assert not server.state("fenced")["running"]
        assert server.shell("pgrep -x postgres", check=False) == ""
    finally:
        server.wipe()
        server.shell("rm -rf /srv/elsewhere")


def test_a_server_of_another_owner_is_fenced(empty):
    server = empty[1]
    server.shell(
        f"cp -a /var/lib/postgresql/template {server.data}; chown -R daemon:daemon {server.data}; chmod 755 /var/lib/postgresql/{server.version}; cd /;"
        f" runuser -u daemon -- /usr/lib/postgresql/{server.version}/bin/pg_ctl -D {server.data} -s -w -l {server.data}/log start"
        f" -o '-c config_file=/etc/postgresql/{server.version}/main/postgresql.conf -c ssl=off -c external_pid_file= -c unix_socket_directories=/tmp'"
    )
    assert server.info()["running"] and server.info()["role"] == "primary"
    assert not server.state("fenced")["running"]
    assert server.shell("pgrep -x postgres", check=False) == ""


def test_a_killed_fence_does_not_come_up_writable(servers):
    server = servers[0]
    # Frozen, it does not stop before the limit.
    server.shell("pkill -STOP -x postgres")
    running = begin(server, {"_module": "pg_follower", "cluster": f"{server.version}/main", "state": "fenced", "timeout": 60})
    server.shell(f"for i in $(seq 300); do test -e /etc/postgresql/{server.version}/main/start.conf && break; sleep 0.1; done; sleep 1")
    assert server.info()["role"] == "primary", "it still runs"
    kill_module(server, "postgres")
    running.wait()
    left = server.info()
    assert left["role"] == "follower" and left["fenced"] and not left["running"]
    assert server.shell(f"ls {server.data}/standby.signal")
    assert not server.state("fenced")["running"]
    result = server.state("promoted", lift_fence=True)
    assert result["role"] == "primary" and not result["fenced"]


def test_a_full_disk_does_not_hinder_a_fence(empty):
    server = empty[1]
    disk = f"/var/lib/postgresql/{server.version}"
    server.become_primary()
    server.shell(f"install -d -o postgres -g postgres {disk}/state && ln -s {disk}/state /var/lib/postgresql/.paas")
    server.shell(f"mount -o remount,size=$(($(du -sk {disk} | cut -f1) + 1024))k {disk}")
    server.shell(f"dd if=/dev/zero of={disk}/filled bs=4k 2>/dev/null", check=False)
    try:
        assert server.shell(f"df --output=avail {disk} | tail -n 1") == "0"
        result = server.state("fenced")
        assert result["fenced"] and not result["running"] and result["role"] == "follower"
        assert not server.state("fenced")["changed"]
        server.shell(f"systemctl start {server.unit}", check=False)
        assert server.shell("pgrep -x postgres", check=False) == ""
    finally:
        server.shell(f"mount -o remount,size=50% {disk}; rm -f {disk}/filled")
    result = server.state("promoted", lift_fence=True)
    assert result["role"] == "primary" and not result["fenced"]


def test_a_killed_recovery_does_not_stay(pair):
    old, new, _third = pair
    insert(old, 1, 10)
    new.rows(10)
    old.shell("pkill -KILL -x postgres")
    old.state("fenced")
    new.state("promoted")
    insert(new, 101, 105)
    killed_taking_back(old, new, "pg_ctl", '{real} "$@"')
    assert old.info()["running"]
    with pytest.raises(Failed, match="only come back as a follower|not running"):
        old.state("promoted")
    result = old.follow(new, on_divergence="rewind")
    assert result["streaming"] and not result["fenced"]
    assert old.sql("SHOW listen_addresses") == "*"
    old.rows(15)


# What is told of a log


def test_a_follower_that_is_cut_off_is_not_level(pair):
    primary, follower, _third = pair
    insert(primary, 1, 10)
    follower.rows(10)
    assert follower.info()["lag_bytes"] == 0
    primary.shell(f"systemctl stop {primary.unit}")
    follower.wait("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0")
    info = follower.info()
    assert info["lag_seconds"] > 0 and info["lag_bytes"] is None and info["receive_lsn"] == info["replay_lsn"]


def test_a_follower_tells_what_the_guards_have_written_and_all_else_where_it_cannot(pair):
    """Also of one from before the guard wrote down what it counts; and when a lock is on it, which a follower takes over."""
    primary, follower, _third = pair
    assert primary.info()["guards"] == follower.info()["guards"] == {}
    primary.sql("CREATE TABLE paas_guard (host text PRIMARY KEY, seconds int NOT NULL)")
    assert primary.info()["guards"] == {}
    primary.sql("INSERT INTO paas_guard VALUES ('us', 15)")
    insert(primary, 1, 10)
    follower.rows(10)
    assert follower.info()["guards"] == {"us": {"host": "us", "seconds": 15}}
    guard = runpy.run_path(str(GUARD))["RECORD"]
    primary.sql(guard % ("us", 20, '{"regions": 3}'))
    told = {"us": {"host": "us", "seconds": 20, "counted": {"regions": 3}}}
    assert primary.info()["guards"] == told
    insert(primary, 11, 20)
    follower.rows(20)
    assert follower.info()["guards"] == told
    locker = begin_sql(primary, "BEGIN; LOCK TABLE paas_guard; SELECT pg_switch_wal(); SELECT pg_sleep(60);")
    try:
        follower.wait("SELECT count(*) FROM pg_locks WHERE relation = 'paas_guard'::regclass AND mode = 'AccessExclusiveLock'", "1")
        info = follower.info()
        assert (info["role"], info["streaming"], info["guards"]) == ("follower", True, None)
    finally:
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()")
        locker.wait(30)
    follower.wait("SELECT count(*) FROM paas_guard", "1")
    assert follower.info()["guards"] == told


def test_timelines_are_told_before_their_first_checkpoint(pair):
    first, second, third = pair
    third.follow(first)
    first.sql("CREATE TABLE ballast AS SELECT repeat('x', 1000) FROM generate_series(1, 15000);")
    insert(first, 1, 10)
    second.rows(10)
    third.rows(10)
    first.shell("pkill -KILL -x postgres")
    # Not by the module, which writes a checkpoint; the server's own takes minutes with that many pages.
    second.sql("SELECT pg_promote()")
    insert(second, 11, 20)
    third.follow(second)
    third.rows(20)
    second.sql("DELETE FROM rows WHERE id = 20")
    reached = second.sql("SELECT pg_current_wal_flush_lsn()")
    forked = second.sql("SELECT pg_current_wal_flush_lsn() - 8192")
    second.shell("pkill -KILL -x postgres")
    third.rows(19)
    third.wait("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0")

    assert "Latest checkpoint's TimeLineID:       1" in second.shell(f"/usr/lib/postgresql/{second.version}/bin/pg_controldata {second.data}")
    told = second.info()
    assert told["timeline"] == 2 and offset(forked) < offset(told["lsn"]) < offset(reached)
    told = third.info()
    assert told["timeline"] == 2 and told["receive_lsn"] == reached

    third.state("detached")
    third.sql("SELECT pg_promote()")
    insert(third, 21, 30)
    reached = third.sql("SELECT pg_current_wal_flush_lsn()")
    third.shell("pkill -KILL -x postgres")
    told = third.info()
    assert told["timeline"] == 3 and offset(told["lsn"]) < offset(reached) < offset(told["lsn"]) + 8192


def test_the_end_of_much_log_is_found_quickly(servers):
    server = servers[1]
    server.become_primary()
    server.sql(ROLES)
    server.sql("CHECKPOINT")
    insert(server, 1, 1000000)
    server.shell("pkill -KILL -x postgres")
    started = time.monotonic()
    told = server.module("pg_follower_info", timeout=2)
    took = time.monotonic() - started
    started = time.monotonic()
    assert offset(told["lsn"]) == offset(last_record(server))
    assert took < time.monotonic() - started
    server.start()
    server.sql("CHECKPOINT")
    server.sql("SELECT pg_switch_wal()")
    server.shell("pkill -KILL -x postgres")
    assert offset(server.info()["lsn"]) == offset(last_record(server))
