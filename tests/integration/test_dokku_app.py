# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dokku_app against the Dokku stand-in's real command line, over real processes; only Docker and nginx pretend there."""

from __future__ import annotations

import datetime
import json
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.command import Runner, SshTarget
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.errors import BadDeclaration, DeployFailed
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.info import reports
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.run import Task

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "lab" / "dokku"))
from lab_dokku_sandbox import Sandbox


def pair(name: str) -> dict:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {
        "cert_content": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key_content": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    }


@pytest.fixture
def host(tmp_path) -> Sandbox:
    box = Sandbox(tmp_path / "dokku")
    quick = {"healthchecks": {"web": [{"type": "startup", "name": "up", "uptime": 1}]}}
    box.image("local/demo:1", app_json=quick)
    box.image("local/demo:2", app_json=quick)
    box.image("local/demo:bad", app_json={"healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/fails", "attempts": 1}]}})
    return box


def runner(box: Sandbox) -> Runner:
    found = Runner()
    found._environment = dict(box.environ)
    return found


def declare(box: Sandbox, check: bool = False, **params):
    return Task(params, runner=runner(box)).run(check_mode=check)


def report(box: Sandbox, *words: str) -> str:
    return box.shell("dokku " + " ".join(words)).out


WHOLE = {
    "name": "demo",
    "config": {"TOKEN": "line one\nline \"two\" $x `y` 's'", "WORKERS": 2},
    "domains": ["demo.example.org", "us-east-1.demo.example.org"],
    "ports": ["http:80:5000", "https:443:5000"],
    "processes": {"web": 2},
    "checks": {"wait_to_retire": 5},
    "nginx": {"client-max-body-size": "5m"},
    "storage": ["/etc/paas/ca:/etc/paas:ro"],
    "docker_options": {"deploy": ["--label x=y"]},
    "networks": {"attach_post_create": ["shared"]},
    "resources": {"default": {"limit": {"memory": "256m"}}},
    "restart_policy": "always",
}


def test_all_facets_at_once_then_nothing(host):
    first = {**WHOLE, "certificate": pair("demo.example.org"), "deploy": {"image": "local/demo:1"}}
    result = declare(host, **first)
    assert result["restarted"], result
    assert json.loads(report(host, "--quiet config:export --format json demo"))["TOKEN"] == WHOLE["config"]["TOKEN"]
    assert report(host, "domains:report demo --domains-app-vhosts").split() == WHOLE["domains"]
    assert report(host, "ports:report demo --ports-map").split() == WHOLE["ports"]
    started = time.monotonic()
    again = declare(host, **first)
    assert again["changed"] is False, again["changes"]
    print(f"nothing to do: {again['commands']} commands, {time.monotonic() - started:.2f} s")
    assert declare(host, check=True, **first)["changed"] is False


def test_one_value_is_one_restart(host):
    declare(host, name="demo", config={"A": "1"}, deploy={"image": "local/demo:1"})
    result = declare(host, name="demo", config={"A": "2"}, deploy={"image": "local/demo:1"})
    assert result["restarted"] and result["changes"] == ["config: set A"]
    assert declare(host, name="demo", config={"A": "2"}, deploy={"image": "local/demo:1"})["changed"] is False
    assert "DOKKU_APP_PENDING" not in report(host, "--quiet config:export --format json demo")


def test_domain_of_a_disabled_app_and_certificate_that_comes_and_goes(host):
    declare(host, name="demo", ports=["http:80:5000"], deploy={"image": "local/demo:1"})
    host.shell("dokku domains:disable demo")
    containers = set(host.state()["containers"])
    assert declare(host, name="demo", domains=["a.example.org"])["restarted"] is False
    assert set(host.state()["containers"]) == containers
    assert report(host, "domains:report demo --domains-app-vhosts").split() == ["a.example.org"]
    secured = {"name": "demo", "certificate": pair("a.example.org"), "ports": ["http:80:5000"]}
    declare(host, **secured)
    assert report(host, "ports:report demo --ports-map").split() == ["http:80:5000"]
    assert declare(host, **secured)["changed"] is False
    assert declare(host, name="demo", certificate={})["changes"] == ["certificate: removed"]
    assert declare(host, name="demo", certificate={})["changed"] is False


def test_keys_of_another_certificate_are_refused(host):
    declare(host, name="demo")
    mixed = {**pair("a.example.org"), "key_content": pair("b.example.org")["key_content"]}
    with pytest.raises(BadDeclaration, match="does not belong"):
        declare(host, name="demo", certificate=mixed)
    assert host.shell("dokku certs:show demo crt").rc != 0


def test_failed_deploy_keeps_what_runs(host):
    declare(host, name="demo", deploy={"image": "local/demo:1"})
    running = host.state()["containers"]
    with pytest.raises(DeployFailed) as failure:
        declare(host, name="demo", deploy={"image": "local/demo:bad"})
    assert "1 failed checks" in str(failure.value)
    assert "names the image from before again" in str(failure.value)
    assert set(running) <= set(host.state()["containers"])
    declare(host, name="demo", config={"A": "1"})
    assert json.loads(report(host, "apps:report demo --format json"))["deploy-source-metadata"] == "local/demo:1"
    assert declare(host, name="demo", deploy={"image": "local/demo:2"})["release"]["source"] == "local/demo:2"


def test_deploy_that_was_killed_is_done_once_more_and_then_known(host):
    """A killed deploy leaves its commit behind, after which Dokku finds no changes, builds again, and forgets to note the origin."""
    declare(host, name="demo", deploy={"image": "local/demo:1"})
    killed = "import sys; sys.path.insert(0, sys.argv[1]); from dokku_standin import cli, git; git.receive = lambda *_: __import__('os')._exit(137); "
    assert host.shell(f'{sys.executable} -c "{killed} cli.main([\'git:from-image\', \'demo\', \'local/demo:2\'])" $STANDIN_PACKAGE').rc == 137
    result = declare(host, name="demo", deploy={"image": "local/demo:2"})
    assert result["changed"] and json.loads(report(host, "apps:report demo --format json"))["deploy-source-metadata"] == "local/demo:2"
    assert declare(host, name="demo", deploy={"image": "local/demo:2"})["changed"] is False


def test_empty_is_empty_and_absent_is_gone(host):
    declare(host, **{**WHOLE, "deploy": {"image": "local/demo:1"}})
    empty = {"storage": [], "docker_options": {"deploy": []}, "networks": {"attach_post_create": []}, "resources": {"default": {"limit": {}}}}
    declare(host, name="demo", domains=[], ports=[], **empty)
    assert declare(host, name="demo", domains=[], ports=[], **empty)["changed"] is False
    assert declare(host, name="demo", state="absent", confirm="demo")["changed"]
    assert declare(host, name="demo", state="absent")["changed"] is False


def test_what_apps_are(host):
    declare(host, **{**WHOLE, "certificate": pair("demo.example.org"), "deploy": {"image": "local/demo:1"}})
    declare(host, name="empty")
    demo, empty = reports(runner(host), None, "salt")
    assert (demo["name"], demo["running"], demo["release"]["source"], demo["processes"]) == ("demo", "true", "local/demo:1", {"web": 2})
    assert demo["domains"] == WHOLE["domains"] and set(demo["certificate"]) == {"serial", "expires"}
    assert {"TOKEN", "WORKERS"} <= set(demo["config"]) and "line one" not in json.dumps(demo)
    assert (empty["name"], empty["running"], empty["release"]["source"], empty["certificate"]) == ("empty", "false", "", None)
    assert reports(runner(host), ["nope"], "salt") == [{"name": "nope", "exists": False}]


# What sshd and Dokku's forced command do with the line that a deployer sends.
SSH = """#!/bin/sh
for word in "$@"; do line=$word; done
unset DOKKU_QUIET_OUTPUT
FINGERPRINT=deployer SSH_ORIGINAL_COMMAND=$line exec dokku
"""


def test_over_ssh_as_the_dokku_user(host, tmp_path):
    (tmp_path / "ssh").write_text(SSH, encoding="utf-8")
    (tmp_path / "ssh").chmod(0o755)
    host.environ["PATH"] = f"{tmp_path}:{host.environ['PATH']}"
    far = Runner(SshTarget("apps.example.test"))
    far._environment = dict(host.environ)
    params = {**WHOLE, "certificate": pair("demo.example.org"), "deploy": {"image": "local/demo:1"}}
    assert Task(params, runner=far).run(check_mode=False)["restarted"]
    assert json.loads(report(host, "--quiet config:export --format json demo"))["TOKEN"] == WHOLE["config"]["TOKEN"]
    assert report(host, "docker-options:report demo --docker-options-deploy").strip().endswith("--label x=y")
    assert Task(params, runner=far).run(check_mode=False)["changed"] is False
    with pytest.raises(DeployFailed, match="1 failed checks"):
        Task({"name": "demo", "deploy": {"image": "local/demo:bad"}}, runner=far).run(check_mode=False)
    assert json.loads(report(host, "apps:report demo --format json"))["deploy-source-metadata"] == "local/demo:1"
