# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""run, run:*, enter — one-off commands in containers of an app."""

from __future__ import annotations

import json
import random

from . import ps, scheduler
from .core import Fail, docker, err, out, passthrough, verify_app, warn


def parse(args: list[str]) -> tuple[list[str], str, list[str], dict]:
    """Options end at the app: what follows belongs to the command."""
    environment, options, queue = [], {}, list(args)
    while queue and queue[0].startswith("-"):
        name, equals, value = queue.pop(0).partition("=")
        if name in ("-e", "--env"):
            environment.append("--env=" + (value if equals else queue.pop(0)))
        elif name in ("--ttl-seconds", "--label", "--format"):
            options[name[2:]] = value if equals else queue.pop(0)
        else:
            options[name.lstrip("-")] = True
    return environment, queue[0] if queue else "", queue[1:], options


def start(args: list[str], detached: bool) -> None:
    environment, app, command, _options = parse(args)
    verify_app(app)
    if not command and not detached:
        raise Fail("No command specified")
    name = scheduler.image(app)
    if docker("image", "inspect", name, check=False).returncode:
        warn(f"App image ({name}) not found")
        err("Error: No such image: ")
        warn("Invalid image stage detected: expected 'release', got ''")
        raise Fail("Successfully deploy your app to fix dokku run calls")
    if len(command) == 1 and command[0] in ps.procfile(app):
        command = ["sh", "-c", ps.procfile(app)[command[0]]]
    number = random.randint(1, 32767)
    arguments, environ = scheduler.common_options(app, "run", "run")
    arguments += [f"--name={app}.run.{number}", f"--env=DYNO=run.{number}", "--label=com.dokku.container-type=run", *environment]
    argv = ["docker", "container", "run", *(["--detach"] if detached else ["--rm", "--interactive"]), *arguments, name, *command]
    if detached:
        from .core import run

        run(*argv, env=environ)
        out(f"{app}.run.{number}")
        return
    code = passthrough(*argv, env=environ)
    if code:
        raise Fail(rc=code)


def cmd_list(args: list[str]) -> None:
    _environment, app, rest, options = parse(args)
    if "--format" in rest:
        options["format"] = rest[rest.index("--format") + 1]
    verify_app(app)
    result = docker("container", "ls", "-a", f"--filter=label=com.dokku.app-name={app}", "--filter=label=com.dokku.container-type=run",
                    "--format={{json .}}")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    rows = [{"name": row["Names"], "state": row["State"], "command": row["Command"], "created_at": row["CreatedAt"]} for row in rows]
    if options.get("format") == "json":
        out(json.dumps(rows, indent=2))
        return
    for row in rows:
        out(f"{row['name']}  {row['state']}  {row['command']}")


def cmd_stop(args: list[str]) -> None:
    for name in args:
        docker("container", "stop", name, check=False)


def cmd_enter(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    running = scheduler.containers(app)
    if not running:
        raise Fail(f"App {app} has not been deployed")
    wanted = args[1] if args[1:] else next(iter(running))
    cid = next((cid for name, cid in running.items() if wanted in (name, name.rpartition(".")[0])), "")
    if not cid:
        raise Fail(f"No containers found for type '{wanted}'")
    code = passthrough("docker", "container", "exec", "--interactive", cid, *(args[2:] or ["sh"]))
    if code:
        raise Fail(rc=code)


COMMANDS = {
    "run": lambda args: start(args, False), "run:detached": lambda args: start(args, True), "run:list": cmd_list, "run:stop": cmd_stop,
    "enter": cmd_enter,
}
