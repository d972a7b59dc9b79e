# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Consul answers in three regions, whom it refuses, and what a rotation costs. Times are printed; only counts and states fail."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

testinfra_hosts = ["consul-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import shell, until

REGIONS = {"consul-1": "us-east-1", "consul-2": "eu-west-1", "consul-3": "ap-southeast-2"}
ADDRESSES = {"consul-1": "198.18.1.41", "consul-2": "198.18.2.41", "consul-3": "198.18.3.41"}
CALL = "exec curl -sS --cacert /etc/paas/consul/tls/ca.crt -H @- -X {method} --data-binary '{data}' -w '\\n%{{http_code}}' 'https://127.0.0.1:8501{path}'"
# Asks the host's own resolver once every 0.2 s, and says what it got.
ASK = "while :; do echo \"$(date +%s.%N) $(getent ahostsv4 {name} | awk '{{print $1; exit}}')\"; sleep 0.2; done"


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


def test_other_names_go_where_they_went():
    assert resolve("consul-1", "localhost") == "127.0.0.1"
    assert shell("consul-1", "head -1 /etc/resolv.conf") == "nameserver 169.254.20.10"
    assert shell("consul-1", "cat /etc/paas/resolver/dnsmasq.conf").count("server=198.18.0.10") == 1


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
        assert "Failed to connect" in shell("consul-2", f"curl -sS --connect-timeout 5 http://{ADDRESSES['consul-1']}:{port}/ 2>&1", check=False)


def test_rpc_without_tls_is_refused():
    script = "import socket; s = socket.create_connection(('198.18.1.41', 8300), 10); s.settimeout(10); s.sendall(b'\\0' * 64); print(s.recv(64))"
    assert shell("consul-2", f'python3 -c "{script}" 2>&1 | tail -1', check=False) in ("b''", "ConnectionResetError: [Errno 104] Connection reset by peer")


def test_only_a_server_has_a_servers_name():
    names = shell("consul-1", "openssl x509 -in /etc/paas/consul/tls/consul.crt -noout -ext subjectAltName")
    assert "DNS:server.us-east-1.consul" in names
    assert "eu-west-1" not in names


def test_gossip_without_the_key_is_refused():
    stranger = (
        "timeout 30 consul agent -data-dir=/tmp/stranger -node=stranger -datacenter=ap-southeast-2 -bind=198.18.3.41 -serf-lan-port=9301 "
        "-dns-port=-1 -http-port=-1 -join=198.18.3.41 2>&1; rm -rf /tmp/stranger"
    )
    output = shell("consul-3", stranger, check=False)
    assert "stranger" in output, output
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


def test_nothing_is_demoted_when_consul_is_away():
    for name in REGIONS:
        shell(name, "systemctl stop consul")
    try:
        time.sleep(5)
        roles = [shell(name, "runuser -u postgres -- psql -XAtqc 'SELECT pg_is_in_recovery()'") for name in REGIONS]
        assert roles == ["f", "t", "t"]
        assert resolve("consul-1", "localhost") == "127.0.0.1"
    finally:
        for name in REGIONS:
            shell(name, "systemctl start consul")
    for name in REGIONS:
        until(lambda name=name: resolve(name, "postgres-primary.query.consul") == ADDRESSES["consul-1"])


class Watch:
    """Asks for a name all the time, and keeps every answer."""

    def __init__(self, host, name):
        self.process = subprocess.Popen(["docker", "exec", f"paas-lab-{host}", "sh", "-c", ASK.format(name=name)], stdout=subprocess.PIPE, text=True)
        self.answers = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.answers.append((line.split() + [""])[1])

    def stop(self):
        self.process.kill()
        self.thread.join(10)
        return self.answers


def play(**variables):
    command = ["ansible-playbook", str(PROJECT / "molecule/consul/consul.yml"), "-e", json.dumps(variables)]
    for inventory in ("hosts.yml", "consul.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def test_rotating_the_gossip_key_and_the_tokens_of_the_hosts_costs_nothing():
    made = secrets()
    key = base64.b64encode(os.urandom(32)).decode()
    tokens = {**made["paas_consul_tokens"], "register": str(uuid.uuid4()), "agent": str(uuid.uuid4())}
    ghost = {"Datacenter": "us-east-1", "Node": "ghost", "Address": "198.18.1.99"}
    assert call("consul-1", "/v1/catalog/register", method="PUT", data=ghost)[0] == 200
    before = {item["AccessorID"] for item in call("consul-1", "/v1/acl/tokens")[1]}
    watches = [Watch("consul-3", "postgres-primary.query.consul"), Watch("consul-1", "postgres-primary.service.consul")]
    try:
        output = play(paas_consul_gossip_key=key, paas_consul_tokens=tokens)
    finally:
        answers = [watch.stop() for watch in watches]
    for found in answers:
        assert len(found) > 10
        assert set(found) == {ADDRESSES["consul-1"]}, found
    for secret in (key, tokens["register"], tokens["agent"], made["paas_consul_gossip_key"], *made["paas_consul_tokens"].values()):
        assert secret not in output
    rings = call("consul-1", "/v1/operator/keyring")[1]
    assert [list(ring["Keys"]) for ring in rings] == [[key]] * len(rings)
    assert {(ring["Datacenter"], ring["WAN"]) for ring in rings} >= {(region, False) for region in REGIONS.values()}
    after = {item["AccessorID"] for item in call("consul-1", "/v1/acl/tokens")[1]}
    # An agent's and a registering token of each of the three hosts.
    assert len(after - before) == len(before - after) == 6
    # What left the inventory is gone.
    assert "ghost" not in str(call("consul-1", "/v1/catalog/nodes")[1])
    play()
    assert {item["AccessorID"] for item in call("consul-1", "/v1/acl/tokens")[1]} == before


# The last one: it leaves two primaries.
def test_a_promotion_shows():
    before = time.time()
    watch = Watch("consul-2", "postgres-primary.service.eu-west-1.consul")
    try:
        until(lambda: len(watch.answers) > 2)
        shell("consul-2", "runuser -u postgres -- psql -XAtqc 'SELECT pg_promote()'")
        promoted = time.time()
        until(lambda: watch.answers[-1] == ADDRESSES["consul-2"], 30)
        print("the promotion took", round(promoted - before, 1), "s and showed", round(time.time() - promoted, 1), "s later")
        assert resolve("consul-2", "postgres-follower.service.eu-west-1.consul") == ""
    finally:
        watch.stop()
