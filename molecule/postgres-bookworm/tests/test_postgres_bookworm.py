# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A single server with other values than the defaults."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

testinfra_hosts = ["postgres-bookworm-1"]

CA = Path(os.environ.get("MOLECULE_PROJECT_DIRECTORY", ".")).resolve() / ".lab/molecule/postgres-bookworm/ca.crt"


def connect(user, password, database="shop", **options):
    return psycopg.connect(
        host="198.18.16.13", port=5433, user=user, password=password, dbname=database, autocommit=True, connect_timeout=5,
        **{"sslmode": "verify-full", "sslrootcert": str(CA), **options},
    )


def sql(host, text):
    command = host.run("runuser -u postgres -- psql -XAtq -p 5433 -v ON_ERROR_STOP=1 -c %s", text)
    assert command.succeeded, command.stderr
    return command.stdout.strip()


def test_an_app_writes_and_reads():
    with connect("shop_owner", "shop-owner") as owner:
        owner.execute("DROP TABLE IF EXISTS goods")
        owner.execute("CREATE TABLE goods (id serial PRIMARY KEY, name text)")
    with connect("shop_rw", "shop-writes") as writer:
        writer.execute("INSERT INTO goods (name) VALUES ('apple')")
    with connect("shop_ro", "shop-reads") as reader:
        assert reader.execute("SELECT name FROM goods").fetchone() == ("apple",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM goods")


@pytest.mark.parametrize(
    "options, why",
    [
        ({"sslmode": "disable", "sslrootcert": None}, "pg_hba.conf rejects"),
        ({"password": "wrong"}, "password authentication failed"),
        ({"dbname": "postgres"}, "pg_hba.conf rejects"),
        ({"user": "copier"}, "pg_hba.conf rejects"),
    ],
)
def test_who_is_turned_away(options, why):
    arguments = {"user": "shop_ro", "password": "shop-reads", "database": options.pop("dbname", "shop"), **options}
    with pytest.raises(psycopg.OperationalError, match=why):
        connect(**arguments)


def test_the_settings_are_the_given_ones(host):
    wanted = {
        "max_connections": "50", "work_mem": "7MB", "shared_buffers": "256MB", "effective_cache_size": "768MB", "max_slot_wal_keep_size": "512MB",
        "log_min_duration_statement": "250ms", "data_checksums": "off", "lc_collate": "C", "listen_addresses": "198.18.16.13", "server_version": "15",
    }
    for name, value in wanted.items():
        if name == "lc_collate":
            assert sql(host, "SELECT datcollate FROM pg_database WHERE datname = 'template0'") == value
        else:
            assert sql(host, f"SHOW {name}").startswith(value), name


def test_the_slot_of_an_absent_follower_waits_without_keeping_log(host):
    assert sql(host, "SELECT slot_name, active, restart_lsn IS NULL FROM pg_replication_slots") == "paas_away_1|f|t"


def test_the_unit_of_the_cluster_runs(host):
    assert host.service("postgresql@15-estate").is_running
    assert host.run("pg_lsclusters -h").stdout.split()[:4] == ["15", "estate", "5433", "online"]


def test_nothing_is_left_of_the_isolation_guard(host):
    """side_effect.yml has had one."""
    assert host.run("ls /etc/systemd/system | grep paas-postgres-guard").stdout == ""
    assert host.run("pgrep -f '[p]aas-postgres-guard'").stdout == ""
    assert not host.file("/etc/postgresql/15/estate/pg_hba.conf").contains("paas_guard")
    assert sql(host, "SELECT to_regclass('paas_guard') IS NULL") == "t"


def test_what_a_killed_run_wrote_is_read(host):
    """side_effect.yml was that run, and the one after it. A file's time comes in whole seconds."""
    assert sql(host, "SELECT (pg_stat_file(current_setting('hba_file'))).change + interval '1 second' <= pg_conf_load_time()") == "t"
