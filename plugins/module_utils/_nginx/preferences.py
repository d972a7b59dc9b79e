# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""apt preferences: what the module's own file says, as text. Pure."""

from __future__ import annotations

import fnmatch
import typing as t

#: The first line of every file that the module wrote; a file without it is somebody else's.
MARK = "Explanation: Written by multiregion.paas.nginx_http2_pin; changes made here are lost."


def is_ours(content: str) -> bool:
    return content.startswith(MARK)


def version_glob(version: str, pin_to: str) -> str:
    """What stands behind `Pin: version`: the version itself, or every revision of its upstream number."""
    if pin_to == "revision" or "-" not in version:
        return version
    return version.rpartition("-")[0] + "-*"


def matches(glob: str, version: str) -> bool:
    return fnmatch.fnmatchcase(version, glob)


def render(pins: t.Mapping[str, str], rejected: t.Mapping[str, str], priority: int) -> str:
    """Preferences that pin packages to versions (name to glob), with versions that must not come in (version to reason).

    apt takes the first record that matches a version, so the refusals stand first.
    """
    groups: dict[str, list[str]] = {}
    for name, glob in pins.items():
        groups.setdefault(glob, []).append(name)
    first = next(iter(groups.items()), ("", []))
    records = []
    for version, reason in rejected.items():
        records.append([f"Explanation: {reason}", f"Package: {' '.join(first[1])}", f"Pin: version {version}", "Pin-Priority: -1"])
    for glob, names in groups.items():
        records.append([f"Package: {' '.join(names)}", f"Pin: version {glob}", f"Pin-Priority: {priority}"])
    if records:
        records[0].insert(0, MARK)
    return "\n\n".join("\n".join(record) for record in records) + "\n"
