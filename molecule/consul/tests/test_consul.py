# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Consul answers in three regions, whom it refuses, and what a rotation costs. Times are printed; only counts and states fail."""

from __future__ import annotations

import base64
import datetime
import json
import os
import shlex
import socket
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

testinfra_hosts = ["consul-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import Watch, shell, until

REGIONS = {"consul-1": "us-east-1", "consul-2": "eu-west-1", "consul-3": "ap-southeast-2"}
ADDRESSES = {"consul-1": "198.18.1.41", "consul-2": "198.18.2.41", "consul-3": "198.18.3.41"}
CALL = "exec curl -sS --cacert /etc/paas/consul/tls/ca.crt -H @- -X {method} --data-binary '{data}' -w '\\n%{{http_code}}' 'https://127.0.0.1:8501{path}'"


def secrets():
    return json.loads((PROJECT / ".lab/molecule/consul/secrets.json").read_text(encoding="utf-8"))


def call(name, path, token="operator", method="GET", data=None):
    """The status and the decoded answer. The token travels over standard input."""
    token = secrets()["paas_consul_tokens"].get(token, token)
    text = shell(name, CALL.format(method=method, path=path, data=json.dumps(data) if data else ""), data=f"X-Consul-Token: {token}\n" if token else "\n")
    body, status = ("\n" + text).rsplit("\n", 1)
    try:
        return int(status), json.loads(body.strip())
    except ValueError:
        return int(status), body


def resolve(name, host):
    return shell(name, f"getent ahostsv4 {host} | awk '{{print $1; exit}}'", check=False)


def statuses(name, service):
    return [check["Status"] for check in call(name, f"/v1/health/checks/{service}")[1]]


@pytest.mark.parametrize("name", REGIONS)
def test_the_primary_has_one_name_everywhere(name):
    assert resolve(name, "postgres-primary.query.consul") == ADDRESSES["consul-1"]


@pytest.mark.parametrize(("name", "nearest"), [("consul-1", "consul-2"), ("consul-2", "consul-2"), ("consul-3", "consul-3")])
def test_the_nearest_follower(name, nearest):
    assert resolve(name, "postgres-follower.query.consul") == ADDRESSES[nearest]


@pytest.mark.parametrize("name", REGIONS)
def test_each_region_finds_the_others(name):
    for other, region in REGIONS.items():
        service = "postgres-primary" if other == "consul-1" else "postgres-follower"
        assert resolve(name, f"{service}.service.{region}.consul") == ADDRESSES[other]
    assert resolve(name, "nginx.service.eu-west-1.consul") == ADDRESSES["consul-2"]
    assert resolve(name, "app-todo.service.eu-west-1.consul") == ADDRESSES["consul-2"]


def test_a_container_resolves_them_too():
    said = shell("consul-2", "docker run --rm busybox /busybox nslookup -type=a postgres-primary.query.consul")
    assert ADDRESSES["consul-1"] in said, said


def test_other_names_go_where_they_went():
    assert resolve("consul-1", "localhost") == "127.0.0.1"
    assert shell("consul-1", "head -1 /etc/resolv.conf") == "nameserver 169.254.20.10"
    assert shell("consul-1", "cat /etc/paas/resolver/dnsmasq.conf").count("server=198.18.0.10") == 1


def test_a_stranger_gets_to_the_web_server_only():
    """This computer is in no group of the inventory."""

    def answers(door):
        try:
            socket.create_connection(door, 3).close()
        except OSError:
            return False
        return True

    doors = [(address, port) for address in ADDRESSES.values() for port in (80, 443, 5432, 8089, 8300, 8301, 8302, 8500, 8501, 8600)]
    with ThreadPoolExecutor(len(doors)) as pool:
        found = [door for door, is_open in zip(doors, pool.map(answers, doors)) if is_open]
    assert found == [(ADDRESSES["consul-2"], 80), (ADDRESSES["consul-2"], 443)]


def test_who_has_no_token_reads_what_dns_tells_and_writes_nothing():
    assert set(call("consul-2", "/v1/catalog/services", token="")[1]) == {"app-todo", "nginx", "postgres-follower", "postgres-primary"}
    assert call("consul-2", "/v1/acl/tokens", token="")[0] == 403
    assert call("consul-2", "/v1/kv/key", token="", method="PUT", data={})[0] == 403
    assert call("consul-2", "/v1/agent/service/register", token="", method="PUT", data={"Name": "postgres-primary"})[0] == 403


def test_a_wrong_token_is_nobody():
    assert call("consul-2", "/v1/catalog/services", token=str(uuid.uuid4()))[0] == 403


def test_a_second_bootstrap_is_refused():
    assert call("consul-1", "/v1/acl/bootstrap", method="PUT")[0] == 403


@pytest.mark.parametrize(("service", "status"), [("nginx", 403), ("postgres-primary", 200)])
def test_a_host_registers_its_own_services_only(service, status):
    token = str(uuid.uuid5(uuid.UUID(secrets()["paas_consul_tokens"]["register"]), "consul-1"))
    entry = {"Name": service, "ID": f"{service}-of-the-test", "Port": 1}
    assert call("consul-1", "/v1/agent/service/register", token=token, method="PUT", data=entry)[0] == status
    if status == 200:
        assert call("consul-1", f"/v1/agent/service/deregister/{service}-of-the-test", token=token, method="PUT")[0] == 200


def test_the_ui_is_on_the_admin_host_and_reads_only():
    assert call("consul-1", "/ui/", token="")[0] == 200
    assert call("consul-2", "/ui/", token="")[0] == 404
    assert call("consul-1", "/v1/health/state/any", token="ui")[1] != []
    assert call("consul-1", "/v1/kv/key", token="ui", method="PUT", data={})[0] == 403


def test_there_is_no_plain_http():
    assert "Failed to connect" in shell("consul-1", "curl -sS http://127.0.0.1:8500/v1/status/leader 2>&1", check=False)
    assert "HTTPS" in shell("consul-1", "curl -sS http://127.0.0.1:8501/v1/status/leader", check=False)
    for port in (8500, 8501, 8600):
        said = shell("consul-2", f"curl -sS --connect-timeout 5 http://{ADDRESSES['consul-1']}:{port}/ 2>&1", check=False)
        # Nobody listens, or the firewall of the host lets nobody ask.
        assert "Failed to connect" in said or "Connection timed out" in said, said


@pytest.mark.parametrize("hello", ["plain", "no certificate", "another CA's certificate"])
def test_rpc_needs_a_certificate_of_the_estate(hello):
    script = """
import socket, ssl, sys
connection = socket.create_connection(("198.18.1.41", 8300), 10)
if sys.argv[1] != "plain":
    connection.sendall(bytes([3]))
    context = ssl._create_unverified_context()
    if sys.argv[1] != "no certificate":
        context.load_cert_chain("/etc/nginx/todo.crt", "/etc/nginx/todo.key")
    connection = context.wrap_socket(connection)
else:
    connection.sendall(bytes(64))
print(connection.recv(64))
"""
    said = shell("consul-2", f"python3 - {shlex.quote(hello)} 2>&1 | tail -1", check=False, data=script)
    assert said in ("b''", "ConnectionResetError: [Errno 104] Connection reset by peer") if hello == "plain" else "alert" in said, said


def test_only_a_server_has_a_servers_name():
    names = shell("consul-1", "openssl x509 -in /etc/paas/consul/tls/consul.crt -noout -ext subjectAltName")
    assert "DNS:server.us-east-1.consul" in names
    assert "eu-west-1" not in names


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "Remote state is encrypted and encryption is not configured"),
        ("-encrypt=" + base64.b64encode(bytes(32)).decode(), "No installed keys could decrypt the message"),
    ],
)
def test_gossip_without_the_key_is_refused(key, reason):
    stranger = (
        "timeout 30 consul agent -data-dir=/tmp/stranger -node=stranger -datacenter=ap-southeast-2 -bind=198.18.3.41 -serf-lan-port=9301 "
        f"-dns-port=-1 -http-port=-1 -join=198.18.3.41:8301 {key} 2>&1; rm -rf /tmp/stranger"
    )
    assert f"Failed to join 198.18.3.41: {reason}" in shell("consul-3", stranger, check=False)
    assert "stranger" not in str(call("consul-3", "/v1/agent/members")[1])


def test_a_process_that_hangs_is_seen():
    shell("consul-2", "kill -STOP $(pgrep nginx)")
    try:
        print("nginx hangs, seen after", round(until(lambda: statuses("consul-2", "nginx") == ["critical"]), 1), "s")
        until(lambda: statuses("consul-2", "app-todo") == ["critical"])
        assert resolve("consul-1", "nginx.service.eu-west-1.consul") == ""
    finally:
        shell("consul-2", "kill -CONT $(pgrep nginx)")
    until(lambda: statuses("consul-2", "nginx") + statuses("consul-2", "app-todo") == ["passing"] * 2)


def test_a_drained_app_is_not_named():
    shell("consul-2", "touch /run/drained")
    try:
        until(lambda: resolve("consul-3", "app-todo.service.eu-west-1.consul") == "")
        assert statuses("consul-2", "nginx") == ["passing"]
    finally:
        shell("consul-2", "rm /run/drained")
    until(lambda: statuses("consul-2", "app-todo") == ["passing"])


def test_the_restart_of_an_agent_changes_nothing_that_others_see():
    def seen():
        # The index of the last change of each check of the database's services.
        return [(item["CheckID"], item["ModifyIndex"], item["Status"]) for item in call("consul-1", "/v1/health/node/consul-1")[1]]

    before = seen()
    shell("consul-1", "systemctl restart consul")
    until(lambda: call("consul-1", "/v1/operator/autopilot/health")[0] == 200)
    time.sleep(5)
    assert seen() == before


def test_the_app_goes_on_when_consul_is_away():
    hosts = ",".join(ADDRESSES[name] for name in ("consul-2", "consul-3", "consul-1"))
    url = f"postgresql://todo_rw:todo-writes@{hosts}/todo?target_session_attrs=read-write&sslmode=verify-full&sslrootcert=/etc/paas/postgres/ca.crt"
    for name in REGIONS:
        shell(name, "systemctl stop consul")
    try:
        time.sleep(5)
        assert shell("consul-2", f"psql -XAtqc 'SELECT inet_server_addr()' '{url}'") == ADDRESSES["consul-1"]
        roles = [shell(name, "runuser -u postgres -- psql -XAtqc 'SELECT pg_is_in_recovery()'") for name in REGIONS]
        assert roles == ["f", "t", "t"]
        assert resolve("consul-1", "localhost") == "127.0.0.1"
    finally:
        for name in REGIONS:
            shell(name, "systemctl start consul")
    for name in REGIONS:
        until(lambda name=name: resolve(name, "postgres-primary.query.consul") == ADDRESSES["consul-1"])


CUT = """
nft -f - <<END
table inet cut {{
  chain in {{ type filter hook input priority -300; ip saddr {{ {0} }} drop; }}
  chain out {{ type filter hook output priority -300; ip daddr {{ {0} }} drop; }}
}}
END
"""


def test_a_region_that_is_cut_off_keeps_its_names_and_comes_back():
    def primary():
        return resolve("consul-3", "postgres-primary.query.consul") == ADDRESSES["consul-1"]

    own = "postgres-follower.service.ap-southeast-2.consul"
    with Watch("consul-1", "postgres-primary.query.consul") as others, Watch("consul-3", own) as inside:
        shell("consul-3", CUT.format("198.18.1.0/24, 198.18.2.0/24"))
        try:
            # Longer than an agent keeps what it knows of a token.
            time.sleep(35)
            assert not primary()
            assert set(inside.answers) == {ADDRESSES["consul-3"]}
            # Its checks go on, and it can start anew without the datacenter that keeps the access lists.
            shell("consul-3", "systemctl restart consul")
            until(lambda: resolve("consul-3", own) == ADDRESSES["consul-3"])
            # It receives nothing, and serves all that it got.
            assert statuses("consul-3", "postgres-follower") == ["warning"]
            print(inside.failed, "of", len(inside.answers), "queries failed while the region's only server started anew")
        finally:
            shell("consul-3", "nft delete table inet cut")
        print("healed, seen after", round(until(primary), 1), "s")
    assert set(others.answers) == {ADDRESSES["consul-1"]}


def play(limit="all", **variables):
    command = ["ansible-playbook", str(PROJECT / "molecule/consul/consul.yml"), "--limit", limit, "-e", json.dumps(variables)]
    for inventory in ("hosts.yml", "consul.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    return subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900)


def expired(text):
    """The same certificate of a CA or a host, as if its time were over."""
    old = x509.load_pem_x509_certificate(text.encode())
    made = secrets()
    now = datetime.datetime.now(datetime.timezone.utc)
    new = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), x509.random_serial_number())
    new = new.not_valid_before(now - datetime.timedelta(days=2)).not_valid_after(now - datetime.timedelta(days=1))
    for extension in old.extensions:
        new = new.add_extension(extension.value, extension.critical)
    key = serialization.load_pem_private_key(made["paas_ca_key"].encode(), None)
    return new.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_what_cannot_work_is_refused_with_its_reason():
    shell("consul-2", "printf '#!/bin/sh\nexec /usr/bin/date --date \"60 seconds\" \"$@\"\n' > /usr/local/bin/date && chmod +x /usr/local/bin/date")
    try:
        done = play(paas_consul_gossip_key="short", paas_ca_certificate=expired(secrets()["paas_ca_certificate"]))
    finally:
        shell("consul-2", "rm /usr/local/bin/date")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert "The clock of consul-2 differs from the controller's by more than 10 s" in said
    assert "The clock of consul-1" not in said
    assert "consul_gossip_key is not 32 bytes in base64" in said
    assert "The certificate of the estate's CA has expired" in said
    assert "changed=0" in said and "changed=1" not in said


def test_the_gossip_key_stays_when_the_primary_region_takes_no_part():
    names = ("consul-2", "consul-3")
    state = "cat /var/lib/consul/serf/*.keyring; systemctl show -p ActiveEnterTimestampMonotonic consul"
    before = [shell(name, state) for name in names]
    done = play(limit=",".join(names), paas_consul_gossip_key=base64.b64encode(os.urandom(32)).decode())
    assert done.returncode == 0, done.stdout[-6000:]
    assert "No server of the primary datacenter us-east-1 takes part in this run" in " ".join(done.stdout.split())
    assert [shell(name, state) for name in names] == before


def test_rotating_the_gossip_key_and_the_tokens_of_the_hosts_costs_nothing():
    made = secrets()
    key = base64.b64encode(os.urandom(32)).decode()
    tokens = {**made["paas_consul_tokens"], "register": str(uuid.uuid4()), "agent": str(uuid.uuid4())}
    ghost = {"Datacenter": "us-east-1", "Node": "ghost", "Address": "198.18.1.99"}
    assert call("consul-1", "/v1/catalog/register", method="PUT", data=ghost)[0] == 200
    former_app = {"Name": "app-former", "Service": {"Service": "app-former"}}
    assert call("consul-1", "/v1/query?dc=eu-west-1", method="POST", data=former_app)[0] == 200
    before = {item["AccessorID"] for item in call("consul-1", "/v1/acl/tokens")[1]}
    with Watch("consul-3", "postgres-primary.query.consul") as far, Watch("consul-1", "postgres-primary.service.consul") as near:
        done = play(paas_consul_gossip_key=key, paas_consul_tokens=tokens)
    assert done.returncode == 0, done.stdout[-6000:]
    for watch in (far, near):
        assert len(watch.answers) > 10
        assert set(watch.answers) == {ADDRESSES["consul-1"]}
    for secret in (key, tokens["register"], tokens["agent"], made["paas_consul_gossip_key"], *made["paas_consul_tokens"].values()):
        assert secret not in done.stdout
    rings = call("consul-1", "/v1/operator/keyring")[1]
    assert [list(ring["Keys"]) for ring in rings] == [[key]] * len(rings)
    assert {(ring["Datacenter"], ring["WAN"]) for ring in rings} >= {(region, False) for region in REGIONS.values()}
    after = {item["AccessorID"] for item in call("consul-1", "/v1/acl/tokens")[1]}
    # An agent's and a registering token of each of the three hosts.
    assert len(after - before) == len(before - after) == 6
    # What left the inventory is gone.
    assert "ghost" not in str(call("consul-1", "/v1/catalog/nodes")[1])
    names = [item["Name"] for item in call("consul-1", "/v1/query?dc=eu-west-1")[1]]
    assert sorted(names) == ["app-todo", "postgres-follower", "postgres-primary"]


# With the secrets of the inventory: what the rotation above changed goes back.
def test_expired_certificates_are_told_of_and_renewed():
    path = "/etc/paas/consul/tls/consul.crt"
    for name in REGIONS:
        shell(name, f"cat > {path} && systemctl restart consul", data=expired(shell(name, f"cat {path}")))
    until(lambda: any("x509: certificate has expired" in shell(name, "journalctl -u consul --since -5min") for name in REGIONS))
    assert "certificate has expired" in shell("consul-1", "curl -sS --cacert /etc/paas/consul/tls/ca.crt https://127.0.0.1:8501/ 2>&1", check=False)
    done = play()
    assert done.returncode == 0, done.stdout[-6000:]
    for name in REGIONS:
        until(lambda name=name: resolve(name, "postgres-primary.query.consul") == ADDRESSES["consul-1"])
        assert call(name, "/v1/status/leader")[0] == 200


# The last one: it leaves two primaries.
def test_a_promotion_shows():
    with Watch("consul-2", "postgres-primary.service.eu-west-1.consul") as watch:
        shell("consul-2", "runuser -u postgres -- psql -XAtqc 'SELECT pg_promote()'")
        seconds = until(lambda: watch.answers[-1] == ADDRESSES["consul-2"], 30)
        print("the promotion showed", round(seconds, 1), "s after it was done")
        # A check of its own, a moment before or after.
        until(lambda: resolve("consul-2", "postgres-follower.service.eu-west-1.consul") == "", 30)
