# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release command that takes its time and leaves a row for each of its runs."""

from __future__ import annotations

import os
import sys
import time

import psycopg
from todomvc import migrate

if os.environ["SEVERAL_LINES"] != 'one\ntwo "$HOME" `x` \\':
    sys.exit("the environment is not what was declared")
if os.environ["VERSION"] == "unreleasable":
    sys.exit("this release cannot migrate")
migrate.main()
time.sleep(4)
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS release_runs (version text NOT NULL)")
    connection.execute("INSERT INTO release_runs VALUES (%s)", [os.environ["VERSION"]])
