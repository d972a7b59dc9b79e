# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plugins from git repositories, as Dokku's plugin:* and plugn treat them."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A plugin with two releases; its triggers leave a line each."""
    path = tmp_path_factory.mktemp("plugin") / "dokku-tidy"

    def git(*words):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        return subprocess.run(["git", *identity, "-C", path, *words], check=True, capture_output=True, text=True).stdout.strip()

    path.mkdir()
    git("init", "--quiet", "--initial-branch", "main")
    commits = {}
    for version in ("1.0.0", "1.1.0"):
        (path / "plugin.toml").write_text(f'[plugin]\ndescription = "tidies up"\nversion = "{version}"\n')
        for name in ("install", "update"):
            (path / name).write_text(f"#!/bin/sh\necho {name} {version}\n")
            (path / name).chmod(0o755)
        git("add", ".")
        git("commit", "--quiet", "--message", version)
        git("tag", version)
        commits[version] = git("rev-parse", "HEAD")
    return f"file://{path}", commits


def listed(sandbox, name="tidy"):
    rows = json.loads(sandbox.shell("dokku plugin:list --format json").out)
    return next((row for row in rows if row["name"] == name), None)


def test_a_plugin_is_cloned_pinned_and_moved(sandbox, repository):
    url, commits = repository
    assert listed(sandbox) is None
    done = sandbox.shell(f"dokku plugin:install {url} --committish 1.0.0 --name tidy")
    assert done.rc == 0 and "install 1.0.0" in done.out
    row = listed(sandbox)
    assert row == {
        "name": "tidy", "version": "1.0.0", "enabled": True, "core": False, "description": "tidies up", "source_url": url,
        "committish": commits["1.0.0"], "branch": "",
    }  # fmt: skip
    done = sandbox.shell(f"dokku plugin:update tidy {commits['1.1.0']}")
    assert done.rc == 0 and "update 1.1.0" in done.out
    assert listed(sandbox)["committish"] == commits["1.1.0"]


def test_what_dokku_refuses(sandbox, repository):
    url, _commits = repository
    assert sandbox.shell(f"dokku plugin:install {url} --name tidy").rc == 1
    assert "different url" in sandbox.shell("dokku plugin:install file:///elsewhere.git --name tidy").err
    assert sandbox.shell("dokku plugin:update tidy no-such-release").rc == 1
    assert "please update Dokku" in sandbox.shell("dokku plugin:update git 1.0.0").err
    assert "not enabled or installed" in sandbox.shell("dokku plugin:update absent 1.0.0").err


def test_a_plugin_without_a_version_has_its_state_for_one(sandbox, repository):
    toml = sandbox.lib / "plugins" / "available" / "tidy" / "plugin.toml"
    before = toml.read_text()
    try:
        toml.write_text('[plugin]\ndescription = "tidies up"\n')
        row = listed(sandbox)
        assert (row["version"], row["enabled"], row["description"]) == ("enabled", False, "up")
        toml.write_text("[plugin]\n")
        assert listed(sandbox) is None
    finally:
        toml.write_text(before)


def test_install_without_a_name_triggers_them_all(sandbox, repository):
    done = sandbox.shell("dokku plugin:install")
    assert (done.rc, done.out) == (0, "install 1.1.0\n")


def test_nothing_of_a_plugin_stays(sandbox, repository):
    url, _commits = repository
    done = sandbox.shell("dokku plugin:uninstall tidy")
    assert done.rc == 0 and "Plugin tidy uninstalled" in done.out
    assert listed(sandbox) is None
    assert not (sandbox.lib / "plugins" / "available" / "tidy").exists() and not (sandbox.lib / "plugins" / "enabled" / "tidy").is_symlink()
    assert "not currently installed" in sandbox.shell("dokku plugin:uninstall tidy").err
    assert sandbox.shell(f"dokku plugin:install {url} --committish 1.0.0 --name tidy").rc == 0
