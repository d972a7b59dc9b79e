# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an nginx answers, to whom, and what it writes down."""

from __future__ import annotations

import json
import subprocess

import pytest

testinfra_hosts = ["nginx-1", "nginx-bookworm-1"]

SITE = "curl -sk --resolve site.paas.test:443:127.0.0.1 https://site.paas.test"

# Asks and takes it back at once, over one connection, and prints how many requests the server took before it had enough: its GOAWAY names the
# last one. Read by hand, as h2 takes no frame after that one.
RESETS = """
import select, socket, ssl, struct
from h2.config import H2Configuration
from h2.connection import H2Connection
context = ssl._create_unverified_context()
context.set_alpn_protocols(["h2"])
stream = context.wrap_socket(socket.create_connection(("127.0.0.1", 443), timeout=20), server_hostname="site.paas.test")
talk, said, last = H2Connection(H2Configuration()), b"", None
talk.initiate_connection()
def read():
    global said, last
    data = stream.recv(65536)
    said += data
    while len(said) >= 9 and len(said) >= 9 + int.from_bytes(said[:3], "big"):
        length, kind = int.from_bytes(said[:3], "big"), said[3]
        if kind == 7:
            last = struct.unpack("!I", said[9:13])[0]
        said = said[9 + length:]
    return bool(data)
try:
    for batch in range(200):
        for number in range(50):
            identity = talk.get_next_available_stream_id()
            talk.send_headers(identity, [(":method", "GET"), (":scheme", "https"), (":authority", "site.paas.test"), (":path", "/")], end_stream=True)
            talk.reset_stream(identity)
        stream.sendall(talk.data_to_send())
        while last is None and (stream.pending() or select.select([stream], [], [], 0)[0]):
            read()
        if last is not None:
            break
    while last is None and read():
        pass
except OSError:
    pass
print((last + 1) // 2)
"""


def is_bookworm(host):
    return host.system_info.codename == "bookworm"


def test_the_version_is_pinned(host):
    policy = host.run("apt-cache policy nginx").stdout
    assert (" 1002" if is_bookworm(host) else " 1001") in policy
    assert ("1.22.1" if is_bookworm(host) else "1.26.3") in policy.split("Candidate:")[1].splitlines()[0]
    pin = host.file("/etc/apt/preferences.d/00-nginx-http2-pin").content_string
    assert pin.startswith("Explanation: Written by multiregion.paas.nginx_http2_pin")


def test_the_configuration_is_valid_without_a_warning(host):
    result = host.run("nginx -t")
    assert result.succeeded
    assert "[warn]" not in result.stderr


def test_floods_are_bounded(host):
    configuration = host.run("nginx -T").stdout
    streams, requests = (64, 500) if is_bookworm(host) else (128, 1000)
    assert f"http2_max_concurrent_streams {streams};" in configuration
    assert f"keepalive_requests {requests};" in configuration


def test_whoever_takes_every_request_back_has_to_connect_again(host):
    """Rapid reset (CVE-2023-44487): without a bound one connection brings in requests without end."""
    taken = int(host.check_output("python3 -c %s", RESETS))
    assert 0 < taken <= (500 if is_bookworm(host) else 1000)
    assert host.run(f"{SITE}/").stdout == "hello"


def test_a_site_speaks_ipv6(host):
    """But where nginx_ipv6 is off. Docker's machines have no IPv6 of their own before, and may not give it to themselves."""
    machine = "nginx-bookworm-1" if is_bookworm(host) else "nginx-1"
    subprocess.run(
        ["docker", "run", "--rm", "--cap-add=NET_ADMIN", "--security-opt=systempaths=unconfined", f"--network=container:paas-lab-{machine}",
         "--entrypoint=sysctl", "paas-lab/machine:trixie", "-q", "-w", "net.ipv6.conf.lo.disable_ipv6=0"], check=True,
    )  # fmt: skip
    status = host.run("curl -sk -o /dev/null -w '%{http_code}' http://[::1]/ -H 'Host: other.example'")
    # 7: nobody listens; 52 and 56: the server closed the connection without an answer.
    assert status.rc in ((7,) if is_bookworm(host) else (52, 56))
    if not is_bookworm(host):
        assert host.run("curl -sk --resolve 'site.paas.test:443:[::1]' https://site.paas.test").stdout == "hello"


def test_a_site_speaks_http2(host):
    assert host.run(f"{SITE}/ --http2 -o /dev/null -w '%{{http_version}} %{{http_code}}'").stdout == "2 200"


@pytest.mark.parametrize("method", ["-d a=b", ""])
def test_the_site_is_answered(host, method):
    assert host.run(f"{SITE}/ {method}").stdout == "hello"


def test_an_unknown_name_reaches_no_site(host):
    # 52 and 56: the server closed the connection without an answer. 35: it refused the TLS handshake.
    assert host.run("curl -s -H 'Host: other.example' http://127.0.0.1/").rc in (52, 56)
    assert host.run("curl -sk --resolve other.example:443:127.0.0.1 https://other.example/").rc == 35
    assert host.run("curl -sk https://127.0.0.1/").rc == 35


@pytest.mark.parametrize("old", ["1.0", "1.1"])
def test_old_tls_is_refused(host, old):
    assert host.run(f"{SITE}/ --tls-max {old}").rc == 35


def test_what_may_stay_in_a_browser(host):
    def header(path):
        lines = host.run(f"{SITE}{path} -D - -o /dev/null").stdout.lower().splitlines()
        return [line.partition(": ")[2].strip() for line in lines if line.startswith("cache-control")]

    assert header("/") == ["no-cache"]
    assert header("/static/app.0a1b2c3d4e.css") == ["public, max-age=31536000, immutable"]
    assert header("/static/report-20261121.css") == []


def test_text_is_compressed(host):
    headers = host.run(f"{SITE}/static/app.0a1b2c3d4e.css -H 'Accept-Encoding: gzip' -D - -o /dev/null").stdout.lower()
    assert "content-encoding: gzip" in headers
    assert "vary: accept-encoding" in headers


def test_the_access_log_is_json(host):
    host.run(f"{SITE}/logged?a=%22quote -A 'a\"b'")
    lines = host.run("tail -n 20 /var/log/nginx/access.log").stdout.splitlines()
    entry = next(entry for entry in (json.loads(line) for line in reversed(lines)) if entry["uri"].startswith("/logged"))
    assert entry["status"] == 200
    assert entry["protocol"] == "HTTP/2.0"
    assert entry["user_agent"] == 'a"b'
    assert entry["region"] == ("eu-west-1" if is_bookworm(host) else "us-east-1")


def test_the_status_is_there_for_metrics(host):
    port = 8090 if is_bookworm(host) else 8089
    assert "Active connections" in host.run(f"curl -s http://127.0.0.1:{port}/nginx_status").stdout
