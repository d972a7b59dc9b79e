# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets through, seen from outside, and what happens when the controller locks itself out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

testinfra_hosts = ["firewall-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import shell, until

DATABASE, WEB, STRANGER = "198.18.16.71", "198.18.16.72", "198.18.16.73"
LISTENING = {22, 80, 443, 5000, 5432, 6379, 8300, 8301, 8302, 8501, 9999}
# Thousands at a time: a port that drops says so only by silence. The second SYN of a connection leaves after one second.
SCAN = """
import resource, select, socket, sys, time
address, ports, opened = sys.argv[1], list(map(int, sys.argv[2:])) or list(range(1, 65536)), []
most = min(13200, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
family = socket.AF_INET6 if ":" in address else socket.AF_INET
while ports:
    batch, ports, poll, pending = ports[: most - 50], ports[most - 50 :], select.poll(), {}
    for port in batch:
        connection = socket.socket(family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.connect_ex((address, port))
        pending[connection.fileno()] = (connection, port)
        poll.register(connection, select.POLLOUT)
    end = time.monotonic() + 1.5
    while pending and time.monotonic() < end:
        for number, event in poll.poll(1000 * max(0, end - time.monotonic())):
            connection, port = pending.pop(number)
            poll.unregister(number)
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
                opened.append(port)
            connection.close()
    for connection, port in pending.values():
        connection.close()
print(*sorted(opened))
"""

# Silence says nothing over UDP. So the target notes what its rules let in, in a chain that comes after them.
NOTE_UDP = """
nft -f - << END
table inet let_in {{
  set ports {{ type inet_service; size 65535; flags dynamic; }}
  chain input {{ type filter hook input priority 10; ip saddr {address} add @ports {{ udp dport }}; }}
}}
END
"""
SEND_UDP = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    for port in range(1, 65536):
        try:
            link.sendto(b"?", (sys.argv[1], port))
        except ConnectionError:
            pass  # An earlier one was refused.
        if port % 512 == 0:
            time.sleep(0.02)  # No buffer on the way overflows.
"""


def scan(name, address, ports=(), inside=""):
    return {int(port) for port in shell(name, f"{inside} python3 - {address} {' '.join(map(str, ports))}", data=SCAN).split()}


def scan_udp(name, source, target, address):
    """The UDP ports of the target, all of which the machine sends to, that its rules let in."""
    shell(target, NOTE_UDP.format(address=source))
    try:
        shell(name, f"python3 - {address}", data=SEND_UDP)
        # The last packets are still on their way.
        time.sleep(1)
        found = json.loads(shell(target, "nft -j list set inet let_in ports"))["nftables"]
    finally:
        shell(target, "nft delete table inet let_in")
    return {port for part in found if "set" in part for port in part["set"].get("elem", [])}


def table():
    return shell("firewall-1", "nft list table inet paas_firewall")


@pytest.mark.parametrize(("address", "opened"), [(DATABASE, set()), (WEB, {22, 80, 443})])
def test_a_stranger_scans_every_port(address, opened):
    assert scan("firewall-client", address) == opened


@pytest.mark.parametrize(("target", "address"), [("firewall-1", DATABASE), ("firewall-2", WEB)])
def test_a_stranger_scans_every_port_by_udp(target, address):
    assert scan_udp("firewall-client", STRANGER, target, address) == set()


def test_the_estates_own_hosts_get_the_gossip_by_udp():
    assert scan_udp("firewall-2", WEB, "firewall-1", DATABASE) == {8301}


def test_the_estates_own_hosts_get_what_they_need():
    assert scan("firewall-2", DATABASE, LISTENING) == {22, 5432, 8300, 8301}
    assert scan("firewall-1", WEB, LISTENING) == {22, 80, 443, 8301}


def test_a_stranger_with_ipv6_gets_no_more():
    assert scan("firewall-2", "fd00:198:18::1", LISTENING, inside="ip netns exec stranger") == {22, 80, 443}


def test_a_host_reaches_itself():
    assert scan("firewall-1", "127.0.0.1", LISTENING) == LISTENING
    assert scan("firewall-1", DATABASE, LISTENING) == LISTENING


def test_dockers_rules_are_left_working():
    assert "table ip docker_plays" in shell("firewall-2", "nft list tables")
    # The container's published port from the host itself, and the container's way out.
    assert scan("firewall-2", "127.0.0.1", [8080]) == {8080}
    assert scan("firewall-client", WEB, [8080]) == set()
    banner = shell("firewall-2", "docker exec web /busybox sh -c '/busybox nc -w 5 198.18.16.73 22 </dev/null | /busybox head -c 4'")
    assert banner == "SSH-"


def play(*arguments):
    command = ["ansible-playbook", str(PROJECT / "molecule/firewall/converge.yml"), "--limit", "firewall-1"]
    for inventory in ("hosts.yml", "firewall.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    return subprocess.run([*command, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=400)


def test_rules_that_lock_the_controller_out_go_back():
    before = table()
    confirmed = shell("firewall-1", "cat /etc/paas/firewall/confirmed.nft")
    nobody = {"name": "nobody", "ports": [22], "sources": ["203.0.113.1"]}
    done = play("-e", json.dumps({"firewall_extra_openings": [nobody], "firewall_return_seconds": 15}))
    assert done.returncode != 0
    assert "the former ones are back" in " ".join(done.stdout.split())
    assert table() == before
    assert shell("firewall-1", "cat /etc/paas/firewall/confirmed.nft") == confirmed
    assert play().returncode == 0


def test_ssh_on_a_port_of_its_own():
    shell("firewall-1", "systemd-run --unit other-ssh /usr/sbin/sshd -D -p 2222")
    try:
        done = play("-e", json.dumps({"firewall_ssh_port": 2222}))
        assert done.returncode == 0, done.stdout
        assert scan("firewall-2", DATABASE, [22, 2222]) == {2222}
        assert scan("firewall-client", DATABASE, [22, 2222]) == set()
    finally:
        shell("firewall-1", "systemctl stop other-ssh")
        assert play().returncode == 0
    assert scan("firewall-2", DATABASE, [22, 2222]) == {22}


def test_a_run_that_is_killed_goes_back_too():
    before = table()
    shell("firewall-1", "cp -a /etc/paas/firewall/candidate.nft /root/kept && sed -i 's/5432/5433/' /etc/paas/firewall/candidate.nft")
    try:
        shell("firewall-1", "paas-firewall apply 3")
        assert table() != before
        until(lambda: table() == before, 60)
        # Too late to keep them.
        assert "back already" in shell("firewall-1", "paas-firewall confirm", check=False)
    finally:
        shell("firewall-1", "mv /root/kept /etc/paas/firewall/candidate.nft")


@pytest.mark.parametrize("verb", ["start", "reload", "restart", "stop"])
def test_it_survives_what_happens_to_another_rule_set(verb):
    shell("firewall-1", f"systemctl {verb} nftables")
    assert "policy drop" in table()


def test_it_is_there_after_a_boot():
    assert shell("firewall-1", "systemctl is-enabled paas-firewall") == "enabled"
    shell("firewall-1", "nft flush ruleset && systemctl restart paas-firewall")
    assert "policy drop" in table()
