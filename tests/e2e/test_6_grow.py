# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The estate grows by a line and by a file, through runs that are killed on the way, and shrinks again; no request fails."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import time

import pytest
import yaml

import estate

SEED = 20261121
NEW_WEB = "eu-west-1-dokku-2"
NEW_DATABASE = "eu-west-1-pg-2"
NEW_REGION = "eu-central-1"
PREFIX = "multiregion.paas."
# Tasks that may change the others when somebody comes or leaves, because what they write names them all.
NAMES_THE_OTHERS = frozenset(
    {
        # Who may connect, and who follows.
        "postgres_server : Write the configuration, which the server reads when it runs",
        "postgres_server : Have the server read what has changed since it last did",
        "postgres_primary : Create what the apps and followers need",
        # Which web hosts of the region may.
        "valkey : Write the firewall's rules and unit",
        # The regional names.
        "certificate : Issue the certificates",
        "certificate : Write what is to be renewed",
        "certificate : Take the certificates",
        # On the host that issues, for each newcomer.
        "certificate : Tell them to the issuing host",
        # On this computer, for a newcomer: nothing is written here.
        "estate_certificate : Sign the certificate",
        # The database URLs.
        "app : Declare the apps",
        "latency_dns : Send the users of each app to the nearest healthy region",
    }
)


class Grown:
    """A copy of the lab's inventory that lies beside it, so that relative paths still hold, and that grows."""

    def __init__(self) -> None:
        self.path = estate.INVENTORY.parent / ".lab-grown"
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(estate.INVENTORY, self.path)

    def add_host(self, region: str, group: str, name: str, **values: object) -> None:
        file = self.path / f"{region}.yml"
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        hosts = data["all"]["children"][group]["children"][f"{group}_{region.replace('-', '_')}"]["hosts"]
        hosts[name] = values
        file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")

    def shrink(self) -> None:
        """As it was, all at once."""
        for file in self.path.glob("*.yml"):
            original = estate.INVENTORY / file.name
            if original.exists():
                shutil.copy(original, file)
            else:
                file.unlink()

    @property
    def inventory(self) -> estate.Inventory:
        return estate.Inventory(self.path)


@pytest.fixture(scope="module")
def grown():
    made = Grown()
    estate.lab("up", "--no-ping", NEW_WEB, NEW_DATABASE, NEW_REGION, timeout=600)
    made.add_host(
        "eu-west-1", "paas_dokku", NEW_WEB,
        ansible_host="198.18.2.12", paas_private_address="198.18.2.12", paas_public_addresses=["198.18.2.12"],
    )
    made.add_host("eu-west-1", "paas_postgres", NEW_DATABASE, ansible_host="198.18.2.22", paas_private_address="198.18.2.22")
    shutil.copy(estate.REPOSITORY / "tests" / "lab" / "extra" / f"{NEW_REGION}.yml", made.path)
    yield made
    shutil.rmtree(made.path, ignore_errors=True)
    estate.lab("down", NEW_WEB, NEW_DATABASE, NEW_REGION)


@contextlib.contextmanager
def users(clients):
    """Readers and writers in every region, of whom nobody may notice anything."""
    with contextlib.ExitStack() as stack:
        counters = []
        for client in clients.values():
            counters.append(stack.enter_context(client.count("--interval", "0.5")))
            counters.append(stack.enter_context(client.count("--interval", "1", "--write")))
        yield counters


def untouched(inventory):
    """What must not have been restarted: the database servers and nginx."""
    marks = {}
    for host in inventory.databases():
        marks[host.name] = estate.sql(host.name, "SELECT pg_postmaster_start_time()", "postgres")
    for host in inventory.group("paas_dokku"):
        marks[host.name] = estate.on(host.name, "systemctl", "show", "--property=MainPID", "nginx.service")
    return marks


def only_names_the_others(site, newcomers=frozenset()):
    others = [(host, task.removeprefix(PREFIX)) for host, task in site.changes if host not in newcomers]
    for host, task in others:
        estate.say(f"changed for who comes or leaves: {host}: {task}")
    wrong = [(host, task) for host, task in others if task not in NAMES_THE_OTHERS]
    assert not wrong, f"{site.log}: {wrong}"


def streaming(inventory):
    primary = estate.primary(inventory)
    addresses = estate.sql(primary.name, "SELECT string_agg(host(client_addr), ',') FROM pg_stat_replication WHERE state = 'streaming'")
    return set(addresses.split(","))


def test_growing_through_killed_runs(clients, inventory, grown):
    """A second Dokku host, a second Postgres host and a fourth region arrive; their run dies three times, each time somewhere else.

    Nobody is sent to a host that is not ready, and no request fails. The run after them ends where an undisturbed one would.
    """
    newcomers = {NEW_WEB, NEW_DATABASE, f"{NEW_REGION}-dokku-1", f"{NEW_REGION}-pg-1"}
    marks = untouched(inventory)
    primary = estate.primary(inventory)
    newcomer = estate.Client(NEW_REGION)
    estate.prepare(grown.path)
    dry = estate.begin_site("grow-count", "--list-tasks", inventory=grown.path).finish()
    whole = len(re.findall(r"^\s{6}\S", dry.output, re.MULTILINE))
    moments = sorted(random.Random(SEED).sample(range(whole // 10, whole * 7 // 10), 3))
    with users({**clients, NEW_REGION: newcomer}) as counters:
        before = estate.sql(primary.name, "SELECT count(*) FROM todo")
        runs = []
        for number, moment in enumerate(moments, 1):
            killed = estate.begin_site(f"killed-{number}", inventory=grown.path)
            killed.kill_after(moment)
            estate.say(f"killed after {killed.tasks} tasks and {killed.seconds:.0f} s")
            runs.append(killed)
        runs.append(estate.site("healed", inventory=grown.path))
        both, fourth = grown.inventory.addresses("eu-west-1"), grown.inventory.addresses(NEW_REGION)
        assert len(both) == 2 and fourth
        estate.wait(lambda: clients["eu-west-1"].addresses() == both, 60, "DNS names both hosts")
        estate.wait(lambda: newcomer.addresses() == fourth, 60, "the fourth region's users are sent there")
        asked = time.time()
        estate.wait(
            lambda: {r.host for c in counters for r in c.since(asked)} >= {"eu-west-1-dokku-1", NEW_WEB}, 60, "both hosts serve"
        )
        estate.wait(lambda: {r.region for c in counters[-2:] for r in c.since(asked)} == {NEW_REGION}, 60, "the fourth region serves")
    for counter in counters:
        counter.none_failed("growing through three killed runs")
    for site in runs:
        only_names_the_others(site, newcomers)
    assert estate.primary(inventory).name == primary.name
    assert int(estate.sql(primary.name, "SELECT count(*) FROM todo")) >= int(before)
    estate.wait(lambda: {"198.18.2.22", "198.18.4.21"} <= streaming(grown.inventory), 60, "the new Postgres hosts follow")
    answer = newcomer.curl(f"https://{NEW_REGION}.{estate.NAME}/readyz", write_out="%{http_version} %{response_code}")
    assert answer == "2 200"
    reader = newcomer.session("--rounds", "2")
    assert reader["stale"] == [] and reader["reader"]["database"]["address"] == "198.18.4.21"
    assert {name: mark for name, mark in untouched(inventory).items() if name in marks} == marks, "a server was restarted"


def test_again_changes_nothing(grown):
    """On the grown estate, so that this also says that the killed runs left nothing undone."""
    again = estate.site("again", inventory=grown.path)
    assert again.changed == {}, again.changes


def test_what_leaves_is_gone_in_reverse(clients, inventory, grown):
    marks = untouched(inventory)
    newcomer = estate.Client(NEW_REGION)
    grown.shrink()
    with users({**clients, NEW_REGION: newcomer}) as counters:
        site = estate.site("shrink", inventory=grown.path)
        estate.wait(lambda: clients["eu-west-1"].addresses() == inventory.addresses("eu-west-1"), 60, "DNS names one host")
        estate.wait(lambda: newcomer.addresses() == inventory.addresses("eu-west-1"), 60, "the region's users go to the next nearest")
        # Names that somebody still holds are good until their TTL is over; then the machines may go.
        time.sleep(estate.timing().ttl + 2)
        estate.lab("kill", NEW_WEB, NEW_DATABASE, f"{NEW_REGION}-dokku-1", f"{NEW_REGION}-pg-1")
        asked = time.time()
        estate.wait(lambda: all(len(c.since(asked)) > 10 for c in counters), 60, "users go on asking")
    for counter in counters:
        counter.none_failed("shrinking")
    only_names_the_others(site)
    primary = estate.primary(inventory)
    slots = estate.sql(primary.name, "SELECT count(*) FROM pg_replication_slots")
    assert int(slots) == len(inventory.databases()) - 1, f"{slots} slots are kept"
    assert not [entry for entry in estate.records() if NEW_REGION in entry["Name"] or entry.get("Region") == NEW_REGION]
    assert {name: mark for name, mark in untouched(inventory).items() if name in marks} == marks, "a server was restarted"
