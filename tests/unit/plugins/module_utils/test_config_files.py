# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real files in a folder of their own; systemd and the checks are recorded calls."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args

from ansible_collections.multiregion.paas.plugins.module_utils import _config_files as config_files
from ansible_collections.multiregion.paas.plugins.modules import config_files as module

# What the module's argument specification makes of an entry that says nothing more.
DEFAULTS = {"state": "file", "content": None, "owner": None, "group": None, "mode": None, "replace": True, "secret": False}


class Programs:
    """Stands for subprocess.run: records each call and refuses those that begin with one of `refused`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failed_unit = False
        self.refused: tuple[str, ...] = ()
        self.status = 1
        self.killed_at = ""

    def __call__(self, argv: list[str], **options: object) -> subprocess.CompletedProcess:
        command = " ".join(argv)
        if self.killed_at and command.startswith(self.killed_at):
            raise KeyboardInterrupt
        if "is-failed" in command:
            return subprocess.CompletedProcess(argv, 0 if self.failed_unit else 1, "", "")
        self.calls.append(command)
        refused = bool(self.refused) and command.startswith(self.refused)
        return subprocess.CompletedProcess(argv, self.status if refused else 0, "", "line 3 is wrong")


@pytest.fixture
def programs() -> Programs:
    return Programs()


class Host:
    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder, self.programs = folder, programs

    def run(
        self,
        *files: dict,
        check: tuple[str, ...] = (),
        check_mode: bool = False,
        take_up: tuple[str, ...] = ("reloaded",),
        service: str = "thing.service",
    ) -> dict:
        entries = config_files.entries_of([{**DEFAULTS, **one, "path": str(self.folder / one["path"])} for one in files])
        return config_files.carry_out(entries, service, list(take_up), list(check), check_mode, self.programs, str(self.folder / "run"))

    def text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.folder / name).stat().st_mode)


@pytest.fixture
def host(tmp_path: Path, programs: Programs) -> Host:
    return Host(tmp_path, programs)


CONF = {"path": "thing/thing.conf", "content": "one\n", "mode": "0640"}
FOLDER = {"path": "thing", "state": "directory", "mode": "0750"}


def test_the_first_run_writes_and_the_second_does_nothing(host: Host, programs: Programs) -> None:
    first = host.run(FOLDER, CONF)
    assert first["changed"] and first["taken_up"]
    assert [Path(path).name for path in first["paths"]] == ["thing", "thing.conf"]
    assert host.text("thing/thing.conf") == "one\n"
    assert (host.mode("thing"), host.mode("thing/thing.conf")) == (0o750, 0o640)
    assert programs.calls == ["systemctl daemon-reload", "systemctl try-reload-or-restart thing.service"]
    programs.calls.clear()
    assert host.run(FOLDER, CONF) == {"changed": False, "paths": [], "taken_up": False, "diff": []}
    assert programs.calls == []


def test_missing_folders_above_are_made_alike(host: Host) -> None:
    host.run({"path": "a/b/c", "state": "directory", "mode": "0750"}, {"path": "a/b/c/file", "content": ""})
    assert [host.mode(name) for name in ("a", "a/b", "a/b/c", "a/b/c/file")] == [0o750, 0o750, 0o750, 0o644]


def test_several_steps_are_taken_in_their_order(host: Host, programs: Programs) -> None:
    host.run(FOLDER, CONF, take_up=("reloaded", "restarted"))
    assert programs.calls[1:] == ["systemctl try-reload-or-restart thing.service", "systemctl try-restart thing.service"]


def test_check_mode_says_it_and_does_nothing(host: Host, programs: Programs) -> None:
    said = host.run(FOLDER, CONF, check=("prove",), check_mode=True)
    assert said["changed"] and not said["taken_up"]
    assert said["diff"][1]["after"] == "one\n"
    assert not (host.folder / "thing").exists() and not (host.folder / "run").exists() and programs.calls == []


@pytest.mark.parametrize("killed_at", ["prove", "systemctl daemon-reload", "systemctl try-reload"])
def test_what_a_killed_run_owes_the_next_one_does(host: Host, programs: Programs, killed_at: str) -> None:
    host.run(FOLDER, CONF)
    programs.killed_at = killed_at
    changed = {**CONF, "content": "two\n"}
    with pytest.raises(KeyboardInterrupt):
        host.run(FOLDER, changed, check=("prove",))
    programs.killed_at = ""
    programs.calls.clear()
    assert host.run(FOLDER, changed, check_mode=True)["changed"]
    assert programs.calls == []
    healed = host.run(FOLDER, changed, check=("prove",))
    assert healed["changed"] and healed["taken_up"] and healed["paths"] == []
    assert programs.calls == ["prove", "systemctl daemon-reload", "systemctl try-reload-or-restart thing.service"]
    assert not host.run(FOLDER, changed)["changed"]


def test_a_run_killed_between_two_files_is_completed(host: Host, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run(FOLDER, CONF, {"path": "second", "content": "1\n"})
    real = config_files.apply

    def killed(change: config_files.Change) -> None:
        if change.entry.path.endswith("second"):
            raise KeyboardInterrupt
        real(change)

    monkeypatch.setattr(config_files, "apply", killed)
    wanted = (FOLDER, {**CONF, "content": "two\n"}, {"path": "second", "content": "2\n"})
    with pytest.raises(KeyboardInterrupt):
        host.run(*wanted)
    monkeypatch.setattr(config_files, "apply", real)
    assert [Path(path).name for path in host.run(*wanted)["paths"]] == ["second"]
    assert (host.text("thing/thing.conf"), host.text("second")) == ("two\n", "2\n")


def test_what_the_check_refuses_goes_back(host: Host, programs: Programs) -> None:
    host.run(FOLDER, CONF, {"path": "old", "content": "old\n"})
    programs.refused = ("prove",)
    programs.calls.clear()
    with pytest.raises(config_files.ConfigFilesError, match="prove it refuses it: line 3 is wrong. The files are as they were."):
        host.run(
            {**FOLDER, "mode": "0700"},
            {**CONF, "content": "bad\n", "mode": "0600"},
            {"path": "new", "content": "new\n"},
            {"path": "old", "state": "absent"},
            check=("prove", "it"),
        )
    assert programs.calls == ["prove it"]
    assert (host.text("thing/thing.conf"), host.mode("thing/thing.conf"), host.mode("thing")) == ("one\n", 0o640, 0o750)
    assert host.text("old") == "old\n" and not (host.folder / "new").exists()
    programs.refused = ()
    assert not host.run(FOLDER, CONF)["changed"]


def test_a_service_that_refuses_is_asked_again_by_the_next_run(host: Host, programs: Programs) -> None:
    programs.refused = ("systemctl try-reload",)
    with pytest.raises(config_files.ConfigFilesError, match="systemctl try-reload-or-restart thing.service failed: line 3 is wrong"):
        host.run(FOLDER, CONF)
    programs.refused = ()
    assert host.run(FOLDER, CONF)["taken_up"]


def test_a_service_that_is_still_to_come_has_nothing_to_take_up(host: Host, programs: Programs) -> None:
    programs.refused, programs.status = ("systemctl try-reload",), 5
    assert host.run(FOLDER, CONF)["changed"]
    assert not host.run(FOLDER, CONF)["changed"]


def test_a_file_is_there_with_its_rights_or_not_at_all(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is renamed into place already has its mode, and what failed leaves nothing beside."""
    seen = []
    real = os.rename

    def rename(source: str, target: str) -> None:
        seen.append(stat.S_IMODE(os.stat(source).st_mode))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    host.run(FOLDER, {**CONF, "mode": "0600"})
    assert seen[-1] == 0o600

    def full(source: str, target: str) -> None:
        if target.endswith("thing.conf"):
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(config_files.ConfigFilesError, match=r"thing\.conf: No space left on device"):
        host.run(FOLDER, {**CONF, "content": "two\n"})
    assert [path.name for path in (host.folder / "thing").iterdir()] == ["thing.conf"]


def test_only_rights_are_changed_where_only_they_differ(host: Host) -> None:
    host.run(FOLDER, CONF)
    before = (host.folder / "thing/thing.conf").stat().st_ino
    said = host.run(FOLDER, {**CONF, "mode": "0600"})
    assert said["changed"] and host.mode("thing/thing.conf") == 0o600
    assert (host.folder / "thing/thing.conf").stat().st_ino == before
    assert said["diff"][0]["before"] == said["diff"][0]["after"]


def test_without_a_mode_a_file_keeps_its_own(host: Host) -> None:
    host.run(FOLDER, {**CONF, "mode": "0600"})
    host.run(FOLDER, {"path": CONF["path"], "content": "two\n"})
    assert host.mode("thing/thing.conf") == 0o600


def test_what_is_there_stays_where_it_is_not_to_be_replaced(host: Host) -> None:
    host.run(FOLDER, {**CONF, "replace": False})
    assert not host.run(FOLDER, {**CONF, "content": "two\n", "replace": False})["changed"]
    assert host.text("thing/thing.conf") == "one\n"


def test_a_secret_is_not_shown(host: Host) -> None:
    secret = {**CONF, "content": "password one\n", "secret": True}
    results = [host.run(FOLDER, secret), host.run(FOLDER, {**secret, "content": "password two\n"})]
    assert "password" not in repr(results)
    assert results[1]["diff"][0]["before"] != results[1]["diff"][0]["after"]


def test_a_link_is_replaced_and_not_followed(host: Host) -> None:
    (host.folder / "elsewhere").write_text("one\n", encoding="utf-8")
    (host.folder / "link").symlink_to(host.folder / "elsewhere")
    assert host.run({"path": "link", "content": "two\n"})["changed"]
    assert host.text("elsewhere") == "one\n" and host.text("link") == "two\n" and not (host.folder / "link").is_symlink()
    (host.folder / "dangling").symlink_to(host.folder / "nowhere")
    assert host.run({"path": "dangling", "state": "absent"})["changed"]
    assert not (host.folder / "dangling").is_symlink()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": "a", "content": "", "mode": "rw"}, "the mode 'rw' is not octal"),
        ({"path": "a", "content": "", "mode": "10000"}, "the mode '10000' is not octal"),
        ({"path": "a"}, "a file needs content"),
        ({"path": "a", "state": "absent", "content": ""}, "only a file has content"),
        ({"path": "a", "content": "", "owner": "nobody-of-that-name"}, "the owner nobody-of-that-name does not exist"),
        ({"path": "a", "content": "", "group": "no-such-group"}, "the group no-such-group does not exist"),
        ({"path": "folder", "content": ""}, "is to be a file and is a directory"),
        ({"path": "folder", "state": "absent"}, "is a folder; only files and links are removed"),
        ({"path": "file", "state": "directory"}, "is to be a folder and is a file"),
    ],
)
def test_wrong_input_touches_nothing(host: Host, programs: Programs, wrong: dict, message: str) -> None:
    (host.folder / "folder").mkdir()
    (host.folder / "file").write_text("", encoding="utf-8")
    with pytest.raises(config_files.ConfigFilesError, match=message):
        host.run({"path": "first", "content": "1"}, wrong)
    assert not (host.folder / "first").exists() and programs.calls == []


def test_a_path_twice_or_not_absolute_is_refused(host: Host) -> None:
    with pytest.raises(config_files.ConfigFilesError, match="more than once"):
        host.run(CONF, {**CONF, "path": "thing/../thing/thing.conf"})
    with pytest.raises(config_files.ConfigFilesError, match="not absolute"):
        config_files.entries_of([{**DEFAULTS, "path": "thing.conf", "content": ""}])


def test_a_program_that_is_not_there_is_named(host: Host) -> None:
    with pytest.raises(config_files.ConfigFilesError, match="no program /nowhere/prove"):
        config_files.check(["/nowhere/prove"])


def test_an_owner_that_a_package_would_make_does_not_stop_a_dry_run() -> None:
    wanted = [{**DEFAULTS, "path": "/nowhere/thing.conf", "content": ""}]
    assert config_files.entries_of(wanted, owner="nobody-of-that-name", check_mode=True)[0].uid is None
    with pytest.raises(config_files.ConfigFilesError, match="the owner nobody-of-that-name does not exist"):
        config_files.entries_of(wanted, owner="nobody-of-that-name")


def test_each_path_may_have_an_owner_of_its_own() -> None:
    wanted = [{**DEFAULTS, "path": "/one", "content": ""}, {**DEFAULTS, "path": "/two", "content": "", "owner": "daemon", "group": "daemon"}]
    assert [(entry.uid, entry.gid) for entry in config_files.entries_of(wanted, owner="root", group="root")] == [(0, 0), (1, 1)]


def test_a_service_that_an_earlier_run_could_not_start_is_started(host: Host, programs: Programs) -> None:
    programs.refused = ("systemctl try-reload",)
    with pytest.raises(config_files.ConfigFilesError):
        host.run(FOLDER, CONF)
    programs.refused, programs.failed_unit = (), True
    programs.calls.clear()
    assert host.run(FOLDER, CONF)["taken_up"]
    assert programs.calls == ["systemctl daemon-reload", "systemctl restart thing.service"]


def test_a_restart_that_is_owed_is_not_paid_by_a_reload(host: Host, programs: Programs) -> None:
    """Two tasks with the same service: the one that restarts is killed, and the other comes first in the next run."""
    programs.killed_at = "systemctl try-restart"
    with pytest.raises(KeyboardInterrupt):
        host.run({"path": "keyring", "content": "key"}, take_up=("restarted",))
    programs.killed_at = ""
    programs.calls.clear()
    host.run({"path": "certificate", "content": "new"}, take_up=("reloaded",))
    assert programs.calls[1:] == ["systemctl try-reload-or-restart thing.service", "systemctl try-restart thing.service"]
    assert not host.run({"path": "keyring", "content": "key"}, take_up=("restarted",))["changed"]


def test_a_check_that_a_killed_run_owes_is_made(host: Host, programs: Programs) -> None:
    """Also where there is no service that would read the files."""
    programs.killed_at = "prove"
    with pytest.raises(KeyboardInterrupt):
        host.run(FOLDER, CONF, check=("prove",), service="")
    programs.killed_at, programs.refused = "", ("prove",)
    with pytest.raises(config_files.ConfigFilesError, match="a run before this one, which was killed, has written files that are still there"):
        host.run(FOLDER, CONF, check=("prove",), service="")
    programs.refused = ()
    assert host.run(FOLDER, CONF, check=("prove",), service="")["changed"]
    assert not host.run(FOLDER, CONF, check=("prove",), service="")["changed"]


def test_files_whose_check_cannot_be_run_go_back(host: Host) -> None:
    host.run(FOLDER, CONF)
    entries = config_files.entries_of([{**DEFAULTS, "path": str(host.folder / CONF["path"]), "content": "two\n"}])
    with pytest.raises(config_files.ConfigFilesError, match="no program /nowhere/prove on this host. The files are as they were."):
        config_files.carry_out(entries, "", [], ["/nowhere/prove"], False, notes=str(host.folder / "run"))
    assert host.text("thing/thing.conf") == "one\n"


def test_links_go_back_too(host: Host, programs: Programs) -> None:
    (host.folder / "site").write_text("site\n", encoding="utf-8")
    for name in ("enabled", "written"):
        (host.folder / name).symlink_to("site")
    # As a kill leaves it.
    (host.folder / "enabled.paas-link").symlink_to("nowhere")
    programs.refused = ("prove",)
    with pytest.raises(config_files.ConfigFilesError, match="The files are as they were"):
        host.run({"path": "enabled", "state": "absent"}, {"path": "written", "content": "other\n"}, check=("prove",))
    assert [os.readlink(host.folder / name) for name in ("enabled", "written")] == ["site", "site"]
    assert not (host.folder / "enabled.paas-link").is_symlink()


def test_a_link_to_a_folder_is_a_folder(host: Host) -> None:
    (host.folder / "disk").mkdir()
    (host.folder / "thing").symlink_to("disk")
    host.run(FOLDER, CONF)
    assert (host.folder / "thing").is_symlink() and host.text("disk/thing.conf") == "one\n"


def test_what_is_not_to_be_replaced_keeps_its_rights(host: Host) -> None:
    host.run({**FOLDER, "mode": "0700"}, {**CONF, "mode": "0600"})
    assert not host.run({**FOLDER, "replace": False}, {**CONF, "replace": False})["changed"]
    assert (host.mode("thing"), host.mode("thing/thing.conf")) == (0o700, 0o600)


@pytest.mark.parametrize("mode", ["0600", "wrong"])
def test_contents_are_not_logged_and_not_part_of_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda *arguments, **options: logged.append((arguments, options)))
    wanted = {"path": str(tmp_path / "thing.conf"), "content": "requirepass\nhunter2\n", "secret": True, "mode": mode}
    # As Ansible calls a module: `no_log` of the task is part of it.
    with patch_module_args({"files": [wanted], "_ansible_no_log": False, "_ansible_diff": True}), pytest.raises(SystemExit):
        module.main()
    said = capsys.readouterr().out
    assert ('"failed": true' in said) == (mode == "wrong") and str(tmp_path / "thing.conf") in said
    assert "hunter2" not in said and "hunter2" not in repr(logged)
