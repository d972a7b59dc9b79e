# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what `docker save` writes, for an image with one small file: no Docker is needed for it."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def main(path: str, content: str = "hello") -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        add(archive, "hello.txt", f"{content}\n".encode())
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/hello"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "test"}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    with tarfile.open(path, mode="w") as archive:
        add(archive, name, config)
        add(archive, f"{digest}/layer.tar", layer.getvalue())
        add(archive, "manifest.json", json.dumps([{"Config": name, "RepoTags": ["hello:1"], "Layers": [f"{digest}/layer.tar"]}]).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
