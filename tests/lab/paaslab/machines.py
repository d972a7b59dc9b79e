# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running lab: networks, the services, the shaper and the machines, each brought to what lab.yml says.

Every step looks first and does only what is missing, so that an interrupted `up` is healed by the next.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from . import docker, images, rules
from .model import Lab, LabError, Machine, Network

PREFIX = "paas-lab-"
LABEL = "paas-lab"
SPEC = "paas-lab.spec"
SHAPER = f"{PREFIX}shaper"
CACHE_PORT = 3142
BOOT_SECONDS = 300
# Each machine's systemd holds several inotify instances, and all machines are one user to the kernel, which allows 128 by default.
INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES = 1024
WORKERS = 4
TOP = Path(__file__).resolve().parent.parent

# Everything but SYS_RESOURCE, which not every machine has to give; a Docker Engine inside needs the rest.
CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER "
    "KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW SETFCAP "
    "SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME "
    "SYS_TTY_CONFIG WAKE_ALARM"
).split()

Say = Callable[[str], None]


def state_folder() -> Path:
    """Keys, known hosts and logs: .lab beside the repository's own files, or $PAAS_LAB_STATE."""
    return Path(os.environ.get("PAAS_LAB_STATE") or TOP.parent.parent / ".lab").resolve()


def container(machine: Machine) -> str:
    return PREFIX + machine.name


def create_arguments(lab: Lab, machine: Machine, image: str) -> list[str]:
    """`docker create` for a systemd machine, without the spec label."""
    arguments = [
        "--name", container(machine), "--hostname", machine.name, "--label", f"{LABEL}={machine.set}",
        "--network", PREFIX + machine.network, "--ip", machine.address,
        "--cgroupns=private", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
        "--stop-signal", "SIGRTMIN+3", "--stop-timeout", "10", "--tmpfs", "/run", "--tmpfs", "/run/lock",
        "--restart", "no", "--log-driver", "none",
    ]  # fmt: skip
    if machine.image == "dokku":
        for capability in CAPABILITIES:
            arguments += ["--cap-add", capability]
        arguments += ["--security-opt", "systempaths=unconfined"]
        arguments += ["--volume", f"{container(machine)}-docker:/var/lib/docker"]
    else:
        arguments += ["--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN"]
    if machine.name == lab.services.name:
        arguments += ["--volume", f"{PREFIX}apt-cache:/var/cache/apt-cacher-ng"]
    else:
        resolver = "127.0.0.1" if machine.is_client else lab.services.address
        arguments += ["--env", f"PAAS_LAB_RESOLVER={resolver}"]
        arguments += ["--env", f"PAAS_LAB_APT_PROXY=http://{lab.services.address}:{CACHE_PORT}"]
    return [*arguments, image]


def spec_digest(arguments: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]


def archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A tar for `docker cp -`, everything owned by root."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, (content, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def parallel(work: Callable, items: Iterable, workers: int = WORKERS) -> list:
    """Run all, then raise the first failure: one bad machine does not leave the others half made."""
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, item) for item in items]
    return [future.result() for future in futures]


# Networks


def ensure_networks(lab: Lab, names: Iterable[str], say: Say) -> None:
    wanted = [lab.networks[name] for name in lab.networks if name in set(names)]
    present = docker.inspect("network", [PREFIX + n.name for n in wanted])
    for network in wanted:
        name = PREFIX + network.name
        found = present.get(name)
        if found and _as_wanted(found, network):
            continue
        if found:
            say(f"network {network.name}: not as lab.yml says; made again")
            for user in found.get("Containers", {}).values():
                docker.run(["network", "disconnect", "-f", name, user["Name"]], check=False)
                docker.run(["rm", "-f", "-v", user["Name"]], check=False)
            docker.run(["network", "rm", name])
        done = docker.run(
            [
                "network", "create", "--driver", "bridge", "--subnet", network.subnet, "--gateway", network.gateway,
                "--label", LABEL, "--opt", f"com.docker.network.bridge.name={network.bridge}",
                # Addresses stay as they are between the regions; the rules translate what leaves the lab.
                "--opt", "com.docker.network.bridge.enable_ip_masquerade=false", name,
            ],
            check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(
                f"Network {network.subnet} for {network.name} cannot be made: {done.stderr.strip()}. Another Docker network "
                "may use these addresses (docker network ls); remove it, or change tests/lab/lab.yml."
            )


def _as_wanted(found: dict, network: Network) -> bool:
    return (
        [c.get("Subnet") for c in found["IPAM"]["Config"]] == [network.subnet]
        and found.get("Options", {}).get("com.docker.network.bridge.name") == network.bridge
        and found.get("Options", {}).get("com.docker.network.bridge.enable_ip_masquerade") == "false"
    )


# Images


def ensure_images(lab: Lab, names: set[str], say: Say) -> None:
    for wave in lab.image_order(names):

        def one(image, lab=lab):
            parent = lab.images[image.parent].tag if image.parent else ""
            parent_id = docker.image_id(parent) if parent else images.ensure_base(image.suite, say)
            if images.current(image, parent_id):
                return
            started = time.monotonic()
            say(f"image {image.tag}: building")
            images.build(image, parent_id)
            say(f"image {image.tag}: built in {time.monotonic() - started:.0f} s")

        parallel(one, wave, workers=3)


# Keys


def ensure_keys(lab: Lab, machines: Iterable[Machine]) -> None:
    """One key that may log in everywhere, a host key for each machine, and the known_hosts that says so.

    The host keys are made here: checking them is then never a question of trust on first use.
    """
    folder = state_folder() / "ssh"
    (folder / "host").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _keygen(folder / "id_ed25519", "paas-lab")
    for machine in machines:
        _keygen(folder / "host" / machine.name, machine.name)
    known, config = [], []
    for machine in lab.machines.values():
        public = folder / "host" / f"{machine.name}.pub"
        if public.exists():
            known.append(f"{machine.address},{machine.name} {' '.join(public.read_text(encoding='utf-8').split()[:2])}\n")
            config.append(f"Host {machine.name}\n  HostName {machine.address}\n")
    _write(folder / "known_hosts", "".join(known))
    common = (
        f"Host *\n  User root\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n  ConnectTimeout 10\n"
        f"  ControlMaster auto\n  ControlPersist 60s\n  ControlPath {_control_folder()}/%C\n"
        f"  ServerAliveInterval 5\n  ServerAliveCountMax 3\n"
    )
    _write(folder / "config", "".join(config) + common)


def _control_folder() -> Path:
    """Shared connections live outside the repository: a socket's path has at most 108 characters."""
    folder = Path(tempfile.gettempdir()) / f"paas-lab-ssh-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def end_connections(machine: Machine) -> None:
    """A shared connection to a machine that is gone would hold up the next login."""
    subprocess.run(
        ["ssh", "-F", str(state_folder() / "ssh" / "config"), "-O", "exit", machine.name],
        capture_output=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def _keygen(path: Path, comment: str) -> None:
    if path.exists() and path.with_suffix(".pub").exists():
        return
    path.unlink(missing_ok=True)
    path.with_suffix(".pub").unlink(missing_ok=True)
    try:
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True,
            capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError("ssh-keygen is missing; install it: sudo apt-get install openssh-client") from error


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)


# Machines


def ensure_inotify(say: Say) -> None:
    """Enough for all machines; without the right to set it the lab still runs, with some twenty machines at once."""
    found = int(INOTIFY_LIMIT.read_text(encoding="ascii"))
    if found >= INOTIFY_INSTANCES:
        return
    try:
        INOTIFY_LIMIT.write_text(f"{INOTIFY_INSTANCES}\n", encoding="ascii")
    except OSError:
        return
    say(f"fs.inotify.max_user_instances raised from {found} to {INOTIFY_INSTANCES} until the next boot: every machine needs some")


def ensure_machines(lab: Lab, machines: list[Machine], say: Say) -> None:
    ensure_inotify(say)
    present = docker.inspect("container", [container(m) for m in machines])
    parallel(lambda machine: _ensure_machine(lab, machine, present.get(container(machine)), say), machines)
    parallel(lambda machine: wait_for(lab, machine, say), machines)


def _ensure_machine(lab: Lab, machine: Machine, found: dict | None, say: Say) -> None:
    name, image = container(machine), lab.images[machine.image].tag
    arguments = create_arguments(lab, machine, image)
    spec = spec_digest(arguments)
    if found and (found["Config"]["Labels"].get(SPEC) != spec or found["State"]["Status"] in ("created", "removing", "dead")):
        # `created` alone is what an interrupted start leaves behind, without its keys perhaps.
        say(f"{machine.name}: {'not as lab.yml says' if found['State']['Status'] == 'running' else 'left half made'}; made again")
        docker.run(["rm", "-f", "-v", name], check=False)
        found = None
    if found and found["State"]["Paused"]:
        docker.run(["unpause", name])
    if found and found["State"]["Running"]:
        if found["Image"] != docker.image_id(image):
            say(f"{machine.name}: runs from an older image; `lab.py down {machine.name}` and up again renews it")
        return
    if not found:
        docker.run(["create", "--label", f"{SPEC}={spec}", *arguments])
        folder = state_folder() / "ssh"
        files = {}
        if machine.name != lab.services.name:
            files = {
                "root/.ssh/authorized_keys": ((folder / "id_ed25519.pub").read_bytes(), 0o600),
                "etc/ssh/ssh_host_ed25519_key": ((folder / "host" / machine.name).read_bytes(), 0o600),
                "etc/ssh/ssh_host_ed25519_key.pub": ((folder / "host" / f"{machine.name}.pub").read_bytes(), 0o644),
            }
        docker.run(["cp", "-", f"{name}:/"], input=archive(files))
    end_connections(machine)
    started = docker.run(["start", name], check=False)
    if started.returncode != 0:
        raise LabError(f"{machine.name} does not start: {started.stderr.strip()}")


def wait_for(lab: Lab, machine: Machine, say: Say) -> None:
    """Until systemd has finished booting and sshd (the services: systemd alone) answers."""
    deadline = time.monotonic() + BOOT_SECONDS
    state = ""
    while time.monotonic() < deadline:
        state = docker.run(
            ["exec", container(machine), "systemctl", "is-system-running"], check=False, timeout=30
        ).stdout.strip()
        if state in ("running", "degraded") and (machine.name == lab.services.name or _ssh_answers(machine.address)):
            if state == "degraded":
                failed = docker.run(
                    ["exec", container(machine), "systemctl", "list-units", "--failed", "--plain", "--no-legend"], check=False
                ).stdout
                units = ", ".join(line.split()[0] for line in failed.splitlines() if line.split())
                say(f"{machine.name}: up, but failed: {units}")
            return
        time.sleep(0.5)
    raise LabError(
        f"{machine.name} has not booted within {BOOT_SECONDS} s (systemd says {state or 'nothing'}). "
        f"Look with: docker exec {container(machine)} journalctl -b"
    )


def _ssh_answers(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            connection.settimeout(5)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


# Services


def dns_config(lab: Lab) -> str:
    """The map of the world for the lab's DNS server."""
    regions = {n.name: n.subnet for n in lab.networks.values() if n.region}
    times = {f"{r.one} {r.other}": r.milliseconds for r in lab.round_trips}
    return yaml.safe_dump({"regions": regions, "rtt_ms": times}, sort_keys=False)


def ensure_services(lab: Lab, say: Say) -> None:
    machine = lab.services
    present = docker.inspect("container", [container(machine)])
    _ensure_machine(lab, machine, present.get(container(machine)), say)
    wait_for(lab, machine, say)
    dns = TOP / "dns"
    files = {
        "opt/paas-lab/lab/dns.yml": (dns_config(lab).encode(), 0o644),
        # Docker's own resolver inside the container passes foreign names on to this machine's resolvers.
        "etc/paas-lab/dns.env": (
            (
                f"PAAS_LAB_DNS_ARGUMENTS=--api http://127.0.0.1:5000 --config /opt/paas-lab/lab/dns.yml "
                f"--listen {machine.address} --upstream 127.0.0.11\n"
            ).encode(),
            0o644,
        ),
    }
    for path in sorted(dns.rglob("*.py")):
        files[f"opt/paas-lab/lab/dns/{path.relative_to(dns)}"] = (path.read_bytes(), 0o644)
    # moto forgets everything when it is started again: only for a change of its own program, and only while it is empty.
    aws = {name: content for name, content in files.items() if name.endswith("moto_route53.py")}
    digests = [hashlib.sha256(repr(sorted(part.items())).encode()).hexdigest() for part in (aws, files)]
    present = docker.run(["exec", container(machine), "cat", "/opt/paas-lab/lab/digest"], check=False).stdout.split()
    if present != digests:
        docker.run(["exec", container(machine), "rm", "-rf", "/opt/paas-lab/lab"])
        docker.run(["cp", "-", f"{container(machine)}:/"], input=archive(files))
        units = ["paas-lab-dns"]
        if present[:1] != digests[:1]:
            if _holds_zones(machine):
                say("moto runs an older program: started again it would forget the zones; `lab.py down` and up renews it")
                digests[0] = (present or [""])[0]
            else:
                units.append("paas-lab-moto")
        docker.run(["exec", container(machine), "systemctl", "enable", "-q", "paas-lab-moto", "paas-lab-dns"])
        docker.run(["exec", container(machine), "systemctl", "restart", *units])
        docker.run(["cp", "-", f"{container(machine)}:/"],
                   input=archive({"opt/paas-lab/lab/digest": ("\n".join(digests).encode(), 0o644)}))  # fmt: skip
    units = ["apt-cacher-ng", "paas-lab-moto", "paas-lab-dns", "paas-lab-pebble"]
    docker.run(["exec", container(machine), "systemctl", "start", *units], check=False)
    ports = {"moto": 5000, "Pebble": 14000, "DNS": 53, "package cache": CACHE_PORT}
    deadline = time.monotonic() + 60
    while ports:
        ports = {name: port for name, port in ports.items() if not _answers(machine.address, port)}
        if ports and time.monotonic() > deadline:
            raise LabError(
                f"In the services container these do not answer: {', '.join(ports)}. "
                f"Look with: docker exec {container(machine)} journalctl -b"
            )
        time.sleep(0.3 if ports else 0)
    folder = state_folder() / "pebble"
    folder.mkdir(parents=True, exist_ok=True)
    _write(
        folder / "https-ca.pem",
        docker.run(["exec", container(machine), "cat", "/var/lib/paas-lab/pebble/ca.pem"]).stdout,
    )
    root = docker.run(["exec", container(machine), "curl", "-sSk", "--retry", "5", "https://127.0.0.1:15000/roots/0"]).stdout
    _write(folder / "root.pem", root)


def _holds_zones(machine: Machine) -> bool:
    program = (
        "import boto3; print(len(boto3.client('route53', endpoint_url='http://127.0.0.1:5000', region_name='us-east-1', "
        "aws_access_key_id='lab', aws_secret_access_key='lab').list_hosted_zones()['HostedZones']))"
    )
    zones = docker.run(["exec", container(machine), "/opt/paas-lab/venv/bin/python", "-c", program], check=False)
    return zones.stdout.strip() not in ("", "0")


def ensure_trust(lab: Lab, machines: list[Machine]) -> None:
    """The clients trust the lab's CA as computers trust a public one. Pebble makes a new root each time it starts."""
    root = (state_folder() / "pebble" / "root.pem").read_bytes()
    path = "/usr/local/share/ca-certificates/paas-lab-pebble.crt"

    def one(machine: Machine) -> None:
        if docker.run(["exec", container(machine), "cat", path], check=False).stdout.encode() != root:
            docker.run(["cp", "-", f"{container(machine)}:/"], input=archive({path[1:]: (root, 0o644)}))
            docker.run(["exec", container(machine), "update-ca-certificates", "--fresh"])

    parallel(one, [m for m in machines if m.is_client])


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


# Rules and latency


def ensure_shaper(lab: Lab, say: Say) -> None:
    settings = shaper_settings(lab, docker.server_version() >= (28,))
    image = lab.images["shaper"].tag
    arguments = [
        "--name", SHAPER, "--label", LABEL, "--network", "host", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN",
        "--cap-add", "NET_RAW", "--cap-add", "DAC_OVERRIDE", "--security-opt", "apparmor=unconfined", "--restart",
        "unless-stopped", "--log-opt", "max-size=1m", image,
    ]  # fmt: skip
    spec = spec_digest([*arguments, settings, docker.image_id(image)])
    found = docker.inspect("container", [SHAPER]).get(SHAPER)
    if not found or found["Config"]["Labels"].get(SPEC) != spec or not found["State"]["Running"]:
        if found:
            docker.run(["rm", "-f", SHAPER], check=False)
        docker.run(["create", "--label", f"{SPEC}={spec}", *arguments])
        docker.run(["cp", "-", f"{SHAPER}:/"], input=archive({"etc/paas-lab/shaper.json": (settings.encode(), 0o644)}))
        docker.run(["start", SHAPER])
    else:
        # The rules may be gone although the program runs: somebody flushed them, or Docker was started again.
        docker.run(["exec", SHAPER, "shaper", "apply"])
    deadline = time.monotonic() + 20
    while "holding packets" not in docker.run(["logs", SHAPER], check=False).stdout:
        if time.monotonic() > deadline:
            log = docker.run(["logs", "--tail", "3", SHAPER], check=False)
            raise LabError(f"The latency between regions cannot be made: {(log.stdout + log.stderr).strip()}")
        time.sleep(0.2)


def shaper_settings(lab: Lab, with_raw: bool) -> str:
    queues = {q.number: q.delay for q in rules.queues(lab)}
    jumps = [*rules.JUMPS, *([rules.RAW_JUMP] if with_raw else [])]
    return json.dumps(
        {
            "restore": rules.restore(lab, with_raw),
            "jumps": jumps,
            "queues": [{"number": number, "delay": delay} for number, delay in queues.items()],
        },
        indent=1,
    )


def cut_regions() -> list[str]:
    path = state_folder() / "cut"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


def set_cut(lab: Lab, regions: list[str]) -> None:
    """Cut exactly these regions off from the rest of the lab and from their own clients."""
    before = cut_regions()
    docker.run(["exec", "-i", SHAPER, "shaper", "restore"], input=rules.cut(lab, regions))
    _write(state_folder() / "cut", "".join(f"{r}\n" for r in regions))
    for region in sorted({*before, *regions}):
        machines = lab.in_region(region)
        servers = ", ".join(m.address for m in machines if not m.is_client)
        for client in [m for m in machines if m.is_client]:
            # Within a region nothing passes this machine's rules: the client itself stops talking to the servers.
            text = "table inet paas_lab_cut\ndelete table inet paas_lab_cut\n"
            if region in regions:
                text += f"table inet paas_lab_cut {{ chain out {{ type filter hook output priority 0; ip daddr {{ {servers} }} drop; }} }}\n"
            docker.run(["exec", "-i", container(client), "nft", "-f", "-"], input=text, check=False)


def measure(lab: Lab) -> list[tuple[str, str, float, float | None]]:
    """(region, region, asked, measured) in milliseconds, the median of several, between machines that run now."""
    running = running_names()
    result = []

    def one(trip):
        ends = []
        for region in (trip.one, trip.other):
            ends.append(next((m for m in lab.in_region(region) if container(m) in running), None))
        if None in ends:
            return None
        ping = docker.run(
            ["exec", container(ends[0]), "ping", "-n", "-c", "5", "-i", "0.2", "-W", "2", ends[1].address], check=False
        ).stdout
        times = [float(text) for text in re.findall(r"time=([0-9.]+) ms", ping)]
        return trip.one, trip.other, trip.milliseconds, statistics.median(times) if times else None

    result = parallel(one, lab.round_trips)
    return [r for r in result if r]


def running_names() -> set[str]:
    return set(docker.run(["ps", "--filter", f"label={LABEL}", "--format", "{{.Names}}"]).stdout.split())


# Taking down


def used(lab: Lab) -> bool:
    """Whether any machine exists beside the services."""
    names = docker.run(["ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}"]).stdout.split()
    return bool(set(names) - {SHAPER, container(lab.services)})


def remove_machines(lab: Lab, machines: list[Machine]) -> list[str]:
    present = docker.inspect("container", [container(m) for m in machines])
    names = list(present)

    def one(name: str) -> None:
        docker.run(["rm", "-f", "-v", name], check=False)

    parallel(one, names)
    volumes = [f"{container(m)}-docker" for m in machines if m.image == "dokku"]
    if volumes:
        docker.run(["volume", "rm", "-f", *volumes], check=False)
    return sorted(name.removeprefix(PREFIX) for name in names)


def remove_everything(lab: Lab, purge: bool, say: Say) -> list[str]:
    """Also what an older lab.yml made: everything with our label goes."""
    if SHAPER in running_names():
        removed = docker.run(["exec", SHAPER, "shaper", "remove"], check=False)
        if removed.returncode != 0:
            say(f"the packet filter rules may be left over: {removed.stderr.strip()}")
    elif docker.image_id(lab.images["shaper"].tag):
        settings = shaper_settings(lab, docker.server_version() >= (28,))
        docker.run(["rm", "-f", SHAPER], check=False)
        docker.run(["create", "--name", SHAPER, "--label", LABEL, "--network", "host", "--cap-add", "NET_ADMIN",
                    lab.images["shaper"].tag, "remove"])  # fmt: skip
        docker.run(["cp", "-", f"{SHAPER}:/"], input=archive({"etc/paas-lab/shaper.json": (settings.encode(), 0o644)}))
        docker.run(["start", "-a", SHAPER], check=False)
    names = docker.run(["ps", "-a", "--filter", f"label={LABEL}", "--format", "{{.Names}}"]).stdout.split()
    parallel(lambda name: docker.run(["rm", "-f", "-v", name], check=False), names)
    networks = docker.run(["network", "ls", "--filter", f"label={LABEL}", "--format", "{{.Name}}"]).stdout.split()
    for network in networks:
        docker.run(["network", "rm", network], check=False)
    volumes = docker.run(["volume", "ls", "-q", "--filter", f"name=^{PREFIX}"]).stdout.split()
    gone = [v for v in volumes if purge or v != f"{PREFIX}apt-cache"]
    if gone:
        docker.run(["volume", "rm", "-f", *gone], check=False)
    (state_folder() / "cut").unlink(missing_ok=True)
    if purge:
        tags = [i.tag for i in lab.images.values() if docker.image_id(i.tag)]
        if tags:
            docker.run(["rmi", *reversed(tags)], check=False)
    return sorted(name.removeprefix(PREFIX) for name in names)
