# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A region's app stops, its machines die, its network is cut, or it is drained: its users are answered by the next nearest one, and come back."""

from __future__ import annotations

import contextlib
import time

import pytest

import estate

REGION = "eu-west-1"
NEXT = "us-east-1"
APP = "todo"


def stop_app(inventory):
    for host in inventory.web(REGION):
        estate.on(host.name, "dokku", "ps:stop", APP, timeout=180)


def start_app(inventory):
    for host in inventory.web(REGION):
        estate.on(host.name, "dokku", "ps:start", APP, timeout=300)


def machines(inventory):
    return [host.name for group in ("paas_dokku", "paas_postgres") for host in inventory.group(group) if host.region == REGION]


def kill(inventory):
    estate.lab("kill", *machines(inventory))


def start(inventory):
    estate.lab("start", *machines(inventory))


def cut(_inventory):
    estate.lab("cut", REGION)


def heal(_inventory):
    estate.lab("heal", REGION)


FAILURES = {"app": (stop_app, start_app), "machines": (kill, start), "network": (cut, heal)}


def settled(clients, inventory):
    """Everybody is at home again and every follower streams."""
    for region, client in clients.items():
        expected = inventory.addresses(region)
        estate.wait(lambda c=client, e=expected: c.addresses() == e, 180, f"{region}'s users are at home")
    primary = estate.primary(inventory)
    count = str(len(inventory.databases()) - 1)
    query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    estate.wait(lambda: estate.sql(primary.name, query) == count, 120, "every follower streams")


@pytest.fixture(autouse=True)
def at_home(clients, inventory):
    settled(clients, inventory)


@pytest.mark.parametrize("what", FAILURES)
def test_users_go_to_the_next_nearest_region_and_return(clients, inventory, what):
    breaks, mends = FAILURES[what]
    timing = estate.timing()
    with contextlib.ExitStack() as stack:
        counters = {region: stack.enter_context(client.count()) for region, client in clients.items()}
        mine = counters[REGION]
        here, there = inventory.addresses(REGION), inventory.addresses(NEXT)
        try:
            broken = time.time()
            breaks(inventory)
            done = time.time()
            # From the moment at which the region was surely gone.
            moved = estate.wait(
                lambda: next((r for r in mine.since(broken) if set(r.addresses) == there), None),
                timing.failover + 10,
                f"{REGION}'s users move to {NEXT}",
                pause=0.2,
            )
            estate.wait(lambda: len(mine.since(moved.began)) > 40, 60, "they go on asking")
        finally:
            mends(inventory)
        estate.say(f"{what}: moved {moved.began - done:.1f} s after it was gone; allowed {timing.failover:.0f} s")
        assert moved.began - done <= timing.failover
        back = estate.wait(
            lambda: next((r for r in mine.since(moved.began) if set(r.addresses) == here), None), 240, "they return", pause=0.2
        )
        estate.wait(lambda: len(mine.since(back.began)) > 20, 60, "they go on asking")
    after = mine.since(moved.began)
    failed = [request for request in after if request.failed]
    lost = [request for request in mine.requests if request.failed]
    estate.say(f"{what}: {len(lost)} requests failed before DNS moved, {len(failed)} of {len(after)} after it")
    assert not failed, failed[:5]
    assert {request.region for request in after if set(request.addresses) == there} == {NEXT}
    for region, counter in counters.items():
        if region != REGION:
            counter.none_failed(f"{what} in {REGION}")


def test_a_drained_region_is_left_and_taken_up_again_without_a_failed_request(clients, inventory):
    """The runbook ends when DNS sends nobody there any more and nobody is there."""
    with contextlib.ExitStack() as stack:
        counters = {region: stack.enter_context(client.count()) for region, client in clients.items()}
        try:
            estate.playbook("drain", "-e", f"region={REGION}")
            left = time.time()
            assert clients[REGION].addresses() == inventory.addresses(NEXT)
            estate.wait(lambda: len(counters[REGION].since(left)) > 40, 60, "they go on asking")
        finally:
            estate.playbook("undrain", "-e", f"region={REGION}")
        asked = counters[REGION].since(left)
        estate.wait(lambda: clients[REGION].addresses() == inventory.addresses(REGION), 120, "they return")
    assert {request.region for request in asked[:40]} == {NEXT}
    for region, counter in counters.items():
        counter.none_failed(f"drain of {REGION}, {region}")
