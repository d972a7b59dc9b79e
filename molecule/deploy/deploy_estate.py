# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenario's estate from outside: its playbooks, its machines and its users. For the test and for tests/bench/bench_deploy.py."""

from __future__ import annotations

import http.client
import http.cookies
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "molecule" / "default"))

from scenario import shell

HOSTS = {"deploy-dokku-1": "198.18.1.81", "deploy-dokku-2": "198.18.2.81", "deploy-dokku-3": "198.18.3.81"}
NAME = "todo.paas.test"
SECRETS = PROJECT / ".lab" / "molecule" / "deploy" / "secrets.json"


def start(name, *arguments):
    command = ["ansible-playbook", str(PROJECT / f"playbooks/{name}.yml")]
    for inventory in ("hosts.yml", "deploy.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    for argument in arguments:
        command += [argument] if argument.startswith("--") else ["-e", argument]
    # What is read of it below knows no colours.
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0"}
    return subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def end(process, succeeds=True):
    output = process.communicate(timeout=1800)[0]
    assert (process.returncode == 0) is succeeds, output[-8000:]
    return output


def run(name, *arguments, succeeds=True):
    """-> all that the playbook said, as one line, since Ansible wraps its own."""
    began = time.monotonic()
    output = end(start(name, *arguments), succeeds)
    print(f"{name} {' '.join(arguments)}: {time.monotonic() - began:.0f} s", flush=True)
    return " ".join(output.split())


def sql(text, database="todo"):
    return shell("deploy-pg-1", f"runuser -u postgres -- psql -XAtq -d {database}", data=text)


def running():
    """The release's version in the web container of each host."""
    return [shell(name, "docker exec todo.web.1 printenv VERSION") for name in HOSTS]


class Connection(http.client.HTTPSConnection):
    """To one host, as the client whom DNS sends there."""

    def __init__(self, address, trust):
        super().__init__(NAME, timeout=10)
        self.address, self.trust = address, trust

    def connect(self):
        self.sock = self.trust.wrap_socket(socket.create_connection((self.address, 443), self.timeout), server_hostname=NAME)


class User(threading.Thread):
    """Writes, and reads what it wrote, again and again; each request over a TLS connection of its own, as a first hit is."""

    def __init__(self, address, trust):
        super().__init__(daemon=True)
        self.address, self.trust = address, trust
        self.cookies = {}
        self.requests = self.wrong = 0
        self.failures = []
        self.done = threading.Event()

    def ask(self, method, path, body=None):
        headers = {"Accept": "application/json"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.requests += 1
        connection = Connection(self.address, self.trust)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failures.append(f"{time.strftime('%X')} {method} {self.address}: {type(error).__name__} {error}")
            return None
        finally:
            connection.close()
        if answer.status not in (200, 201):
            self.failures.append(f"{time.strftime('%X')} {method} {self.address}: {answer.status} {text[:200]!r}")
            return None
        for line in answer.headers.get_all("Set-Cookie", []):
            for morsel in http.cookies.SimpleCookie(line).values():
                self.cookies[morsel.key] = morsel.value
        return json.loads(text)

    def run(self):
        todo, number = None, 0
        while not self.done.is_set():
            number += 1
            title = f"number {number}"
            todo = self.ask("POST", "/api/todos", {"title": title}) if todo is None else self.ask("PATCH", f"/api/todos/{todo['id']}", {"title": title}) or todo
            for _time in range(5):
                answer = self.ask("GET", "/api/todos")
                if todo and answer is not None and [entry["title"] for entry in answer["todos"]] != [title]:
                    self.wrong += 1
                    self.failures.append(f"{time.strftime('%X')} {self.address}: wrote {title}, read {answer}")
                self.done.wait(0.1)


class Load:
    """Users of every host, from when it is entered until it has ended."""

    def __init__(self, users_a_host):
        trust = ssl.create_default_context(cadata=json.loads(SECRETS.read_text(encoding="utf-8"))["paas_ca_certificate"])
        self.users = [User(address, trust) for address in HOSTS.values() for _number in range(users_a_host)]

    def __enter__(self):
        for user in self.users:
            user.start()
        return self

    def __exit__(self, *_error):
        self.end()

    @property
    def requests(self):
        return sum(user.requests for user in self.users)

    @property
    def failures(self):
        return [failure for user in self.users for failure in user.failures]

    @property
    def wrong(self):
        return sum(user.wrong for user in self.users)

    def end(self):
        for user in self.users:
            user.done.set()
        for user in self.users:
            user.join(30)
