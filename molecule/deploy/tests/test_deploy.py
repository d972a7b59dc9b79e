# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys, rollbacks and drains under constant load: no request fails, and everybody reads what they wrote."""

from __future__ import annotations

import http.client
import http.cookies
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

testinfra_hosts = ["deploy-dokku-1"]

PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
HOSTS = {"deploy-dokku-1": "198.18.1.81", "deploy-dokku-2": "198.18.2.81"}
USERS = 3  # for each host
ENOUGH = 10_000


def start(name, *arguments):
    command = ["ansible-playbook", str(PROJECT / f"playbooks/{name}.yml")]
    for inventory in ("hosts.yml", "deploy.yml"):
        command += ["-i", str(PROJECT / "molecule/inventory" / inventory)]
    for argument in arguments:
        command += [argument] if argument.startswith("--") else ["-e", argument]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process, succeeds=True):
    output = process.communicate(timeout=500)[0]
    assert (process.returncode == 0) is succeeds, output[-8000:]
    return output


def run(name, *arguments, succeeds=True):
    began = time.monotonic()
    output = end(start(name, *arguments), succeeds)
    print(f"{name} {' '.join(arguments)}: {time.monotonic() - began:.0f} s")
    return output


def shell(name, script):
    command = ["docker", "exec", "-i", f"paas-lab-{name}", "sh", "-c", script]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.strip()


def sql(text, database="todo"):
    command = ["docker", "exec", "-i", "paas-lab-deploy-pg-1", "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-d", database, "-c", text]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False).stdout.strip()


def running():
    """The release's version in the web container of each host."""
    return [shell(name, "docker exec todo.web.1 printenv VERSION") for name in HOSTS]


class User(threading.Thread):
    """Writes, and reads what it wrote, again and again; each request over a connection of its own, as a first hit is."""

    def __init__(self, address):
        super().__init__(daemon=True)
        self.address = address
        self.cookies = {}
        self.requests = self.wrong = 0
        self.failures = []
        self.done = threading.Event()

    def ask(self, method, path, body=None):
        headers = {"Host": "todo.paas.test", "Accept": "application/json"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.requests += 1
        connection = http.client.HTTPConnection(self.address, timeout=10)
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
                self.done.wait(0.05)


@pytest.fixture(scope="module")
def users():
    found = [User(address) for address in HOSTS.values() for _number in range(USERS)]
    for user in found:
        user.start()
    yield found
    for user in found:
        user.done.set()


def test_two_people_deploy_at_once(users):
    first, second = start("deploy", "app=todo", "release=2"), start("deploy", "app=todo", "release=2")
    outputs = [end(first), end(second)]
    assert all("todo runs" in output for output in outputs)
    assert running() == ["2", "2"]
    assert sql("SELECT version, count(*) FROM release_runs GROUP BY 1 ORDER BY 1") == "1|1\n2|1"


def test_release_command_that_fails_changes_nothing(users):
    output = run("deploy", "app=todo", "release=unreleasable", succeeds=False)
    assert "this release cannot migrate" in output and "No region was changed" in " ".join(output.split())
    assert running() == ["2", "2"]
    assert sql("SELECT count(*) FROM paas.releases WHERE running_on IS NOT NULL", "postgres") == "0"


def test_nothing_of_the_owner_is_left(users):
    for name in HOSTS:
        assert shell(name, "docker ps -aq --filter label=paas.release") == ""
        assert shell(name, "ls /run/paas-release-*.env 2>/dev/null") == ""
        assert shell(name, "journalctl -q | grep -c todo-owner-password") == "0"


def test_broken_release_stops_at_the_first_host(users):
    output = " ".join(run("deploy", "app=todo", "release=broken", succeeds=False).split())
    assert "Stopped at deploy-dokku-1" in output and "No host before it was touched" in output
    assert running() == ["2", "2"]


def test_rollback_after_it_is_to_what_ran_and_then_to_the_one_before(users):
    run("rollback", "app=todo")
    assert running() == ["2", "2"]
    output = run("rollback", "app=todo", "--check")
    assert running() == ["2", "2"] and "changed=0" not in output
    run("rollback", "app=todo")
    assert running() == ["1", "1"]
    assert sql("SELECT version, count(*) FROM release_runs GROUP BY 1 ORDER BY 1") == "1|1\n2|1\nbroken|1"


def test_deploy_with_drains_that_breaks_older_ones(users):
    run("deploy", "app=todo", "release=3", "drain=true", "breaks_older=true")
    assert running() == ["3", "3"]
    assert [shell(name, "ls /var/lib/paas") for name in HOSTS] == ["", ""]
    output = run("rollback", "app=todo", succeeds=False)
    assert "was declared to break older ones" in " ".join(output.split())
    assert running() == ["3", "3"]


def test_drain_and_undrain(users):
    health = "curl -s -o /dev/null -w '%{http_code}' -H 'Host: todo.paas.test' http://127.0.0.1/.well-known/region-health"
    run("drain", "region=eu-west-1")
    assert [shell(name, health) for name in HOSTS] == ["200", "503"]
    assert "No other region serves" in " ".join(run("drain", "region=us-east-1", succeeds=False).split())
    run("undrain", "region=eu-west-1")
    assert [shell(name, health) for name in HOSTS] == ["200", "200"]


def test_logs_commands_and_config_over_all_regions(users):
    assert "lines is a number" in " ".join(run("logs", "app=todo", "lines=many", succeeds=False).split())
    output = run("logs", "app=todo", "lines=5")
    assert all(f"ok: [{name}]" in output for name in HOSTS)
    output = run("run", "app=todo", json.dumps({"command": ["sh", "-c", "echo here is $PAAS_REGION"]}))
    assert "here is us-east-1" in output and "here is eu-west-1" in output
    shell("deploy-dokku-1", "dokku --quiet config:set --no-restart todo BY_HAND=1")
    run("copy_config", "app=todo", "from=us-east-1")
    config = json.loads(shell("deploy-dokku-2", "dokku --quiet config:export --format json todo"))
    assert config["BY_HAND"] == "1" and config["PAAS_REGION"] == "eu-west-1"


def test_no_request_failed_and_no_read_was_wrong(users):
    deadline = time.monotonic() + 300
    while sum(user.requests for user in users) < ENOUGH and time.monotonic() < deadline:
        time.sleep(1)
    for user in users:
        user.done.set()
    for user in users:
        user.join(30)
    requests, failures = sum(user.requests for user in users), [failure for user in users for failure in user.failures]
    print(f"{requests} requests, {len(failures)} failed, {sum(user.wrong for user in users)} of them wrong reads")
    assert requests >= ENOUGH and failures == []
