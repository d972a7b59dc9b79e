# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker-options:* — options for docker in the phases build, deploy and run. Adding the same one again duplicates it."""

from __future__ import annotations

from .core import GLOBAL, LIB, Fail, info1, out, prop_list, report, set_prop_list, verify_app

PHASES = ("build", "deploy", "run")


def parse(args: list[str]) -> tuple[list[str], list[str]]:
    """Take `--process T` out; everything after the phases is the option itself, so only leading flags are ours."""
    processes, rest, queue = [], [], list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--process" and len(rest) < 2:
            processes.append(queue.pop(0) if queue else "")
        elif arg.startswith("--process=") and len(rest) < 2:
            processes.append(arg.partition("=")[2])
        else:
            rest.append(arg)
    return processes, rest


def phases_of(text: str) -> list[str]:
    phases = text.split(",")
    if not text or any(phase not in PHASES for phase in phases):
        raise Fail(f"Phase(s) must be one of [{' '.join(PHASES)}]")
    return phases


def split(text: str) -> list[str]:
    """Several options in one string are kept one by one, each with its value."""
    found: list[str] = []
    for word in text.split(" "):
        if word.startswith("-") or not found:
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


def change(args: list[str], add: bool) -> None:
    processes, rest = parse(args)
    app = verify_app(rest[0] if rest else None)
    phases = phases_of(rest[1] if rest[1:] else "")
    option = " ".join(rest[2:])
    if not option:
        raise Fail(f"Please specify docker options to {'add to' if add else 'remove from'} the phase")
    for phase in phases:
        for key in [f"{phase}.{process}" for process in processes] or [phase]:
            values = prop_list("docker-options", app, key)
            values = sorted([*values, *split(option)]) if add else [value for value in values if value not in split(option)]
            set_prop_list("docker-options", app, key, values)


def cmd_clear(args: list[str]) -> None:
    processes, rest = parse(args)
    app = verify_app(rest[0] if rest else None)
    phases = phases_of(rest[1]) if rest[1:] else list(PHASES)
    folder = LIB / "config" / "docker-options" / app
    for path in folder.glob("*") if folder.is_dir() else []:
        phase, _dot, process = path.name.partition(".")
        if phase in phases and (not processes or process in processes):
            path.unlink()
    info1(f"Clearing docker-options for {app} on {'all phases' if len(phases) == 3 else 'phase ' + ', '.join(phases)}")


def cmd_list(args: list[str]) -> None:
    phase, queue = "", []
    values = list(args)
    while values:
        arg = values.pop(0)
        if arg == "--phase":
            phase = values.pop(0) if values else ""
        elif arg.startswith("--phase="):
            phase = arg.partition("=")[2]
        else:
            queue.append(arg)
    processes, rest = parse(queue)
    app = verify_app(rest[0] if rest else None)
    for key in [f"{phases_of(phase)[0]}.{process}" for process in processes] or phases_of(phase):
        for value in prop_list("docker-options", app, key):
            out(value)


def keys(app: str) -> list[str]:
    folder = LIB / "config" / "docker-options" / app
    extra = sorted(path.name for path in folder.glob("*.*") if not path.name.startswith(".")) if folder.is_dir() else []
    return [*PHASES, *extra]


def collect(app: str) -> dict[str, str]:
    return {} if app == GLOBAL else {f"docker-options-{key}": " ".join(prop_list("docker-options", app, key)) for key in keys(app)}


def cmd_report(args: list[str]) -> None:
    report("docker-options", "docker-options", args, collect, strict=True,
           extra_json=lambda app: {f"{key}-list": prop_list("docker-options", app, key) for key in keys(app)})


COMMANDS = {
    "docker-options": cmd_report, "docker-options:report": cmd_report, "docker-options:add": lambda args: change(args, True),
    "docker-options:remove": lambda args: change(args, False), "docker-options:clear": cmd_clear, "docker-options:list": cmd_list,
}
