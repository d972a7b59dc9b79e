# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The front end: global options, which module has the command, errors and exit status."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from .core import Fail, State, err, warn

# Prefix of the command -> module; only that one is imported, for a command must answer in tens of milliseconds.
MODULES = {
    "apps": "apps", "config": "config", "domains": "domains", "ports": "ports", "proxy": "proxy", "nginx": "nginx", "certs": "certs",
    "ps": "ps", "checks": "checks", "git": "git", "storage": "storage", "docker-options": "docker_options", "network": "network",
    "resource": "resource", "run": "run", "enter": "run", "plugin": "plugins", "ssh-keys": "host", "version": "host", "help": "host",
    **{name: "settings" for name in ("app-json", "builder", "builder-dockerfile", "buildpacks", "cron", "logs", "registry", "scheduler",
                                     "scheduler-docker-local")},
}
EXTRA = {"ps:retire": "scheduler"}


def modules():
    for name in sorted(set(MODULES.values())):
        yield name, import_module(f".{name}", __package__).COMMANDS


def find(command: str):
    name = EXTRA.get(command) or MODULES.get(command.partition(":")[0])
    return import_module(f".{name}", __package__).COMMANDS.get(command) if name else None


def split_words(text: str) -> list[str]:
    import shlex

    return shlex.split(text)


def main(argv: list[str]) -> int:
    State.quiet = bool(os.environ.get("DOKKU_QUIET_OUTPUT"))
    State.force, State.app, State.merged, State.loaded = False, "", False, {}
    argv = list(argv)
    # Over SSH the forced command's arguments have lost their quotes; the line as it was sent is split again, as xargs does.
    if os.environ.get("FINGERPRINT") and os.environ.get("SSH_ORIGINAL_COMMAND"):
        argv = split_words(os.environ.pop("SSH_ORIGINAL_COMMAND"))
    while argv and argv[0] in ("--quiet", "--trace", "--force", "--app"):
        option = argv.pop(0)
        if option == "--quiet":
            State.quiet = True
        elif option == "--force":
            State.force = True
        elif option == "--app" and argv:
            State.app = argv.pop(0)
    command, args = (argv[0], argv[1:]) if argv else ("help", [])
    command = {"--version": "version", "-v": "version", "--help": "help"}.get(command, command)
    if State.app and State.app not in args:
        args = [State.app, *args]
    handler = find(command)
    try:
        if handler is None:
            words = " ".join([command, *args[:1]])
            warn(f"`{words}` is not a dokku command.")
            warn("See `dokku help` for a list of available commands.")
            return 1
        handler(args)
    except Fail as failure:
        if failure.message:
            err(failure.message) if failure.raw else warn(failure.message)
        return failure.rc
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0
