# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab: an estate's machines on this one.

    lab.py lab                             the whole estate: machines, app image, secrets, prepare.yml, site.yml
    lab.py up [SET|REGION|MACHINE ...]     make and start them (default: the set "estate"), with all that they need
    lab.py down [SET|REGION|MACHINE ...]   remove them; without a name everything, --purge: images and package cache too;
                                           `down services`: everything, if no machine is left that needs it
    lab.py status [--json]                 what runs
    lab.py images                          build the images only
    lab.py table                           what runs where, and how to look at it
    lab.py ping                            measure the round-trip times between regions
    lab.py exec MACHINE -- COMMAND ...     run a command in a machine
    lab.py cut REGION / heal [REGION]      take a region's network away / give it back
    lab.py kill MACHINE ... / start MACHINE ...   a machine dies at once / comes back
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from paaslab import docker, estate, machines, model

STARTED = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED:5.1f} s] {text}", flush=True)


def up(lab: model.Lab, names: list[str], measure: bool) -> None:
    chosen = lab.select(names or ["estate"])
    docker.server_version()
    say(f"images for {len(chosen)} machines and the services")
    machines.ensure_images(lab, {"services", "shaper", *(m.image for m in chosen)}, say)
    machines.ensure_networks(lab, {"services", *(m.network for m in chosen)}, say)
    machines.ensure_keys(lab, chosen)
    machines.ensure_shaper(lab, say)
    say("services: DNS, moto, Pebble, package cache")
    machines.ensure_services(lab, say)
    if chosen:
        say(f"machines: {', '.join(m.name for m in chosen)}")
        machines.ensure_machines(lab, chosen, say)
        machines.ensure_trust(lab, chosen)
    if machines.cut_regions():
        say(f"still cut off: {', '.join(machines.cut_regions())} (lab.py heal)")
        machines.set_cut(lab, machines.cut_regions())
    if measure and sum(1 for r in lab.regions if any(m.network == r for m in chosen)) > 1:
        ping(lab)
    say("the machines are up")


def ping(lab: model.Lab) -> None:
    for one, other, asked, measured in machines.measure(lab):
        got = f"{measured:.1f} ms" if measured is not None else "no answer"
        say(f"round trip {one} - {other}: {got} (asked: {asked:g} ms)")


def status(lab: model.Lab, as_json: bool) -> None:
    present = docker.inspect("container", [machines.container(m) for m in [lab.services, *lab.machines.values()]])
    rows = []
    for machine in [lab.services, *lab.machines.values()]:
        found = present.get(machines.container(machine))
        if found:
            rows.append({"name": machine.name, "set": machine.set, "network": machine.network, "address": machine.address,
                         "state": found["State"]["Status"]})  # fmt: skip
    if as_json:
        print(json.dumps({"machines": rows, "cut": machines.cut_regions()}, indent=2))
        return
    if not rows:
        print("Nothing runs. Start it with: lab.py up")
    for row in rows:
        print(f"{row['name']:26}{row['address']:16}{row['network']:16}{row['set']:12}{row['state']}")
    shaper = machines.SHAPER in machines.running_names()
    print(f"latency between regions: {'on' if shaper else 'off'}; cut off: {', '.join(machines.cut_regions()) or 'none'}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in ("up", "down", "kill", "start", "heal"):
        sub = commands.add_parser(name)
        sub.add_argument("names", nargs="*" if name in ("up", "down", "heal") else "+")
        if name == "up":
            sub.add_argument("--no-ping", action="store_true", help="do not measure round-trip times")
        if name == "down":
            sub.add_argument("--purge", action="store_true", help="the images and the package cache as well")
    commands.add_parser("cut").add_argument("names", nargs="+")
    commands.add_parser("status").add_argument("--json", action="store_true")
    commands.add_parser("images")
    commands.add_parser("lab")
    commands.add_parser("table")
    commands.add_parser("ping")
    run = commands.add_parser("exec")
    run.add_argument("machine")
    run.add_argument("rest", nargs=argparse.REMAINDER)
    arguments = parser.parse_args(argv)
    try:
        lab = model.load(machines.TOP / "lab.yml")
        if arguments.command == "exec":
            machine = lab.services if arguments.machine == lab.services.name else lab.select([arguments.machine])[0]
            rest = arguments.rest[1:] if arguments.rest[:1] == ["--"] else arguments.rest
            return subprocess.run(["docker", "exec", "-i", machines.container(machine), *rest], check=False).returncode
        if arguments.command == "status":
            status(lab, arguments.json)
            return 0
        with locked():
            dispatch(lab, arguments)
    except model.LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; the same command again continues", file=sys.stderr)
        return 130
    return 0


def dispatch(lab: model.Lab, arguments: argparse.Namespace) -> None:
    command = arguments.command
    if command == "lab":
        estate.run(lab, lambda: up(lab, ["estate"], True), say)
    elif command == "table":
        print(estate.table(lab))
    elif command == "up":
        up(lab, arguments.names, not arguments.no_ping)
    elif command == "down":
        docker.server_version()
        if arguments.names == ["services"]:
            if machines.used(lab):
                say("the services stay: machines use them")
                return
            arguments.names = []
        if arguments.names:
            removed = machines.remove_machines(lab, lab.select(arguments.names))
        else:
            removed = machines.remove_everything(lab, arguments.purge, say)
        say(f"removed: {', '.join(removed)}" if removed else "nothing was there")
    elif command == "images":
        docker.server_version()
        machines.ensure_images(lab, set(lab.images), say)
        say("the images are there")
    elif command == "ping":
        ping(lab)
    elif command == "cut":
        machines.set_cut(lab, sorted({*machines.cut_regions(), *arguments.names}))
    elif command == "heal":
        machines.set_cut(lab, [r for r in machines.cut_regions() if arguments.names and r not in arguments.names])
    elif command == "kill":
        machines.parallel(
            lambda m: docker.run(["kill", machines.container(m)], check=False), lab.select(arguments.names)
        )
    elif command == "start":
        machines.ensure_machines(lab, lab.select(arguments.names), say)
        machines.ensure_trust(lab, lab.select(arguments.names))


class locked:
    """One lab.py at a time changes the lab: scenarios that run side by side wait for each other."""

    def __enter__(self) -> None:
        folder = machines.state_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self.file = open(folder / "lock", "w", encoding="utf-8")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another lab.py is at work; waiting for it")
            fcntl.flock(self.file, fcntl.LOCK_EX)
        self.file.write(str(os.getpid()))
        self.file.flush()

    def __exit__(self, *_unused: object) -> None:
        self.file.close()


if __name__ == "__main__":
    sys.exit(main())
