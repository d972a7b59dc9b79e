# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the database's schema up to what this release needs: `python -m todomvc.migrate`, the app's release command.

Runs as the database's owner, whose URL is the first of these that is set: MIGRATION_DATABASE_URL, DATABASE_URL,
MASTER_DATABASE_URL. Every migration is one transaction; an advisory lock keeps two runs from meeting; a run that finds
nothing to do changes nothing. Migrations only add, so that the release before still runs on the newer schema.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg

MIGRATIONS = Path(__file__).parent / "migrations"
VARIABLES = ("MIGRATION_DATABASE_URL", "DATABASE_URL", "MASTER_DATABASE_URL")
# Any number, the same in every release.
LOCK = 7105622031


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """All migrations of this release, oldest first."""
    found = []
    for file in sorted(MIGRATIONS.glob("*.sql")):
        number, _unused, name = file.stem.partition("_")
        found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return found


def needed_version() -> int:
    return max(migration.version for migration in migrations())


def migrate(url: str) -> list[Migration]:
    """Apply what is missing and return it."""
    applied = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        if connection.execute("SELECT to_regclass('schema_migration')").fetchone()[0] is None:
            connection.execute(
                "CREATE TABLE schema_migration (version integer PRIMARY KEY, name text NOT NULL,"
                " applied_at timestamptz NOT NULL DEFAULT now())"
            )
        present = {row[0] for row in connection.execute("SELECT version FROM schema_migration")}
        for migration in migrations():
            if migration.version in present:
                continue
            with connection.transaction():
                connection.execute(migration.sql)
                connection.execute(
                    "INSERT INTO schema_migration (version, name) VALUES (%s, %s)", [migration.version, migration.name]
                )
            applied.append(migration)
    return applied


def main() -> int:
    url = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), None)
    if url is None:
        print(f"No database: set one of {', '.join(VARIABLES)}.", file=sys.stderr)
        return 2
    try:
        applied = migrate(url)
    except psycopg.Error as error:
        print(f"The migration failed: {error}", file=sys.stderr)
        return 1
    for migration in applied:
        print(f"Applied {migration.version:04d} {migration.name}.")
    print(f"The schema is at version {needed_version()}." if applied else "The schema is up to date.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
