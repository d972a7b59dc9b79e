# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""resource:* — limits and reservations. `limit-clear` without a type wipes the reservations too, as Dokku's does."""

from __future__ import annotations

from .core import GLOBAL, LIB, flags, info2, prop, report, set_prop, verbose, verify_app

NAMES = ("cpu", "memory", "memory-swap", "network", "network-ingress", "network-egress", "nvidia-gpu")


def stored(app: str) -> dict[str, str]:
    folder = LIB / "config" / "resource" / app
    names = sorted(path.name for path in folder.glob("*.*.*") if not path.name.startswith(".")) if folder.is_dir() else []
    return {name: prop("resource", app, name) for name in names}


def command(kind: str, noun: str):
    def change(args: list[str]) -> None:
        options, rest = flags(f"resource:{kind}", args, (), ("process-type", *NAMES))
        app = verify_app(rest[0] if rest else None)
        process = options.pop("process-type", "")
        key = f"{process or '_default_'}.{kind}"
        if not options:
            info2(f"resource {noun if kind == 'limit' else 'reservation'} {app} information [{process or 'defaults'}]")
            for name in NAMES:
                verbose(f"{name}: {prop('resource', app, f'{key}.{name}')}")
            return
        info2(f"Setting resource {noun} for {app}{f' ({process})' if process else ''}")
        for name in NAMES:
            if name in options:
                cleared = options[name] == "clear"
                verbose(f"{name}: {'cleared' if cleared else options[name]}")
                set_prop("resource", app, f"{key}.{name}", "" if cleared else options[name])

    return change


def clear(kind: str, noun: str):
    def change(args: list[str]) -> None:
        options, rest = flags(f"resource:{kind}-clear", args, (), ("process-type",))
        app = verify_app(rest[0] if rest else None)
        process = options.get("process-type")
        info2(f"clearing {app} {noun}{f' ({process})' if process else ''}")
        for name in stored(app):
            if not process or name.startswith(f"{process}.{kind}."):
                set_prop("resource", app, name, "")

    return change


def collect(app: str) -> dict[str, str]:
    return {} if app == GLOBAL else {f"resource-{name}": value for name, value in stored(app).items()}


def cmd_report(args: list[str]) -> None:
    report("resource", "resource", args, collect, upper=False)


COMMANDS = {
    "resource": cmd_report, "resource:report": cmd_report, "resource:limit": command("limit", "limits"),
    "resource:reserve": command("reserve", "reservation"), "resource:limit-clear": clear("limit", "limits"),
    "resource:reserve-clear": clear("reserve", "reservation"),
}
