# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker-local scheduler: containers of an app, started beside the old ones, checked, switched to, and the old retired."""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import subprocess
import sys
import time

from . import checks, config, nginx, ports
from .core import (LIB, Fail, app_dir, computed, docker, info1, info2, prop, prop_list, read, run, verbose, warn, write)

# After the reload the old nginx workers may still accept for a moment, and would find the old containers gone.
SWITCH_SECONDS = 1.0


def image(app: str) -> str:
    return f"{computed('registry', app, 'image-repo', f'dokku/{app}')}:latest"


# --- what runs

def containers(app: str, process: str = "*") -> dict[str, str]:
    """TYPE.N -> container id, from the app's CONTAINER files."""
    found = {}
    for path in app_dir(app).glob(f"CONTAINER.{process}.*"):
        name = path.name.removeprefix("CONTAINER.")
        found[name] = read(path).strip()
    return dict(sorted(found.items(), key=lambda item: (item[0].rpartition(".")[0], int(item[0].rpartition(".")[2]))))


def is_deployed(app: str) -> bool:
    return any(app_dir(app).glob("CONTAINER.*"))


def listeners(app: str) -> list[str]:
    static = prop("network", app, "static-web-listener")
    if static:
        return static.split(",")
    found = []
    for name in containers(app, "web"):
        address, port = read(app_dir(app) / f"IP.{name}").strip(), read(app_dir(app) / f"PORT.{name}").strip()
        if address:
            found.append(f"{address}:{port}")
    return found


def inspect(ids: list[str]) -> dict[str, dict]:
    if not ids:
        return {}
    result = docker("container", "inspect", *ids, check=False)
    return {entry["Id"]: entry for entry in json.loads(result.stdout or "[]")}


def status(app: str) -> dict[str, str]:
    """TYPE.N -> Docker's word for its state, or missing."""
    ids = containers(app)
    known = inspect(list(ids.values()))
    return {name: known[cid]["State"]["Status"] if cid in known else "missing" for name, cid in ids.items()}


def address_of(app: str, cid: str) -> str:
    networks = inspect([cid])[cid]["NetworkSettings"]["Networks"] if cid else {}
    wanted = computed("network", app, "initial-network") or (computed("network", app, "attach-post-create").split(",")[0])
    return (networks.get(wanted) or next(iter(networks.values()), {})).get("IPAddress", "")


# --- docker's arguments

def environment(app: str) -> tuple[list[str], dict[str, str]]:
    """The app's variables for `docker create`: values travel in its environment, not on its command line."""
    arguments, environ = [], dict(os.environ)
    for key, value in config.effective(app).items():
        if key in os.environ or key.startswith("DOCKER_"):
            arguments.append(f"--env={key}={value}")
        else:
            arguments.append(f"--env={key}")
            environ[key] = value
    return arguments, environ


def phase_options(app: str, phase: str, process: str) -> list[str]:
    options = []
    for key in (phase, f"{phase}.{process}"):
        for line in prop_list("docker-options", app, key):
            options += shlex.split(line)
    return options


def resource_options(app: str, process: str) -> list[str]:
    options = []
    names = {"cpu": "--cpus", "memory": "--memory", "memory-swap": "--memory-swap", "nvidia-gpu": "--gpus"}
    for key, flag in names.items():
        value = prop("resource", app, f"{process}.limit.{key}") or prop("resource", app, f"_default_.limit.{key}")
        if value:
            options.append(f"{flag}={value}{'m' if key.startswith('memory') and value.isdigit() else ''}")
    reserve = prop("resource", app, f"{process}.reserve.memory") or prop("resource", app, "_default_.reserve.memory")
    if reserve:
        options.append(f"--memory-reservation={reserve}{'m' if reserve.isdigit() else ''}")
    return options


def common_options(app: str, phase: str, process: str) -> tuple[list[str], dict[str, str]]:
    from . import storage

    arguments, environ = environment(app)
    arguments += storage.mount_options(app, phase, process) + phase_options(app, phase, process)
    size = computed("logs", app, "max-size", "10m")
    if size != "unlimited" and computed("logs", app, "log-driver", "") == "":
        arguments.append(f"--log-opt=max-size={size}")
    network = computed("network", app, "initial-network")
    if network:
        arguments.append(f"--network={network}")
    if computed("scheduler-docker-local", app, "init-process", "true") == "true":
        arguments.append("--init")
    return [*arguments, f"--label=com.dokku.app-name={app}"], environ


def start_command(app: str, process: str) -> list[str]:
    from . import ps

    command = prop("ps", app, "start-cmd") or prop("ps", app, "dockerfile-start-cmd") or ps.procfile(app).get(process, "")
    if not command:
        return []
    return shlex.split(command.replace("$PORT", ports.web_port(app)).replace("${PORT}", ports.web_port(app)))


def create(app: str, process: str, index: int) -> str:
    arguments, environ = common_options(app, "deploy", process)
    port = ports.web_port(app) if process == "web" else ""
    dyno = f"{process}.{index}"
    if computed("network", app, "bind-all-interfaces", "false") == "true" and process == "web":
        arguments += [f"-p={container}" for container in sorted({m[2] for m in ports.effective(app)})]
    arguments += [
        "--label=com.dokku.container-type=deploy", f"--label=com.dokku.process-type={process}", f"--label=com.dokku.dyno={dyno}",
        f"--env=DYNO={dyno}", f"--env=PORT={port}", f"--name={app}.{dyno}.upcoming-{random.randint(1, 32767)}",
        f"--restart={computed('ps', app, 'restart-policy', 'on-failure:10')}", *resource_options(app, process),
    ]
    result = run("docker", "container", "create", *arguments, image(app), *start_command(app, process), env=environ, check=False)
    if result.returncode:
        raise Fail(result.stderr.rstrip("\n"), raw=True)
    cid = result.stdout.strip()
    for network in filter(None, computed("network", app, "attach-post-create").split(",")):
        docker("network", "connect", network, cid)
    docker("container", "start", cid, check=False)
    return cid


# --- a deploy

def job_failed(app: str, process: str, count: int, index: int) -> str:
    return ("parallel: This job failed:\n/var/lib/dokku/plugins/available/scheduler-docker-local/bin/scheduler-deploy-process-container "
            f"{app} dockerfile {image(app)} latest {process} {count} {index}")


def deploy_process(app: str, process: str, count: int) -> None:
    """Start `count` containers of a process type. The old ones go on serving until all of these have passed their checks."""
    info1(f"Deploying {process} (count={count})")
    old = containers(app, process)
    if checks.disabled(app, process):
        info1(f"Zero downtime is disabled for app ({app}.{process})")
        if old:
            info1("Stopping currently running containers")
            stop_now(app, list(old.values()))
    started: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for index in range(1, count + 1):
        name = f"{process}.{index}"
        cid = ""
        try:
            cid = create(app, process, index)
            addresses[name] = address_of(app, cid)
            if not checks.disabled(app, process):
                verbose(f"Attempting pre-flight checks ({name})")
                checks.check_container(app, cid, process, name, addresses[name])
        except Fail as failure:
            for new in (*started.values(), cid):
                if new:
                    abandon(app, new)
            text = failure.message if failure.raw else f" !     {failure.message}"
            raise Fail("\n".join(part for part in (text if failure.message else "", job_failed(app, process, count, index)) if part),
                       raw=True, shown=failure.shown) from failure
        started[name] = cid
        if name in old:
            verbose(f"Scheduling old container shutdown in {wait_to_retire(app)} seconds ({name})")
    for name, cid in started.items():
        write(app_dir(app) / f"CONTAINER.{name}", f"{cid}\n")
        write(app_dir(app) / f"IP.{name}", f"{addresses[name]}\n")
        if process == "web":
            write(app_dir(app) / f"PORT.{name}", f"{ports.web_port(app)}\n")
    for name in old:
        if name not in started:
            forget(app, name)
    if process == "web" and count:
        info2("Triggering early nginx proxy rebuild")
        if old:
            nginx.build(app, in_sync=True)


def forget(app: str, name: str) -> None:
    for kind in ("CONTAINER", "IP", "PORT"):
        (app_dir(app) / f"{kind}.{name}").unlink(missing_ok=True)


def abandon(app: str, cid: str) -> None:
    """A container that did not pass: stopped, removed by the next sweep."""
    docker("container", "update", "--restart=no", cid, check=False)
    docker("container", "stop", "-t", stop_timeout(app), cid, check=False)
    register_retired(app, [cid])


def wait_to_retire(app: str) -> str:
    return computed("checks", app, "wait-to-retire", "60")


def stop_timeout(app: str) -> str:
    return computed("ps", app, "stop-timeout-seconds", "30")


def deploy(app: str, only: list[str] | None = None) -> None:
    """Deploy the current image: web first, then the other types, then nginx, names, postdeploy, and the old containers' end."""
    from . import ps

    scale = ps.scale(app)
    before = containers(app)
    known = ps.procfile(app)
    order = sorted(scale, key=lambda process: (process != "web", process))
    for process in order:
        if only is not None and process not in only:
            continue
        if known and process not in known:
            if scale[process]:
                warn(f"Skipping {process} as it is missing from the current Procfile")
            continue
        deploy_process(app, process, scale[process])
    info1("Running post-deploy")
    switched = time.monotonic()
    nginx.build(app, in_sync=True)
    rename(app, before)
    current = set(containers(app).values())
    ps.postdeploy(app)
    info1("Updated schedule file")
    old = [cid for cid in before.values() if cid not in current]
    if old:
        retire(app, old, switched)


def rename(app: str, before: dict[str, str]) -> None:
    """The new containers take the names; a previous one of that name gets the time behind it."""
    info1("Renaming containers")
    now = containers(app)
    known = inspect(sorted({*before.values(), *now.values()}))
    holders = {entry["Name"].lstrip("/"): cid for cid, entry in known.items()}
    for name, cid in now.items():
        wanted, actual = f"{app}.{name}", known.get(cid, {}).get("Name", "").lstrip("/")
        if actual == wanted:
            continue
        previous = holders.get(wanted) or docker("container", "ls", "-aq", "--no-trunc", f"--filter=name=^/{re.escape(wanted)}$").stdout.strip()
        if previous:
            verbose(f"Found previous container(s) ({previous[:12]}) named {wanted}")
            stamped = f"{wanted}.{int(time.time())}"
            verbose(f"Renaming container ({previous[:12]}) {wanted} to {stamped}")
            docker("container", "rename", previous, stamped, check=False)
        verbose(f"Renaming container {actual} ({cid[:12]}) to {wanted}")
        docker("container", "rename", cid, wanted)


# --- the end of old containers

def retired_path(app: str):
    return LIB / "data" / "scheduler-docker-local" / app / "retired"


def source_images(entry: dict) -> list[str]:
    """The image that was asked for, from the label that the build put on what it made of it."""
    return json.loads((entry["Config"].get("Labels") or {}).get("com.dokku.docker-image-labeler/alternate-tags", "[]"))


def register_retired(app: str, ids: list[str], wait: float = 0) -> None:
    """Containers, and the source images that the app has moved away from."""
    current = prop("git", app, "source-image")
    tags = {tag for entry in inspect(ids).values() for tag in source_images(entry) if tag != current}
    ids = [*ids, *(f"image:{tag}" for tag in sorted(tags))]
    path = retired_path(app)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        handle.writelines(f"{time.time() + wait:.0f} {cid}\n" for cid in ids)


def retire(app: str, ids: list[str], switched: float) -> None:
    """SIGTERM at once, a hard stop after wait-to-retire; the timer removes what is left."""
    wait = float(wait_to_retire(app) or 0)
    register_retired(app, ids, wait)
    time.sleep(max(0.0, SWITCH_SECONDS - (time.monotonic() - switched)))
    docker("container", "update", "--restart=no", *ids, check=False)
    docker("container", "kill", "--signal=SIGTERM", *ids, check=False)
    info1(f"Shutting down old containers in {wait_to_retire(app)} seconds")
    stop_later(wait, stop_timeout(app), ids)


def stop_later(wait: float, timeout: str, ids: list[str]) -> None:
    """A process of its own that outlives this command. Should it be killed, the timer does its work."""
    program = ("import subprocess, sys, time\ntime.sleep(float(sys.argv[1]))\nfor cid in sys.argv[3:]:\n"
               "    subprocess.call(['docker', 'container', 'stop', '-t', sys.argv[2], cid])\n")
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen([sys.executable, "-I", "-S", "-c", program, str(wait), timeout, *ids], start_new_session=True, cwd="/", **nowhere)


def stop_now(app: str, ids: list[str]) -> None:
    if ids:
        docker("container", "update", "--restart=no", *ids, check=False)
        docker("container", "stop", "-t", stop_timeout(app), *ids, check=False)


def sweep() -> None:
    """dokku-retire.timer: stop what is overdue, remove it, and clean up images that nothing names any more."""
    now = time.time()
    for path in (LIB / "data" / "scheduler-docker-local").glob("*/retired"):
        keep = []
        for line in path.read_text().splitlines():
            deadline, _space, cid = line.partition(" ")
            if float(deadline) > now:
                keep.append(line)
                continue
            if cid.startswith("image:"):
                docker("image", "rm", cid.removeprefix("image:"), check=False)
                continue
            docker("container", "stop", cid, check=False)
            docker("container", "rm", cid, check=False)
        write(path, "".join(f"{line}\n" for line in keep))
    docker("image", "prune", "--force", "--filter=label=com.dokku.app-name", check=False)


def remove_all(app: str) -> None:
    ids = docker("container", "ls", "-aq", "--no-trunc", f"--filter=label=com.dokku.app-name={app}", check=False).stdout.split()
    for cid in reversed(ids):
        verbose(f"Attempting to retire {app} container {cid}")
    if ids:
        docker("container", "rm", "--force", *ids, check=False)
    tags = [line.partition(" image:")[2] for line in read(retired_path(app)).splitlines() if " image:" in line]
    found = docker("image", "inspect", image(app), check=False)
    if not found.returncode:
        entry = json.loads(found.stdout)[0]
        verbose(f"Attempting to retire {app} image {entry['Id'].removeprefix('sha256:')}")
        tags += [image(app), *source_images(entry)]
    if tags:
        docker("image", "rm", "--force", *sorted(set(tags)), check=False)


def refresh(app: str) -> None:
    """Read the addresses again, after Docker has given the containers new ones."""
    for name, cid in containers(app, "web").items():
        address = address_of(app, cid) if inspect([cid]) else ""
        if address:
            write(app_dir(app) / f"IP.{name}", f"{address}\n")


def restore(app: str) -> None:
    """At boot: start what should run, take the new addresses into nginx."""
    from . import ps

    if not is_deployed(app) or ps.restore(app) == "false":
        return
    known = inspect(list(containers(app).values()))
    if set(known) != set(containers(app).values()):
        ps.release_and_deploy(app)
        return
    stopped = [cid for cid, entry in known.items() if not entry["State"]["Running"]]
    if stopped:
        docker("container", "start", *stopped, check=False)
    refresh(app)
    nginx.build(app)


def cmd_retire(_args: list[str]) -> None:
    sweep()


COMMANDS = {"ps:retire": cmd_retire}
