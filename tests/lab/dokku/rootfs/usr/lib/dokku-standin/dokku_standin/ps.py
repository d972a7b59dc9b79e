# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ps:* — processes of an app: scale, build, release, deploy, stop, start."""

from __future__ import annotations

import json
import re

from . import scheduler
from .core import (GLOBAL, LIB, Fail, State, apps, docker, err, flags, info1, info2, merged, out, prop, prop_list, read, report, run,
                   set_prop, set_prop_list, set_property, triple, verbose, verify_app, warn, write)

PROPERTIES = ["dockerfile-start-cmd", "procfile-path", "restart-policy", "restore", "skip-deploy", "start-cmd", "stop-timeout-seconds"]


# --- what the release says about its processes

def data_path(kind: str, app: str, name: str):
    return LIB / "data" / kind / app / name


# app.json and Procfile of a release become the app's only when its deploy has succeeded; until then they are here.
PENDING: dict[tuple[str, str], str] = {}


def release_file(app: str, kind: str, name: str) -> str:
    return PENDING[app, name] if (app, name) in PENDING else read(data_path(kind, app, name))


def keep_release_files(app: str) -> None:
    for kind, name in (("app-json", "app.json"), ("ps", "Procfile")):
        if (app, name) in PENDING:
            write(data_path(kind, app, name), PENDING.pop((app, name)), 0o600)


def app_json(app: str) -> dict:
    text = release_file(app, "app-json", "app.json")
    return json.loads(text) if text else {}


def procfile(app: str) -> dict[str, str]:
    found = {}
    for line in release_file(app, "ps", "Procfile").splitlines():
        match = re.match(r"^([A-Za-z0-9_-]+):\s*(.+)$", line.strip())
        if match:
            found[match.group(1)] = match.group(2)
    return found


def scale(app: str) -> dict[str, int]:
    stored = dict(line.split("=", 1) for line in prop_list("ps", app, "scale"))
    return {process: int(count) for process, count in sorted({"web": "1", **stored}.items())}


def store_scale(app: str, values: dict[str, int]) -> None:
    set_prop_list("ps", app, "scale", [f"{process}={count}" for process, count in sorted(values.items())])


def follow_release(app: str) -> None:
    """A new release's process types join the scale with 0; app.json's formation sets it."""
    values = scale(app)
    for process in procfile(app):
        values.setdefault(process, 0)
    for process, entry in app_json(app).get("formation", {}).items():
        if entry.get("quantity") is not None:
            values[process] = int(entry["quantity"])
    store_scale(app, values)


def restore(app: str) -> str:
    return prop("ps", app, "restore", "true")


# --- release and deploy

def release_and_deploy(app: str, first: bool = False) -> None:
    """Predeploy, release command, then the containers. stderr is merged into stdout, as in a captured build."""
    from .apps import DeployLock

    with DeployLock(app), merged():
        release_locked(app, first)


def release_locked(app: str, first: bool = False) -> None:
    set_prop("ps", app, "restore", "")
    info1(f"Releasing {app}...")
    scripts = app_json(app).get("scripts", {})
    task(app, "predeploy", scripts.get("dokku", {}).get("predeploy", ""), "from app.json", commit=True)
    task(app, "release", procfile(app).get("release", ""), "from Procfile in ephemeral container")
    if first:
        task(app, "heroku.postdeploy", scripts.get("postdeploy", ""), "from app.json in ephemeral container")
    info2("Processing deployment checks")
    info1(f"Deploying {app} via the docker-local scheduler...")
    scheduler.deploy(app)
    info2("Application deployed:")
    for url in urls(app):
        out(f"       {url}")
    out()


def postdeploy(app: str) -> None:
    command = app_json(app).get("scripts", {}).get("dokku", {}).get("postdeploy", "")
    task(app, "postdeploy", command, "from app.json in ephemeral container")


def task(app: str, kind: str, command: str, source: str, commit: bool = False) -> None:
    info1(f"Checking for {kind} task")
    if not command:
        verbose(f"No {kind} task found, skipping")
        return
    verbose(f"Executing {kind} task {source}: {command}")
    arguments, environ = scheduler.common_options(app, "run" if kind != "predeploy" else "deploy", kind)
    result = run("docker", "container", "create", *arguments, "--label=com.dokku.container-type=run", f"--env=DYNO={kind}.1",
                 "--entrypoint=", scheduler.image(app), "sh", "-c", command, env=environ)
    cid = result.stdout.strip()
    try:
        started = run("docker", "container", "start", "--attach", cid, check=False)
        info2(f"Start of {app} {kind} task ({cid[:9]}) output")
        for line in started.stdout.splitlines():
            out(f"       {line}")
        for line in started.stderr.splitlines():
            warn(line)
        info2(f"End of {app} {kind} task ({cid[:9]}) output")
        if started.returncode:
            raise Fail(f"Execution of {kind} task failed: {command}")
        if commit:
            original = json.loads(docker("image", "inspect", "--format={{json .Config}}", scheduler.image(app)).stdout)
            changes = [f"--change=CMD {json.dumps(original.get('Cmd') or [])}"]
            if original.get("Entrypoint"):
                changes.append(f"--change=ENTRYPOINT {json.dumps(original['Entrypoint'])}")
            docker("container", "commit", *changes, cid, scheduler.image(app))
    finally:
        docker("container", "rm", "--force", cid, check=False)


def urls(app: str) -> list[str]:
    from . import certs, domains, ports

    names = domains.names(app) or ["localhost"]
    tls = certs.exists(app)
    found = []
    for name in names:
        for scheme, host, _container in sorted(ports.effective(app)):
            if scheme == "https" and not tls or scheme not in ("http", "https"):
                continue
            default = {"http": 80, "https": 443}[scheme]
            found.append(f"{scheme}://{name}{'' if host == default else f':{host}'}")
    return sorted(set(found))


def print_failure(failure: Fail) -> None:
    if failure.message:
        with merged():
            err(failure.message) if failure.raw else warn(failure.message)
            err()


def repeat_failure(failure: Fail) -> Fail:
    """A failing rebuild, restart or scale shows its error twice: where it happened, and again as a warning at the end."""
    with merged():
        text = failure.message if failure.raw else f" !     {failure.message}"
        out(text)
        out()
        warn("\n".join(part for part in (failure.shown, text.removeprefix(" !     ")) if part))
        out()
    return Fail(rc=failure.rc)


# --- commands

def targets(command: str, args: list[str]) -> tuple[list[str], list[str]]:
    options, rest = flags(command, args, ("all",), ("parallel",))
    if options.get("all"):
        return apps(), rest
    return [verify_app(rest[0] if rest else None)], rest[1:]


def cmd_scale(args: list[str]) -> None:
    options, rest = flags("ps:scale", args, ("skip-deploy",), ("format",))
    app = verify_app(rest[0] if rest else None)
    current, wanted = scale(app), rest[1:]
    if not wanted:
        if options.get("format") == "json":
            out(json.dumps([{"process_type": k, "quantity": v} for k, v in current.items()], separators=(",", ":")))
            return
        info1(f"Scaling for {app}")
        if not State.quiet:
            out("proctype: qty")
            out("--------: ---")
        for process, count in current.items():
            out(f"{process}:  {count}")
        return
    info1(f"Scaling {app} processes: {' '.join(wanted)}")
    new = {}
    for entry in wanted:
        process, equals, count = entry.partition("=")
        if not equals:
            raise Fail(f"Missing count for process type {process}")
        if not count.isdigit():
            raise Fail(f"Invalid count for process type {process}")
        new[process] = int(count)
    if app_json(app).get("formation"):
        raise Fail(f"App {app} contains an app.json file with a formations key and cannot be manually scaled")
    for process in new:
        if procfile(app) and process not in procfile(app):
            raise Fail(f"{process} is not a valid process name to scale up")
    changed = [process for process, count in new.items() if current.get(process) != count]
    store_scale(app, {**current, **new})
    if not changed or options.get("skip-deploy") or not scheduler.is_deployed(app):
        return
    deploy_again(app, changed)


def deploy_again(app: str, only: list[str] | None = None) -> None:
    from .apps import DeployLock

    try:
        with DeployLock(app), merged():
            scheduler.deploy(app, only)
    except Fail as failure:
        raise repeat_failure(failure) from failure


def rebuild(app: str) -> None:
    from . import git

    git.build_current(app)


def cmd_rebuild(args: list[str]) -> None:
    for app in targets("ps:rebuild", args)[0]:
        try:
            rebuild(app)
        except Fail as failure:
            raise (repeat_failure(failure) if failure.message else failure) from failure


def cmd_restart(args: list[str]) -> None:
    names, processes = targets("ps:restart", args)
    for app in names:
        if not scheduler.is_deployed(app):
            with merged():
                warn(f"App {app} has not been deployed")
            continue
        deploy_again(app, processes or None)


def cmd_stop(args: list[str]) -> None:
    for app in targets("ps:stop", args)[0]:
        if not scheduler.is_deployed(app):
            warn(f"App {app} has not been deployed")
            continue
        info1(f"Stopping {app}")
        set_prop("ps", app, "restore", "false")
        scheduler.stop_now(app, list(scheduler.containers(app).values()))
        info1("Updated schedule file")


def cmd_start(args: list[str]) -> None:
    from . import nginx

    for app in targets("ps:start", args)[0]:
        if not scheduler.is_deployed(app):
            warn(f"App {app} has not been deployed")
            continue
        if all(state == "running" for state in scheduler.status(app).values()):
            info1(f"App {app} already running")
            continue
        warn("App has been detected as not running, releasing")
        release_and_deploy(app)
        nginx.build(app, in_sync=True)


def cmd_restore(args: list[str]) -> None:
    """dokku-redeploy.service calls this at boot, and waits for Docker here."""
    import time

    names = [arg for arg in args if not arg.startswith("-")]
    deadline = time.monotonic() + 120
    while docker("info", check=False).returncode and time.monotonic() < deadline:
        time.sleep(1)
    for app in [verify_app(names[0])] if names else apps():
        try:
            scheduler.restore(app)
        except Fail as failure:
            print_failure(failure)


def cmd_inspect(args: list[str]) -> None:
    for app in targets("ps:inspect", args)[0]:
        out(docker("container", "inspect", *scheduler.containers(app).values()).stdout.rstrip())


def cmd_set(args: list[str]) -> None:
    def check(_app: str, key: str, value: str) -> str:
        if key == "restart-policy" and value and not re.fullmatch(r"no|always|unless-stopped|on-failure(:[0-9]+)?", value):
            raise Fail("Invalid restart-policy specified")
        return value

    set_property("ps", args, PROPERTIES, app_only=("restore", "dockerfile-start-cmd", "start-cmd"), transform=check)


def collect(app: str) -> dict[str, str]:
    defaults = {"procfile-path": "Procfile", "restart-policy": "on-failure:10", "skip-deploy": "false", "stop-timeout-seconds": "30"}
    values = {}
    for key, default in defaults.items():
        values.update(triple("ps", app, key, default))
    if app == GLOBAL:
        return {key: value for key, value in values.items() if key.startswith("ps-global-")}
    for key in ("dockerfile-start-cmd", "start-cmd"):
        values[f"ps-{key}"] = values[f"ps-computed-{key}"] = prop("ps", app, key)
    states = scheduler.status(app)
    up = [state == "running" for state in states.values()]
    values.update({
        "deployed": "true" if scheduler.is_deployed(app) else "false", "processes": str(len(states)), "restore": restore(app),
        "ps-can-scale": "false" if app_json(app).get("formation") else "true",
        "running": ("true" if all(up) else "mixed" if any(up) else "false") if up else "false",
    })
    for name, cid in scheduler.containers(app).items():
        values[f"status-{name}"] = f"{states[name]} (CID: {cid[:11]})"
    return values


def cmd_report(args: list[str]) -> None:
    report("ps", "ps", args, collect)


COMMANDS = {
    "ps": cmd_report, "ps:report": cmd_report, "ps:scale": cmd_scale, "ps:rebuild": cmd_rebuild, "ps:restart": cmd_restart,
    "ps:stop": cmd_stop, "ps:start": cmd_start, "ps:restore": cmd_restore, "ps:inspect": cmd_inspect, "ps:set": cmd_set,
}
