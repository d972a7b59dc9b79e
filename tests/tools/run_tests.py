# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the project's checks and say what took how long.

`run_tests.py all`, or the names of single steps (`run_tests.py --list`). Each step's whole output lies in
build/test/<step>.log, the results as JUnit in build/test/*.xml and as JSON in build/test/summary.json. All steps run even
when one fails, so that one run shows everything; the exit status is the number of failed steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
RESULTS = BUILD / "test"
ARTIFACT_COLLECTIONS = BUILD / "collections"
SANITY_COLLECTIONS = BUILD / "sanity" / "ansible_collections"
TOOLS = Path(sys.executable).parent
TAIL_LINES = 60


# Steps that `all` leaves out for their time on two cores; each runs alone by its name, and nightly on a machine of its own.
ALONE = frozenset(
    {
        "molecule:certificate",
        "molecule:consul",
        "molecule:consul-quorum",
        "molecule:deploy",
        "molecule:edge",
        "molecule:failover",
    }
)


# `all` runs two steps at a time: most of them wait for machines and networks. The last of these builds the estate, whose checks, which are
# about seconds, come after all of them. What needs no machine runs beside that, one after the other, and gives way.
WORKERS = 2
LAST = "molecule:estate"
GIVE_WAY = ("nice", "-n", "5")
# The scheduler's class for what takes only the time that the processors have left.
IDLE = ("chrt", "--idle", "0")


class StepFailed(Exception):
    """A step of the run failed; its log says why."""


@dataclasses.dataclass(frozen=True)
class Step:
    """`beside`: the command before those of a step that needs no machine, so that it gives way to the steps that do."""

    name: str
    run: Callable[["Log"], None]
    time_limit_s: int
    beside: tuple[str, ...] = ()


class Log:
    """A step's output: into its file, and shown as it comes where a person watches one step."""

    def __init__(self, step: Step, verbose: bool, prefix: tuple[str, ...]) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        self.path = RESULTS / f"{step.name.replace(':', '-')}.log"
        self.verbose = verbose
        self.prefix = prefix
        self.deadline = time.monotonic() + step.time_limit_s
        self.path.write_text("", encoding="utf-8")

    def call(self, *command: str | Path, cwd: Path = REPOSITORY, env: dict[str, str] | None = None, only: dict[str, str] | None = None) -> None:
        """Run a command, with `env` added to this program's environment or `only` in its place; raises StepFailed when it fails or the
        step's time is over."""
        arguments = [str(part) for part in command]
        environment = only or {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}", "ANSIBLE_FORCE_COLOR": "0", **(env or {})}
        with self.path.open("ab") as log:
            log.write(f"$ {' '.join(arguments)}\n".encode())
            log.flush()
            try:
                result = subprocess.run(
                    [*self.prefix, *arguments],
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=None if self.verbose else log,
                    stderr=None if self.verbose else subprocess.STDOUT,
                    timeout=max(1.0, self.deadline - time.monotonic()),
                    check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise StepFailed(f"{arguments[0]} did not end in time") from error
        if result.returncode:
            raise StepFailed(f"{Path(arguments[0]).name} ended with status {result.returncode}")


def tracked_files() -> list[str]:
    """The files of the working copy that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    return [name for name in listing.stdout.split("\0") if name and (REPOSITORY / name).is_file()]


def artifact(log: Log) -> None:
    """Build the collection and install it into an empty path, as `ansible-galaxy` would for a user."""
    for old in BUILD.glob("multiregion-paas-*.tar.gz"):
        old.unlink()
    shutil.rmtree(ARTIFACT_COLLECTIONS, ignore_errors=True)
    log.call("ansible-galaxy", "collection", "build", "--force", "--output-path", BUILD)
    (built,) = BUILD.glob("multiregion-paas-*.tar.gz")
    # The dependencies come with the locked requirements.
    log.call("ansible-galaxy", "collection", "install", built, "--force", "--no-deps", "--offline", "--collections-path", ARTIFACT_COLLECTIONS)


def importer(log: Log) -> None:
    """What Galaxy itself would say of the artifact."""
    (built,) = BUILD.glob("multiregion-paas-*.tar.gz")
    configuration = BUILD / "galaxy-importer.cfg"
    configuration.write_text("[galaxy-importer]\nRUN_ANSIBLE_TEST=False\nRUN_FLAKE8=False\nCHECK_REQUIRED_TAGS=True\n", encoding="utf-8")
    log.call(
        sys.executable,
        "-m",
        "galaxy_importer.main",
        built,
        cwd=BUILD,
        env={"GALAXY_IMPORTER_CONFIG": str(configuration)},
    )
    if "ERROR" in log.path.read_text(encoding="utf-8"):
        raise StepFailed("galaxy-importer found an error")


def lint(log: Log) -> None:
    log.call("yamllint", "--strict", ".")
    log.call("ansible-lint", "--offline", "--strict")


def changelog(log: Log) -> None:
    log.call("antsibull-changelog", "lint")


def sanity(log: Log) -> None:
    """ansible-test sanity in a copy that holds the collection's files and nothing built."""
    checkout = SANITY_COLLECTIONS / "multiregion" / "paas"
    shutil.rmtree(SANITY_COLLECTIONS.parent, ignore_errors=True)
    for name in tracked_files():
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, target)
    # The import test looks for amazon.aws, which our modules build on, in the same tree.
    for library in map(Path, sys.path):
        if (library / "ansible_collections" / "amazon" / "aws").is_dir():
            shutil.copytree(library / "ansible_collections" / "amazon" / "aws", SANITY_COLLECTIONS / "amazon" / "aws")
            break
    log.call("git", "init", "--quiet", cwd=checkout)
    log.call("git", "add", "--all", cwd=checkout)
    cached = Path.home() / ".ansible" / "test" / "cache" / "get_pip_24_2.py"
    if not cached.exists():
        cached.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / "tests" / "tools" / "get_pip.py", cached)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    log.call("ansible-test", "sanity", "--local", "--python", version, "--color", "no", cwd=checkout)


def units(log: Log) -> None:
    log.call(sys.executable, "-m", "pytest", "-q", "tests/unit", f"--junitxml={RESULTS}/units.xml")


def python(version: str) -> str | None:
    """An interpreter of that version that runs, on the path or where pyenv keeps them."""
    candidates = [shutil.which(f"python{version}"), *sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


def newest_requirements() -> list[str]:
    """Those of requirements.in, with the newest ansible-core in place of the oldest."""
    lines = [line.split("#")[0].strip() for line in (REPOSITORY / "requirements.in").read_text(encoding="utf-8").splitlines()]
    unwanted = ("ansible-core", "ansible=", "ansible<", "ansible>", "ansible~", "molecule", "ansible-lint", "netfilterqueue", "galaxy", "antsibull")
    kept = [line for line in lines if line and not line.startswith("-") and not line.lower().startswith(unwanted) and line != "ansible"]
    return ["ansible-core>=2.21,<2.22", "ansible>=14", *kept]


def units_newest(log: Log) -> None:
    """The unit tests on the newest supported ansible-core, where its Python is present; all else here runs on the oldest, which is locked."""
    interpreter = python("3.13")
    if interpreter is None:
        print("There is no Python 3.13 on this machine: only the oldest supported ansible-core is tested.", flush=True)
        return
    tools = BUILD / "newest" / "bin"
    if not (tools / "pytest").exists():
        shutil.rmtree(tools.parent, ignore_errors=True)
        log.call(interpreter, "-m", "venv", tools.parent)
        log.call(tools / "pip", "install", "--quiet", *newest_requirements())
    # A machine's own settings for Ansible and pytest are meant for the other environment.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_", "PYTEST_"))}
    environment = {**kept, "PATH": f"{tools}:{os.environ['PATH']}"}
    log.call(tools / "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", f"--junitxml={RESULTS}/units-newest.xml", only=environment)


def integration(log: Log) -> None:
    """Module tests against real servers."""
    log.call(sys.executable, "-m", "pytest", "-v", "tests/integration", f"--junitxml={RESULTS}/integration.xml")


def molecule(scenario: str, command: str = "test") -> Callable[[Log], None]:
    def run(log: Log) -> None:
        # A folder for each scenario: two at once do not take each other's notes, and what an aborted run noted is forgotten.
        notes = BUILD / "molecule" / scenario
        if command != "verify":
            shutil.rmtree(notes, ignore_errors=True)
        # The scenarios use the built artifact, so that what is tested is what is shipped.
        environment = {"ANSIBLE_COLLECTIONS_PATH": str(ARTIFACT_COLLECTIONS), "MOLECULE_EPHEMERAL_DIRECTORY": str(notes)}
        log.call("molecule", command, "--scenario-name", scenario, env=environment)

    return run


def steps() -> list[Step]:
    scenarios = sorted(path.parent.name for path in (REPOSITORY / "molecule").glob("*/molecule.yml"))
    # The whole estate comes last: everything else is quicker to read when it is the cause.
    scenarios = [name for name in scenarios if name not in ("default", "estate")] + ["estate"] * ("estate" in scenarios)
    return [
        Step("artifact", artifact, 300),
        Step("units", units, 1800, GIVE_WAY),
        Step("lint", lint, 3600, IDLE),
        Step("changelog", changelog, 600, IDLE),
        Step("importer", importer, 3600, IDLE),
        Step("sanity", sanity, 3600, IDLE),
        Step("units-newest", units_newest, 2700, GIVE_WAY),
        # The longest one first: beside it is room for many others.
        Step("integration", integration, 3000),
        *(Step(f"molecule:{name}", molecule(name), 3600 if name == "estate" else 900) for name in scenarios),
    ]


def remove_leftovers() -> None:
    """Take down a lab that another checkout left: its machines know other keys and other secrets than ours."""
    if not (REPOSITORY / ".lab" / "ssh").exists():
        subprocess.run([sys.executable, REPOSITORY / "tests" / "lab" / "lab.py", "down"], check=True)


def write_results(rows: list[dict]) -> None:
    suite = ElementTree.Element(
        "testsuite",
        name="multiregion.paas",
        tests=str(len(rows)),
        failures=str(sum(not row["passed"] for row in rows)),
        time=f"{sum(row['seconds'] for row in rows):.1f}",
    )
    for row in rows:
        case = ElementTree.SubElement(suite, "testcase", classname="steps", name=row["step"], time=f"{row['seconds']:.1f}")
        if not row["passed"]:
            ElementTree.SubElement(case, "failure", message=row["message"])
    ElementTree.ElementTree(suite).write(RESULTS / "steps.xml", encoding="utf-8", xml_declaration=True)
    (RESULTS / "summary.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


class Results:
    """What each step came to, on the disk after every one."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self._lock = threading.Lock()

    def add(self, step: Step, seconds: float, message: str) -> None:
        with self._lock:
            self.rows.append({"step": step.name, "passed": not message, "seconds": round(seconds, 1), "message": message})
            print(f"{step.name:<24} {'FAILED: ' + message if message else 'ok':<8} {seconds:8.1f} s", flush=True)
            write_results(self.rows)


def run_step(step: Step, verbose: bool, results: Results, prefix: tuple[str, ...] = ()) -> None:
    print(f"{step.name:<24} ...", flush=True)
    started = time.monotonic()
    log = Log(step, verbose, prefix)
    message = ""
    try:
        step.run(log)
    except StepFailed as error:
        message = str(error)
        print("\n".join(log.path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]))
    results.add(step, time.monotonic() - started, message)


def main() -> int:
    known = {step.name: step for step in steps()}
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("step", nargs="*", default=["all"], help="all, or names of steps")
    parser.add_argument("--list", action="store_true", help="list the steps and end")
    options = parser.parse_args()
    if options.list:
        print("\n".join(known))
        return 0
    everything = options.step == ["all"]
    unknown = [name for name in options.step if name not in known and name != "all"]
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)}; there are: {', '.join(known)}")
    chosen = [step for step in known.values() if step.name not in ALONE] if everything else [known[name] for name in options.step]
    if any(step.name.startswith("molecule:") for step in chosen) and not everything:
        chosen.insert(0, known["artifact"])
    results = Results()
    began = time.monotonic()
    if everything:
        remove_leftovers()
        run_step(known["artifact"], False, results)
        # A scenario's end must not stop what the one beside it stands on.
        os.environ["PAAS_LAB_KEEP_SERVICES"] = "1"
        others = [step for step in chosen if not step.beside and step.name not in ("artifact", LAST)]
        others.append(Step(f"{LAST}:converge", molecule("estate", "converge"), 1800))
        with futures.ThreadPoolExecutor(1) as lane:
            beside = [lane.submit(run_step, step, False, results, step.beside) for step in chosen if step.beside]
            with futures.ThreadPoolExecutor(WORKERS) as pool:
                list(pool.map(lambda step: run_step(step, False, results), others))
            del os.environ["PAAS_LAB_KEEP_SERVICES"]
            run_step(dataclasses.replace(known[LAST], run=molecule("estate", "verify")), False, results)
            for step in beside:
                step.result()
    else:
        for step in chosen:
            run_step(step, step.name != "artifact", results)
    rows = results.rows
    failed = sum(not row["passed"] for row in rows)
    print(f"\n{time.monotonic() - began:.0f} s in all; logs and results in {RESULTS.relative_to(REPOSITORY)}/")
    print(f"{len(rows) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
