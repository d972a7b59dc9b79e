# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of an app, from an archive or a git repository, as the tar that Docker builds."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from .core import Fail, info1, out, stdin_bytes, verbose


def is_source(context: bytes) -> bool:
    return tarfile.is_tarfile(io.BytesIO(context))


def files(context: bytes, *names: str) -> list[str]:
    """The texts of files of the source, empty where there is none."""
    with tarfile.open(fileobj=io.BytesIO(context)) as archive:
        members = {member.name.removeprefix("./"): member for member in archive if member.isfile()}
        return [archive.extractfile(members[name]).read().decode() if name in members else "" for name in names]


def packed(folder: Path) -> bytes:
    """The same bytes for the same files, whenever they were unpacked."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(folder.rglob("*")):
            member = archive.gettarinfo(path, str(path.relative_to(folder)))
            member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
            with path.open("rb") if member.isfile() else io.BytesIO() as data:
                archive.addfile(member, data)
    return buffer.getvalue()


def from_archive(url: str, kind: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file, target = Path(folder, f"src.{kind}"), Path(folder, "source")
        target.mkdir()
        if url == "--":
            info1(f"Fetching {kind} file from stdin")
            file.write_bytes(stdin_bytes())
        else:
            info1(f"Downloading {kind} file from {url}")
            subprocess.run(["curl", "-s", "-L", url, "-o", str(file)], check=False)
        info1("Generating build context")
        try:
            if kind == "zip":
                with zipfile.ZipFile(file) as archive:
                    archive.extractall(target)
            else:
                with tarfile.open(file) as archive:
                    archive.extractall(target, filter="data")
        except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise Fail("Invalid archive", rc=2) from error
        inside = list(target.iterdir())
        if len(inside) == 1 and inside[0].is_dir():
            verbose("Stripping top-level archive folder components")
            return packed(inside[0])
        verbose("Moving unarchived files and folders into place")
        return packed(target)


def from_git(repository: Path, remote: str, ref: str) -> tuple[str, bytes]:
    """-> the commit and its files."""
    def git(*words: str) -> bytes:
        done = subprocess.run(["git", "-C", str(repository), *words], check=False, capture_output=True, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})
        if done.returncode:
            out((done.stdout + done.stderr).decode(errors="replace").rstrip("\n"))
            raise Fail(rc=done.returncode)
        return done.stdout

    if not repository.exists():
        repository.mkdir()
        git("init", "--quiet", "--bare")
    # Its branches and tags as they are there; a commit of them can be named, too.
    git("fetch", "--quiet", "--prune", remote, "+refs/*:refs/*")
    revision = git("rev-parse", "--verify", f"{ref}^{{commit}}").decode().strip()
    return revision, git("archive", revision)
