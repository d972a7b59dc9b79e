# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the environment tells the app. Everything has a default but the databases and the secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """Times in seconds. The field names in capitals are the variables' names, but for those in ``VARIABLES``."""

    master_database_url: str
    read_database_url: str
    session_secret: str
    valkey_url: str = ""
    region: str = "local"
    host: str = ""
    release: str = "development"
    # A write is answered, one way or the other, within this time.
    write_deadline: float = 2.5
    read_deadline: float = 2.5
    # How long a read waits for its own follower before it goes to the primary for what the user has just written.
    follower_wait: float = 0.03
    # How long a user's last write is remembered; longer than any lag that /readyz lets through.
    written_max_age: int = 600
    lag_limit: float = 30.0
    # How many of the nodes that READ_DATABASE_URL begins with are the region's own.
    own_read_nodes: int = 1
    retry_after: int = 5
    rate_limit: int = 600
    rate_limit_window: int = 60
    read_pool_size: int = 8
    write_pool_size: int = 8
    probe_interval: float = 2.0


VARIABLES = {"region": "PAAS_REGION", "host": "PAAS_HOST", "release": "PAAS_RELEASE"}


class MissingSetting(Exception):
    """A variable without which the app cannot start."""


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {}
    for field in fields(Settings):
        name = VARIABLES.get(field.name, field.name.upper())
        text = environment.get(name, "")
        if text:
            values[field.name] = {"int": int, "float": float}.get(str(field.type), str)(text)
    values.setdefault("read_database_url", values.get("master_database_url"))
    values.setdefault("host", socket.gethostname())
    missing = [name for name in ("master_database_url", "session_secret") if not values.get(name)]
    if missing:
        raise MissingSetting(f"Set {' and '.join(name.upper() for name in missing)}.")
    return Settings(**values)  # type: ignore[arg-type]
