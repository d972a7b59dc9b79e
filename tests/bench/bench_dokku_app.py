# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dokku_app on the Dokku stand-in, each command slowed to what a real Dokku was measured to take.

No-op of an app with all facets, first set-up, change of one config value, and a kill at every command with a second run. Only Docker
and nginx pretend. Prints a table, and JSON with --json FILE. Measured on a real Dokku, ansible-dokku's no-op of ten facets took 5.6 s
and 13 commands, and said changed=3.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
for folder in ("tests/unit/lab/dokku", "tests/integration", "tests"):
    sys.path.insert(0, str(REPOSITORY / folder))

import conftest

conftest.pytest_configure()

import test_dokku_app as declared
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.command import Runner
from ansible_collections.multiregion.paas.plugins.module_utils._dokku.run import Task
from lab_dokku_sandbox import Sandbox

# Seconds of a real command on two cores, by its beginning; the first that fits counts.
SECONDS = [
    ("version", 0.02),
    ("apps:create", 2.6),
    ("domains:report", 0.081),
    ("domains:", 2.7),
    ("ports:report", 0.031),
    ("ports:", 2.7),
    ("certs:show", 0.032),
    ("certs:", 1.7),
    ("proxy:build-config", 2.332),
    ("ps:report", 0.035),
    ("ps:scale", 0.09),
    ("ps:set", 0.031),
    ("ps:", 20.0),
    ("git:from-image", 21.0),
    ("config:export", 0.028),
    ("config:", 0.076),
    ("", 0.03),
]
# Of these the rebuild of nginx, which does not take place while it is held back.
REBUILD, REBUILDS = 1.6, ("domains:", "ports:", "certs:")
SLOWED = """#!{python} -IS
import os, sys, time
from pathlib import Path
# Python's own start counts too: a real command has it in its time, or something as slow.
began = time.monotonic() - time.process_time()
sys.path.insert(0, {package!r})
from dokku_standin.cli import main
words = [word for word in sys.argv[1:] if word not in ("--quiet", "--force")]
seconds = next(seconds for start, seconds in {seconds!r} if words[0].startswith(start))
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code
held = list(Path(os.environ["DOKKU_LIB_ROOT"]).glob("config/proxy/*/type"))
if held and words[0].startswith({rebuilds!r}) and seconds > {rebuild!r}:
    seconds -= {rebuild!r}
sys.stdout.flush()
time.sleep(max(0.0, seconds - (time.monotonic() - began)))
sys.exit(status)
"""
GOAL = 5.6 / 4
QUICK = {"healthchecks": {"web": [{"type": "startup", "name": "up", "uptime": 1}]}}


class Killed(BaseException):
    """What a SIGKILL does to the module: nothing more of it runs."""


class Counting(Runner):
    """Kills before the nth command that writes."""

    def __init__(self, box: Sandbox, kill_at: int | None = None) -> None:
        super().__init__()
        self._environment = dict(box.environ)
        self.kill_at, self.writes = kill_at, 0

    def run(self, command):
        reads = (":report", ":export", ":list", ":show", "version")
        words = [word for word in command.words if not word.startswith("--")]
        if command.program == "dokku" and not words[0].endswith(reads) and not (words[0] == "ps:scale" and "json" in words):
            if self.kill_at is not None and self.writes >= self.kill_at:
                raise Killed
            self.writes += 1
        return super().run(command)


def sandbox(folder: Path, slowed: bool) -> Sandbox:
    box = Sandbox(folder)
    for number in (1, 2):
        box.image(f"local/demo:{number}", app_json=QUICK)
    if slowed:
        path = folder / "slowed"
        path.mkdir()
        text = SLOWED.format(python=sys.executable, package=box.environ["STANDIN_PACKAGE"], seconds=SECONDS, rebuilds=REBUILDS, rebuild=REBUILD)
        (path / "dokku").write_text(text, encoding="utf-8")
        (path / "dokku").chmod(0o755)
        box.environ["PATH"] = f"{path}:{box.environ['PATH']}"
    return box


def declare(box: Sandbox, params: dict, kill_at: int | None = None) -> tuple[dict, float, Counting]:
    runner = Counting(box, kill_at)
    began = time.monotonic()
    return Task(dict(params), runner=runner).run(check_mode=False), time.monotonic() - began, runner


def state(box: Sandbox) -> list[str]:
    """Everything that Dokku reports of the app but times, containers and revisions."""
    reports = ["domains", "ports", "checks", "nginx", "certs", "storage", "docker-options", "network", "resource", "logs", "builder"]
    texts = [box.shell(f"dokku {name}:report demo --format json").out for name in reports]
    config = json.loads(box.shell("dokku --quiet config:export --format json demo").out)
    config.pop("GIT_REV", None)
    scale = box.shell("dokku ps:scale --format json demo").out
    source = json.loads(box.shell("dokku apps:report demo --format json").out)["deploy-source-metadata"]
    # Web listeners are addresses of containers; each sandbox has a folder of its own.
    kept = (text.replace(str(box.folder), "") for text in texts if "listeners" not in text)
    return [*kept, json.dumps(config, sort_keys=True), scale, source]


def kills(folder: Path, whole: dict) -> dict:
    """Killed at each command in turn, on an app of its own, and run again."""
    box = sandbox(folder / "whole", slowed=False)
    wanted_writes = declare(box, whole)[2].writes
    wanted = state(box)
    differing = []
    for number in range(wanted_writes):
        box = sandbox(folder / f"killed-{number}", slowed=False)
        try:
            declare(box, whole, kill_at=number)
        except Killed:
            declare(box, whole)
        if state(box) != wanted or declare(box, whole)[0]["changed"]:
            differing.append(number)
        print(f"killed at command {number + 1} of {wanted_writes}: {'ANOTHER END STATE' if number in differing else 'the same end state'}", flush=True)
    return {"what": f"killed at each of {wanted_writes} commands", "differing": differing}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--no-kills", action="store_true")
    options = parser.parse_args()
    whole = {**declared.WHOLE, "certificate": declared.pair("demo.example.org"), "deploy": {"image": "local/demo:1"}}
    other = {**whole, "config": {**whole["config"], "WORKERS": 3}}
    rows = []
    with tempfile.TemporaryDirectory() as work:
        box = sandbox(Path(work) / "timed", slowed=True)
        for what, params in (("first set-up", whole), ("nothing to do", whole), ("one config value", other), ("nothing to do", other)):
            result, seconds, _runner = declare(box, params)
            rows.append({"what": what, "seconds": round(seconds, 2), "commands": result["commands"], "changed": result["changed"],
                         "restarted": result["restarted"]})  # fmt: skip
            print(f"{what:<20}{seconds:8.2f} s {result['commands']:4} commands  changed={result['changed']!s:<6} restarted={result['restarted']}", flush=True)
        if not options.no_kills:
            rows.append(kills(Path(work), whole))
            print(f"{rows[-1]['what']}: {rows[-1]['differing'] or 'the same end state each time'}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    slow = [row for row in rows if row["what"] == "nothing to do" and (row["changed"] or row["seconds"] > GOAL)]
    if slow:
        print(f"Nothing to do is to take {GOAL:.1f} s at the most and to change nothing: {slow}")
    return 1 if slow or any(row.get("differing") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
