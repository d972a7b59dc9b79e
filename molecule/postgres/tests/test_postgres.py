# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is written on the primary is read on the follower, by those who may and nobody else."""

from __future__ import annotations

import importlib.util
import os
import time
from pathlib import Path

import psycopg
import pytest
import testinfra

testinfra_hosts = ["postgres-1"]

PRIMARY, FOLLOWER = "198.18.16.11", "198.18.16.12"
NODES = [{"host": PRIMARY, "region": "us-east-1"}, {"host": FOLLOWER, "region": "eu-west-1"}]
PASSWORDS = {
    "todo": {"owner": "todo-owner", "read_write": "todo-writes", "read_only": "todo-reads"},
    "shop-2": {"owner": "sh'op:owner", "read_write": "sh%op/writes", "read_only": 'sh"op\\reads'},
}
PROJECT = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve()
DATABASE_URLS = importlib.util.spec_from_file_location("database_urls", PROJECT / "plugins/filter/database_urls.py")
database_urls = importlib.util.module_from_spec(DATABASE_URLS)
DATABASE_URLS.loader.exec_module(database_urls)
STATE = PROJECT / ".lab/molecule/postgres"
CLIENT = "docker://paas-lab-services"


def sql(host, text, database="postgres"):
    command = host.run(f"runuser -u postgres -- psql -XAtq -v ON_ERROR_STOP=1 -d {database} -c %s", text)
    assert command.succeeded, command.stderr
    return command.stdout.strip()


def follower():
    return testinfra.get_host("ssh://postgres-2", ssh_config=str(STATE.parent.parent / "ssh/config"))


def eventually(probe, answer, timeout=15):
    deadline = time.monotonic() + timeout
    while True:
        seen = probe()
        if seen == answer or time.monotonic() > deadline:
            assert seen == answer
            return
        time.sleep(0.1)


class App:
    """A program in the network of a host that may connect; psycopg here, its traffic there."""

    def __init__(self, region="eu-west-1", role="read_write", database="todo"):
        self.urls = database_urls.database_urls(
            NODES, database, PASSWORDS[database], region, primary_region="us-east-1", role=role, sslrootcert=str(STATE / "ca.crt")
        )

    def run(self, key, text):
        host = testinfra.get_host(CLIENT)
        script = "psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s"
        return host.run(script, self.urls[key], text)

    def ask(self, key, text):
        done = self.run(key, text)
        assert done.succeeded, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def psql():
    host = testinfra.get_host(CLIENT)
    root = host.run("mkdir -p %s", str(STATE))
    assert root.succeeded
    assert host.run("printf %s %s > %s", "%s", (STATE / "ca.crt").read_text(), str(STATE / "ca.crt")).succeeded
    if host.run("command -v psql").failed:
        assert host.run("DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends postgresql-client").succeeded


def test_one_primary_and_one_follower(host):
    assert sql(host, "SELECT pg_is_in_recovery()") == "f"
    assert sql(follower(), "SELECT pg_is_in_recovery()") == "t"
    assert sql(host, "SELECT application_name, state FROM pg_stat_replication") == "paas_postgres_2|streaming"
    assert sql(host, "SELECT slot_name, active FROM pg_replication_slots") == "paas_postgres_2|t"


@pytest.mark.parametrize("database", ["todo", "shop-2"])
def test_a_row_written_by_the_app_is_read_from_the_follower(database):
    owner, app = App(role="owner", database=database), App(database=database)
    owner.ask("DATABASE_URL", "DROP TABLE IF EXISTS todos; CREATE TABLE todos (id serial PRIMARY KEY, title text);")
    assert app.ask("MASTER_DATABASE_URL", "INSERT INTO todos (title) VALUES ('milk') RETURNING id") == "1"

    def titles():
        return app.run("READ_DATABASE_URL", "SELECT title FROM todos").stdout.strip()

    eventually(titles, "milk")
    assert app.ask("READ_DATABASE_URL", "SELECT inet_server_addr()") == FOLLOWER
    assert App("us-east-1", database=database).ask("READ_DATABASE_URL", "SELECT inet_server_addr()") == PRIMARY


def test_each_role_has_its_rights_and_no_more():
    app = App("us-east-1")
    assert "permission denied" in app.run("READ_DATABASE_URL", "DELETE FROM todos").stderr
    assert "permission denied" in app.run("DATABASE_URL", "CREATE TABLE more ()").stderr
    assert "must be owner" in app.run("DATABASE_URL", "DROP TABLE todos").stderr
    other = app.urls["DATABASE_URL"].replace("/todo?", "/shop-2?")
    assert testinfra.get_host(CLIENT).run("psql -d %s -c 'SELECT 1'", other).failed


def test_without_tls_or_with_another_ca_nobody_connects():
    url = App("us-east-1").urls["READ_DATABASE_URL"]
    plain = testinfra.get_host(CLIENT).run("psql -d %s -c 'SELECT 1'", url.replace("verify-full", "disable"))
    assert plain.failed and ("no encryption" in plain.stderr or "pg_hba" in plain.stderr)
    stranger = testinfra.get_host(CLIENT).run("psql -d %s -c 'SELECT 1'", url.replace("ca.crt", "none.crt"))
    assert stranger.failed


def test_a_foreign_host_is_turned_away():
    """This machine is not in the inventory, and knows the password."""
    urls = App("us-east-1").urls
    with pytest.raises(psycopg.OperationalError, match="pg_hba.conf rejects connection"):
        psycopg.connect(urls["READ_DATABASE_URL"])


def test_the_replication_role_comes_from_database_hosts_only(host):
    password = "PGPASSFILE=/var/lib/postgresql/.paas/passfile"
    conninfo = f"host={PRIMARY} user=replicator dbname=postgres sslmode=verify-full sslrootcert=/etc/paas/postgres/ca.crt"
    assert follower().run(f"runuser -u postgres -- env {password} psql -XAtc 'SELECT 1' '{conninfo}'").stdout.strip() == "1"
    assert "must be superuser" in follower().run(f"runuser -u postgres -- env {password} psql -XAtc 'ALTER SYSTEM SET work_mem = 1' '{conninfo}'").stderr \
        or "permission denied" in follower().run(f"runuser -u postgres -- env {password} psql -XAtc 'ALTER SYSTEM SET work_mem = 1' '{conninfo}'").stderr
    stranger = testinfra.get_host(CLIENT).run("psql -d %s -c 'SELECT 1'", f"host={PRIMARY} user=replicator dbname=postgres sslmode=require password=x")
    assert "pg_hba.conf rejects" in stranger.stderr


def test_settings_and_checksums(host):
    answers = sql(host, "SELECT name || '=' || setting FROM pg_settings"
                  " WHERE name IN ('data_checksums','wal_log_hints','ssl','password_encryption') ORDER BY 1")
    assert answers.split() == ["data_checksums=on", "password_encryption=scram-sha-256", "ssl=on", "wal_log_hints=on"]
    assert sql(host, "SHOW shared_buffers") == "128MB" and sql(host, "SHOW max_slot_wal_keep_size") == "4GB"
    assert sql(host, "SELECT count(*) FROM pg_settings WHERE pending_restart") == "0"


def test_no_secret_is_readable_or_logged(host):
    assert host.file("/var/lib/postgresql/.paas/passfile").mode == 0o600
    assert host.file("/etc/paas/postgres/postgres.key").mode == 0o600
    for one in (host, follower()):
        assert one.run("grep -rqE 'todo-writes|todo-reads|todo-owner' /var/log /etc/postgresql").rc == 1
        assert one.run("journalctl --no-pager -q | grep -qE 'todo-writes|todo-reads|todo-owner|SCRAM-SHA-256.4096'").rc == 1


def test_both_come_back_after_a_restart_of_the_service(host):
    """The unit is started by the umbrella service, as at boot."""
    for one in (follower(), host):
        assert one.run("systemctl daemon-reload && systemctl restart postgresql").succeeded

    def state():
        return host.run("runuser -u postgres -- psql -XAtqc 'SELECT state FROM pg_stat_replication'").stdout.strip()

    eventually(state, "streaming", 30)
