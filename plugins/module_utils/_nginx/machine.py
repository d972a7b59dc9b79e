# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other parts need from the machine: commands and files. Replaced by a fake in unit tests."""

from __future__ import annotations

import os
import tempfile
import typing as t
from dataclasses import dataclass

#: A command runner: argv and extra environment in; return code, stdout, stderr out.
Runner = t.Callable[..., "tuple[int, str, str]"]


@dataclass(frozen=True)
class Paths:
    """Where things are; tests move them."""

    preferences: str = "/etc/apt/preferences.d/00-nginx-http2-pin"
    state: str = "/var/lib/paas/nginx_http2_pin.json"
    policy_rc_d: str = "/usr/sbin/policy-rc.d"
    binary: str = "/usr/sbin/nginx"
    pid_file: str = "/run/nginx.pid"


def read_text(path: str) -> str | None:
    """A file's text, None when there is no such file."""
    try:
        with open(path, encoding="utf-8") as handle:
            return handle.read()
    except FileNotFoundError:
        return None


def write_atomically(path: str, content: str, mode: int = 0o644) -> None:
    """Write beside the target, flush to disk, rename: a kill leaves the old file or the new one."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o755, exist_ok=True)
    # apt reads only names without other suffixes, so a leftover of a kill is not taken for preferences.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, mode)
        os.rename(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
