# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two apps in no particular language on one host, each under its own names, and nothing for a stranger's name."""

from __future__ import annotations

import json
import time

import pytest

testinfra_hosts = ["dokku-1"]
ADDRESS = "198.18.16.31"


def wait(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


def get(host, name, path="/", options=""):
    answer = host.run(f"curl -s -m 10 --resolve {name}:80:{ADDRESS} {options} -w '\\n%{{http_code}}' http://{name}{path}")
    body, _newline, status = answer.stdout.rpartition("\n")
    return (int(status) if answer.rc == 0 else None), body


@pytest.mark.parametrize("name", ["hello.paas.test", "us-east-1.hello.paas.test"])
def test_app_answers_under_its_names(host, name):
    assert get(host, name, "/version") == (200, "1\n")


def test_second_app_answers_under_its_own(host):
    assert get(host, "other.paas.test", "/version") == (200, "other\n")


def test_unknown_name_gets_nothing(host):
    status, body = get(host, "nobody.paas.test")
    assert status is None and body == ""


def test_config_reaches_the_app_and_only_its_own(host):
    lines = get(host, "hello.paas.test", "/cgi-bin/index")[1].splitlines()
    assert {"GREETING=good morning", "PLACE=Virginia", "PAAS_HOST=dokku-1", "PAAS_REGION=us-east-1"} <= set(lines)
    config = json.loads(host.check_output("dokku --quiet config:export --format json hello"))
    assert config["WORKERS"] == "2" and config["TOKEN"] == "a-token-for-hello-only"
    assert "TOKEN" not in json.loads(host.check_output("dokku --quiet config:export --format json other"))


def test_requests_are_logged_in_json_for_every_app(host):
    """Also where the app has nginx properties of its own."""
    for name in ("hello", "other"):
        assert get(host, f"{name}.paas.test", "/version?logged")[0] == 200
        lines = host.check_output(f"grep -F '?logged' /var/log/nginx/{name}-access.log").splitlines()
        entry = json.loads(lines[-1])
        assert (entry["region"], entry["status"], entry["server_name"]) == ("us-east-1", 200, f"{name}.paas.test")
        assert entry["upstream"].endswith((":5000", ":8080")) and float(entry["upstream_response_time"]) >= 0
    assert "client_max_body_size 7m;" in host.check_output("nginx -T 2> /dev/null")


def test_apps_reach_each_other_by_name(host):
    answer = host.run("docker exec hello.web.1 /bin/busybox wget -q -O - http://other.web.1:8080/version")
    assert answer.stdout == "other\n"


def test_drained_host_says_so_to_the_checkers_only(host):
    assert host.run("touch /var/lib/paas/drained").rc == 0
    try:
        assert get(host, "hello.paas.test", "/.well-known/region-health")[0] == 503
        assert get(host, "hello.paas.test", "/version") == (200, "1\n")
    finally:
        host.run("rm /var/lib/paas/drained")
    assert get(host, "hello.paas.test", "/.well-known/region-health")[0] != 503


def test_container_that_hangs_is_replaced(host):
    identity = "docker inspect -f '{{.Id}} {{.State.Pid}}' hello.web.1"
    # The watchdog knows a container from its first answer on.
    known = "grep -q $(docker inspect -f '{{.Id}}' hello.web.1) /run/paas-watchdog.json"
    assert wait(lambda: host.run(known).rc == 0)
    hung, pid = host.check_output(identity).split()
    assert host.run(f"pkill -STOP -P {pid}").rc == 0
    assert get(host, "hello.paas.test", "/version", "-m 2")[0] is None
    assert wait(lambda: host.run(identity).stdout.split()[:1] not in ([], [hung]))
    assert wait(lambda: get(host, "hello.paas.test", "/version") == (200, "1\n"))
    assert "hello: web.1 has not answered" in host.check_output("journalctl -q -u paas-watchdog")
    assert "other:" not in host.check_output("journalctl -q -u paas-watchdog")


def test_stopped_app_leaves_nginx_whole(host):
    try:
        assert host.run("dokku ps:stop other").rc == 0
        assert host.run("dokku proxy:build-config other").rc == 0
        assert host.run("nginx -t").rc == 0
        assert get(host, "hello.paas.test", "/version") == (200, "1\n")
    finally:
        assert host.run("dokku ps:start other").rc == 0
    assert get(host, "other.paas.test", "/version") == (200, "other\n")


def test_logs_are_bounded_and_containers_outlive_the_engine(host):
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert settings["live-restore"] is True and settings["log-opts"]["max-size"] == "10m"
    assert host.check_output("docker info --format '{{.LiveRestoreEnabled}}'") == "true"


def test_login_is_for_dokku_only(host):
    file = host.file("/home/dokku/.docker/config.json")
    assert (file.user, file.mode) == ("dokku", 0o600)
    assert list(json.loads(file.content_string)["auths"]) == ["registry.paas.test:5000"]
    assert host.file("/etc/docker/certs.d/registry.paas.test:5000/ca.crt").exists


def test_no_secret_in_the_journal(host):
    assert host.run("journalctl -q | grep -F a-token-for-hello-only").rc != 0


@pytest.mark.parametrize("words, refused", [("git-receive-pack \"'hello'\"", True), ("git-receive-pack \"'mine'\"", False), ("ps:report hello", False)])
def test_push_of_half_an_estate_is_refused(host, words, refused):
    answer = host.run(f"runuser -u dokku -- /var/lib/dokku/plugins/enabled/paas-push/user-auth dokku ana {words}")
    assert (answer.rc == 1) is refused
    assert ("deploy.yml -i INVENTORY -e app=hello" in answer.stderr) is refused


def test_a_plugin_is_at_its_pin(host):
    """It was installed at 1.0.0; the side effect moved it, half undid it and asked for it from elsewhere."""
    folder = "/var/lib/dokku/plugins/available/tidy"
    assert host.check_output(f"git -c safe.directory={folder} -C {folder} describe --tags") == "1.1.0"
    assert host.file("/var/lib/dokku/plugins/enabled/tidy").is_symlink
    assert host.file(f"{folder}/.paas-version").content_string == "1.1.0"
    assert "came from file:///var/tmp/dokku-tidy" in host.file("/var/tmp/refused.json").content_string


def test_a_trigger_that_a_killed_run_left_out_runs_once(host):
    assert host.file("/var/tmp/dokku-tidy.installed").content_string == "1.1.0\n"


def test_an_app_from_its_source_runs_the_commit_that_starts(host):
    """The side effect deployed an archive, a commit, and one that does not start; after that it changed the config."""
    assert get(host, "source.paas.test", "/version") == (200, "3\n")
    assert "COLOUR=green" in get(host, "source.paas.test", "/cgi-bin/index")[1].splitlines()
    commits = host.check_output("git -c safe.directory=/var/tmp/source -C /var/tmp/source log --reverse --format=%H").split()
    assert host.check_output("dokku git:report source --git-sha") == commits[2]
    assert "the branch is at the commit from before again" in host.file("/var/tmp/broken.json").content_string


def test_a_deployer_s_old_key_is_gone(host):
    """The side effect gave ana another key under her name."""
    found = {row["name"]: row["fingerprint"] for row in json.loads(host.check_output("dokku ssh-keys:list --format json"))}
    assert found == {
        "ana": "SHA256:vYV1Uz1s1NVOWz1Miv61cFJ3JTPSGRDlNbzQFHY/pes",
        "ben": "SHA256:SWXef+VcjhdeoC8WieetHFZ3oAabke6NkjKuqa74+VA",
    }
