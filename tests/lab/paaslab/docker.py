# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker command line, as far as the lab needs it. The command, not the SDK: lab.py then needs PyYAML only."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from typing import Any

from .model import LabError


@functools.cache
def _environment() -> dict[str, str]:
    # Without the buildx plugin a current client refuses to build, unless told to use the engine's own builder.
    plugin = subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False)
    return {**os.environ, "DOCKER_BUILDKIT": "1" if plugin.returncode == 0 else "0"}


def run(
    arguments: list[str], check: bool = True, input: bytes | str | None = None, timeout: float | None = None
) -> subprocess.CompletedProcess[str]:
    """`docker ARGUMENTS`; stdout and stderr as text. Raises LabError on a failure unless check is false."""
    data = input.encode() if isinstance(input, str) else input
    try:
        done = subprocess.run(["docker", *arguments], input=data, capture_output=True, check=False, timeout=timeout,
                              env=_environment(), **({} if data is not None else {"stdin": subprocess.DEVNULL}))
    except FileNotFoundError as error:
        raise LabError("The docker command is missing; install it: tests/tools/setup.sh engine") from error
    result = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if check and result.returncode != 0:
        what = " ".join(arguments[:2])
        raise LabError(f"docker {what} failed: {result.stderr.strip() or result.stdout.strip()}")
    return result


def server_version() -> tuple[int, ...]:
    try:
        done = run(["version", "--format", "{{.Server.Version}}"], check=False, timeout=30)
    except FileNotFoundError as error:
        raise LabError("The docker command is missing; install it: tests/tools/setup.sh engine") from error
    if done.returncode != 0:
        if "permission denied" in done.stderr:
            raise LabError("This user may not use Docker; become a member of the group docker, or root.")
        raise LabError("Docker does not run; start it: sudo systemctl start docker")
    return tuple(int(part) for part in done.stdout.strip().split("+")[0].split("-")[0].split(".") if part.isdigit())


def inspect(kind: str, names: list[str]) -> dict[str, dict[str, Any]]:
    """What `docker KIND inspect` says of those of the names that exist, by name."""
    if not names:
        return {}
    done = run([kind, "inspect", *names], check=False)
    found = json.loads(done.stdout or "[]")
    return {str(item["Name"]).lstrip("/"): item for item in found}


def image_id(tag: str) -> str:
    done = run(["image", "inspect", "--format", "{{.Id}}", tag], check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def image_label(tag: str, label: str) -> str:
    done = run(["image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', tag], check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
