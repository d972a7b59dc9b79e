# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plugins that are little more than properties: builder, buildpacks, scheduler, cron, app-json, logs and registry settings."""

from __future__ import annotations

import json
import re

from .core import (GLOBAL, Fail, docker, err, flags, info1, info2, out, passthrough, prop, prop_list, report, set_prop_list,
                   set_property, triple, verbose, verify_app, warn)

# plugin -> (keys of `:set`, key -> default of the triples, keys that exist per app only, keys that exist globally only, bash)
TABLE: dict[str, dict] = {
    "app-json": {"triples": {"appjson-path": "app.json"}},
    "builder": {"triples": {"build-dir": "", "selected": "", "skip-cleanup": "false"}, "app": ["detected"]},
    "builder-dockerfile": {"triples": {"dockerfile-path": "Dockerfile"}, "bash": True},
    "cron": {"triples": {"maintenance": "false"}, "global": {"mailfrom": "", "mailto": ""}},
    "logs": {"triples": {"app-label-alias": "com.dokku.app-name", "max-size": "10m", "vector-cron-sink": "", "vector-sink": ""},
             "global": {"vector-image": "timberio/vector:0.57.0-debian", "vector-networks": ""}},
    "registry": {"triples": {"image-repo-template": "", "push-extra-tags": "", "push-on-release": "false", "server": ""},
                 "app": ["image-repo", "tag-version"]},
    "scheduler": {"triples": {"selected": "docker-local", "shell": ""}},
    "scheduler-docker-local": {"triples": {"init-process": "true", "parallel-schedule-count": "1"}, "bash": True},
}


def check(plugin: str):
    def verify(_app: str, key: str, value: str) -> str:
        if plugin == "logs" and value:
            if key == "max-size" and value != "unlimited" and value[-1] not in "kmg":
                raise Fail("Invalid max-size unit measure, value must end in any of [k, m, g]")
            if key.endswith("-sink") and not re.match(r"^[a-z0-9_]+://", value):
                raise Fail("qson: invalid url query param provided")
        return value

    return verify


def setter(plugin: str):
    spec = TABLE[plugin]
    valid = sorted([*spec["triples"], *spec.get("app", []), *spec.get("global", {})])
    valid = [key for key in valid if key != "tag-version"]

    def command(args: list[str]) -> None:
        _target, key, _value = set_property(plugin, args, valid, bash=spec.get("bash", False), app_only=tuple(spec.get("app", [])),
                                            transform=check(plugin))
        if plugin == "logs" and key.startswith("vector"):
            from .core import LIB

            verbose(f"Writing updated vector config to {LIB}/data/logs/vector.json")

    return command


def collector(plugin: str):
    spec = TABLE[plugin]

    def collect(app: str) -> dict[str, str]:
        values: dict[str, str] = {}
        for key, default in spec["triples"].items():
            values.update(triple(plugin, app, key, default))
        for key, default in spec.get("global", {}).items():
            values[f"{plugin}-global-{key}"] = prop(plugin, GLOBAL, key)
            values[f"{plugin}-computed-{key}"] = prop(plugin, GLOBAL, key) or default
        for key in spec.get("app", []):
            values[f"{plugin}-{key}"] = prop(plugin, app, key)
        if plugin == "registry":
            values["registry-computed-image-repo"] = prop(plugin, app, "image-repo") or f"dokku/{app}"
        if plugin == "cron" and app != GLOBAL:
            values["cron-task-count"] = str(len(cron_tasks(app)))
        if app == GLOBAL:
            return {key: value for key, value in values.items() if key.startswith(f"{plugin}-global-")}
        return values

    return collect


def reporter(plugin: str):
    return lambda args: report(plugin, plugin, args, collector(plugin), both=not TABLE[plugin].get("bash", False))


# --- cron, from app.json only

def cron_tasks(app: str) -> list[dict]:
    import hashlib

    from . import ps

    found = []
    for entry in ps.app_json(app).get("cron", []):
        digest = hashlib.sha256(f"{app}{entry['command']}{entry['schedule']}".encode()).hexdigest()[:36]
        found.append({"id": digest, "app": app, "command": entry["command"], "schedule": entry["schedule"],
                      "concurrency_policy": entry.get("concurrency_policy", "allow"), "app-in-maintenance": False,
                      "task-in-maintenance": bool(entry.get("maintenance")), "maintenance": bool(entry.get("maintenance"))})
    return found


def cmd_cron_list(args: list[str]) -> None:
    options, rest = flags("cron:list", args, (), ("format",))
    tasks = cron_tasks(verify_app(rest[0] if rest else None))
    if options.get("format") == "json":
        out(json.dumps(tasks, separators=(",", ":")))
        return
    out("ID  Schedule  Concurrency  Maintenance  Command")
    for task in tasks:
        out(f"{task['id']}  {task['schedule']}  {task['concurrency_policy']}  {str(task['maintenance']).lower()}  {task['command']}")


# --- buildpacks: kept and reported, never used, for only images are built

def buildpack_url(text: str) -> str:
    if re.fullmatch(r"heroku/[a-z0-9-]+", text):
        return f"https://github.com/heroku/heroku-buildpack-{text.partition('/')[2]}.git"
    if "://" not in text and not text.startswith("git@"):
        raise Fail(f"Invalid buildpack specified: {text}")
    return text


def cmd_buildpacks(action: str):
    def command(args: list[str]) -> None:
        options, rest = flags(f"buildpacks:{action}", args, ("replace",), ("index",))
        app = verify_app(rest[0] if rest else None)
        present, given = prop_list("buildpacks", app, "buildpacks"), [buildpack_url(text) for text in rest[1:]]
        if action != "clear" and not given:
            raise Fail("Must specify a buildpack")
        if action == "clear":
            present = []
        elif action == "remove":
            if given[0] not in present:
                raise Fail("Value not found")
            info1(f"Removing {given[0]}")
            present.remove(given[0])
        elif action == "set" and options.get("replace"):
            present = given
        elif action == "set":
            index = int(options.get("index", 1)) - 1
            present[index:index + 1] = given[:1]
        elif "index" in options:
            present.insert(int(options["index"]) - 1, given[0])
        else:
            present.append(given[0])
        set_prop_list("buildpacks", app, "buildpacks", present)

    return command


def cmd_buildpacks_list(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    info1(f"{app} buildpack urls")
    for url in prop_list("buildpacks", app, "buildpacks"):
        verbose(url)


def cmd_buildpacks_report(args: list[str]) -> None:
    def collect(app: str) -> dict[str, str]:
        return {**triple("buildpacks", app, "stack", "gliderlabs/herokuish:latest-24"),
                "buildpacks-list": ",".join(prop_list("buildpacks", app, "buildpacks"))}

    report("buildpacks", "buildpacks", args, collect)


# --- logs

def cmd_logs(args: list[str]) -> None:
    from . import scheduler

    names, options, queue = [], [], list(args)
    while queue:
        arg = queue.pop(0)
        if arg in ("-t", "--tail"):
            options.append("--follow")
        elif arg in ("-n", "--num"):
            options.append(f"--tail={queue.pop(0)}")
        elif arg in ("-p", "--ps"):
            names.append("")
            options.append(f"ps={queue.pop(0)}")
        elif arg not in ("-q", "--quiet"):
            names.insert(0, arg)
    app = verify_app(names[0] if names else None)
    if not scheduler.is_deployed(app):
        raise Fail(f"App {app} has not been deployed")
    wanted = next((option[3:] for option in options if option.startswith("ps=")), "")
    rest = [option for option in options if not option.startswith("ps=")]
    for name, cid in scheduler.containers(app).items():
        if wanted in ("", name, name.rpartition(".")[0]):
            passthrough("docker", "container", "logs", *rest, cid)


def cmd_logs_failed(args: list[str]) -> None:
    """What a failed deploy wrote is in its own output; here, as recorded, nothing is left of it."""
    app = verify_app(args[0] if args else None)
    info2(f"{app} failed deploy logs")
    warn("No failed containers found")


# --- registry

def cmd_login(args: list[str]) -> None:
    options, rest = flags("registry:login", args, ("password-stdin", "global"))
    from .core import apps, stdin_bytes

    if len(rest) > 2 and rest[0] in apps() or len(rest) == 3 and options.get("password-stdin"):
        rest = rest[1:]
    if len(rest) < 2:
        raise Fail("Missing username argument" if rest else "Missing server argument")
    password = stdin_bytes() if options.get("password-stdin") else rest[2].encode() if rest[2:] else b""
    if not password:
        raise Fail("Missing password argument")
    result = docker("login", "--username", rest[1], "--password-stdin", rest[0], stdin=password, check=False)
    if result.returncode:
        raise Fail(result.stderr.rstrip("\n"), raw=True)
    err(f"Login Succeeded for {rest[0]}")


def cmd_logout(args: list[str]) -> None:
    _options, rest = flags("registry:logout", args, ("global",))
    if not rest:
        raise Fail("Missing server argument")
    out(docker("logout", rest[-1]).stdout.rstrip("\n"))


COMMANDS = {
    "logs": cmd_logs, "logs:failed": cmd_logs_failed, "registry:login": cmd_login, "registry:logout": cmd_logout, "cron:list": cmd_cron_list,
    "buildpacks:report": cmd_buildpacks_report, "buildpacks:list": cmd_buildpacks_list,
    **{f"buildpacks:{action}": cmd_buildpacks(action) for action in ("add", "set", "remove", "clear")},
    **{f"{plugin}:set": setter(plugin) for plugin in TABLE}, **{f"{plugin}:report": reporter(plugin) for plugin in TABLE},
}
