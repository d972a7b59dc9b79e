# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three servers: the leader dies, servers roll, and a step that would lose the quorum is refused. Times are printed; only states fail."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

testinfra_hosts = ["consul-quorum-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import Watch, shell, until

SERVERS = ("consul-quorum-1", "consul-quorum-2", "consul-quorum-3")
# The same Consul with a higher version, in a package that restarts the agent while it is upgraded, as HashiCorp's does.
NEWER = r"""
set -e
mkdir -p /var/lib/newer && cd /var/lib/newer
apt-get download -q consul >/dev/null 2>&1
dpkg-deb -R consul_*.deb tree
rm consul_*.deb
sed -i 's/^Version: .*/&+newer/' tree/DEBIAN/control
touch tree/usr/bin/consul
dpkg-deb -Znone -b tree consul.deb >/dev/null
rm -r tree
dpkg-deb -f consul.deb > Packages
printf 'Filename: ./consul.deb\nSize: %s\nSHA256: %s\n' "$(stat -c %s consul.deb)" "$(sha256sum consul.deb | cut -c1-64)" >> Packages
echo "deb [trusted=yes] file:/var/lib/newer ./" > /etc/apt/sources.list.d/newer.list
apt-get update -q >/dev/null 2>&1
printf '#!/bin/sh\nif [ "$1" = upgrade ]; then systemctl restart consul || true; fi\n' > /var/lib/dpkg/info/consul.postrm
chmod +x /var/lib/dpkg/info/consul.postrm
"""
CALL = "exec curl -sS --max-time 10 --cacert /etc/paas/consul/tls/ca.crt -H @- -X {method} --data-binary '{data}' 'https://127.0.0.1:8501{path}'"


def secrets():
    return json.loads((PROJECT / ".lab/molecule/consul-quorum/secrets.json").read_text(encoding="utf-8"))


def call(name, path, method="GET", data=""):
    token = secrets()["paas_consul_tokens"]["operator"]
    text = shell(name, CALL.format(method=method, path=path, data=data), check=False, data=f"X-Consul-Token: {token}\n")
    try:
        return json.loads(text)
    except ValueError:
        return text


# Stopped too, or the unit would start it again at once.
KILL = "date +%s.%N && systemctl kill --signal=KILL consul && systemctl stop consul"


def kill(name):
    """The moment before the signal, by the clock that all machines share with this computer."""
    return float(shell(name, KILL).split()[0])


def writes(name):
    """Whether a write to the catalog is acknowledged; another one at every call."""
    entry = {"Node": "written", "Address": "198.18.1.99", "NodeMeta": {"at": str(time.time())}}
    return call(name, "/v1/catalog/register", "PUT", json.dumps(entry)) is True


def healthy(name=SERVERS[0]):
    answer = call(name, "/v1/operator/autopilot/health")
    servers = answer.get("Servers") or () if isinstance(answer, dict) else ()
    return sorted(server["Name"] for server in servers if server["Healthy"] and server["Voter"])


def leader(name):
    """A new leader has to look at its servers first."""
    found = []

    def known():
        answer = call(name, "/v1/operator/autopilot/health")
        found[:] = [server["Name"] for server in (answer.get("Servers") or () if isinstance(answer, dict) else ()) if server["Leader"]]
        return found

    until(known)
    return found[0]


def play(**variables):
    command = ["ansible-playbook", str(PROJECT / "molecule/consul-quorum/converge.yml"), "-e", json.dumps(variables)]
    for inventory in ("hosts.yml", "consul_quorum.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900)


@pytest.fixture(autouse=True)
def all_three_are_well():
    until(lambda: healthy() == sorted(SERVERS))


def test_all_three_vote():
    assert {server["Voter"] for server in call(SERVERS[0], "/v1/operator/autopilot/health")["Servers"]} == {True}
    assert len(call(SERVERS[0], "/v1/health/service/always?passing")) == 3


def test_the_leader_dies():
    dead = leader(SERVERS[0])
    others = [name for name in SERVERS if name != dead]
    with Watch(others[0], "always.service.consul") as watch:
        try:
            killed = kill(dead)
            until(lambda: writes(others[0]))
            seconds = time.time() - killed
            assert leader(others[0]) in others
            until(lambda: "written" in str(call(others[1], "/v1/catalog/node/written")))
            until(lambda: dead not in healthy(others[0]))
        finally:
            shell(dead, "systemctl start consul")
    until(lambda: call(others[0], "/v1/catalog/deregister", "PUT", json.dumps({"Node": "written"})) is True)
    print("no catalog writes for", round(seconds, 1), "s;", watch.failed, "of", len(watch.answers), "DNS queries failed")
    assert watch.failed == 0


def test_a_step_that_would_lose_the_quorum_is_refused():
    shell(SERVERS[2], "systemctl stop consul")
    started = shell(SERVERS[0], "systemctl show -p ActiveEnterTimestampMonotonic consul")
    try:
        until(lambda: healthy() == sorted(SERVERS[:2]))
        command = ["ansible", SERVERS[0], "-m", "multiregion.paas.consul_restart", "-a", "name={{ inventory_hostname }} server=true timeout=5 "
                   "ca_file=/etc/paas/consul/tls/ca.crt token={{ paas_consul_tokens.operator }}"]  # fmt: skip
        for inventory in ("hosts.yml", "consul_quorum.yml"):
            command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
        done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
        assert done.returncode != 0
        assert f"Refused to restart the Consul server {SERVERS[0]}" in done.stdout, done.stdout
        # The leader takes a dead server off the list by itself.
        assert f"Without {SERVERS[0]} only 1 of " in done.stdout, done.stdout
        assert shell(SERVERS[0], "systemctl show -p ActiveEnterTimestampMonotonic consul") == started
    finally:
        shell(SERVERS[2], "systemctl start consul")


def started():
    return {name: int(shell(name, "systemctl show -P ActiveEnterTimestampMonotonic consul")) for name in SERVERS}


def test_another_token_of_the_operator():
    former = secrets()["paas_consul_tokens"]
    tokens = {**former, "operator": str(uuid.uuid4())}
    try:
        done = play(paas_consul_tokens=tokens)
        assert done.returncode == 0, done.stdout[-6000:]
        assert tokens["operator"] not in done.stdout and former["operator"] not in done.stdout
        # It is asked with the former one.
        until(lambda: "ACL not found" in str(call(SERVERS[0], "/v1/acl/token/self")))
    finally:
        done = play()
    assert done.returncode == 0, done.stdout[-6000:]
    until(lambda: healthy() == sorted(SERVERS))
    for name in SERVERS:
        assert shell(name, "python3 /usr/local/lib/paas/consul/prepare.py unread") == ""


def test_servers_that_missed_the_gossip_key_restart_one_after_the_other():
    """As after a restore of their disks: the others' rings have a key that theirs have not."""
    ring = "/var/lib/consul/serf/local.keyring"
    key = json.loads(shell(SERVERS[0], f"cat {ring}"))[0]
    other = base64.b64encode(os.urandom(32)).decode()
    before = started()
    # The running agents go on with what they know; only the files are without the key.
    for name in SERVERS[1:]:
        shell(name, f"cat > {ring}", data=json.dumps([other]))
    done = play()
    assert done.returncode == 0, done.stdout[-6000:]
    after = started()
    assert after[SERVERS[0]] == before[SERVERS[0]]
    assert all(after[name] > before[name] for name in SERVERS[1:])
    assert abs(after[SERVERS[1]] - after[SERVERS[2]]) > 1_000_000
    until(lambda: healthy() == sorted(SERVERS))
    for name in SERVERS[1:]:
        assert key in json.loads(shell(name, f"cat {ring}"))
    # What nobody else has goes with the run after that.
    done = play()
    assert done.returncode == 0, done.stdout[-6000:]
    assert [list(found["Keys"]) for found in call(SERVERS[0], "/v1/operator/keyring")] == [[key]] * 2


def test_apt_is_held_to_the_version():
    for name in SERVERS:
        policy = shell(name, "apt-cache policy consul")
        installed = next(line.split() for line in policy.splitlines() if line.startswith(" *** "))
        assert installed[1].startswith("1.8.7") and installed[2] == "1001", policy


def test_an_upgrade_keeps_a_snapshot_and_rolls():
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        list(pool.map(lambda name: shell(name, NEWER), SERVERS))
    before, mark = started(), int(shell(SERVERS[0], "date +%s"))
    done = play(consul_version="1.8.7*+newer")
    assert done.returncode == 0, done.stdout[-6000:]
    for name in SERVERS:
        assert shell(name, "dpkg-query -W -f '${Version}' consul").endswith("+newer")
        # Once: what the package asked for was refused.
        assert shell(name, f"journalctl -u consul -o cat --since @{mark} | grep -c '^Started '") == "1"
        assert shell(name, "python3 /usr/local/lib/paas/consul/prepare.py unread") == ""
    assert shell(SERVERS[0], "stat -c %a /var/backups/consul/of-1.8.7.snap") == "600"
    assert "Index" in shell(SERVERS[0], "consul snapshot inspect /var/backups/consul/of-1.8.7.snap")
    # The next one only when the one before is healthy again, which takes longer than a start.
    after = started()
    assert all(after[name] > before[name] for name in SERVERS)
    times = sorted(after.values())
    assert all(later - earlier > 1_000_000 for earlier, later in zip(times, times[1:]))
    assert healthy() == sorted(SERVERS)
