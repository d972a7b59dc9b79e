# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a declaration to what users are answered: route53_latency, moto, the lab's DNS server as a program, and real health checks."""

from __future__ import annotations

import contextlib
import http.server
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import dns.edns
import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
from ansible.module_utils.testing import patch_module_args

FOLDER = Path(__file__).resolve().parents[1] / "lab" / "dns"
sys.path.insert(0, str(FOLDER))

from ansible_collections.multiregion.paas.plugins.modules import dns_addresses_info, route53_latency
from moto_route53 import Route53Server

NAME = "app.paas.test"
NETWORKS = {"us-east-1": "198.18.1.0", "eu-west-1": "198.18.2.0", "ap-southeast-2": "198.18.3.0"}
ADDRESSES = {"us-east-1": "127.0.1.1", "eu-west-1": "127.0.2.1", "ap-southeast-2": "127.0.3.1"}
CONFIG = """
regions: {us-east-1: 198.18.1.0/24, eu-west-1: 198.18.2.0/24, ap-southeast-2: 198.18.3.0/24}
rtt_ms: {us-east-1 eu-west-1: 75, us-east-1 ap-southeast-2: 200, eu-west-1 ap-southeast-2: 255}
"""


class Hosts:
    """A web server for each region; a drained one answers 503."""

    def __init__(self):
        self.drained = set()
        hosts = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(503 if self.server.server_address[0] in hosts.drained else 200)
                self.end_headers()

            def log_message(self, format, *args):
                pass

        first = http.server.ThreadingHTTPServer((ADDRESSES["us-east-1"], 0), Handler)
        self.port = first.server_address[1]
        self.servers = [
            first,
            *(http.server.ThreadingHTTPServer((ADDRESSES[region], self.port), Handler) for region in list(ADDRESSES)[1:]),
        ]
        for server in self.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.fixture(scope="module")
def hosts():
    found = Hosts()
    yield found
    found.close()


@pytest.fixture(scope="module")
def api():
    with Route53Server() as server:
        server.client().create_hosted_zone(Name="paas.test", CallerReference="zone")
        yield server


class Dns:
    def __init__(self, api, folder):
        (folder / "lab.yml").write_text(CONFIG)
        arguments = ["--api", api.url, "--config", str(folder / "lab.yml"), "--listen", "127.0.0.1", "--upstream", "none"]
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(FOLDER / "server.py"), *arguments, "--port", "0", "--status-port", "18053", "--check-interval", "0.3"],
                stderr=log,
                env={**os.environ, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"},
            )
        self.log = folder / "log"
        deadline = time.monotonic() + 30
        while " port " not in self.log.read_text():
            assert time.monotonic() < deadline and self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        self.port = int(self.log.read_text().split(" port ", 1)[1].split(",", 1)[0])

    def ask(self, name, region="us-east-1", rdtype="A"):
        query = dns.message.make_query(name, rdtype, use_edns=0, options=[dns.edns.ECSOption(NETWORKS[region], 24)])
        message = dns.query.udp(query, "127.0.0.1", port=self.port, timeout=5)
        return sorted(rdata.to_text() for rrset in message.answer for rdata in rrset)

    def until(self, expected, *question, seconds=20):
        """How long it took until the answer was the expected one."""
        began = time.monotonic()
        while (seen := self.ask(*question)) != expected:
            assert time.monotonic() - began < seconds, f"{question}: {seen}, not {expected}"
            time.sleep(0.05)
        return time.monotonic() - began

    def reload(self):
        with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:18053/reload", method="POST"), timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def server(api, tmp_path_factory):
    running = Dns(api, tmp_path_factory.mktemp("dns"))
    yield running
    running.process.terminate()
    assert running.process.wait(10) == 0


@pytest.fixture(scope="module")
def declare(api, hosts, server):
    def run(regions=tuple(ADDRESSES), **options):
        arguments = {
            "zone": "paas.test",
            "names": [NAME],
            "endpoints": [{"region": region, "addresses": [ADDRESSES[region]]} for region in regions],
            "health_check": {"type": "HTTP", "port": hosts.port, "path": "/health", "interval": 10, "failure_threshold": 2},
            "ttl": 5,
            "access_key": "test",
            "secret_key": "0123456789",
            "region": "us-east-1",
            "endpoint_url": api.url,
            **options,
        }
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            route53_latency.main()
        assert not ended.value.code
        return server.reload()

    return run


def test_each_region_gets_its_own_hosts(server, declare):
    declare()
    for region, address in ADDRESSES.items():
        assert server.ask(NAME, region) == [address]
        assert server.ask(f"{region}.{NAME}") == [address]


def test_a_fresh_record_answers_within_a_few_seconds_without_being_asked_to_reload(server, api):
    zone = api.client().list_hosted_zones_by_name(DNSName="paas.test")["HostedZones"][0]["Id"]
    record = {"Name": "_acme-challenge.paas.test", "Type": "TXT", "TTL": 5, "ResourceRecords": [{"Value": '"token"'}]}
    api.client().change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    assert server.until(['"token"'], "_acme-challenge.paas.test", "us-east-1", "TXT") < 5


def test_a_drained_region_moves_to_the_next_nearest_and_back(server, declare, hosts):
    declare()
    hosts.drained = {ADDRESSES["eu-west-1"]}
    server.until([ADDRESSES["us-east-1"]], NAME, "eu-west-1")
    assert server.ask(NAME, "ap-southeast-2") == [ADDRESSES["ap-southeast-2"]]
    hosts.drained = {ADDRESSES["eu-west-1"], ADDRESSES["us-east-1"]}
    server.until([ADDRESSES["ap-southeast-2"]], NAME, "eu-west-1")
    hosts.drained = set(ADDRESSES.values())
    server.until([ADDRESSES["eu-west-1"]], NAME, "eu-west-1")  # all sick counts as all healthy
    hosts.drained = set()
    server.until([ADDRESSES["us-east-1"]], NAME, "us-east-1")


def test_a_region_is_added_and_taken_away_without_a_moment_unanswered(server, declare):
    declare(regions=("us-east-1", "eu-west-1"))
    unanswered, stop = [], threading.Event()

    def watch():
        while not stop.is_set():
            if not server.ask(NAME, "ap-southeast-2"):
                unanswered.append(time.monotonic())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        declare()
        server.until([ADDRESSES["ap-southeast-2"]], NAME, "ap-southeast-2")
        declare(regions=("us-east-1", "eu-west-1"))
        server.until([ADDRESSES["us-east-1"]], NAME, "ap-southeast-2")
    finally:
        stop.set()
        watcher.join()
    assert unanswered == []


def test_an_absent_name_is_nxdomain(server, declare):
    declare(names=["gone.paas.test"])
    assert server.ask("gone.paas.test")
    declare(names=["gone.paas.test"], state="absent", endpoints=[])
    query = dns.message.make_query("us-east-1.gone.paas.test", "A")
    assert dns.query.udp(query, "127.0.0.1", port=server.port, timeout=5).rcode() == dns.rcode.NXDOMAIN


def sent(server, client=None, name=NAME):
    """What the module says, which asks the authoritative server itself."""
    arguments = {"names": [name], "nameservers": [f"127.0.0.1:{server.port}"], **({"client": client} if client else {})}
    with patch_module_args(arguments), contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit):
        dns_addresses_info.main()
    return json.loads(said.getvalue())


def test_where_the_users_of_a_region_are_sent_while_one_is_drained(server, declare, hosts):
    declare()
    for region, network in NETWORKS.items():
        server.until([ADDRESSES[region]], NAME, region)
        assert sent(server, network)["addresses"] == {NAME: [ADDRESSES[region]]}
    hosts.drained.add(ADDRESSES["us-east-1"])
    try:
        server.until([ADDRESSES["eu-west-1"]], NAME, "us-east-1")
        assert sent(server, NETWORKS["us-east-1"])["addresses"] == {NAME: [ADDRESSES["eu-west-1"]]}
    finally:
        hosts.drained.clear()
    assert sent(server, name="nobody.paas.test")["addresses"] == {"nobody.paas.test": []}


@pytest.mark.parametrize("client, words", [("nowhere", "no IP address"), (None, "timed out")])
def test_what_cannot_be_asked_is_told(client, words):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        arguments = {"names": [NAME], "nameservers": [f"127.0.0.1:{silent.getsockname()[1]}"], **({"client": client} if client else {})}
        with patch_module_args(arguments), contextlib.redirect_stdout(io.StringIO()) as said, pytest.raises(SystemExit):
            dns_addresses_info.main()
    result = json.loads(said.getvalue())
    assert result["failed"] and words in result["msg"]
