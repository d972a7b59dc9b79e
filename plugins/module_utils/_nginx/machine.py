# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the other parts need from the machine: commands and files. Replaced by a fake in unit tests."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

from .._atomic import write_atomically
from .errors import CommandFailed

#: A command runner: argv and extra environment in; return code, stdout, stderr out.
Runner = t.Callable[..., "tuple[int, str, str]"]


def command_runner(run_command: t.Callable[..., tuple[int, str, str]]) -> Runner:
    """AnsibleModule.run_command, which would end the module at a program that cannot be executed: then nothing would lead the way back."""

    def run(argv: t.Sequence[str], **kwargs: t.Any) -> tuple[int, str, str]:
        try:
            return run_command(argv, handle_exceptions=False, **kwargs)
        except OSError as error:
            raise CommandFailed(f"{argv[0]} cannot be executed: {error.strerror or error}.", error.errno) from error

    return run


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


def write_text(path: str, content: str, mode: int = 0o644) -> None:
    """At once and whole, in a folder that may be missing."""
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_atomically(path, content, mode)


def remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
