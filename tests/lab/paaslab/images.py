# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's images: the Debian below them, what this machine hands on to them, and when one is out of date."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from . import docker
from .model import Image, LabError

IMAGES = Path(__file__).resolve().parent.parent / "images"
LABEL = "paas-lab.content"
PULL_SECONDS = 90
_INSTALLING = threading.Lock()


@dataclass(frozen=True)
class Sources:
    """Where this machine gets Debian from."""

    main: str
    security: str

    def lines(self, suite: str) -> list[str]:
        return [
            f"deb {self.main} {suite} main",
            f"deb {self.main} {suite}-updates main",
            f"deb {self.security} {suite}-security main",
        ]


DEBIAN = Sources("http://ftp.debian.org/debian", "http://security.debian.org/debian-security")


def parse_sources(one_line: str, deb822: str, codename: str) -> Sources:
    """The URIs behind `codename` in sources of both formats; Debian's own servers for what they do not name."""
    entries: list[tuple[str, str]] = []
    for line in one_line.splitlines():
        found = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s", line + " ")
        if found:
            entries.append((found.group(1), found.group(2)))
    for stanza in re.split(r"\n\s*\n", deb822):
        fields: dict[str, str] = {}
        for line in stanza.splitlines():
            found = re.match(r"([A-Za-z-]+):\s*(.*)", line)
            if found:
                fields[found.group(1).lower()] = found.group(2)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        entries += [(uri, suite) for uri in fields.get("uris", "").split() for suite in fields.get("suites", "").split()]
    main = next((uri for uri, suite in entries if suite == codename and uri.startswith("http")), DEBIAN.main)
    security = next(
        (uri for uri, suite in entries if suite == f"{codename}-security" and uri.startswith("http")), DEBIAN.security
    )
    return Sources(main.rstrip("/"), security.rstrip("/"))


def host_sources() -> Sources:
    """A Debian machine's own sources; Debian's own servers on any other."""
    release = Path("/etc/os-release")
    fields = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', release.read_text(encoding="utf-8"), re.M)) if release.exists() else {}
    if fields.get("ID") != "debian":
        return DEBIAN
    one_line = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.list"))]
    deb822 = sorted(Path("/etc/apt/sources.list.d").glob("*.sources"))
    return parse_sources(
        "\n".join(p.read_text(encoding="utf-8") for p in one_line if p.is_file()),
        "\n\n".join(p.read_text(encoding="utf-8") for p in deb822),
        fields.get("VERSION_CODENAME", ""),
    )


@functools.cache
def host_apt_settings() -> str:
    """apt's settings about this machine's network, which hold inside its containers as well."""
    kept = []
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        dump = ""
    for line in dump.splitlines():
        if re.match(r'Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) "[^"]+";', line):
            kept.append(line)
    return "".join(f"{line}\n" for line in kept)


@functools.cache
def pip_settings() -> str:
    """pip's index where this machine's owner has set one, and the system's certificates instead of pip's own."""
    lines = ["[global]", "cert = /etc/ssl/certs/ca-certificates.crt"]
    index = os.environ.get("PIP_INDEX_URL", "")
    if not index:
        command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        index = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if index.startswith("http"):
        lines.append(f"index-url = {index}")
    return "\n".join(lines) + "\n"


def handed_on(suite: str) -> dict[str, bytes]:
    files = {
        "handed-on/sources.list": "".join(f"{line}\n" for line in host_sources().lines(suite)).encode(),
        "handed-on/apt.conf": host_apt_settings().encode(),
        "handed-on/pip.conf": pip_settings().encode(),
        "handed-on/certificates/README": b"Certificates of the machine that built this image.\n",
    }
    own = Path("/usr/local/share/ca-certificates")
    for path in sorted(own.rglob("*.crt")) if own.is_dir() else []:
        files[f"handed-on/certificates/{path.name}"] = path.read_bytes()
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    files["handed-on/bundle.crt"] = bundle.read_bytes() if bundle.is_file() else b""
    return files


def context(image: Image) -> dict[str, tuple[bytes, int]]:
    """Every file of the build by its path in the context, with its mode."""
    folder = IMAGES / image.folder
    files = {
        str(path.relative_to(folder)): (path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    if image.parent is None:
        files.update({name: (content, 0o644) for name, content in handed_on(image.suite or "").items()})
    return files


def content_digest(image: Image, parent_id: str) -> str:
    digest = hashlib.sha256(f"{image.tag} {image.suite} {parent_id}".encode())
    for name, (content, mode) in sorted(context(image).items()):
        digest.update(f"\0{name}\0{mode}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


def ensure_base(suite: str, say) -> str:
    """The id of debian:<suite>-slim: there already, pulled, or made here and imported under that tag."""
    tag = f"debian:{suite}-slim"
    found = docker.image_id(tag)
    if found:
        return found
    try:
        pulled = docker.run(["pull", "-q", tag], check=False, timeout=PULL_SECONDS)
        found = docker.image_id(tag) if pulled.returncode == 0 else ""
    except subprocess.TimeoutExpired:
        found = ""
    if found:
        return found
    say(f"{tag}: no Docker registry answers; making it with mmdebstrap")
    _need_mmdebstrap()
    with tempfile.TemporaryDirectory(prefix="paas-lab-") as folder:
        target = Path(folder) / "base.tar"
        command = ["mmdebstrap", "--variant=minbase", "--include=ca-certificates"]
        command += [f"--aptopt={line}" for line in host_apt_settings().splitlines()]
        keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
        if keyring.exists():
            command.append(f"--keyring={keyring}")
        done = subprocess.run(
            [*command, suite, str(target), *host_sources().lines(suite)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise LabError(f"mmdebstrap could not make {tag}: {_tail(done.stderr)}")
        docker.run(["import", str(target), tag])
    return docker.image_id(tag)


def _need_mmdebstrap() -> None:
    """Install it when it is missing; once, though the images of two releases are made side by side."""
    with _INSTALLING:
        if not shutil.which("mmdebstrap"):
            _install_mmdebstrap()


def _install_mmdebstrap() -> None:
    advice = "apt-get install mmdebstrap debian-archive-keyring"
    if os.geteuid() != 0:
        raise LabError(f"No Docker registry answers and mmdebstrap is missing; install it: sudo {advice}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Somebody else's apt may be at work, such as that of another run.
    patient = ["apt-get", "-o", "DPkg::Lock::Timeout=600"]
    subprocess.run([*patient, "update", "-q"], capture_output=True, check=False, env=environment)
    done = subprocess.run(
        [*patient, "install", "-qy", "--no-install-recommends", *advice.split()[2:]],
        capture_output=True, text=True, check=False, env=environment,
    )
    if done.returncode != 0:
        raise LabError(f"No Docker registry answers, and mmdebstrap cannot be installed: {_tail(done.stderr)}")


def current(image: Image, parent_id: str) -> bool:
    return docker.image_label(image.tag, LABEL) == content_digest(image, parent_id)


def build(image: Image, parent_id: str) -> None:
    """Build from a context that only this function puts together, so that a build folder is never left over."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, (content, mode) in sorted(context(image).items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    command = ["build", "-q", "-t", image.tag, "--label", f"{LABEL}={content_digest(image, parent_id)}"]
    if image.suite:
        command += ["--build-arg", f"SUITE={image.suite}"]
    # What a proxy's users have set for this machine holds in the build as well.
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        if os.environ.get(name):
            command += ["--build-arg", name]
    done = docker.run([*command, "-"], check=False, input=stream.getvalue())
    if done.returncode != 0:
        raise LabError(f"Image {image.tag} cannot be built: {_tail(done.stderr)}")


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
