# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import shutil
import sys
from concurrent import futures
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
sys.path.insert(0, str(LAB))

from paaslab import images, model

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://disabled.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb [arch=amd64 signed-by=/x.gpg] https://mirror.example/debian bookworm main contrib
deb http://security.example/debian-security bookworm-security main
"""


@pytest.mark.parametrize(
    ("one_line", "deb822", "expected"),
    [
        ("", DEB822, images.Sources("http://mirror.example/debian", "http://mirror.example/debian-security")),
        (ONE_LINE, "", images.Sources("https://mirror.example/debian", "http://security.example/debian-security")),
        ("", "", images.DEBIAN),
        ("deb https://vendor.example/apt vendor-bookworm main\n", "", images.DEBIAN),
        ("deb cdrom:[Debian 12]/ bookworm main\n", "", images.DEBIAN),
    ],
)
def test_this_machines_own_sources_are_used(one_line, deb822, expected):
    assert images.parse_sources(one_line, deb822, "bookworm") == expected


def test_the_suite_is_replaced():
    assert images.DEBIAN.lines("trixie") == [
        "deb http://ftp.debian.org/debian trixie main",
        "deb http://ftp.debian.org/debian trixie-updates main",
        "deb http://security.debian.org/debian-security trixie-security main",
    ]


@pytest.fixture(name="lab", scope="module")
def _lab():
    return model.load(LAB / "lab.yml")


def test_both_suites_are_built_from_one_dockerfile(lab):
    assert lab.images["machine"].folder == lab.images["machine-bookworm"].folder
    assert "Dockerfile" in images.context(lab.images["machine"])


def test_only_the_first_image_gets_what_is_handed_on(lab):
    assert any(name.startswith("handed-on/") for name in images.context(lab.images["machine"]))
    assert not any(name.startswith("handed-on/") for name in images.context(lab.images["client"]))


def test_an_image_is_out_of_date_when_its_parent_or_a_file_changed(lab, tmp_path, monkeypatch):
    (tmp_path / "client").mkdir()
    (tmp_path / "client" / "Dockerfile").write_text("FROM x\n")
    monkeypatch.setattr(images, "IMAGES", tmp_path)
    first = images.content_digest(lab.images["client"], "sha256:1")
    assert images.content_digest(lab.images["client"], "sha256:1") == first
    assert images.content_digest(lab.images["client"], "sha256:2") != first
    (tmp_path / "client" / "Dockerfile").write_text("FROM y\n")
    assert images.content_digest(lab.images["client"], "sha256:1") != first


def test_two_images_at_once_install_what_they_are_made_with_once(tmp_path, monkeypatch):
    """An apt that, like the real one, refuses a second beside it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    apt = programs / "apt-get"
    apt.write_text(
        f"#!/bin/sh\nmkdir {tmp_path}/lock || exit 100\nsleep 0.2\n"
        f'case " $* " in *" install "*) echo "$@" >>{tmp_path}/installed; printf "#!/bin/sh\\n" >{programs}/mmdebstrap;'
        f" chmod 755 {programs}/mmdebstrap;; esac\n"
        f"rmdir {tmp_path}/lock\n",
        encoding="utf-8",
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(images.os, "geteuid", lambda: 0)
    found = shutil.which
    monkeypatch.setattr(images.shutil, "which", lambda name: found(name, path=str(programs)))
    with futures.ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(images._need_mmdebstrap) for _number in range(2)]:
            done.result(timeout=60)
    assert len((tmp_path / "installed").read_text(encoding="utf-8").splitlines()) == 1
