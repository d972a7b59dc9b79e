# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quirks that a module for Dokku has to survive: the stand-in must have each of them."""

from __future__ import annotations

import json
import subprocess
from itertools import count

import pytest
from lab_dokku_sandbox import APP_JSON, BAD_APP_JSON, Sandbox

NUMBERS = count(1)


@pytest.fixture
def app(sandbox: Sandbox) -> str:
    name = f"app-{next(NUMBERS)}"
    assert sandbox.dokku("apps:create", name).rc == 0
    return name


@pytest.fixture
def deployed(sandbox: Sandbox, app: str) -> str:
    for release, contents in (("1", APP_JSON), ("2", APP_JSON), ("bad", BAD_APP_JSON)):
        sandbox.image(f"local/{app}:{release}", contents)
    result = sandbox.dokku("git:from-image", app, f"local/{app}:1")
    assert result.rc == 0, result.out
    return app


@pytest.fixture(scope="module")
def pair(sandbox: Sandbox) -> tuple[str, str, str]:
    """A certificate, its key, and a key that is not its."""
    paths = [str(sandbox.var / name) for name in ("pair.crt", "pair.key", "other.key")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=pair.test", "-out", paths[0], "-keyout", paths[1]],
                   check=True, capture_output=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-out", paths[2]], check=True, capture_output=True)
    return paths[0], paths[1], paths[2]


def running(sandbox: Sandbox, app: str) -> str:
    return sandbox.dokku("ps:report", app, "--status-web.1").out


def test_a_missing_app_is_20(sandbox: Sandbox) -> None:
    for command in ("apps:exists", "config:show", "domains:report", "ps:scale", "git:from-image", "certs:report", "storage:list"):
        result = sandbox.dokku(command, "nowhere", "x")
        assert (result.rc, result.err) == (20, " !     App nowhere does not exist\n"), command


def test_the_same_image_again_is_1(sandbox: Sandbox, deployed: str) -> None:
    result = sandbox.dokku("git:from-image", deployed, f"local/{deployed}:1")
    assert result.rc == 1
    assert "No changes detected, skipping git commit" in result.out


@pytest.mark.parametrize("command", [("config:set", "{app}", "A=1"), ("config:import", "--format", "json", "{app}", "-")])
def test_config_restarts_even_when_nothing_changed(sandbox: Sandbox, deployed: str, command: tuple[str, ...]) -> None:
    words = [word.format(app=deployed) for word in command]
    sandbox.dokku(*words, stdin=b'{"A": "1"}')
    before = running(sandbox, deployed)
    result = sandbox.dokku(*words, stdin=b'{"A": "1"}')
    assert result.rc == 0 and f"Restarting app {deployed}" in result.out
    assert running(sandbox, deployed) != before
    before = running(sandbox, deployed)
    assert sandbox.dokku(words[0], "--no-restart", *words[1:], stdin=b'{"A": "2"}').rc == 0
    assert running(sandbox, deployed) == before


def test_a_restart_that_fails_after_config_is_0(sandbox: Sandbox, deployed: str) -> None:
    sandbox.dokku("docker-options:add", deployed, "deploy", "--bogus-flag")
    before = running(sandbox, deployed)
    result = sandbox.dokku("config:set", deployed, "A=1")
    assert result.rc == 0
    assert "Failure while restarting app" in result.err and "unknown flag: --bogus-flag" in result.out
    assert running(sandbox, deployed) == before


def test_a_stopped_app_is_not_restarted_by_config(sandbox: Sandbox, deployed: str) -> None:
    sandbox.dokku("ps:stop", deployed)
    assert "Restarting" not in sandbox.dokku("config:set", deployed, "A=1").out


def test_https_ports_drift_with_certificates(sandbox: Sandbox, app: str, pair: tuple[str, str, str]) -> None:
    sandbox.dokku("ports:set", app, "http:80:5000")
    assert sandbox.dokku("certs:add", app, *pair[:2]).rc == 0
    assert sandbox.dokku("ports:report", app, "--ports-map").out == "http:80:5000 https:443:5000\n"
    assert sandbox.dokku("certs:remove", app).rc == 0
    assert sandbox.dokku("ports:report", app, "--ports-map").out == "http:80:5000\n"


def test_a_domain_is_lost_where_vhosts_are_disabled(sandbox: Sandbox, app: str) -> None:
    sandbox.dokku("domains:disable", app)
    assert sandbox.dokku("domains:set", app, "mine.example.org").rc == 0
    assert sandbox.dokku("domains:report", app, "--domains-app-vhosts").out == f"{app}.example.test\n"
    sandbox.dokku("domains:set", app, "mine.example.org")
    assert sandbox.dokku("domains:report", app, "--domains-app-vhosts").out == "mine.example.org\n"


def test_a_stranger_s_key_is_installed_and_breaks_every_reload(sandbox: Sandbox, app: str, pair: tuple[str, str, str]) -> None:
    result = sandbox.dokku("certs:add", app, pair[0], pair[2])
    assert result.rc == 1 and "key values mismatch" in result.err
    assert sandbox.dokku("certs:report", app, "--ssl-enabled").out == "true\n"
    other = sandbox.dokku("apps:create", f"{app}-neighbour")
    assert other.rc == 1 and f"Failed to validate nginx config for {app}." in other.err
    assert sandbox.dokku("certs:update", app, *pair[:2]).rc == 0
    assert sandbox.dokku("nginx:validate-config").rc == 0


def test_nginx_set_neither_rebuilds_nor_looks_for_the_app(sandbox: Sandbox, app: str) -> None:
    before = (sandbox.root / app / "nginx.conf").read_text()
    assert sandbox.dokku("nginx:set", app, "client-max-body-size", "77m").rc == 0
    assert (sandbox.root / app / "nginx.conf").read_text() == before
    sandbox.dokku("proxy:build-config", app)
    assert "client_max_body_size 77m;" in (sandbox.root / app / "nginx.conf").read_text()
    assert sandbox.dokku("nginx:set", "nowhere", "client-max-body-size", "1m").rc == 0
    assert (sandbox.lib / "config" / "nginx" / "nowhere").is_dir()


def test_docker_options_are_duplicated(sandbox: Sandbox, app: str) -> None:
    for _time in range(2):
        assert sandbox.dokku("docker-options:add", app, "deploy", "--label a=b").rc == 0
    assert json.loads(sandbox.dokku("docker-options:report", app, "--format", "json").out)["deploy-list"] == ["--label a=b"] * 2


def test_limit_clear_wipes_reservations(sandbox: Sandbox, app: str) -> None:
    sandbox.dokku("resource:limit", "--memory", "100", app)
    sandbox.dokku("resource:reserve", "--memory", "50", app)
    sandbox.dokku("resource:limit-clear", app)
    assert sandbox.dokku("resource:report", app, "--format", "json").out == "{}\n"


def test_a_failed_deploy(sandbox: Sandbox, deployed: str) -> None:
    """Old containers serve on; metadata names the old image; source-image and GIT_REV the new one; latest is the new one."""
    before = running(sandbox, deployed)
    revision = sandbox.dokku("config:get", deployed, "GIT_REV").out
    result = sandbox.dokku("git:from-image", deployed, f"local/{deployed}:bad")
    assert result.rc == 1 and "Could not start due to 1 failed checks (web.1)" in result.out
    assert running(sandbox, deployed) == before
    assert sandbox.dokku("apps:report", deployed, "--app-deploy-source-metadata").out == f"local/{deployed}:1\n"
    assert sandbox.dokku("git:report", deployed, "--git-source-image").out == f"local/{deployed}:bad\n"
    assert sandbox.dokku("git:report", deployed, "--git-sha").out == revision
    assert sandbox.dokku("config:get", deployed, "GIT_REV").out != revision
    latest = sandbox.state()["images"][f"dokku/{deployed}:latest"]
    assert f'["local/{deployed}:bad"]' in latest["Config"]["Labels"].values()


def test_a_poisoned_latest_is_rolled_out_by_a_restart_and_cured_by_a_rebuild(sandbox: Sandbox, deployed: str) -> None:
    sandbox.dokku("git:from-image", deployed, f"local/{deployed}:bad")
    assert sandbox.dokku("ps:restart", deployed).rc == 0
    latest = sandbox.state()["images"][f"dokku/{deployed}:latest"]["Id"]
    cid = (sandbox.root / deployed / "CONTAINER.web.1").read_text().strip()
    assert sandbox.state()["containers"][cid]["Image"] == latest
    # A rebuild takes the branch's image, but still the failed one's app.json ...
    assert sandbox.dokku("ps:rebuild", deployed).rc == 1
    # ... until the old image has been named again, which itself is "no changes".
    assert sandbox.dokku("git:from-image", deployed, f"local/{deployed}:1").rc == 1
    assert sandbox.dokku("ps:rebuild", deployed).rc == 0
    assert f'["local/{deployed}:1"]' in sandbox.state()["images"][f"dokku/{deployed}:latest"]["Config"]["Labels"].values()


def test_the_scale_stays_when_its_deploy_fails(sandbox: Sandbox, deployed: str) -> None:
    sandbox.dokku("docker-options:add", deployed, "deploy", "--bogus-flag")
    result = sandbox.dokku("ps:scale", deployed, "web=3")
    assert result.rc == 1
    assert {"process_type": "web", "quantity": 3} in json.loads(sandbox.dokku("ps:scale", "--format", "json", deployed).out)
    assert len(list((sandbox.root / deployed).glob("CONTAINER.*"))) == 1


def test_scaling_down_and_to_nothing(sandbox: Sandbox, deployed: str) -> None:
    assert sandbox.dokku("ps:scale", deployed, "web=3", "worker=1").rc == 0
    assert sandbox.dokku("ps:report", deployed, "--processes").out == "4\n"
    assert sandbox.dokku("ps:scale", deployed, "web=1", "worker=0").rc == 0
    assert sandbox.dokku("ps:report", deployed, "--processes").out == "1\n"


def test_values_survive_the_env_file(sandbox: Sandbox, app: str) -> None:
    values = {"PLAIN": "a", "NUMBER": "007", "NEGATIVE": "-0", "QUOTES": "a\"b'c", "DOLLAR": "$HOME `x` !y", "LINES": "a\nb\r\nc\n", "BACK": "a\\nb\\",
              "SPACES": "  x  ", "HASH": "a #b", "EMPTY": "", "UNICODE": "é✓", "EQUALS": "a=b=c", "QUOTE": '"'}
    result = sandbox.dokku("--quiet", "config:import", "--no-restart", "--format", "json", app, "-", stdin=json.dumps(values).encode())
    assert (result.rc, result.out) == (0, "")
    assert json.loads(sandbox.dokku("config:export", "--format", "json", app).out) == dict(sorted(values.items()))
    envfile = sandbox.dokku("config:export", "--format", "envfile", app).out
    sandbox.dokku("config:clear", "--no-restart", app)
    sandbox.dokku("config:import", "--no-restart", app, "-", stdin=envfile.encode())
    assert json.loads(sandbox.dokku("config:export", "--format", "json", app).out) == dict(sorted(values.items()))


@pytest.mark.parametrize(("version", "wanted", "unwanted"), [
    ("1.22.1", ["listen      443 ssl http2;", "http2_push_preload on;"], ["http2 on;"]),
    ("1.26.3", ["listen      443 ssl;", "http2 on;"], ["ssl http2;", "http2_push_preload"]),
])
def test_the_vhost(sandbox: Sandbox, deployed: str, pair: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch, version: str,
                   wanted: list[str], unwanted: list[str]) -> None:
    monkeypatch.setenv("FAKE_NGINX_VERSION", version)
    sandbox.dokku("ports:set", deployed, "http:80:5000")
    sandbox.dokku("domains:set", deployed, "pair.test")
    sandbox.dokku("ps:scale", deployed, "web=2")
    sandbox.dokku("certs:add", deployed, *pair[:2])
    text = (sandbox.root / deployed / "nginx.conf").read_text()
    for line in [*wanted, "server_name pair.test;", "return 301 https://$host:443$request_uri;", f"upstream {deployed}-5000 {{",
                 f"proxy_pass  http://{deployed}-5000;"]:
        assert line in text
    assert not [line for line in unwanted if line in text]
    assert text.count(f"include {sandbox.root}/{deployed}/nginx.conf.d/*.conf;") == 2
    assert text.count("  server 172.17.0.") == 2
    assert "Strict-Transport-Security" in (sandbox.root / deployed / "nginx.conf.d" / "hsts.conf").read_text()


def test_a_deploy_holds_the_lock_that_a_bare_lock_does_not(sandbox: Sandbox, deployed: str) -> None:
    from dokku_standin.apps import DeployLock

    with DeployLock(deployed):
        result = sandbox.dokku("git:from-image", deployed, f"local/{deployed}:2")
        assert result.rc == 1 and "currently has a deploy lock in place" in result.out
    sandbox.dokku("apps:lock", deployed)
    assert sandbox.dokku("git:from-image", deployed, f"local/{deployed}:2").rc == 0
    assert sandbox.dokku("apps:locked", deployed).rc == 1


def test_a_line_over_ssh_keeps_its_quotes(sandbox: Sandbox, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINGERPRINT", "SHA256:x")
    monkeypatch.setenv("SSH_ORIGINAL_COMMAND", f"config:set --no-restart {app} 'A=two words'")
    assert sandbox.dokku("config:set", "--no-restart", app, "'A=two", "words'").rc == 0
    assert sandbox.dokku("config:get", app, "A").out == "two words\n"
