# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import stat
import threading

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme.bundle import Ownership, Store, create_once, ownership
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import AcmeError, DeadlineError, InputError

BUNDLE = {"cert.pem": b"C", "chain.pem": b"H", "fullchain.pem": b"CH", "privkey.pem": b"K", "state.json": b"{}\n"}


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "live" / "app"), Ownership())


def versions(store):
    return sorted(name for name in os.listdir(store.versions) if os.path.isdir(os.path.join(store.versions, name)))


def test_dest_is_a_relative_link_to_a_whole_version(store):
    store.switch(BUNDLE, "0A")
    assert os.readlink(store.dest).startswith(".app.versions/")
    assert store.read() == BUNDLE
    assert sorted(os.listdir(store.dest)) == sorted(BUNDLE)


def test_modes(store):
    store.switch(BUNDLE, "0A")
    modes = {name: stat.S_IMODE(os.stat(os.path.join(store.dest, name)).st_mode) for name in BUNDLE}
    assert modes == {"cert.pem": 0o644, "chain.pem": 0o644, "fullchain.pem": 0o644, "privkey.pem": 0o600, "state.json": 0o600}


def test_a_key_is_private_from_its_first_byte(store, monkeypatch):
    seen, real = [], os.write

    def write(descriptor, data):
        seen.append((bytes(data), stat.S_IMODE(os.fstat(descriptor).st_mode)))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    former = os.umask(0)
    try:
        store.switch(BUNDLE, "0A")
    finally:
        os.umask(former)
    assert (b"K", 0o600) in seen


def test_three_versions_are_kept_and_never_the_one_in_use_is_removed(store):
    for number in range(6):
        store.switch(dict(BUNDLE, **{"cert.pem": b"%d" % number}), "%02X" % number)
    assert len(versions(store)) == 3
    assert store.read()["cert.pem"] == b"5"


def test_versions_of_one_second_and_serial_do_not_collide(store):
    assert store.switch(BUNDLE, "0A") != store.switch(BUNDLE, "0A")


def test_what_a_killed_run_left_is_removed(store):
    store.switch(BUNDLE, "0A")
    os.mkdir(os.path.join(store.versions, ".new-dead"))
    store.switch(BUNDLE, "0B")
    assert [name for name in os.listdir(store.versions) if name.startswith(".new")] == []


@pytest.mark.parametrize("where", ["os.rename", "os.replace", "os.symlink", "os.fsync"])
def test_killed_half_way_the_former_bundle_stays(store, monkeypatch, where):
    store.switch(BUNDLE, "0A")

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, killed)
    with pytest.raises(KeyboardInterrupt):
        store.switch(dict(BUNDLE, **{"cert.pem": b"new"}), "0B")
    assert store.read() == BUNDLE
    monkeypatch.undo()
    store.switch(dict(BUNDLE, **{"cert.pem": b"new"}), "0B")
    assert store.read()["cert.pem"] == b"new"


def test_a_readers_folder_outlives_the_switch(store):
    store.switch(BUNDLE, "0A")
    folder = os.path.realpath(store.dest)
    store.switch(dict(BUNDLE, **{"privkey.pem": b"K2"}), "0B")
    with open(os.path.join(folder, "privkey.pem"), "rb") as handle:
        assert handle.read() == b"K"


def test_found_folder_is_taken_over(store):
    os.makedirs(store.dest)
    with open(os.path.join(store.dest, "cert.pem"), "wb") as handle:
        handle.write(b"old")
    store.check_writable()
    store.switch(BUNDLE, "0A")
    assert store.read() == BUNDLE and any(name.startswith("0-found-") for name in versions(store))


@pytest.mark.parametrize("thing", ["file", "foreign link", "folder with more"])
def test_what_is_not_ours_is_refused(store, thing):
    os.makedirs(store.parent)
    if thing == "file":
        open(store.dest, "wb").close()
    elif thing == "foreign link":
        os.symlink("/etc", store.dest)
    else:
        os.makedirs(os.path.join(store.dest, "other"))
    with pytest.raises(InputError, match="dest"):
        store.check_writable()


def test_drift_is_seen_and_repaired(store):
    store.switch(BUNDLE, "0A")
    assert store.drift() == []
    os.chmod(os.path.join(store.dest, "privkey.pem"), 0o644)
    assert store.drift() == ["privkey.pem"]
    store.repair()
    assert store.drift() == []


def test_one_at_a_time(store):
    inside, order = threading.Event(), []

    def second():
        inside.wait()
        with store.lock(10):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.lock(1):
        inside.set()
        with pytest.raises(DeadlineError, match="Another run"):
            with Store(store.dest, Ownership()).lock(0.2):
                order.append("never")
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_the_lock_of_a_removed_dest_is_none(store):
    with store.lock(1):
        store.remove()
        with Store(store.dest, Ownership()).lock(1):
            pass


def test_remove_takes_everything(store):
    store.switch(BUNDLE, "0A")
    store.remove()
    assert os.listdir(store.parent) == [] and not store.exists()


def test_the_first_of_two_account_keys_stays(tmp_path):
    path = str(tmp_path / "a" / "key.pem")
    assert create_once(path, b"one") == b"one"
    assert create_once(path, b"two") == b"one"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.listdir(os.path.dirname(path)) == ["key.pem"]


def test_broken_notes_are_no_notes(store):
    store.switch(BUNDLE, "0A")
    for text in ("", "{", "[]", "\x00"):
        with open(os.path.join(store.versions, "journal.json"), "w", encoding="utf-8") as handle:
            handle.write(text)
        assert store.read_json("journal.json") == {}


@pytest.mark.parametrize("mode", ["0644", "0666", "0700", "0604", "rw", ""])
def test_modes_that_show_a_key(mode):
    with pytest.raises(InputError, match="mode"):
        ownership(None, None, mode)


def test_owners():
    assert ownership("root", "0", "0640") == Ownership(0, 0, 0o640)
    for arguments in (("nobody-such", None), (None, "nobody-such")):
        with pytest.raises(InputError, match="no such"):
            ownership(*arguments, "0600")


def test_a_full_disk_is_told_and_the_former_bundle_stays(store, monkeypatch):
    store.switch(BUNDLE, "0A")
    before = os.readlink(store.dest)

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AcmeError, match="could not be put into .*No space left on device"):
        store.switch(BUNDLE, "0B")
    assert os.readlink(store.dest) == before and store.read() == BUNDLE


def test_a_folder_without_the_permission_to_write_is_refused(store, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission to write"):
        store.check_writable()
