# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only shows where every variable was changed."""

from __future__ import annotations

import json

testinfra_hosts = ["nginx-bookworm-1"]

SITE = "curl -sk --resolve site.paas.test:443:127.0.0.1 https://site.paas.test"


def test_a_flood_is_answered_with_429(host):
    urls = "site.paas.test:443:127.0.0.1 'https://site.paas.test/static/app.0a1b2c3d4e.css?[1-40]'"
    codes = host.run(f"curl -sk -w '%{{http_code}}\\n' -o /dev/null --resolve {urls}").stdout.split()
    assert "429" in codes
    assert "200" in codes


def test_a_trusted_proxy_tells_the_client(host):
    host.run(f"{SITE}/client -H 'X-Real-IP: 203.0.113.9'")
    lines = host.run("tail -n 20 /var/log/nginx/access.log").stdout.splitlines()
    assert any(entry["client"] == "203.0.113.9" for entry in map(json.loads, lines))
