# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ssh-keys:*, version and help — what belongs to the host."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from . import VERSION
from .core import ROOT, Fail, flags, need_root, out, read, run, stdin_bytes, write

OPTIONS = "no-agent-forwarding,no-user-rc,no-X11-forwarding,no-port-forwarding"


# --- ssh keys

def keys_path():
    return ROOT / ".ssh" / "authorized_keys"


def entries() -> list[dict[str, str]]:
    found = []
    for line in read(keys_path()).splitlines():
        match = re.search(r'FINGERPRINT=(\S+) NAME=\\"([^"]*)\\"', line)
        if match:
            found.append({"fingerprint": match.group(1), "name": match.group(2), "SSHCOMMAND_ALLOWED_KEYS": OPTIONS, "line": line})
    return found


def save(lines: list[str]) -> None:
    import shutil

    keys_path().parent.mkdir(mode=0o700, exist_ok=True)
    write(keys_path(), "".join(f"{line}\n" for line in lines), 0o600)
    if os.geteuid() == 0:
        for path in (keys_path().parent, keys_path()):
            shutil.chown(path, "dokku", "dokku")


def cmd_keys_add(args: list[str]) -> None:
    need_root()
    if not args:
        raise Fail("No key name specified")
    text = read(Path(args[1])) if args[1:] else stdin_bytes().decode()
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise Fail("Empty key was specified" if args[1:] else "No key specified via file or pipe")
    if len(lines) > 1:
        raise Fail("Too many keys provided, set one per invocation of ssh-keys:add <NAME>")
    result = run("ssh-keygen", "-lf", "-", stdin=(lines[0] + "\n").encode(), check=False)
    if result.returncode:
        raise Fail("Key specified in is not a valid ssh public key")
    fingerprint = result.stdout.split()[1]
    for entry in entries():
        if entry["name"] == args[0]:
            raise Fail(f"Duplicate ssh key name: {args[0]}", raw=True)
        if entry["fingerprint"] == fingerprint:
            raise Fail("Duplicate ssh public key specified", raw=True)
    command = f'command="FINGERPRINT={fingerprint} NAME=\\"{args[0]}\\" `cat {ROOT}/.sshcommand` $SSH_ORIGINAL_COMMAND",{OPTIONS} {lines[0]}'
    save([*(entry["line"] for entry in entries()), command])
    out(fingerprint)


def cmd_keys_list(args: list[str]) -> None:
    options, rest = flags("ssh-keys:list", args, (), ("format",))
    found = [entry for entry in entries() if not rest or entry["name"] == rest[0]]
    if not found:
        raise Fail("authorized_keys is empty for dokku" if not entries() else f"No key found for name {rest[0]}", raw=True)
    if options.get("format") == "json":
        out(json.dumps([{key: entry[key] for key in ("fingerprint", "name", "SSHCOMMAND_ALLOWED_KEYS")} for entry in found], separators=(",", ":")))
        return
    for entry in found:
        out(f'{entry["fingerprint"]} NAME="{entry["name"]}" SSHCOMMAND_ALLOWED_KEYS="{OPTIONS}"')


def cmd_keys_remove(args: list[str]) -> None:
    need_root()
    options, rest = flags("ssh-keys:remove", args, (), ("fingerprint",))
    if not rest and not options:
        raise Fail("No key name specified")
    save([entry["line"] for entry in entries()
          if entry["name"] not in rest[:1] and entry["fingerprint"] != options.get("fingerprint")])


def cmd_version(_args: list[str]) -> None:
    out(f"dokku version {VERSION}")


def cmd_help(_args: list[str]) -> None:
    from .cli import modules

    out("Usage: dokku [--quiet|--trace|--force] COMMAND [options]\n\nA stand-in for Dokku (a test double). It knows these commands:\n")
    for name in sorted(command for _module, commands in modules() for command in commands):
        out(f"    {name}")


COMMANDS = {
    "version": cmd_version, "help": cmd_help, "ssh-keys": cmd_keys_list, "ssh-keys:list": cmd_keys_list,
    "ssh-keys:add": cmd_keys_add, "ssh-keys:remove": cmd_keys_remove,
}
