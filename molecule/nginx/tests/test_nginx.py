# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an nginx answers, to whom, and what it writes down."""

from __future__ import annotations

import json

import pytest

testinfra_hosts = ["nginx-1", "nginx-bookworm-1"]

SITE = "curl -sk --resolve site.paas.test:443:127.0.0.1 https://site.paas.test"


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
