# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make `ansible_collections.multiregion.paas` importable from this checkout, wherever it lies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COLLECTIONS = REPOSITORY / ".collections"


def _link_checkout() -> None:
    """Ansible finds a collection by its folder's name, so the checkout is linked into a collections path."""
    link = COLLECTIONS / "ansible_collections" / "multiregion" / "paas"
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(REPOSITORY, target_is_directory=True)
    except FileExistsError:
        if link.resolve() != REPOSITORY:
            link.unlink()
            link.symlink_to(REPOSITORY, target_is_directory=True)


def _steady_properties() -> None:
    """The same examples in every run, however slow the machine."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("steady")


def pytest_configure() -> None:
    from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

    _link_checkout()
    _steady_properties()
    paths = [str(COLLECTIONS), *(entry for entry in sys.path if os.path.isdir(os.path.join(entry, "ansible_collections")))]
    _AnsibleCollectionFinder(paths=paths)._install()
