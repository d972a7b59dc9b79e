# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two edges, one of a new nginx and one of an older one, while instances come, go and die. Times are printed; only counts and states fail."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

testinfra_hosts = ["edge-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import shell, until

EDGES = {"edge-1": "198.18.1.111", "edge-2": "198.18.1.112"}
HERE = ("edge-1", "edge-2", "edge-3", "edge-4")
# A line a URI: the number and the instance that answered. Where a reload has ended the connection, it asks over a new one, as a browser does.
ASK = """
import http.client, socket, ssl
class Edge(http.client.HTTPConnection):
    def connect(self):
        stream = socket.create_connection(("{address}", 443))
        self.sock = ssl._create_unverified_context().wrap_socket(stream, server_hostname=self.host)
def get(path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()
connection = Edge("{site}.paas.test")
for number in range({count}):
    try:
        status, text = get("{path}" + str(number))
    except ConnectionError:
        connection.close()
        status, text = get("{path}" + str(number))
    print(number, status, text.split("\\n")[0])
"""
# Opens a stream through the edge and says each piece that comes; before the socket's, it sends one.
STREAM = """
import os, socket, ssl, sys, time
context = ssl._create_unverified_context()
stream = context.wrap_socket(socket.create_connection(("{address}", 443)), server_hostname="todo.paas.test")
head = "GET {path} HTTP/1.1\\r\\nHost: todo.paas.test\\r\\n"
if "{path}" == "/socket":
    head += "Upgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n"
stream.sendall((head + "\\r\\n").encode())
print("status", stream.recv(4096).split(b" ")[1].decode(), flush=True)
while True:
    if "{path}" == "/socket":
        stream.sendall(b"\\x81\\x84\\0\\0\\0\\0ping")
        time.sleep(0.2)
    if not stream.recv(4096):
        sys.exit("closed")
    print("piece", flush=True)
"""


def answers(edge, count=40, site="even", path="/"):
    """URI number -> instance; the client is edge-3."""
    lines = shell("edge-3", "python3 -", data=ASK.format(address=EDGES[edge], count=count, site=site, path=path)).splitlines()
    found = [line.split(" ", 2) for line in lines]
    return {int(number): instance for number, status, instance in found if status == "200"}


def instances(edge):
    return set(answers(edge).values())


def all_here(port=8001):
    return {f"{name}:{port}" for name in HERE}


def play(book, *arguments, check=True, **variables):
    command = ["ansible-playbook", str(PROJECT / "molecule/edge" / book), "-e", json.dumps(variables), *arguments]
    for inventory in ("hosts.yml", "edge.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900)
    assert not check or done.returncode == 0, done.stdout[-6000:]
    return done


def workers(edge):
    return shell(edge, "pgrep -f 'nginx: worker process$' | sort")


class Load:
    """Requests from edge-3 for some seconds; those that failed are all that counts.

    The older nginx is reloaded meanwhile. It then says GOAWAY, after which a request that it has not begun belongs on a new connection: curl
    and browsers send it there, h2load counts it as failed.
    """

    H2LOAD = "h2load -D {seconds} -c 4 -m 4 --connect-to={address} https://even.paas.test/"
    CURL = (
        "end=$(($(date +%s) + {seconds})); while [ $(date +%s) -lt $end ]; do curl -skZ --parallel-max 8 -o /dev/null -w '%{{http_code}}\\n' "
        "--resolve even.paas.test:443:{address} 'https://even.paas.test/[1-200]'; done"
    )

    def __init__(self, edge, seconds):
        self.is_reloaded = edge == "edge-2"
        command = (self.CURL if self.is_reloaded else self.H2LOAD).format(seconds=seconds, address=EDGES[edge])
        self.process = subprocess.Popen(["docker", "exec", "paas-lab-edge-3", "sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self):
        """Requests that succeeded and those that did not."""
        output = self.process.communicate(timeout=120)[0]
        if self.is_reloaded:
            codes = output.split()
            return codes.count("200"), len(codes) - codes.count("200")
        failed = re.search(r"(\d+) failed", output)
        statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
        assert failed and statuses, output
        succeeded, *others = map(int, statuses.groups())
        return succeeded, int(failed.group(1)) + sum(others)


def make_everybody_well():
    for name in (*HERE, "edge-5"):
        shell(name, "systemctl start consul app@8001")
    for edge in EDGES:
        until(lambda: instances(edge) == all_here())


@pytest.fixture(scope="module", autouse=True)
def everybody_is_well():
    make_everybody_well()


@pytest.fixture
def well_again():
    """For a test after which instances or Consul may be down."""
    yield
    make_everybody_well()


@pytest.mark.parametrize("edge", EDGES)
def test_the_same_uri_goes_to_the_same_instance(edge, well_again):
    before = answers(edge, 1000, site="todo")
    assert len(before) == 1000
    assert answers(edge, 1000, site="todo") == before
    shell("edge-4", "systemctl stop app@8001")
    until(lambda: instances(edge) == all_here() - {"edge-4:8001"})
    after = answers(edge, 1000, site="todo")
    moved = sum(after[number] != before[number] for number in before)
    print(f"{edge}: of 1,000 URIs over 4 instances {moved} moved when one went; before", dict(Counter(before.values())))
    assert moved <= 300
    assert all(after[number] == before[number] for number in before if before[number] != "edge-4:8001")


@pytest.mark.parametrize("edge", EDGES)
def test_no_request_fails_when_instances_stop_and_die(edge, well_again):
    before = workers(edge)
    load = Load(edge, 20)
    time.sleep(2)
    shell("edge-3", "systemctl stop app@8001")
    print(f"{edge}: without the stopped one after", round(until(lambda: "edge-3:8001" not in instances(edge)), 1), "s")
    time.sleep(3)
    shell("edge-4", "systemctl kill --signal=KILL app@8001")
    print(f"{edge}: without the killed one after", round(until(lambda: "edge-4:8001" not in instances(edge)), 1), "s")
    succeeded, failed = load.result()
    print(f"{edge}: {succeeded} requests, {failed} failed")
    assert succeeded > 100
    assert failed == 0
    if edge == "edge-1":
        assert workers(edge) == before


def test_an_instance_of_the_inventory_takes_traffic(well_again):
    before = workers("edge-1")
    play("consul.yml", "--limit", "edge-4", edge_ports=[8001, 8002])
    try:
        for edge in EDGES:
            print(f"{edge}: used after", round(until(lambda: instances(edge) == all_here() | {"edge-4:8002"}), 1), "s")
        assert workers("edge-1") == before
    finally:
        play("consul.yml", "--limit", "edge-4")


def test_another_region_serves_when_the_own_has_nobody(well_again):
    for name in HERE:
        shell(name, "systemctl stop app@8001")
    for edge in EDGES:
        print(f"{edge}: the other region after", round(until(lambda: instances(edge) == {"edge-5:8001"}), 1), "s")


def test_the_last_instances_serve_on_without_consul(well_again):
    for name in (*HERE, "edge-5"):
        shell(name, "systemctl kill --signal=KILL consul; systemctl stop consul")
    shell("edge-1", "systemctl reload nginx")
    ended = time.monotonic() + 15
    while time.monotonic() < ended:
        for edge in EDGES:
            assert len(answers(edge)) == 40
            assert instances(edge) == all_here()
    for name in (*HERE, "edge-5"):
        shell(name, "systemctl start consul")
    ended = time.monotonic() + 15
    while time.monotonic() < ended:
        for edge in EDGES:
            assert len(answers(edge)) == 40


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize(("path", "status"), [("/socket", "101"), ("/events", "200")])
def test_a_stream_survives_a_reload(edge, path, status):
    command = ["docker", "exec", "-i", "paas-lab-edge-3", "python3", "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    try:
        process.stdin.write(STREAM.format(address=EDGES[edge], path=path))
        process.stdin.close()
        lines.append(process.stdout.readline().strip())
        assert lines[0] == f"status {status}"
        threading.Thread(target=lambda: [lines.append(line) for line in process.stdout], daemon=True).start()
        until(lambda: len(lines) > 5)
        before = workers(edge)
        shell(edge, "systemctl reload nginx")
        until(lambda: workers(edge) != before)
        seen = len(lines)
        until(lambda: len(lines) > seen + 10)
        assert process.poll() is None
    finally:
        process.kill()


@pytest.mark.parametrize("edge", EDGES)
def test_what_a_user_sees(edge):
    ask = f"curl -sk -o /dev/null -w '%{{http_code}} %{{http_version}}' --resolve todo.paas.test:443:{EDGES[edge]} https://todo.paas.test"
    assert shell("edge-3", f"{ask}/ --http2") == "200 2"
    assert shell("edge-3", f"curl -s -o /dev/null -w '%{{http_code}}' -H 'Host: todo.paas.test' http://{EDGES[edge]}/") == "308"
    assert shell("edge-3", f"curl -sk --resolve other.test:443:{EDGES[edge]} https://other.test/; echo $?") == "35"


def test_a_site_speaks_http3():
    ask = f"curl -sk -o /dev/null --resolve todo.paas.test:443:{EDGES['edge-2']} https://todo.paas.test/"
    assert shell("edge-3", f"{ask} -w '%header{{alt-svc}}'") == 'h3=":443"; ma=86400'
    assert shell("edge-3", f"{ask} --http3-only -w '%{{http_code}} %{{http_version}}'") == "200 3"


@pytest.mark.parametrize("edge", EDGES)
def test_browsers_are_told_once_to_keep_to_tls(edge):
    def told(url):
        headers = shell("edge-3", f"curl -sk -o /dev/null -D - --connect-to ::{EDGES[edge]}: {url}").lower().splitlines()
        return [header.partition(": ")[2].strip() for header in headers if header.startswith("strict-transport-security")]

    assert told("https://todo.paas.test/") == ["max-age=31536000"]
    assert told("https://todo.paas.test/strict") == ["max-age=1"]
    assert told("http://todo.paas.test/") == []


def test_a_drained_edge_says_so_to_checkers_and_serves_on():
    ask = f"curl -sk -o /dev/null -w '%{{http_code}}' --resolve todo.paas.test:443:{EDGES['edge-2']} https://todo.paas.test"
    play("drain.yml", "--limit", "edge-2", edge_step="drain")
    try:
        assert shell("edge-3", f"{ask}/.well-known/region-health") == "503"
        assert shell("edge-3", f"{ask}/") == "200"
    finally:
        play("drain.yml", "--limit", "edge-2", edge_step="undrain")
    assert shell("edge-3", f"{ask}/.well-known/region-health") == "200"


def test_who_follows_consul():
    assert shell("edge-2", "systemctl is-active paas-edge") == "active"
    assert shell("edge-2", "stat -c %a /etc/paas/edge/token") == "640"
    assert shell("edge-1", "systemctl is-active paas-edge", check=False) == "inactive"
    for edge in EDGES:
        assert "[warn]" not in shell(edge, "nginx -t")


def test_a_bad_declaration_is_refused_before_anything_is_touched():
    before = shell("edge-1", "stat -c '%Y %s' /etc/nginx/nginx.conf")
    sites = [{"name": "To do", "server_names": ["a b"], "certificate": "here.crt", "certificate_key": "/etc/paas-edge.key"}]
    done = play("nginx.yml", "--limit", "edge-1", check=False, nginx_edge=sites)
    assert done.returncode != 0
    for words in ("Nothing was touched", "its name is to have", "no name of a host", "certificate is to be the absolute path"):
        assert words in done.stdout, done.stdout[-3000:]
    assert shell("edge-1", "stat -c '%Y %s' /etc/nginx/nginx.conf") == before
