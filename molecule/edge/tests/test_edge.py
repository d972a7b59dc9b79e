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
ADDRESSES = {**EDGES, "edge-3": "198.18.1.113", "edge-4": "198.18.1.114"}
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
# Opens a websocket at each site, says nothing, and tells how long the first one lasted and whether the second one is still there then.
SILENT = """
import socket, ssl, time
def opened(site):
    context = ssl._create_unverified_context()
    stream = context.wrap_socket(socket.create_connection(("{address}", 443), timeout=20), server_hostname=site)
    head = "GET /socket HTTP/1.1\\r\\nHost: " + site + "\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
    stream.sendall((head + "Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n").encode())
    answer = b""
    while not answer.endswith(b"\\r\\n\\r\\n"):
        answer += stream.recv(1) or exit("closed")
    assert answer.split(b" ")[1] == b"101", answer
    return stream
def is_open(stream, seconds):
    stream.settimeout(seconds)
    try:
        return bool(stream.recv(1))
    except socket.timeout:
        return True
    except OSError:
        return False
short, long = opened("short.paas.test"), opened("todo.paas.test")
started = time.monotonic()
is_open(short, 20)
lasted = time.monotonic() - started
print(round(lasted, 1), "open" if is_open(long, 2) else "closed")
"""
# Asks the machine's own Consul for the instances, as nginx does, and prints their addresses. By TCP, where an answer is whole.
DISCOVERED = """
import socket, struct
question = b"".join(bytes([len(label)]) + label for label in b"app-todo.query.consul".split(b".")) + b"\\0" + struct.pack("!HH", 1, 1)
message = struct.pack("!HHHHHH", 1, 256, 1, 0, 0, 0) + question
with socket.create_connection(("127.0.0.1", 8600), timeout=10) as stream:
    stream.sendall(struct.pack("!H", len(message)) + message)
    answer = stream.makefile("rb")
    data = answer.read(struct.unpack("!H", answer.read(2))[0])
at = 12 + len(question)
for _number in range(struct.unpack_from("!H", data, 6)[0]):
    while data[at] and data[at] < 192:
        at += data[at] + 1
    at += 2 if data[at] else 1
    kind, length = struct.unpack_from("!HxxxxxxH", data, at)
    at += 10 + length
    if kind == 1:
        print(socket.inet_ntoa(data[at - 4:at]))
"""


def discovered(edge):
    """The addresses of the instances that an edge's nginx is told: the new one by Consul's DNS, the older one in its file."""
    if edge == "edge-1":
        return set(re.findall(r"^[0-9.]+$", shell(edge, "python3 -", check=False, data=DISCOVERED), re.MULTILINE))
    return set(re.findall(r"^server ([0-9.]+):", shell(edge, "cat /var/lib/paas/edge/todo.servers"), re.MULTILINE))


def until_gone(edge, name):
    """Seconds until discovery has dropped a machine's instance. nginx does without it at once, by its own check, which says nothing of that."""
    # No answer at all is no proof.
    return until(lambda: (found := discovered(edge)) and ADDRESSES[name] not in found)


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
        until(lambda: instances(edge) == all_here() and discovered(edge) == set(ADDRESSES.values()))


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
    print(f"{edge}: discovery dropped the stopped one after", round(until_gone(edge, "edge-4"), 1), "s")
    # nginx asks every other second, or is being reloaded.
    time.sleep(4)
    after = answers(edge, 1000, site="todo")
    moved = sum(after[number] != before[number] for number in before)
    print(f"{edge}: of 1,000 URIs over 4 instances {moved} moved when one went; before", dict(Counter(before.values())))
    assert len(after) == 1000
    assert moved <= 300
    assert all(after[number] == before[number] for number in before if before[number] != "edge-4:8001")


@pytest.mark.parametrize("edge", EDGES)
def test_no_request_fails_when_instances_stop_and_die(edge, well_again):
    before = workers(edge)
    load = Load(edge, 20)
    time.sleep(2)
    shell("edge-3", "systemctl stop app@8001")
    print(f"{edge}: discovery dropped the stopped one after", round(until_gone(edge, "edge-3"), 1), "s")
    time.sleep(3)
    shell("edge-4", "systemctl kill --signal=KILL app@8001")
    print(f"{edge}: discovery dropped the killed one after", round(until_gone(edge, "edge-4"), 1), "s")
    assert instances(edge) == {"edge-1:8001", "edge-2:8001"}
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
        # `docker exec` leaves what it started, and its stream would keep the worker of before the reload.
        shell("edge-3", "pkill --full '^python3 -$' || true")


@pytest.mark.parametrize("edge", EDGES)
def test_a_silent_stream_lasts_as_long_as_its_site_says(edge):
    lasted, other = shell("edge-3", "python3 -", data=SILENT.format(address=EDGES[edge])).split()
    assert 1 < float(lasted) < 15
    assert other == "open"


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
