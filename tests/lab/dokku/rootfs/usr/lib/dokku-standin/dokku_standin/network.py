# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""network:* — Docker networks that apps are attached to."""

from __future__ import annotations

import json

from .core import GLOBAL, Fail, State, docker, flags, info1, info2, out, prop, report, set_property, triple

LABEL = "com.dokku.network-name"
ATTACH = ("attach-post-create", "attach-post-deploy")
KEYS = ["attach-post-create", "attach-post-deploy", "bind-all-interfaces", "initial-network", "static-web-listener", "tld"]


def exists(name: str) -> bool:
    return docker("network", "inspect", name, check=False).returncode == 0


def show(entry: dict) -> dict:
    return {
        "CreatedAt": entry["Created"], "DokkuManaged": LABEL in (entry.get("Labels") or {}), "Driver": entry["Driver"],
        "ID": entry["Id"][:12], "Internal": entry["Internal"], "IPv6": entry["EnableIPv6"], "Labels": entry.get("Labels") or {},
        "Name": entry["Name"], "Scope": entry["Scope"],
    }


def cmd_create(args: list[str]) -> None:
    _options, rest = flags("network:create", args)
    if not rest:
        raise Fail("No network name specified")
    info1(f"Creating network {rest[0]}")
    result = docker("network", "create", "--attachable", f"--label={LABEL}={rest[0]}", rest[0], check=False)
    if result.returncode:
        raise Fail(f"Unable to create network: {result.stderr}")


def cmd_exists(args: list[str]) -> None:
    if not args:
        raise Fail("No network name specified")
    if not exists(args[0]):
        raise Fail("Network does not exist")
    info1("Network exists")


def cmd_destroy(args: list[str]) -> None:
    options, rest = flags("network:destroy", args, ("force",))
    if not rest:
        raise Fail("No network name specified")
    if not (State.force or options.get("force")):
        from .apps import confirm

        confirm(rest[0])
    info1(f"Destroying network {rest[0]}")
    result = docker("network", "rm", rest[0], check=False)
    if result.returncode:
        raise Fail(f"Unable to destroy network: {result.stderr}exit status 1\n")


def cmd_list(args: list[str]) -> None:
    options, _rest = flags("network:list", args, (), ("format",))
    ids = docker("network", "ls", "-q").stdout.split()
    found = json.loads(docker("network", "inspect", *ids).stdout)
    if options.get("format") == "json":
        rows = sorted((show(entry) for entry in found), key=lambda row: row["Name"])
        out(json.dumps(rows, separators=(",", ":")))
        return
    info2("Networks")
    for entry in found:
        out(entry["Name"])


def cmd_info(args: list[str]) -> None:
    options, rest = flags("network:info", args, (), ("format",))
    if not rest or not exists(rest[0]):
        raise Fail("Network does not exist")
    row = show(json.loads(docker("network", "inspect", rest[0]).stdout)[0])
    if options.get("format") == "json":
        out(json.dumps(row, separators=(",", ":")))
        return
    info2(f"{rest[0]} network information")
    for key in sorted(row):
        out(f"       {key + ':':<31}{row[key]}")


def cmd_set(args: list[str]) -> None:
    def check(app: str, key: str, value: str) -> str:
        if key not in ATTACH or not value:
            return value
        names = value.replace(" ", ",").split(",")
        other = prop("network", app, next(k for k in ATTACH if k != key)).split(",")
        for name in names:
            if name in ("host", "none", "bridge"):
                raise Fail(f"Invalid network name specified for attach: {name}")
            if name in other:
                raise Fail(f"Network name already associated with this app: {name}")
        return ",".join(names)

    set_property("network", args, KEYS, transform=check, app_only=("static-web-listener",))


def collect(app: str) -> dict[str, str]:
    values = {}
    for key in KEYS:
        if key != "static-web-listener":
            values.update(triple("network", app, key, "false" if key == "bind-all-interfaces" else ""))
    if app != GLOBAL:
        from . import scheduler

        values["network-static-web-listener"] = prop("network", app, "static-web-listener")
        values["network-web-listeners"] = " ".join(scheduler.listeners(app))
    return values


def cmd_report(args: list[str]) -> None:
    report("network", "network", args, collect)


COMMANDS = {
    "network": cmd_report, "network:report": cmd_report, "network:create": cmd_create, "network:exists": cmd_exists,
    "network:destroy": cmd_destroy, "network:list": cmd_list, "network:info": cmd_info, "network:set": cmd_set,
}
