# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running lab as the end-to-end checks see it: users' machines, databases, DNS, and runs of the site playbook.

Times are seconds. What is waited for is polled with a deadline; counts fail a check, times are only printed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = REPOSITORY / "build"
LAB = REPOSITORY / "tests" / "lab" / "lab.py"
STATE = Path(os.environ.get("PAAS_LAB_STATE") or REPOSITORY / ".lab").resolve()
PEBBLE_ROOT = STATE / "pebble" / "root.pem"
INVENTORY = Path(os.environ.get("PAAS_E2E_INVENTORY", REPOSITORY / "inventories" / "lab"))
COLLECTIONS = Path(os.environ.get("PAAS_E2E_COLLECTIONS", BUILD / "collections"))
ROUTE53 = "http://198.18.0.10:5000"
DNS = "198.18.0.10"
NAME = "todo.paas.test"
PREFIX = "paas-lab-"
# What Route 53's checkers allow one check to take: 4 s to connect, 2 s to answer.
CHECK_TIMEOUTS = 6


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(*command: str | Path, timeout: float = 120, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command and its output; the output of one that fails is in the error."""
    options.setdefault("stdin", subprocess.DEVNULL if "input" not in options else None)
    if options["stdin"] is None:
        del options["stdin"]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def wait(question: Callable[[], Result], seconds: float, what: str, pause: float = 0.5) -> Result:
    """Ask until the answer is true. An assertion or a failed command counts as no; the last one is told."""
    end = time.monotonic() + seconds
    reason = "the answer was no"
    while True:
        try:
            answer = question()
            if answer:
                return answer
        except (AssertionError, subprocess.TimeoutExpired, ValueError) as error:
            reason = str(error)
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:.0f} s; {reason}")
        time.sleep(pause)


def lab(*arguments: str, timeout: float = 300) -> str:
    return run(sys.executable, LAB, *arguments, timeout=timeout).stdout


def on(machine: str, *command: str, timeout: float = 60, check: bool = True) -> str:
    return run("docker", "exec", f"{PREFIX}{machine}", *command, timeout=timeout, check=check).stdout.strip()


# ---- What the inventory says


@dataclass(frozen=True)
class Host:
    name: str
    region: str
    private: str
    public: tuple[str, ...]


class Inventory:
    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _data(self) -> dict[str, Any]:
        program = Path(sys.executable).parent / "ansible-inventory"
        return json.loads(run(program, "-i", self.path, "--list", env=ansible_environment(), cwd=REPOSITORY).stdout)

    def group(self, name: str) -> list[Host]:
        found: list[str] = []
        pending = [name]
        while pending:
            group = self._data.get(pending.pop(0), {})
            found += group.get("hosts", [])
            pending += group.get("children", [])
        return [self._host(host) for host in dict.fromkeys(found)]

    def _host(self, name: str) -> Host:
        values = self._data["_meta"]["hostvars"][name]
        return Host(name, values["paas_region"], values.get("paas_private_address", ""), tuple(values.get("paas_public_addresses", ())))

    @property
    def regions(self) -> list[str]:
        return list(dict.fromkeys(host.region for host in self.group("paas_dokku")))

    def web(self, region: str) -> list[Host]:
        return [host for host in self.group("paas_dokku") if host.region == region]

    def databases(self, region: str | None = None) -> list[Host]:
        return [host for host in self.group("paas_postgres") if region in (None, host.region)]

    def addresses(self, region: str) -> set[str]:
        return {address for host in self.web(region) for address in host.public}


# ---- Databases


def sql(machine: str, query: str, database: str = "todo") -> str:
    """As the server's superuser, on its own machine: columns parted by |, rows by line ends."""
    return on(machine, "runuser", "-u", "postgres", "--", "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query)


def primary(inventory: Inventory) -> Host:
    """The one living primary."""
    found = [host for host in inventory.databases() if sql(host.name, "SELECT pg_is_in_recovery()", "postgres") == "f"]
    assert len(found) == 1, f"primaries: {[host.name for host in found]}"
    return found[0]


# ---- Users


class Client:
    """A user's machine in a region."""

    PROGRAM = "/usr/local/lib/paas_e2e_user.py"
    CA = "/usr/local/lib/paas_e2e_ca.pem"

    def __init__(self, region: str) -> None:
        self.region = region
        self.machine = f"{region}-client"
        for target, source in ((self.PROGRAM, Path(__file__).with_name("user.py")), (self.CA, PEBBLE_ROOT)):
            text = source.read_text(encoding="utf-8")
            run("docker", "exec", "-i", f"{PREFIX}{self.machine}", "sh", "-c", f"cat > {target}", input=text)

    def run(self, *command: str, timeout: float = 60, check: bool = True) -> str:
        return on(self.machine, *command, timeout=timeout, check=check)

    def addresses(self, name: str = NAME) -> set[str]:
        """What the machine's own caching resolver says."""
        return {line for line in self.run("dig", "+short", "+tries=2", "+time=3", name, "A").split() if re.fullmatch(r"[\d.]+", line)}

    def forget(self) -> None:
        """Empty the resolver's cache."""
        self.run("systemctl", "kill", "--signal=HUP", "dnsmasq.service")

    def curl(self, *arguments: str, write_out: str = "") -> str:
        return self.run(
            "curl", "--silent", "--show-error", "--max-time", "15", "--cacert", self.CA, "--http2", "--output", "/dev/null",
            *(["--write-out", write_out] if write_out else []), *arguments,
        )

    def session(self, *arguments: str, name: str = NAME) -> dict[str, Any]:
        return json.loads(self.run("python3", self.PROGRAM, "session", name, self.CA, *arguments, timeout=300))

    def count(self, *arguments: str, name: str = NAME) -> Counter:
        return Counter(self, name, arguments)


@dataclass(frozen=True)
class Request:
    began: float
    ended: float
    status: int | None
    region: str | None
    host: str | None
    error: str | None
    addresses: tuple[str, ...]
    address: str

    @property
    def failed(self) -> bool:
        return self.status is None or self.status >= 400


class Counter:
    """A user who never stops asking, as a context: every request is kept."""

    def __init__(self, client: Client, name: str, arguments: tuple[str, ...]) -> None:
        self.client = client
        self.requests: list[Request] = []
        command = ["docker", "exec", "-i", f"{PREFIX}{client.machine}", "python3", client.PROGRAM, "count", name, client.CA]
        self._process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    def _collect(self) -> None:
        for line in self._process.stdout:
            values = json.loads(line)
            values["addresses"] = tuple(values["addresses"])
            self.requests.append(Request(**values))

    def __enter__(self) -> Counter:
        wait(lambda: self.requests, 20, f"{self.client.machine} asks")
        return self

    def __exit__(self, *_unused: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(5)

    def since(self, when: float) -> list[Request]:
        return [request for request in self.requests if request.began >= when]

    @property
    def failures(self) -> list[Request]:
        return [request for request in self.requests if request.failed]

    def none_failed(self, what: str) -> None:
        assert self.requests, f"{self.client.machine} never asked"
        failures = self.failures
        say(f"{what}: {self.client.machine} asked {len(self.requests)} times, {len(failures)} failed")
        assert not failures, f"{what}: {len(failures)} of {len(self.requests)} requests of {self.client.machine} failed: {failures[:5]}"


# ---- DNS


@dataclass(frozen=True)
class Timing:
    interval: int
    threshold: int
    ttl: int

    @property
    def failover(self) -> float:
        """The longest that a user may be sent to a region that died."""
        return self.interval * self.threshold + CHECK_TIMEOUTS + self.ttl


def route53() -> Any:
    import boto3

    # The region only signs; the lab's server takes any key.
    return boto3.client("route53", endpoint_url=ROUTE53, region_name="us-east-1", aws_access_key_id="lab", aws_secret_access_key="lab")


def records(suffix: str = NAME) -> list[dict[str, Any]]:
    """The record sets of a name and of what lies under it."""
    api = route53()
    found = []
    for zone in api.list_hosted_zones()["HostedZones"]:
        for page in api.get_paginator("list_resource_record_sets").paginate(HostedZoneId=zone["Id"]):
            found += [entry for entry in page["ResourceRecordSets"] if entry["Name"].rstrip(".").endswith(suffix)]
    return found


def timing() -> Timing:
    """From what is published, not from what is configured."""
    checks = route53().list_health_checks()["HealthChecks"]
    assert checks, "there are no health checks"
    configurations = [entry["HealthCheckConfig"] for entry in checks if "RequestInterval" in entry["HealthCheckConfig"]]
    return Timing(
        interval=max(entry["RequestInterval"] for entry in configurations),
        threshold=max(entry["FailureThreshold"] for entry in configurations),
        ttl=max(entry.get("TTL", 0) for entry in records() if entry["Type"] == "A"),
    )


# ---- The site playbook


def ansible_environment(collections: Path | None = None) -> dict[str, str]:
    paths = [str(collections or COLLECTIONS)]
    if not (collections or COLLECTIONS).exists():
        paths = [str(REPOSITORY / ".collections")]
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_COLLECTIONS_PATH": ":".join(paths),
        "ANSIBLE_VAULT_PASSWORD_FILE": os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or str(STATE / "vault-password"),
        "PAAS_LAB_STATE": str(STATE),
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        # Every task is told when it begins, so that a run can be killed at a given one.
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1",
        "ANSIBLE_DISPLAY_OK_HOSTS": "1",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_FORKS": "12",
    }


@dataclass
class Site:
    """A run of the site playbook, or of another one, in the background until ``finish``."""

    arguments: tuple[str, ...]
    log: Path
    cwd: Path = REPOSITORY
    playbook: str = "multiregion.paas.site"
    seconds: float = 0.0
    _process: subprocess.Popen[str] | None = None
    _began: float = field(default_factory=time.monotonic)

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def tasks(self) -> int:
        """How many tasks have begun."""
        return len(re.findall(r"^TASK \[", self.output, re.MULTILINE))

    def begin(self) -> Site:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("w", encoding="utf-8") as file:
            self._process = subprocess.Popen(
                ["ansible-playbook", self.playbook, *self.arguments], cwd=self.cwd, env=ansible_environment(),
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        return self

    def kill_after(self, tasks: int, seconds: float = 900) -> None:
        """SIGKILL for the whole run when so many tasks have begun."""
        end = time.monotonic() + seconds
        while self.tasks < tasks and self._process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        assert self._process.poll() is None, f"site ended by itself after {self.tasks} tasks; the end of {self.log}:\n{self.output[-3000:]}"
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.seconds = time.monotonic() - self._began

    def finish(self, seconds: float = 1200) -> Site:
        try:
            status = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise AssertionError(f"site did not end within {seconds} s; see {self.log}") from None
        self.seconds = time.monotonic() - self._began
        say(f"{self.playbook.rpartition('/')[2]} {' '.join(self.arguments)}: {self.seconds:.0f} s, {self.tasks} tasks, changed: {self.changed or 'nothing'}")
        assert status == 0, f"site ended with {status}; {self.log}:\n{self.failures or self.output[-6000:]}"
        return self

    @property
    def failures(self) -> str:
        """Every failed task with what it said."""
        tasks = re.split(r"^(?=TASK \[|RUNNING HANDLER \[|PLAY )", self.output, flags=re.MULTILINE)
        return "\n".join(task[:3000] for task in tasks if re.search(r"^(fatal|failed): ", task, re.MULTILINE))

    @property
    def recap(self) -> dict[str, dict[str, int]]:
        text = self.output.rpartition("PLAY RECAP")[2]
        found = {}
        for line in text.splitlines():
            match = re.match(r"(\S+)\s+:\s+(ok=.*)", line)
            if match:
                found[match[1]] = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", match[2])}
        return found

    @property
    def changed(self) -> dict[str, int]:
        return {host: counts["changed"] for host, counts in self.recap.items() if counts["changed"]}

    @property
    def changes(self) -> list[tuple[str, str]]:
        """(host, task) of everything that changed, the host being the one that a task was delegated to."""
        found = []
        task = ""
        for line in self.output.splitlines():
            if match := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\]", line):
                task = match[1]
            elif match := re.match(r"changed: \[([^\]\s]+)(?: -> ([^\]\s(]+))?", line):
                found.append((match[2] or match[1], task))
        return found


def site(name: str, *arguments: str, inventory: Path | None = None, cwd: Path = REPOSITORY) -> Site:
    """Run it and wait for its end."""
    return begin_site(name, *arguments, inventory=inventory, cwd=cwd).finish()


def playbook(name: str, *arguments: str) -> Site:
    """Run a runbook of the collection and wait for its end."""
    return Site(("-i", str(INVENTORY), *arguments), BUILD / "e2e" / f"{name}.log", playbook=f"multiregion.paas.{name}").begin().finish()


def begin_site(name: str, *arguments: str, inventory: Path | None = None, cwd: Path = REPOSITORY) -> Site:
    return Site(("-i", str(inventory or INVENTORY), *arguments), BUILD / "e2e" / f"site-{name}.log", cwd).begin()


def prepare(inventory: Path) -> None:
    """What a new machine of the lab needs and a real one has."""
    playbook = str(REPOSITORY / "tests" / "lab" / "prepare.yml")
    Site(("-i", str(inventory)), BUILD / "e2e" / "prepare.log", playbook=playbook).begin().finish()
