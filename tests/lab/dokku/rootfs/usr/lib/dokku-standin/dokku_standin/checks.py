# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""checks:* — what a new container must pass before it serves."""

from __future__ import annotations

import time

from .core import GLOBAL, Fail, docker, info1, info2, out, prop, report, set_prop, set_property, triple, verify_app, warn, verbose

DEFAULT_UPTIME = 10


# --- disabled and skipped lists

def listed(app: str, kind: str) -> str:
    return prop("checks", app, f"{kind}-list", "none")


def applies(app: str, kind: str, process: str) -> bool:
    value = listed(app, kind)
    return value == "_all_" or process in value.split(",")


def disabled(app: str, process: str) -> bool:
    return applies(app, "disabled", process)


def change(app: str, kind: str, types: list[str], add: bool) -> None:
    value = listed(app, kind)
    if not types:
        set_prop("checks", app, f"{kind}-list", "_all_" if add else "")
        return
    if value == "_all_":
        return
    current = [] if value == "none" else value.split(",")
    current = [name for name in current if name not in types] + (types if add else [])
    set_prop("checks", app, f"{kind}-list", ",".join(current))


def toggler(verb: str, kind: str | None):
    def command(args: list[str]) -> None:
        app = verify_app(args[0] if args else None)
        types = [name for name in (args[1] if args[1:] else "").split(",") if name]
        for other in ("disabled", "skipped"):
            change(app, other, types, add=other == kind)
        if types:
            info1(f"{verb} zero downtime for app's ({app}) proctypes ({','.join(types)})")
        else:
            info1(f"{verb} zero downtime for app{chr(39) + 's' if kind is None else ''} ({app})")

    return command


# --- health checks

def for_process(app: str, process: str) -> list[dict]:
    from . import ps

    found = [entry for entry in ps.app_json(app).get("healthchecks", {}).get(process, []) if entry.get("type", "startup") == "startup"]
    return found or [{"name": "default", "uptime": DEFAULT_UPTIME}]


def http(app: str, entry: dict, address: str, default_port: str) -> bool:
    import http.client
    import ssl

    from . import certs, domains

    port, seconds = int(entry.get("port") or default_port or 5000), float(entry.get("timeout", 5))
    headers = {"Host": next((name for name in domains.names(app) if name not in ("localhost", "*")), f"{address}:{port}")}
    if certs.exists(app):
        headers["X-Forwarded-Proto"] = "https"
    headers.update({item["name"]: item["value"] for item in entry.get("httpHeaders", [])})
    if str(entry.get("scheme", "http")).lower() == "https":
        connection = http.client.HTTPSConnection(address, port, timeout=seconds, context=ssl._create_unverified_context())
    else:
        connection = http.client.HTTPConnection(address, port, timeout=seconds)
    try:
        connection.request("GET", entry["path"], headers=headers)
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return 200 <= response.status < 400 and str(entry.get("content") or "") in body


def running(cid: str) -> bool:
    result = docker("container", "inspect", "--format={{.State.Running}} {{.RestartCount}}", cid, check=False)
    return result.stdout.strip() == "true 0"


def uptime(cid: str, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not running(cid):
            return False
        time.sleep(min(1.0, max(0.05, deadline - time.monotonic())))
    return running(cid)


def passes(app: str, entry: dict, cid: str, address: str, port: str) -> bool:
    if entry.get("initialDelay"):
        time.sleep(float(entry["initialDelay"]))
    if entry.get("uptime") is not None and not entry.get("path") and not entry.get("command"):
        return uptime(cid, float(entry["uptime"]))
    attempts = int(entry.get("attempts", 3))
    for attempt in range(attempts):
        if attempt:
            time.sleep(float(entry.get("wait", 5)))
        if entry.get("command"):
            command = entry["command"]
            ok = docker("container", "exec", cid, *(command if isinstance(command, list) else ["sh", "-c", command]), check=False).returncode == 0
        elif entry.get("path"):
            ok = http(app, entry, address, port)
        else:
            ok = running(cid)
        if ok:
            return True
    return False


def container_output(app: str, cid: str, name: str) -> None:
    info2(f"Start of {app} container output ({cid[:12]} {name})")
    result = docker("container", "logs", cid, check=False)
    for line in result.stdout.splitlines():
        out(f"       {line}")
    for line in result.stderr.splitlines():
        warn(line)
    info2(f"End of {app} container output ({cid[:12]} {name})")


def check_container(app: str, cid: str, process: str, name: str, address: str, stop: bool = True) -> None:
    """Run a container's startup checks; on failure stop it, show what it wrote, and fail."""
    from . import ports

    if applies(app, "skipped", process):
        info2(f"Zero downtime checks have been skipped ({name})")
        return
    port = ports.web_port(app) if process == "web" else ""
    failed = 0
    for entry in for_process(app, process):
        label = entry.get("name") or "default"
        if passes(app, entry, cid, address, port):
            verbose(f"Healthcheck succeeded name='{label}'")
        elif entry.get("warn"):
            warn(f"Healthcheck warning name='{label}'")
        else:
            verbose(f"Failure in name='{label}'")
            failed += 1
    if process == "web" and running(cid):
        verbose("Healthcheck succeeded name='port listening check'")
    if failed:
        if stop:
            from . import scheduler

            docker("container", "update", "--restart=no", cid, check=False)
            docker("container", "stop", "-t", scheduler.stop_timeout(app), cid, check=False)
            out(cid)
        message = f"Could not start due to {failed} failed checks ({name})"
        warn(message)
        for _time in range(2 if stop else 1):
            container_output(app, cid, name)
        raise Fail(shown=message)
    verbose(f"All checks successful ({name})")
    container_output(app, cid, name)


# --- commands

def cmd_run(args: list[str]) -> None:
    from . import scheduler

    app = verify_app(args[0] if args else None)
    if not scheduler.is_deployed(app):
        raise Fail(f"App {app} has not been deployed")
    info1("Running pre-flight checks")
    wanted = args[1] if args[1:] else ""
    for name, cid in scheduler.containers(app).items():
        process = name.rpartition(".")[0]
        if wanted and wanted not in (name, process):
            continue
        info1(f"Running checks for app ({app}.{name})")
        check_container(app, cid, process, name, scheduler.address_of(app, cid), stop=False)


def cmd_set(args: list[str]) -> None:
    set_property("checks", args, ["wait-to-retire"], bash=True)


def collect(app: str) -> dict[str, str]:
    values = triple("checks", app, "wait-to-retire", "60")
    if app != GLOBAL:
        values["checks-disabled-list"] = listed(app, "disabled")
        values["checks-skipped-list"] = listed(app, "skipped")
    return values


def cmd_report(args: list[str]) -> None:
    report("checks", "checks", args, collect, both=False)


COMMANDS = {
    "checks": cmd_report, "checks:report": cmd_report, "checks:set": cmd_set, "checks:run": cmd_run,
    "checks:disable": toggler("Disabling", "disabled"), "checks:skip": toggler("Skipping", "skipped"),
    "checks:enable": toggler("Enabling", None),
}
