# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role decides from what a host says, by its own expressions."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

LOADER = DataLoader()
ROLE = Path(__file__).resolve().parents[3] / "roles" / "dokku_host"
FOLDER = "/var/lib/dokku/plugins/available"


@cache
def load(path):
    return LOADER.load_from_file(str(ROLE / path), trusted_as_template=True)


def template(expression, **given):
    variables = {
        **load("defaults/main.yml"),
        **load("vars/main.yml"),
        "groups": {}, "ansible_check_mode": False, **given,
    }  # fmt: skip
    return Templar(loader=LOADER, variables=variables).template(trust_as_template(expression))


def task_of(file, name):
    return next(task for task in load(f"tasks/{file}") if task["name"] == name)


def holds(condition, variables=None, **given):
    """A task's condition, with its variables."""
    return template("{{ " + condition + " }}", **given, **(variables or {}))


@pytest.mark.parametrize(
    ("version", "package", "due", "apt"),
    [
        (None, "", True, True),
        (None, "config-files", True, True),
        ("0.38.27", "installed", False, True),
        ("0.38.26", "installed", True, True),
        ("0.39.0", "installed", False, False),
        # Taken over from where it came.
        ("0.38.26", "", False, True),
        ("0.38.26", "config-files", False, True),
        # A run that was killed: Dokku answers, and the package is not there yet.
        ("0.38.27", "unpacked", True, True),
        ("0.38.27", "half-configured", True, True),
        ("0.39.0", "half-configured", True, False),
    ],
)
def test_a_package_that_is_not_finished_is_gone_on_with(version, package, due, apt):
    found = {"rc": 0, "stdout": f"dokku version {version}"} if version else {"rc": 2, "stdout": ""}
    given = {"__dokku_host_found": found, "__dokku_host_package": {"rc": 0, "stdout": package}}
    assert template("{{ __dokku_host_package_due }}", **given) is due
    assert template("{{ __dokku_host_apt_due }}", **given) is apt


@pytest.mark.parametrize(("version", "package", "refused"), [("0.38.21", "", True), ("0.38.22", "", False), ("0.37.0", "installed", False)])
def test_the_oldest_that_is_taken_over(version, package, refused):
    given = {"__dokku_host_found": {"rc": 0, "stdout": f"dokku version {version}"}, "__dokku_host_package": {"rc": 0, "stdout": package}}
    conditions = task_of("install.yml", "Refuse a Dokku that is too old and not ours to upgrade")["when"]
    assert all(holds(condition, **given) for condition in conditions) is refused


@pytest.mark.parametrize(
    ("policy", "refused"),
    [
        ("", True),
        ("docker-buildx-plugin:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n", True),
        (
            "moby-buildx:\n  Installed: (none)\n  Candidate: (none)\n"
            "docker-buildx-plugin:\n  Installed: (none)\n  Candidate: 0.17.1-1~debian.12~bookworm\n",
            False,
        ),
    ],
)
def test_debian_12_without_buildx_is_refused(policy, refused):
    *_others, check = load("tasks/package.yml")[0]["block"]
    assert holds(check["ansible.builtin.assert"]["that"], __dokku_host_buildx={"stdout": policy}) is not refused


# --- plugins

def plugins(enabled=True, origin="https://example.org/tidy", pin=("a", "a"), wanted=None, check_mode=False):
    one = {"name": "tidy", "url": "https://example.org/tidy", "version": "1.0.0", **(wanted or {})}
    given = {
        "dokku_host_plugins": [one], "ansible_check_mode": check_mode,
        "__dokku_host_enabled": {"results": [{"stat": {"exists": enabled}}]},
        "__dokku_host_origins": {"results": [{"rc": 0 if origin else 128, "stdout": origin}]},
    }  # fmt: skip
    found = template("{{ __dokku_host_plugins_found }}", **given)
    row = {"item": found[0], "rc": 0 if pin[1] else 128, "stdout_lines": list(pin)}
    return {**given, "__dokku_host_pins": {"results": [row] if enabled else []}}


@pytest.mark.parametrize(
    ("origin", "url", "enabled", "refused"),
    [
        ("https://example.org/tidy", "https://example.org/tidy", True, False),
        ("https://example.org/tidy", "https://example.org/tidy.git", True, False),
        ("https://example.org/tidy.git", "https://example.org/tidy/", True, False),
        ("https://example.org/tidy.git/", "https://example.org/tidy", False, False),
        ("https://example.org/tidy", "https://example.org/tidier", True, True),
        ("https://example.org/tidy", "https://example.net/tidy", False, True),
        ("", "https://example.org/tidy", True, True),
        ("", "https://example.org/tidy", False, False),
    ],
)
def test_a_plugin_from_elsewhere_is_refused(origin, url, enabled, refused):
    given = plugins(enabled=enabled, origin=origin, wanted={"url": url})
    task = task_of("plugins.yml", "Refuse to take a plugin from elsewhere than it came from")
    item = template("{{ __dokku_host_plugins_found[0] }}", **given)
    assert holds(task["ansible.builtin.assert"]["that"], task["vars"], item=item, **given) is not refused


@pytest.mark.parametrize(
    ("state", "moving", "forgotten", "asked", "noted"),
    [
        ({"enabled": False, "origin": ""}, 0, 1, 0, 1),
        ({"enabled": False, "origin": "", "check_mode": True}, 0, 1, 0, 0),
        ({}, 0, 0, 1, 1),
        ({"pin": ("a", "b")}, 1, 1, 0, 1),
        ({"pin": ("a", "")}, 1, 1, 0, 1),
    ],
)
def test_the_note_that_triggers_have_run_is_written_last(state, moving, forgotten, asked, noted):
    note = {"path": f"{FOLDER}/tidy/.paas-version", "content": "1.0.0"}
    given = plugins(**state)
    assert len(template("{{ __dokku_host_plugins_moving }}", **given)) == moving
    assert template("{{ __dokku_host_notes_due }}", **given) == [{"path": note["path"], "state": "absent"}] * forgotten
    assert template("{{ __dokku_host_notes_settled }}", **given) == [note] * asked
    assert template("{{ __dokku_host_notes }}", **given) == [note] * noted
    modules = [next(key for key in task if "." in key) for task in load("tasks/plugins.yml")]
    assert modules[-1] == "multiregion.paas.config_files" and "ansible.builtin.command" in modules[-4:-1]


# --- keys

@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    for name in ("one", "two"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name} of many", "-f", folder / name], check=True)
    return {name: (folder / f"{name}.pub").read_text() for name in ("one", "two")}


def fingerprint(key):
    return subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=key, capture_output=True, text=True, check=True).stdout.split()[1]


def decide(present, wanted):
    """What is wrong, removed and kept, after ssh-keygen has read what the role writes to it."""
    rows = [{"name": name, "fingerprint": fingerprint(key)} for name, key in present.items()]
    given = {"dokku_host_ssh_keys": wanted, "__dokku_host_keys": {"rc": 0 if rows else 1, "stdout": json.dumps(rows) if rows else ""}}
    lines = "\n".join(template("{{ __dokku_host_keys_lines }}", **given)) + "\n"
    told = subprocess.run(["ssh-keygen", "-l", "-f", "-"], input=lines, capture_output=True, text=True, check=False)
    given["__dokku_host_fingerprints"] = {"rc": told.returncode, "stdout_lines": told.stdout.splitlines()}
    return tuple(list(template("{{ __dokku_host_keys_%s }}" % name, **given)) for name in ("wrong", "outdated", "kept"))


def test_a_key_under_a_name_that_has_another_is_replaced(keys):
    one, two = keys["one"], keys["two"]
    assert decide({}, {"ana": one, "ben": two}) == ([], [], [])
    assert decide({"ana": one, "ben": two}, {"ana": one, "ben": two}) == ([], [], ["ana", "ben"])
    assert decide({"ana": one}, {"ana": two}) == ([], ["ana"], [])
    assert decide({"ana": one, "ben": two}, {"ana": two, "ben": ""}) == ([], ["ana", "ben"], [])
    assert decide({"ana": one, "someone": two}, {"ana": one}) == ([], [], ["ana", "someone"])


def test_what_is_no_key_shifts_no_other(keys):
    wrong, outdated, _kept = decide({"ben": keys["two"]}, {"ana": "not a key", "ben": keys["two"]})
    assert (wrong, outdated) == (["ana"], [])
