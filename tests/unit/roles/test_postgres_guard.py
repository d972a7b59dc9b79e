# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the isolation guard lets writes be open, without a server and without a clock."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import time
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

ROLE = Path(__file__).resolve().parents[3] / "roles/postgres_server"
FILE = ROLE / "files/postgres_guard.py"
SPEC = importlib.util.spec_from_file_location("postgres_guard", FILE)
guard = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(guard)

FOLLOWERS = {"paas_us_2": "us", "paas_eu": "eu", "paas_ap": "ap"}


def lease(regions=3, followers=None):
    made = guard.Lease()
    made.configure(15, "us", followers or FOLLOWERS, regions)
    return made


def hear(made, start, end, *names, clock=1000.0):
    """Every second a look, and every second a reply of these followers."""
    for now in range(start, end):
        made.look(float(now), False, {name: clock + now for name in names})


def test_closed_until_a_majority_is_heard():
    made = lease()
    assert not made.open(0)
    made.look(0.0, False, {"paas_eu": 1000.0})
    assert not made.open(0), "a reply that was there before says nothing of now"
    made.look(2.0, False, {"paas_eu": 1002.0})
    assert made.open(2) and made.open(16.9) and not made.open(17)


def test_the_own_region_is_no_other():
    made = lease()
    hear(made, 0, 30, "paas_us_2")
    assert not made.open(29)


def test_who_is_unknown_does_not_count():
    made = lease()
    hear(made, 0, 30, "somebody")
    assert not made.open(29)


@pytest.mark.parametrize(
    "regions, heard, is_open",
    [(1, 0, True), (2, 0, False), (2, 1, True), (3, 1, True), (4, 1, False), (4, 2, True), (5, 1, False), (5, 2, True)],
)
def test_more_than_half_of_all_regions(regions, heard, is_open):
    followers = {f"paas_{number}": f"region-{number}" for number in range(regions - 1)}
    made = lease(regions, followers)
    hear(made, 0, 5, *list(followers)[:heard])
    assert made.open(4) is is_open


def test_a_majority_is_as_old_as_its_last_one():
    made = lease(5, {"paas_eu": "eu", "paas_ap": "ap", "paas_sa": "sa", "paas_af": "af"})
    hear(made, 0, 5, "paas_eu", "paas_ap")
    hear(made, 5, 30, "paas_eu")
    assert made.until == 4 + 15


def test_a_promotion_opens_for_one_time():
    made = lease()
    made.look(0.0, True, {})
    assert made.open(14.9)
    made.look(1.0, False, {})
    assert made.open(14.9) and not made.open(15)


def test_a_server_that_comes_up_as_a_primary_is_closed():
    made = lease()
    made.look(0.0, False, {})
    assert not made.open(0)


def test_a_held_back_reply_counts_from_when_it_was_sent():
    made = lease()
    hear(made, 0, 3, "paas_eu")
    # Cut for 60 seconds; then the network delivers what was sent in the first two of them.
    made.look(62.0, False, {"paas_eu": 1004.0})
    assert made.until < 30
    made.look(63.0, False, {"paas_eu": 1063.0})
    assert made.open(63), "one that is sent now does"


def test_clocks_may_be_set_and_run_unlike():
    made = lease()
    hear(made, 0, 5, "paas_eu")
    hear(made, 5, 8, "paas_eu", clock=500.0)
    assert made.until == 7 + 15
    for now in range(8, 100000, 5):
        made.look(float(now), False, {"paas_eu": 500.0 + now * 0.999})
    assert made.until > now + 14


@pytest.mark.parametrize("rate", [0.917, 1.0, 1.09], ids=["slewed down", "alike", "slewed up"])
def test_a_clock_that_is_slewed_does_not_close_writes(rate):
    """By as much as chrony does at most, and with the shortest time that the role allows."""
    made = guard.Lease()
    made.configure(12 - guard.HEADROOM, "us", FOLLOWERS, 3)
    for now in range(0, 4000, 2):
        assert now < 4 or made.open(now + 0.3)
        made.look(now + 0.3, False, {"paas_eu": 500.0 + now * rate})


@pytest.mark.parametrize("seed", range(100))
def test_the_lease_is_over_soon_after_its_time_whatever_the_network_held_back(seed):
    """Of the guard's time the last two seconds are not leased, and failover.yml waits another one; ending sessions takes half of one."""
    chance = random.Random(seed)
    last = chance.uniform(20, 60)
    sent, delivered = [0.0], [0.1]
    while sent[-1] < last:
        sent.append(min(last, sent[-1] + chance.uniform(0.1, 2)))
        held = chance.uniform(0, 30) if sent[-1] > last - 3 else chance.uniform(0.05, 0.3)
        # A connection keeps the order: what comes late makes all after it late.
        delivered.append(max(delivered[-1], sent[-1] + held))
    made = lease()
    for now in range(0, 120):
        arrived = [reply for reply, moment in zip(sent, delivered) if moment <= now]
        made.look(float(now), False, {"paas_eu": 1000.0 + arrived[-1]} if arrived else {})
        assert made.until <= max(now, last + 15 + 1.6)


class Clock:
    """In place of the module `time`."""

    CLOCK_BOOTTIME = "boottime"

    def __init__(self):
        self.now = 1000.0

    def clock_gettime(self, which):
        assert which == self.CLOCK_BOOTTIME
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class SilentServer:
    """A database that answers once, that it is a follower, and never again. What is asked of it takes as long as it is waited for."""

    def __init__(self, clock, full=False):
        self.clock, self.full, self.asked, self.closed_at = clock, full, 0, []

    def look(self, timeout):
        self.asked += 1
        if self.asked == 1:
            return {"in_recovery": True, "replies": {}}
        self.clock.sleep(timeout)
        raise subprocess.TimeoutExpired("psql", timeout)

    def set(self, closed):
        return False

    def close(self):
        if self.asked:
            self.closed_at.append(self.clock.now)
        if self.full:
            raise OSError(28, "No space left on device")
        return False


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(guard, "time", made)
    return made


def turns(monkeypatch, clock, server, seconds, until):
    monkeypatch.setattr(guard, "configuration", lambda: {"seconds": seconds, "region": "us", "followers": FOLLOWERS, "regions": 3})
    made = guard.Lease()
    while clock.now < 1000 + until:
        clock.sleep(max(0.001, guard.turn(server, made)))
    return [moment - 1000 for moment in server.closed_at]


@pytest.mark.parametrize("seconds", [3, 15, 15.7])
def test_writes_are_closed_when_the_time_is_over_however_long_an_answer_takes(seconds, monkeypatch, clock):
    """A follower at the first look, it gives no answer any more. Who was coming in when it is closed is looked for some more times."""
    server = SilentServer(clock)
    closed = turns(monkeypatch, clock, server, seconds, seconds + 30)
    # The first look gave it its time.
    assert closed[0] == pytest.approx(seconds - 2, abs=0.01)
    assert all(after - before < 0.5 for before, after in zip(closed, closed[1:]) if after < closed[0] + 5)
    assert len([moment for moment in closed if moment > closed[0] + 6]) < 20, "and then not all the time"


def test_with_a_full_disk_the_sessions_are_ended_all_the_time(monkeypatch, clock, capsys):
    closed = turns(monkeypatch, clock, SilentServer(clock, full=True), 15, 60)
    assert closed[0] == pytest.approx(13, abs=0.01) and closed[-1] > 59
    assert max(after - before for before, after in zip(closed, closed[1:])) < 0.5
    assert "cannot be kept out" in capsys.readouterr().out


class FullDisk(guard.Server):
    def _write(self, path, text):
        raise OSError(28, "No space left on device")

    def reload(self):
        self.told.append("reload")

    def end_sessions(self):
        self.told.append("ended")


def test_what_closes_and_opens_writes_lies_ready(tmp_path, clock):
    config = {"file": str(tmp_path / "guard"), "roles": ["todo_owner"], "data_directory": str(tmp_path)}
    assert guard.Server(config).set(closed=False)
    server = FullDisk(config)
    server.told = []
    for _time in range(3):
        assert server.close() and (tmp_path / "guard").read_text() == "todo_owner\n"
        # Before anything that a disk could hinder, and until the signal must have been seen.
        assert server.told == ["ended", "reload"] + ["ended"] * 10
        assert server.set(closed=False) and (tmp_path / "guard").read_text() == guard.NOBODY + "\n"
        assert not server.set(closed=False)
        server.told = []
    # Nothing lies ready for other roles than those of before: they are not let in before it does, and are ended.
    server.config = {**config, "roles": ["todo_owner", "shop_owner"]}
    for change in (server.close, lambda: server.set(closed=False)):
        with pytest.raises(OSError):
            change()
    assert server.told.count("ended") == 11
    assert not guard.Server(server.config).set(closed=False)
    assert server.close() and (tmp_path / "guard").read_text() == "todo_owner\nshop_owner\n"


def test_a_disk_that_gives_nothing_does_not_end_the_guard(monkeypatch, clock, capsys):
    """Its configuration is as before; and who has the majority is not let in where it could not be closed again."""

    class Server(SilentServer):
        config = {"seconds": 15, "region": "us", "followers": FOLLOWERS, "regions": 3}

        def look(self, timeout):
            return {"in_recovery": True, "replies": {}}

        def set(self, closed):
            raise OSError(28, "No space left on device")

    def configuration():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(guard, "configuration", configuration)
    made = guard.Lease()
    assert 0 < guard.turn(Server(clock), made) <= guard.INTERVAL
    assert made.until == 1000 + 13 and "writes stay closed" in capsys.readouterr().out


def test_an_answer_that_does_not_come_is_not_waited_for(tmp_path, monkeypatch):
    program = tmp_path / "psql"
    program.write_text("#!/bin/sh\ncat >/dev/null\nexec sleep 20\n", encoding="utf-8")
    program.chmod(0o755)
    server = guard.Server({"psql": str(program), "port": 5432})
    started = time.monotonic()
    with monkeypatch.context() as hanging:
        # As one that waits for a disk.
        hanging.setattr(subprocess.Popen, "kill", lambda process: None)
        with pytest.raises(subprocess.TimeoutExpired):
            server.query("SELECT 1", 0.2)
    assert time.monotonic() - started < 15
    program.write_text("#!/bin/sh\ncat\nexit 1\n", encoding="utf-8")
    with pytest.raises(subprocess.CalledProcessError):
        server.query("SELECT 1", 10)
    program.write_text("#!/bin/sh\ncat\n", encoding="utf-8")
    assert server.query("SELECT 1", 10) == "SELECT 1"


@pytest.mark.parametrize("on, seconds, fine", [(True, 15, True), (True, 12, True), (True, "11", False), (True, 0, False), (False, 0, True)])
def test_a_time_in_which_nobody_could_be_heard_is_refused(on, seconds, fine):
    loader = DataLoader()
    task = loader.load_from_file(str(ROLE / "tasks/main.yml"), trusted_as_template=True)[0]
    variables = {"postgres_server_guard": on, "postgres_server_guard_seconds": seconds}
    assert Templar(loader=loader, variables=variables).evaluate_conditional(task["ansible.builtin.assert"]["that"]) is fine


def test_a_region_that_is_gone_is_forgotten():
    made = lease()
    hear(made, 0, 5, "paas_eu")
    made.configure(15, "us", {"paas_ap": "ap"}, 2)
    made.look(10.0, False, {})
    assert made.until == 4 + 15


def test_the_file_of_names_is_never_empty(tmp_path):
    file = tmp_path / "closed"
    server = guard.Server({"file": str(file), "roles": ["todo_owner", "todo_rw"], "data_directory": str(tmp_path)})
    assert server.set(closed=True) and not server.set(closed=True)
    assert file.read_text() == "todo_owner\ntodo_rw\n"
    assert server.set(closed=False) and file.read_text() == guard.NOBODY + "\n"
    server.config = {**server.config, "roles": []}
    assert not server.set(closed=True)
