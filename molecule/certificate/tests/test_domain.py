# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/domain.yml: a custom domain comes, moves to another app and goes, and who comes by it is served all the while."""

from __future__ import annotations

import json
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from pathlib import Path

testinfra_hosts = ["certificate-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
DOMAIN, EDGE, ADDRESS, DNS = "shop.certificate.test", "198.18.16.61", "198.18.16.62", "198.18.0.10"
WITH_SHOP = {"www": ["www.certificate.test", DOMAIN], "other": ["other.certificate.test", DOMAIN]}


def playbook(operation, app, *more, having=None, check=False, edge=False):
    """-> (exit status, all that it said)."""
    variables = {"operation": operation, "domain": DOMAIN, "app": app}
    if having:
        variables["certificate_test_" + having] = WITH_SHOP[having]
    command = ["ansible-playbook", str(PROJECT / "playbooks/domain.yml"), "-e", json.dumps(variables), *more, *(["--check"] if check else [])]
    for inventory in ("hosts.yml", "certificate.yml", *(["certificate_edge.yml"] if edge else [])):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    # Lines that begin with a colour do not begin with "changed".
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False, timeout=900)
    return done.returncode, done.stdout + done.stderr


def changes(said):
    return [line for line in said.splitlines() if line.startswith("changed:")]


class Visitor(threading.Thread):
    """Somebody who comes by the domain again and again, and believes only the lab's CA."""

    def __init__(self, address=ADDRESS):
        super().__init__(daemon=True)
        self.address = address
        self.context = ssl.create_default_context(cafile=str(PROJECT / ".lab/pebble/root.pem"))
        self.visits, self.failures, self.over = 0, [], threading.Event()

    def visit(self):
        with socket.create_connection((self.address, 443), timeout=10) as plain, self.context.wrap_socket(plain, server_hostname=DOMAIN) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % DOMAIN.encode())
            return link.recv(64).split(b" ")[1]

    def run(self):
        while not self.over.is_set():
            try:
                answer = self.visit()
                # The tiny app has no page at /.
                if answer not in (b"200", b"404"):
                    self.failures.append(answer)
            except OSError as error:
                self.failures.append(error)
            self.visits += 1
            time.sleep(0.1)


def addresses(name):
    """The A records that the lab's DNS has for a name."""
    question = struct.pack(">HHHHHH", 7, 0, 1, 0, 0, 0) + b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(5)
        link.sendto(question, (DNS, 53))
        answer = link.recv(512)
    # Each record is a pointer to the name, type, class, time to live and length, and the address.
    found = struct.unpack(">H", answer[6:8])[0]
    return [socket.inet_ntoa(answer[len(question) + 16 * number + 12:][:4]) for number in range(found)]


def eventually(probe, seconds=30):
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.5)


# Each rule has its own test in tests/unit/playbooks; here, that it holds on machines.
def test_a_wrong_call_is_refused_before_anything_is_changed():
    status, said = playbook("attach", "nobody")
    assert status != 0 and "Nothing was changed" in said and changes(said) == []
    assert "Name the app, -e app=NAME, one of www, other" in said and "The inventory gives shop.certificate.test to no app" in said


def test_a_domain_comes_moves_and_goes_while_it_is_visited():
    status, said = playbook("attach", "www", having="www")
    assert status == 0 and "shop.certificate.test is served by www" in said, said
    eventually(lambda: addresses(DOMAIN) == [ADDRESS])
    visitor = Visitor()
    visitor.start()
    try:
        move = ("move", "other", "-e", "from_app=www")
        status, said = playbook(*move, having="other")
        assert status == 0 and "shop.certificate.test is served by other" in said, said
        status, said = playbook(*move, having="other")
        assert status == 0 and changes(said) == [], said
    finally:
        visitor.over.set()
        visitor.join(30)
    assert visitor.visits > 20 and visitor.failures == []
    status, said = playbook("detach", "other", check=True)
    assert status == 0 and addresses(DOMAIN) == [ADDRESS], said
    status, said = playbook("detach", "other")
    assert status == 0 and "shop.certificate.test is gone" in said, said
    eventually(lambda: addresses(DOMAIN) == [])


def test_a_domain_of_the_web_tier_comes_moves_and_goes(host):
    """Users come to an edge, which speaks TLS with the apps' hosts and believes only the CA that it was told of."""
    # The scenario's own server has the name of a site.
    host.check_output("rm -f /etc/nginx/conf.d/www.conf")
    host.check_output("cat > /etc/ssl/pebble-root.pem << 'END'\n%s\nEND" % (PROJECT / ".lab/pebble/root.pem").read_text(encoding="utf-8").strip())
    status, said = playbook("attach", "www", having="www", edge=True)
    assert status == 0 and "certificate-1: shop.certificate.test is served by www" in said, said
    eventually(lambda: addresses(DOMAIN) == [EDGE])
    # What Consul would tell; there is none here.
    host.check_output("echo 'server %s:443;' | tee /var/lib/paas/edge/www.servers > /var/lib/paas/edge/other.servers && nginx -t && nginx -s reload" % ADDRESS)
    visitor = Visitor(EDGE)
    eventually(lambda: visitor.visit() in (b"200", b"404"))
    visitor.start()
    try:
        status, said = playbook("move", "other", "-e", "from_app=www", having="other", edge=True)
        assert status == 0 and "certificate-1: shop.certificate.test is served by other" in said, said
        status, said = playbook("move", "other", "-e", "from_app=www", having="other", edge=True)
        assert status == 0 and changes(said) == [], said
    finally:
        visitor.over.set()
        visitor.join(30)
    assert visitor.visits > 20 and visitor.failures == []
    # An instance whose certificate comes from another CA is nobody.
    host.check_output("cp /etc/ssl/pebble-root.pem /root/pebble-root.pem && cp /etc/ssl/acme-ca.pem /etc/ssl/pebble-root.pem && nginx -s reload")
    eventually(lambda: visitor.visit() == b"502")
    host.check_output("cp /root/pebble-root.pem /etc/ssl/pebble-root.pem && nginx -s reload")
    status, said = playbook("detach", "other", edge=True)
    assert status == 0 and "certificate-1: shop.certificate.test is gone" in said, said
    eventually(lambda: addresses(DOMAIN) == [])
