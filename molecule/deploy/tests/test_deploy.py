# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploys, rollbacks and drains under constant load: no request fails, and everybody reads what they wrote."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy_estate import HOSTS, NAME, Load, end, run, running, shell, sql, start

testinfra_hosts = ["deploy-dokku-1"]

SEED = 20260101
USERS_A_HOST = 2
ENOUGH = 10_000


@pytest.fixture(scope="module", autouse=True)
def load():
    with Load(USERS_A_HOST) as users:
        yield users


def releases():
    """How often the release command of each version has run."""
    return sql("SELECT version, count(*) FROM release_runs GROUP BY 1 ORDER BY 1").split()


def test_two_people_deploy_at_once():
    both = [start("deploy", "app=todo", "release=2") for _person in range(2)]
    assert all("todo runs" in end(one) for one in both)
    assert running() == ["2"] * len(HOSTS)
    assert releases() == ["1|1", "2|1"]


def test_release_command_that_fails_changes_nothing():
    output = run("deploy", "app=todo", "release=unreleasable", succeeds=False)
    assert "this release cannot migrate" in output and "No region was changed" in output
    assert running() == ["2"] * len(HOSTS)
    assert sql("SELECT count(*) FROM paas.releases WHERE running_on IS NOT NULL", "postgres") == "0"


def test_nothing_of_the_owner_is_left():
    for name in HOSTS:
        assert shell(name, "docker ps -aq --filter label=paas.release") == ""
        assert shell(name, "ls /run | grep 'paas-release-.*env'", check=False) == ""
        assert shell(name, "journalctl -q | grep -c todo-owner-password", check=False) == "0"


def test_broken_release_stops_at_the_first_host():
    output = run("deploy", "app=todo", "release=broken", succeeds=False)
    assert "Stopped at deploy-dokku-1" in output and "No host before it was touched" in output
    assert running() == ["2"] * len(HOSTS)


def test_rollback_after_it_is_to_what_ran():
    run("rollback", "app=todo")
    assert running() == ["2"] * len(HOSTS)


def test_rollback_that_was_killed_and_run_again_is_to_the_release_before():
    output = run("rollback", "app=todo", "--check")
    assert all(re.search(rf"{name}\s+: ok=\d+\s+changed=[1-9]", output) for name in HOSTS)
    assert running() == ["2"] * len(HOSTS)
    killed = start("rollback", "app=todo")
    time.sleep(random.Random(SEED).uniform(5, 25))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    run("rollback", "app=todo")
    assert running() == ["1"] * len(HOSTS)
    assert releases() == ["1|1", "2|1", "broken|1"]


def test_deploy_with_drains_that_breaks_older_ones():
    # What somebody turned off by hand would make the deploy one that drops requests.
    shell("deploy-dokku-2", "dokku checks:disable todo")
    run("deploy", "app=todo", "release=3", "drain=true", "breaks_older=true")
    assert running() == ["3"] * len(HOSTS)
    assert [shell(name, "ls /var/lib/paas") for name in HOSTS] == [""] * len(HOSTS)
    assert "was declared to break older ones" in run("rollback", "app=todo", succeeds=False)
    assert running() == ["3"] * len(HOSTS)


def test_drained_region_and_drift_are_seen_and_the_last_region_is_not_drained(tmp_path):
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' --cacert /etc/paas/ca/ca.crt --resolve {NAME}:443:127.0.0.1"
    health = f"{ask} https://{NAME}/.well-known/region-health"
    shell("deploy-dokku-1", "dokku --quiet config:set --no-restart todo BY_HAND=1")
    run("drain", "region=eu-west-1")
    assert [shell(name, health) for name in HOSTS] == ["200", "503", "200"]
    run("status", f"json={tmp_path / 'status.json'}")
    apps = {row["host"]: row for row in json.loads((tmp_path / "status.json").read_text(encoding="utf-8"))["apps"]}
    assert [row["state"] for row in apps.values()] == ["running"] * len(HOSTS)
    assert len({row["release"] for row in apps.values()}) == 1
    assert [row["problems"] for _host, row in sorted(apps.items())] == [
        ["todo has BY_HAND in its config, others do not"], ["is drained: undrain.yml lets it serve again"], []
    ]  # fmt: skip
    run("drain", "region=ap-southeast-2")
    assert "Nobody else serves" in run("drain", "region=us-east-1", succeeds=False)
    for region in ("eu-west-1", "ap-southeast-2"):
        run("undrain", f"region={region}")
    assert [shell(name, health) for name in HOSTS] == ["200"] * len(HOSTS)


def test_logs_commands_and_config_over_all_regions():
    assert "lines is a number" in run("logs", "app=todo", "lines=many", succeeds=False)
    output = run("logs", "app=todo", "lines=5")
    assert all(f"ok: [{name}]" in output for name in HOSTS)
    assert "with both quotes" in run("run", "app=todo", "command=echo here", succeeds=False)
    output = run("run", "app=todo", json.dumps({"command": ["sh", "-c", "echo here is $PAAS_REGION"]}))
    assert all(f"here is {region}" in output for region in ("us-east-1", "eu-west-1", "ap-southeast-2"))
    run("copy_config", "app=todo", "from=us-east-1")
    config = json.loads(shell("deploy-dokku-2", "dokku --quiet config:export --format json todo"))
    assert config["BY_HAND"] == "1" and config["PAAS_REGION"] == "eu-west-1"


def test_no_request_failed_and_no_read_was_wrong(load):
    deadline = time.monotonic() + 300
    while load.requests < ENOUGH and time.monotonic() < deadline:
        time.sleep(1)
    load.end()
    print(f"{load.requests} requests, {len(load.failures)} failed, {load.wrong} of them wrong reads")
    assert load.requests >= ENOUGH and load.failures == []
