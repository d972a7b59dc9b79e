# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file is the old one or the new one, whatever happens while it is written."""

from __future__ import annotations

import os

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils import _atomic
from ansible_collections.multiregion.paas.plugins.module_utils._atomic import write_atomically


def mode(path):
    return path.stat().st_mode & 0o7777


def test_text_and_bytes_with_their_mode(tmp_path):
    target = tmp_path / "file"
    write_atomically(str(target), "größer\n", 0o640)
    assert (target.read_bytes(), mode(target)) == ("größer\n".encode(), 0o640)
    write_atomically(str(target), b"\xff")
    assert (target.read_bytes(), mode(target)) == (b"\xff", 0o644)
    assert os.listdir(tmp_path) == ["file"]


def test_a_reader_of_the_old_file_keeps_it(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with target.open() as reader:
        write_atomically(str(target), "new")
        assert reader.read() == "old"


@pytest.mark.parametrize("call", ["fchmod", "fsync", "rename"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    target = tmp_path / "file"
    target.write_text("old")

    def fails(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_atomic.os, call, fails)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(str(target), "new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_nobody_reads_a_secret_before_it_has_its_owner(tmp_path, monkeypatch):
    """Who it belongs to and who may read it comes before the name does; until then it is root's alone."""
    seen = []
    real = os.fchown

    def watched(descriptor, uid, gid):
        seen.append(os.fstat(descriptor).st_mode & 0o777)
        real(descriptor, uid, gid)

    monkeypatch.setattr(_atomic.os, "fchown", watched)
    write_atomically(str(tmp_path / "file"), "secret", 0o640, os.getuid(), os.getgid())
    assert seen == [0o600]
    assert mode(tmp_path / "file") == 0o640
