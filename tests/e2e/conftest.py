# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks run against the lab's running estate, in the order of their files' names: `make lab` brings it up."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import estate


def pytest_collection_modifyitems(items):
    # What changes the estate comes after what looks at it.
    items.sort(key=lambda item: str(item.path))


@pytest.fixture(scope="session")
def inventory():
    return estate.Inventory(estate.INVENTORY)


@pytest.fixture(scope="session")
def clients(inventory):
    estate.lab("heal")
    return {region: estate.Client(region) for region in inventory.regions}


@pytest.fixture(scope="session", autouse=True)
def build_folder():
    (estate.BUILD / "e2e").mkdir(parents=True, exist_ok=True)
