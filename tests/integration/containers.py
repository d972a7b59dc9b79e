# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests that run machines in containers share."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import ansible.module_utils

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
LAB = Path(__file__).resolve().parents[1] / "lab" / "lab.py"

# What systemd needs in a container, and nothing more.
SYSTEMD = [
    "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
    "--cgroupns=private", "--stop-signal", "SIGRTMIN+3", "--tmpfs", "/run", "--tmpfs", "/run/lock",
]  # fmt: skip


def docker(*arguments: str, stdin: bytes | str | None = None, check: bool = True, timeout: float = 300) -> str:
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(["docker", *arguments], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=timeout)
    if check and done.returncode != 0:
        raise RuntimeError(f"docker {' '.join(arguments[:6])}: {(done.stderr or done.stdout).decode()[-3000:]}")
    return done.stdout.decode()


def archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# Runs a module of the collection with the options that come as JSON; `_module` is its name.
RUN_MODULE = b"""
import importlib, json, sys
sys.path.insert(0, "/opt/paas-test")
from ansible.module_utils.testing import patch_module_args
arguments = json.load(sys.stdin)
name = arguments.pop("_module")
with patch_module_args(arguments):
    importlib.import_module("ansible_collections.multiregion.paas.plugins.modules." + name).main()
"""


def modules() -> bytes:
    """The collection's modules and all that they may import, with /opt/paas-test/run.py to start one of them."""
    files = {"ansible/__init__.py": b"", "run.py": RUN_MODULE}
    ansible_root = Path(ansible.module_utils.__file__).parent
    sources = [("ansible/module_utils", ansible_root, ansible_root), *(("ansible_collections/multiregion/paas/plugins", PLUGINS, PLUGINS / kind)
               for kind in ("module_utils", "modules"))]  # fmt: skip
    for prefix, root, folder in sources:
        files.update({f"{prefix}/{path.relative_to(root)}": path.read_bytes() for path in folder.rglob("*.py")})
    return archive({f"opt/paas-test/{name}": content for name, content in files.items()})


def need_image(tag: str) -> None:
    """Build the lab's images where this one is missing."""
    if subprocess.run(["docker", "image", "inspect", tag], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode:
        subprocess.run([sys.executable, str(LAB), "images"], check=True)
