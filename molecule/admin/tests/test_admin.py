# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry answers as hosts that pull will ask it."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

testinfra_hosts = ["admin-1"]
ADDRESS = "198.18.16.41"
CA = "--cacert /etc/docker/registry/estate/ca.crt"


@pytest.fixture(scope="module")
def password() -> str:
    project = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY") or Path(__file__).parents[3])
    return json.loads((project / ".lab/molecule/admin/secrets.json").read_text(encoding="utf-8"))["paas_registry_password"]


def ask(host, path, *, user="", options="", address=ADDRESS):
    login = f"-u {user}" if user else ""
    return host.run(f"curl -s {CA} {login} {options} -o /dev/stdout -w '\\n%{{http_code}}' https://{address}:5000{path}")


def test_image_is_there_by_tag_with_a_digest(host, password):
    accept = "-H 'Accept: application/vnd.docker.distribution.manifest.v2+json' -I"
    answer = ask(host, "/v2/hello/manifests/1", user=f"paas:{password}", options=accept)
    assert "docker-content-digest: sha256:" in answer.stdout.lower()
    assert answer.stdout.endswith("200")


def test_image_that_changed_under_its_tag_was_pushed_again(host, password):
    project = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY") or Path(__file__).parents[3])
    with tarfile.open(project / ".lab/molecule/admin/image.tar") as archive:
        held = json.load(archive.extractfile("manifest.json"))[0]["Config"].removesuffix(".json")
    accept = "-H 'Accept: application/vnd.docker.distribution.manifest.v2+json'"
    answer = ask(host, "/v2/hello/manifests/1", user=f"paas:{password}", options=accept).stdout.rsplit("\n", 1)[0]
    assert json.loads(answer)["config"]["digest"] == f"sha256:{held}"


def test_only_what_is_ours_was_pushed(host, password):
    assert json.loads(ask(host, "/v2/_catalog", user=f"paas:{password}").stdout.rsplit("\n", 1)[0]) == {"repositories": ["hello"]}


def test_nobody_else_may_ask(host):
    assert ask(host, "/v2/").stdout.endswith("401")
    assert ask(host, "/v2/", user="paas:wrong").stdout.endswith("401")


def test_name_in_the_certificate(host, password):
    answer = ask(host, "/v2/", user=f"paas:{password}", address="registry.paas.test", options=f"--resolve registry.paas.test:5000:{ADDRESS}")
    assert answer.stdout.endswith("200")


def test_it_listens_on_one_address_only(host):
    sockets = {socket for socket in host.socket.get_listening_sockets() if socket.endswith(":5000")}
    assert sockets == {f"tcp://{ADDRESS}:5000"}


def test_secrets_are_not_for_everybody(host, password):
    for name in ("htpasswd", "registry.key"):
        file = host.file(f"/etc/docker/registry/estate/{name}")
        assert (file.user, file.mode) == ("docker-registry", 0o600)
    assert password not in host.file("/etc/docker/registry/estate/htpasswd").content_string
    assert host.run("grep -rlF -- %s /etc/docker /var/log", password).stdout == ""


def test_nothing_of_the_push_is_left(host):
    assert host.run("ls -d /tmp/paas-image-* /root/.docker").stdout == ""
