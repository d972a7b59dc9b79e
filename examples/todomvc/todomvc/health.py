# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The four questions that machines ask, from the least to the most demanding."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app
from psycopg import Connection, Error

from .database import UNAVAILABLE, Unavailable
from .services import Services

blueprint = Blueprint("health", __name__)

LAG = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END,
       CASE WHEN NOT pg_is_in_recovery() OR pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
            ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float END
"""
SCHEMA = "SELECT CASE WHEN to_regclass('schema_migration') IS NULL THEN 0 ELSE 1 END"
VERSION = "SELECT coalesce(max(version), 0) FROM schema_migration"
# A health checker gives up after 4 s for the connection and 2 s for the answer.
HEALTH_DEADLINE = 1.8


def services() -> Services:
    return current_app.extensions["todomvc"]


@blueprint.get("/healthz")
def healthz() -> Any:
    """The process serves."""
    return {"status": "ok"}


@blueprint.get("/.well-known/region-health")
def region_health() -> Any:
    """A read is answered here. Lag, schema and a missing primary are no reasons: they would send every region's users away at
    once."""
    try:
        services().reader.run(lambda connection: connection.execute("SELECT 1").fetchone(), HEALTH_DEADLINE)
    except (Unavailable, *UNAVAILABLE) as error:
        return {"status": "no read", "reason": str(error)}, 503
    return {"status": "ok", "region": services().settings.region}


@blueprint.get("/readyz")
def readyz() -> Any:
    """May this host get traffic from a deploy or an undrain?"""
    here = services()
    try:
        node = here.reader.run(_node, here.settings.read_deadline)
    except (Unavailable, Error) as error:
        return {"status": "not ready", "reasons": [f"no node answers a read: {error}"]}, 503
    reasons = []
    server, lag = node.pop("server"), node.pop("lag")
    if here.own_read_nodes and server not in here.own_read_nodes:
        reasons.append(f"reads are served by {node['database']}, which is not the region's own node")
        here.reader.return_to(*here.own_read_nodes[0])
    if lag is None or lag > here.settings.lag_limit:
        reasons.append(f"lag is {'unknown' if lag is None else f'{lag:.1f} s'}, the limit {here.settings.lag_limit:g} s")
    if node["schema"] < here.needed_schema:
        reasons.append(f"the schema is at version {node['schema']}, this release needs {here.needed_schema}")
    body = {"lag_seconds": lag, **node, "needed_schema": here.needed_schema, "release": here.settings.release}
    if reasons:
        return {"status": "not ready", "reasons": reasons, **body}, 503
    return {"status": "ok", **body}


def lag_of(connection: Connection) -> float | None:
    """Seconds that the node is behind: by the primary's own position while it is heard, else by what the node knows."""
    recovery, replayed, by_itself = connection.execute(LAG).fetchone()
    if not recovery:
        return 0.0
    measured = services().primary.lag(replayed) if replayed else None
    lag = by_itself if measured is None else measured
    return None if lag is None else round(lag, 3)


def _node(connection: Connection) -> dict[str, Any]:
    lag = lag_of(connection)
    migrated = connection.execute(SCHEMA).fetchone()[0]
    version = connection.execute(VERSION).fetchone()[0] if migrated else 0
    info = connection.info
    return {"lag": lag, "schema": version, "database": f"{info.hostaddr or info.host}:{info.port}", "server": (info.host, info.port)}
