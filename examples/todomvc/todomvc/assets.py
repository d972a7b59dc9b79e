# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files under names that carry their content's fingerprint, so that a browser never has to ask for them again."""

from __future__ import annotations

import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    name: str
    fingerprinted: str
    content: bytes
    content_type: str


class Assets:
    def __init__(self, folder: Path = FOLDER) -> None:
        self._by_name: dict[str, Asset] = {}
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            if kind.startswith("text/") or kind == "image/svg+xml":
                kind += "; charset=utf-8"
            self._by_name[file.name] = Asset(file.name, f"{file.stem}.{digest}{file.suffix}", content, kind)

    def path(self, name: str) -> str:
        return f"/static/{self._by_name[name].fingerprinted}"

    def find(self, requested: str) -> tuple[Asset, str] | None:
        """The asset and its Cache-Control. While two releases serve, a page of the other one names another fingerprint: it
        gets what is here, not to be kept."""
        parts = requested.split(".")
        name = f"{parts[0]}.{parts[-1]}"
        if len(parts) not in (2, 3) or name not in self._by_name:
            return None
        asset = self._by_name[name]
        return asset, IMMUTABLE if requested == asset.fingerprinted else "no-cache"
