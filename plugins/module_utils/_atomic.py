# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are the old one or the new one and never half of one, over a kill and over a loss of power."""

from __future__ import annotations

import os
import tempfile
import typing as t


def write_atomically(path: str, content: str | bytes, mode: int = 0o644, uid: t.Optional[int] = None, gid: t.Optional[int] = None) -> None:
    """Write beside the target, to the disk, and then under its name; text is UTF-8. Nobody but root reads it before it has its owner and mode.

    Raises OSError; then the target is as it was.
    """
    folder, name = os.path.split(path)
    # A name that apt, nginx, sudo and the like do not read, so that what a kill leaves is taken for nothing.
    descriptor, beside = tempfile.mkstemp(prefix=".%s." % name, suffix=".tmp", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content.encode("utf-8") if isinstance(content, str) else content)
            new.flush()
            if uid is not None or gid is not None:
                os.fchown(new.fileno(), -1 if uid is None else uid, -1 if gid is None else gid)
            os.fchmod(new.fileno(), mode)
            os.fsync(new.fileno())
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    sync_folder(folder)


def sync_folder(path: str) -> None:
    """Have the disk know the folder's names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
