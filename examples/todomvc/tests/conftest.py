# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import cluster as clusters

SECRET = "a secret of the tests only"


@pytest.fixture
def cluster():
    """A migrated primary and its follower, new for each test: tests stop and promote them."""
    if clusters.programs() is None:
        pytest.skip("PostgreSQL's server is not installed")
    from todomvc.migrate import migrate

    made = clusters.create()
    try:
        migrate(made.url(made.primary, user="todo_owner"))
        made.wait_for_follower()
        yield made
    finally:
        made.destroy()


@pytest.fixture
def make_app(cluster):
    from todomvc import create_app
    from todomvc.settings import Settings

    made = []

    def make(**values):
        settings = Settings(
            **{
                "master_database_url": cluster.master_url,
                "read_database_url": cluster.read_url,
                "session_secret": SECRET,
                "region": "eu-west-1",
                "host": "test-1",
                "probe_interval": 0.3,
                **values,
            }
        )
        app = create_app(settings)
        app.testing = True
        app.config["PROPAGATE_EXCEPTIONS"] = False
        made.append(app)
        services = app.extensions["todomvc"]
        clusters.wait(lambda: services.primary.available is not None)
        return app

    yield make
    for app in made:
        app.extensions["todomvc"].close()
