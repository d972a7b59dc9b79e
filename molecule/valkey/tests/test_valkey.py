# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets an answer from Valkey and who does not."""

from __future__ import annotations

import socket

import pytest
import testinfra

testinfra_hosts = ["valkey-1"]

ADDRESS = "198.18.16.51"
PASSWORD = "molecule-password"
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 6379), timeout=3) as connection:
    connection.settimeout(3)
    for line in sys.argv[2:]:
        connection.sendall(line.encode() + b"\\r\\n")
        print(connection.recv(4096).decode().split("\\r\\n")[0])
"""


def ask(host, address, *lines):
    words = " ".join(f"'{word}'" for word in (address, *lines))
    return host.run(f"python3 -c '{ASK}' {words}")


@pytest.mark.parametrize("address", ["127.0.0.1", ADDRESS])
def test_the_password_opens_it(host, address):
    assert ask(host, address, f"AUTH {PASSWORD}", "PING").stdout.split() == ["+OK", "+PONG"]


def test_without_password_it_answers_nothing(host):
    assert ask(host, "127.0.0.1", "GET key").stdout.startswith("-NOAUTH")
    assert ask(host, "127.0.0.1", "AUTH wrong").stdout.startswith("-WRONGPASS")


def test_a_peer_reaches_it():
    assert ask(testinfra.get_host("docker://paas-lab-services"), ADDRESS, f"AUTH {PASSWORD}", "PING").stdout.split() == ["+OK", "+PONG"]


def test_anybody_else_does_not():
    with pytest.raises(TimeoutError):
        socket.create_connection((ADDRESS, 6379), timeout=2).close()


def test_it_forgets_rather_than_fails_when_it_is_full(host):
    script = f"for i in $(seq 1 60); do valkey-cli --no-auth-warning -a {PASSWORD} setrange big:$i 1000000 x >/dev/null || exit 1; done"
    assert host.run(script).succeeded
    assert ask(host, "127.0.0.1", f"AUTH {PASSWORD}", "EXISTS big:60").stdout.split() == ["+OK", ":1"]
    # Which ones went is Valkey's choice: it samples.
    kept = ask(host, "127.0.0.1", f"AUTH {PASSWORD}", "DBSIZE").stdout.split()[1]
    assert 0 < int(kept.removeprefix(":")) < 60


def test_nothing_is_kept_on_disk(host):
    host.run(f"valkey-cli --no-auth-warning -a {PASSWORD} set counter 1")
    assert host.run("systemctl restart valkey-server").succeeded
    assert ask(host, "127.0.0.1", f"AUTH {PASSWORD}", "EXISTS counter").stdout.split() == ["+OK", ":0"]


@pytest.mark.parametrize("verb", ["start", "reload", "restart", "stop"])
def test_the_firewall_survives_what_happens_to_another_rule_set(host, verb):
    assert host.run(f"systemctl {verb} nftables").succeeded
    assert "saddr 198.18.0.10 accept" in host.run("nft list table inet paas_valkey").stdout


def test_the_password_is_not_readable_by_everybody(host):
    assert host.file("/etc/valkey/valkey.conf").mode == 0o640


def test_what_a_killed_run_wrote_is_taken_up_by_the_next(host):
    """The side effect was such a run: it had left 32 MB in the file and 16 MB in the server."""
    limit = host.run(f"valkey-cli --no-auth-warning -a {PASSWORD} config get maxmemory").stdout.split()
    assert limit == ["maxmemory", str(32 * 1024 * 1024)]
    assert not host.file("/run/multiregion.paas/valkey-server.service.owed").exists


def test_the_password_is_not_in_the_journal(host):
    # That modules are logged there at all is what makes the second line mean something.
    assert int(host.run("journalctl --quiet --no-pager | grep -c 'Invoked with'").stdout) > 0
    assert host.run(f"journalctl --quiet --no-pager | grep -c '{PASSWORD}'").stdout.strip() == "0"
