# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever ends a change, the version and the preferences from before come back. Programs are real, in a folder of the test."""

from __future__ import annotations

import contextlib
import errno
import json

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.multiregion.paas.plugins.module_utils._nginx import apt, http2, machine, runner, server
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import BrokenOff, CommandFailed, NginxError, ProofFailed
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.plan import Package, PackageVersion
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.preferences import MARK
from ansible_collections.multiregion.paas.plugins.modules import nginx_http2_pin

OLD, NEW = "1.26.3-3", "1.26.3-4"
BEFORE = f"{MARK}\nPackage: nginx\nPin: version {OLD}\nPin-Priority: 1001\n"
NGINX = "#!/bin/sh\n[ \"$1\" != -V ] || echo 'nginx version: nginx/1.26.3 built with OpenSSL 3.5.0 configure arguments: --with-http_v2_module'\n"
# Says that a version is installed and puts its program in place; a package file has its version in its name.
APT_GET = """#!/bin/sh
cd '{folder}' && case "$*" in
  *download*) touch "$OLDPWD/nginx_{old}_amd64.deb" ;;
  *purge*) rm -f installed nginx ;;
  *nginx_{old}_*) cp old nginx; printf '{old}' > installed ;;
  *nginx={new}*) cp new nginx; printf '{new}' > installed ;;
  *) exit 1 ;;
esac
"""
OPTIONS = dict(
    state="present", version="*", features=["http2"], packages=["nginx"], known_bad=[], allow_downgrade=False, pin_priority=1001, pin_to="revision",
    verify=None, update_cache=False, cache_valid_time=0, lock_timeout=1,
)  # fmt: skip


class World:
    """A machine with one version of nginx, for which apt has a newer one."""

    def __init__(self, folder):
        self.folder = folder
        self.paths = machine.Paths(*(str(folder / name) for name in ("preferences", "state", "policy-rc.d", "nginx", "pid")))
        for name, content in (("old", NGINX), ("new", NGINX), ("nginx", NGINX), ("apt-get", APT_GET.format(folder=folder, old=OLD, new=NEW))):
            (folder / name).write_text(content)
            (folder / name).chmod(0o755)
        (folder / "installed").write_text(OLD)
        (folder / "preferences").write_text(BEFORE)

    def packages(self, names):
        installed = self.folder / "installed"
        versions = tuple(PackageVersion(version, ("here",)) for version in (OLD, NEW))
        return {name: Package(name, installed.read_text() if installed.exists() else None, versions, NEW) for name in names}

    def change(self):
        with patch_module_args({}):
            run = machine.command_runner(AnsibleModule({}).run_command)
        return runner.run(OPTIONS, self.paths, run, check_mode=False)

    def is_as_before(self):
        return (
            (self.folder / "installed").read_text() == OLD
            and (self.folder / "nginx").read_text() == NGINX
            and (self.folder / "preferences").read_text() == BEFORE
            and not (self.folder / "state").exists()
        )


@pytest.fixture
def world(tmp_path, monkeypatch):
    world = World(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(apt, "read_packages", world.packages)
    monkeypatch.setattr(apt, "wait_for_locks", lambda timeout: timeout)
    monkeypatch.setattr(http2, "H2_IMPORT_ERROR", None)
    monkeypatch.setattr(server, "private_server", lambda *arguments: contextlib.nullcontext("socket"))
    monkeypatch.setattr(http2, "prove_echo", lambda *arguments: {"alpn": "h2"})
    return world


def raises(error):
    def broken(*arguments, **options):
        raise error

    return broken


def test_a_proven_one_stays(world):
    assert world.change()["proof"]["alpn"] == "h2"
    assert (world.folder / "installed").read_text() == NEW
    assert NEW in (world.folder / "preferences").read_text() and NEW in (world.folder / "state").read_text()


def test_a_program_that_is_cut_short(world):
    (world.folder / "new").write_bytes(b"\x7fELF")
    with pytest.raises(CommandFailed, match=rf"(?s)nginx cannot be executed: Exec format error\..*nginx {OLD} is installed again") as failure:
        world.change()
    assert failure.value.rc == errno.ENOEXEC
    assert world.is_as_before()


def test_a_private_nginx_that_cannot_be_started(world):
    (world.folder / "new").write_bytes(b"\x7fELF")
    with pytest.raises(CommandFailed, match="cannot be executed"), server._process([str(world.folder / "new")], "none", str(world.folder)):
        pass


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (CommandFailed("nginx cannot be executed.", errno.ENOEXEC), {"msg": "nginx cannot be executed.", "rc": errno.ENOEXEC}),
        (OSError(errno.EROFS, "Read-only", "/etc/apt"), {"msg": "What is on the machine cannot be read or written: [Errno 30] Read-only: '/etc/apt'"}),
        (ProofFailed("no h2."), {"msg": "no h2.", "error": "ProofFailed"}),
    ],
)
def test_what_the_module_says_of_it(monkeypatch, capsys, error, told):
    monkeypatch.setattr(apt, "APT_IMPORT_ERROR", None)
    monkeypatch.setattr(runner, "run", raises(error))
    with patch_module_args({}), pytest.raises(SystemExit):
        nginx_http2_pin.main()
    result = json.loads(capsys.readouterr().out)
    assert {key: result[key] for key in told} == told
    assert ("rc" in result) == ("rc" in told)


@pytest.mark.parametrize("error", [KeyError("server"), OSError(errno.ENOSPC, "No space left on device"), UnicodeDecodeError("utf-8", b"", 0, 1, "bad")])
def test_what_nobody_foresaw(world, monkeypatch, error):
    monkeypatch.setattr(http2, "prove_echo", raises(error))
    with pytest.raises(BrokenOff, match=rf"(?s){type(error).__name__}: .*nginx {OLD} is installed again") as failure:
        world.change()
    assert failure.value.rc == getattr(error, "errno", None)
    assert world.is_as_before()


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_who_ends_the_module_ends_it_after_the_way_back(world, monkeypatch, error):
    monkeypatch.setattr(http2, "prove_echo", raises(error))
    with pytest.raises(type(error)):
        world.change()
    assert world.is_as_before()


def test_an_error_of_the_module_keeps_its_kind(world, monkeypatch):
    monkeypatch.setattr(http2, "prove_echo", raises(ProofFailed("no h2.")))
    with pytest.raises(ProofFailed, match=f"(?s)no h2.*The preferences are as before. nginx {OLD} is installed again"):
        world.change()
    assert world.is_as_before()


def test_preferences_that_cannot_be_written(world, monkeypatch):
    monkeypatch.setattr(runner, "write_text", raises(OSError(errno.EROFS, "Read-only file system")))
    with pytest.raises(BrokenOff, match="(?s)Read-only file system.*The preferences cannot be put back: .*Read-only"):
        world.change()
    assert world.is_as_before()


def test_packages_come_back_even_where_the_preferences_cannot(world, monkeypatch):
    write = runner.write_text

    def once(path, content, *mode):
        monkeypatch.setattr(runner, "write_text", raises(OSError(errno.EROFS, "Read-only file system")))
        write(path, content, *mode)

    monkeypatch.setattr(runner, "write_text", once)
    monkeypatch.setattr(http2, "prove_echo", raises(ProofFailed("no h2.")))
    with pytest.raises(ProofFailed, match=f"(?s)cannot be put back.*nginx {OLD} is installed again"):
        world.change()
    assert (world.folder / "installed").read_text() == OLD


def test_a_proof_that_cannot_be_kept_takes_nothing_back(world, monkeypatch):
    write = runner.write_text

    def full(path, content, *mode):
        if path == world.paths.state:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content, *mode)

    monkeypatch.setattr(runner, "write_text", full)
    with pytest.raises(BrokenOff, match="is proven and in use, but .*state cannot be written"):
        world.change()
    assert (world.folder / "installed").read_text() == NEW


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b"{"])
def test_a_damaged_memory_costs_one_more_proof(world, content):
    (world.folder / "state").write_bytes(content)
    assert world.change()["proof"]["alpn"] == "h2"


def test_a_program_that_is_broken_before_is_not_blamed_on_the_new_one(world):
    (world.folder / "nginx").write_bytes(b"\x7fELF")
    with pytest.raises(NginxError, match="^Before anything was changed: .*cannot be executed"):
        world.change()
    assert (world.folder / "preferences").read_text() == BEFORE
