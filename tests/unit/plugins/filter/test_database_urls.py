# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.database_urls import database_urls

NODES = [
    {"host": "10.0.2.21", "port": 5432, "region": "eu-west-1"},
    {"host": "10.0.1.21", "port": 5432, "region": "us-east-1"},
    {"host": "10.0.3.21", "region": "ap-southeast-2"},
    {"host": "10.0.1.22", "port": 5433, "region": "us-east-1"},
]
PASSWORDS = {"owner": "o", "read_write": "p@ss/w:rd%", "read_only": "r"}


def urls(region="eu-west-1", **options):
    return database_urls(NODES, "todo", PASSWORDS, region, **{"primary_region": "us-east-1", **options})


def hosts(url):
    return urlsplit(url).netloc.rpartition("@")[2].split(",")


def test_who_writes_finds_the_primary_wherever_it_is():
    result = urls()
    assert result["MASTER_DATABASE_URL"] == result["DATABASE_URL"]
    assert hosts(result["DATABASE_URL"]) == ["10.0.1.21:5432", "10.0.1.22:5433", "10.0.2.21:5432", "10.0.3.21:5432"]
    assert parse_qs(urlsplit(result["DATABASE_URL"]).query)["target_session_attrs"] == ["read-write"]


def test_who_reads_asks_the_own_region_first():
    for region, first in (("eu-west-1", "10.0.2.21:5432"), ("us-east-1", "10.0.1.21:5432"), ("ap-southeast-2", "10.0.3.21:5432")):
        result = urls(region)
        assert hosts(result["READ_DATABASE_URL"])[0] == first
        assert sorted(hosts(result["READ_DATABASE_URL"])) == sorted(hosts(result["DATABASE_URL"]))
        assert parse_qs(urlsplit(result["READ_DATABASE_URL"]).query)["target_session_attrs"] == ["any"]


def test_then_the_nearest():
    result = urls("ap-southeast-2", nearest=["us-east-1", "eu-west-1"])
    assert hosts(result["READ_DATABASE_URL"]) == ["10.0.3.21:5432", "10.0.1.21:5432", "10.0.1.22:5433", "10.0.2.21:5432"]


def test_a_region_without_a_server_reads_elsewhere():
    assert hosts(urls("eu-central-1", nearest=["eu-west-1"])["READ_DATABASE_URL"])[0] == "10.0.2.21:5432"


def test_roles_and_passwords():
    result = urls()
    assert urlsplit(result["DATABASE_URL"]).netloc.startswith("todo_rw:p%40ss%2Fw%3Ard%25@")
    assert unquote("p%40ss%2Fw%3Ard%25") == PASSWORDS["read_write"]
    assert urlsplit(result["READ_DATABASE_URL"]).netloc.startswith("todo_ro:r@")
    assert urlsplit(urls(role="owner")["DATABASE_URL"]).netloc.startswith("todo_owner:o@")


def test_a_dead_server_does_not_hold_up():
    query = parse_qs(urlsplit(urls(connect_timeout=2, tcp_user_timeout=4000)["DATABASE_URL"]).query)
    assert query["connect_timeout"] == ["2"] and query["tcp_user_timeout"] == ["4000"]
    assert query["sslmode"] == ["verify-full"] and query["sslrootcert"] == ["/etc/paas/ca.crt"]


def test_the_order_does_not_depend_on_who_is_primary():
    assert urls() == urls()
    assert hosts(database_urls(NODES, "todo", PASSWORDS, "eu-west-1")["DATABASE_URL"])[0] == "10.0.2.21:5432"


def test_ipv6():
    assert hosts(database_urls([{"host": "fd00::1", "region": "a"}], "d", PASSWORDS, "a")["DATABASE_URL"]) == ["[fd00::1]:5432"]


@pytest.mark.parametrize(
    "nodes, options, why",
    [
        ([], {}, "at least one"),
        ("10.0.0.1", {}, "at least one"),
        ([{"host": "a"}], {}, "host and region"),
        ([{"host": "a", "region": "r"}, {"host": "a", "region": "s"}], {}, "named twice: a:5432"),
        ([{"host": "a", "region": "r"}], {"role": "superuser"}, "read_write or owner"),
        ([{"host": "a", "region": "r"}], {"passwords": {"read_write": "x"}}, "no password read_only"),
    ],
)
def test_what_is_refused(nodes, options, why):
    with pytest.raises(AnsibleFilterError, match=why):
        database_urls(nodes, **{"database": "d", "passwords": PASSWORDS, "region": "r", **options})


def test_libpq_understands_it():
    psycopg = pytest.importorskip("psycopg")
    parsed = psycopg.conninfo.conninfo_to_dict(urls()["READ_DATABASE_URL"])
    assert parsed["host"] == "10.0.2.21,10.0.1.21,10.0.3.21,10.0.1.22"
    assert parsed["port"] == "5432,5432,5432,5433"
    assert parsed["user"] == "todo_ro" and parsed["sslrootcert"] == "/etc/paas/ca.crt"
    assert psycopg.conninfo.conninfo_to_dict(urls()["DATABASE_URL"])["password"] == PASSWORDS["read_write"]
