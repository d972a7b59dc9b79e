# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines for the tests of nginx_http2_pin: containers with systemd, the module run inside them, and packages made for the test."""

from __future__ import annotations

import json
import subprocess
import time

from containers import SYSTEMD, docker, modules

NETWORK = "paas-test-nginx"
SUBNET = "198.18.204.0/24"

DOCKERFILE = """
FROM paas-lab/machine:{suite}
RUN set -eu; export DEBIAN_FRONTEND=noninteractive; rm -f /etc/apt/apt.conf.d/90paas-lab-cache; \
    apt-get update -q; apt-get install -qy --no-install-recommends python3-h2
"""

# A package as the distribution has it, under another version, and with bytes of its program changed, or only the first ones of it.
REPACK = """
set -eu
version=$1 suffix=$2 old=$3 new=$4 length=$5
mkdir -p /srv/repo /tmp/packages; cd /tmp/packages
for name in nginx nginx-common; do
  [ -e "$name"_*.deb ] || apt-get -o APT::Sandbox::User=root download -q "$name=$version" >/dev/null
  rm -rf tree; dpkg-deb -R "$name"_*.deb tree
  sed -i "s/$version/$version$suffix/g; /^Version:/s/.*/Version: $version$suffix/" tree/DEBIAN/control
  sed -i '/(<< /s/nginx-common (<< [^)]*), //' tree/DEBIAN/control
  if [ -n "$old" ] && [ "$name" = nginx ]; then
    OLD="$old" NEW="$new" python3 -c '
import os
path = "tree/usr/sbin/nginx"
old, new = (os.environ[key].encode().decode("unicode_escape").encode("latin-1") for key in ("OLD", "NEW"))
data = open(path, "rb").read()
assert old in data and len(old) == len(new)
open(path, "wb").write(data.replace(old, new))'
  fi
  if [ -n "$length" ] && [ "$name" = nginx ]; then truncate -s "$length" tree/usr/sbin/nginx; fi
  file="/srv/repo/${name}_$version$suffix.deb"
  dpkg-deb -Znone -b tree "$file" >/dev/null
  {
    cat tree/DEBIAN/control; echo "Filename: ./$(basename "$file")"; echo "Size: $(stat -c %s "$file")"
    echo "SHA256: $(sha256sum "$file" | cut -d' ' -f1)"; echo
  } >> /srv/repo/Packages
done
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list.d/test.list
apt-get update -q >/dev/null
"""


def ensure_network() -> None:
    if not docker("network", "ls", "-q", "--filter", f"name=^{NETWORK}$").strip():
        docker("network", "create", "--subnet", SUBNET, NETWORK)


class Failed(Exception):
    """The module failed, with this message."""


class Machine:
    """One machine with apt and systemd."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        self.name = f"{NETWORK}-{suite}"

    def start(self) -> None:
        tag = f"paas-test/nginx:{self.suite}"
        docker("build", "-q", "-t", tag, "-", stdin=DOCKERFILE.format(suite=self.suite), timeout=900)
        self.stop()
        docker("run", "-d", "--name", self.name, "--hostname", self.name, "--network", NETWORK, *SYSTEMD, tag)
        deadline = time.monotonic() + 60
        while "running" not in (state := self.run("systemctl is-system-running", check=False)) and "degraded" not in state:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not come up: {state}")
            time.sleep(0.5)
        docker("cp", "-", f"{self.name}:/", stdin=modules())

    def stop(self) -> None:
        docker("rm", "-f", "-v", self.name, check=False)

    def run(self, script: str, *arguments: str, check: bool = True) -> str:
        return docker("exec", self.name, "sh", "-c", script, "sh", *arguments, check=check)

    def background(self, script: str) -> subprocess.Popen:
        return subprocess.Popen(["docker", "exec", self.name, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def write(self, path: str, content: str) -> None:
        docker("exec", "-i", self.name, "sh", "-c", f"cat > {path}", stdin=content)

    def read(self, path: str) -> str | None:
        return self.run(f"cat {path}") if self.run(f"test -e {path} && echo yes", check=False) else None

    def repack(self, version: str, suffix: str, old: str = "", new: str = "", length: str = "") -> str:
        self.run(REPACK, version, suffix, old, new, length)
        return version + suffix

    def module(self, check: bool = False, **options) -> dict:
        """Run the module; its result, or Failed with its message."""
        arguments = {"lock_timeout": 60, "update_cache": False, **options, "_ansible_check_mode": check, "_ansible_diff": True}
        options = json.dumps({"_module": "nginx_http2_pin", **arguments})
        out = docker("exec", "-i", self.name, "/usr/bin/python3", "/opt/paas-test/run.py", stdin=options, check=False)
        lines = out.strip().splitlines()
        if not lines:
            raise RuntimeError("the module said nothing")
        result = json.loads(lines[-1])
        if result.get("failed"):
            raise Failed(result["msg"])
        return result

    def installed(self, package: str = "nginx") -> str:
        return self.run(f"dpkg-query -W -f '${{Version}}' {package} 2>/dev/null", check=False)

    def candidate(self) -> str:
        return self.run("apt-cache policy nginx").split("Candidate: ")[1].split()[0]

    def master(self) -> str:
        return self.run("cat /run/nginx.pid", check=False).strip()
