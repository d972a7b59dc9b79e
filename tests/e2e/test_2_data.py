# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A write is in the primary at once and on every follower soon; reads come from the own follower; nobody misses an own write."""

from __future__ import annotations

import uuid

import estate
import yaml


def test_a_write_from_far_away_reaches_every_node(clients, inventory):
    title = f"from Sydney {uuid.uuid4()}"
    found = clients["ap-southeast-2"].session("--rounds", "0", "--title", title)
    query = f"SELECT count(*) FROM todo WHERE title = '{title}'"
    primary = estate.primary(inventory)
    assert primary.region == "us-east-1"
    assert estate.sql(primary.name, query) == "1"
    for host in inventory.databases():
        estate.wait(lambda h=host: estate.sql(h.name, query) == "1", 10, f"the todo is on {host.name}", pause=0.1)
    assert found["region"] == "ap-southeast-2"


def test_reads_are_served_by_the_own_node(clients, inventory):
    primary = estate.primary(inventory)
    for region, client in clients.items():
        reader = client.session("--rounds", "0")["reader"]
        own = {host.private for host in inventory.databases(region)}
        assert reader["region"] == region and reader["host"] in {host.name for host in inventory.web(region)}
        assert reader["database"]["address"] in own, f"{region}: {reader}"
        assert reader["database"]["role"] == ("primary" if region == primary.region else "follower")
        assert reader["lag_seconds"] is not None and reader["lag_seconds"] < 10, reader


def test_reads_go_to_the_nearest_node_when_the_own_one_is_away(inventory):
    times = yaml.safe_load((estate.REPOSITORY / "tests" / "lab" / "lab.yml").read_text(encoding="utf-8"))["round_trip_times"]
    distance = {frozenset(entry["between"]): entry["ms"] for entry in times}
    for region in inventory.regions:
        nodes = sorted(inventory.databases(), key=lambda node: distance.get(frozenset((region, node.region)), 0))
        url = estate.on(inventory.web(region)[0].name, "dokku", "config:get", "todo", "READ_DATABASE_URL")
        asked = [server.partition(":")[0] for server in url.partition("@")[2].partition("/")[0].split(",")]
        assert asked == [node.private for node in nodes], region


def test_every_write_is_read_back_at_once(clients):
    for region, client in clients.items():
        found = client.session("--rounds", "10")
        times = sorted(found["write_seconds"])
        estate.say(f"{region}: {found['reads']} reads after writes, {len(found['stale'])} stale; a write takes {times[len(times) // 2] * 1000:.0f} ms")
        assert found["reads"] > 60 and found["stale"] == []
        assert found["region"] == region


def test_every_request_leaves_one_row_behind(inventory):
    primary = estate.primary(inventory)
    regions = {host.region for host in inventory.group("paas_dokku")}
    query = "SELECT string_agg(DISTINCT region, ',') FROM audit WHERE at > now() - interval '10 minutes'"
    estate.wait(lambda: set(estate.sql(primary.name, query).split(",")) == regions, 10, "every region's requests are recorded")
