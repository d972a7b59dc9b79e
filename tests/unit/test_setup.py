# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What setup.sh installs on a bare machine, with an apt and a Docker that only note what they are asked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parents[2] / "tests" / "tools" / "setup.sh"
TOOLS = ("bash", "cat", "chmod", "dirname", "env", "grep", "ln", "touch")
PROVIDES = {"docker.io": ["dockerd"], "docker-cli": ["docker"], "openssh-client": ["ssh"], "chromium": ["chromium"], "chromium-driver": ["chromedriver"]}


@pytest.fixture()
def machine(tmp_path):
    """Starts setup.sh where apt knows some packages and each brings its commands; gives its result and what was installed."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))

    def stub(name: str, text: str) -> None:
        (programs / name).write_text(f"#!{shutil.which('bash')}\n{text}\n", encoding="utf-8")
        (programs / name).chmod(0o755)

    def run(step: str, *known: str, provides: dict[str, list[str]] | None = None, user: int = 0, present: tuple[str, ...] = ()):
        stub("id", f"echo {user}")
        for name in present:
            stub(name, "exit 0")
        # With its table of versions, which a package in several suites has: an answer that comes in several pieces.
        stub("apt-cache", f"""case " {" ".join(known)} " in *" $2 "*) echo "  Candidate: 1";; *) echo "  Candidate: (none)";; esac
for version in {{1..2000}}; do echo "     $version 500"; done""")
        cases = "".join(
            f"{package}) " + " && ".join(f"ln -sf {shutil.which('true')} {programs}/{name}" for name in names) + ";;\n"
            for package, names in (PROVIDES | (provides or {})).items()
        )
        stub("apt-get", f'case " $* " in *" install "*) echo "$@" >>{tmp_path}/installed;; esac\nfor name; do case $name in {cases} *) ;; esac; done')
        done = subprocess.run([SETUP, step], env={"PATH": str(programs)}, capture_output=True, text=True, check=False, timeout=60)
        log = tmp_path / "installed"
        installed = [word for line in log.read_text(encoding="utf-8").splitlines() for word in line.split()] if log.exists() else []
        return done, {word for word in installed if not word.startswith("-") and "::" not in word} - {"install"}

    return run


def test_debian_13_needs_the_docker_command_too(machine):
    done, installed = machine("engine", "docker.io", "docker-cli")
    assert (done.returncode, installed) == (0, {"docker.io", "iptables", "docker-cli", "openssh-client"}), done.stderr


def test_where_the_docker_command_is_in_docker_io(machine):
    done, installed = machine("engine", "docker.io", provides={"docker.io": ["dockerd", "docker"]})
    assert (done.returncode, installed) == (0, {"docker.io", "iptables", "openssh-client"}), done.stderr


def test_an_engine_that_answers_is_taken_as_it_is(machine):
    done, installed = machine("engine", "docker.io", "docker-cli", present=("docker", "ssh"), user=1000)
    assert (done.returncode, installed) == (0, set()), done.stderr


def test_others_than_root_are_told_what_to_install(machine):
    done, installed = machine("engine", "docker.io", "docker-cli", user=1000)
    assert done.returncode == 1 and installed == set()
    assert "sudo apt-get install openssh-client docker.io iptables docker-cli" in done.stderr


def test_the_browser_of_a_distribution_that_has_one(machine):
    done, installed = machine("browser", "chromium", "chromium-driver")
    assert (done.returncode, installed) == (0, {"chromium", "chromium-driver"}), done.stderr


def test_ubuntu_has_no_package_of_it(machine):
    done, installed = machine("browser")
    assert done.returncode == 1 and installed == set() and "Ubuntu's is a snap" in done.stderr


def test_google_s_browser_will_do(machine):
    done, installed = machine("browser", present=("google-chrome", "chromedriver"))
    assert (done.returncode, installed) == (0, set()), done.stderr
