# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a server's answer, and what is written where; the rest of it is tested on real servers."""

from __future__ import annotations

import os

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._postgres import cluster as c
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.errors import PostgresError

STREAMING = {"status": "streaming", "timeline": 1, "host": "10.0.1.21", "port": 5432}
ANSWER = {
    "in_recovery": True, "recovery_timeline": 1, "receive_lsn": "0/5000000", "replay_lsn": "0/5000000", "replay_age": 7200.0,
    "receiver": STREAMING, "conninfo": "host=10.0.1.21 port=5432", "slot_name": "paas_eu", "slots": [],
}


def running(**changes):
    return c._running({**ANSWER, **changes}, 1, lambda _lsn, known: known)


def test_level_is_level_only_while_it_streams():
    assert running()["lag_seconds"] == 0
    assert running(replay_lsn="0/4000000")["lag_seconds"] == 7200.0
    for receiver in (None, {**STREAMING, "status": "waiting"}, {**STREAMING, "host": "10.0.2.21"}):
        cut_off = running(receiver=receiver)
        assert cut_off["lag_seconds"] == 7200.0 and not cut_off["streaming"]


def test_the_log_tells_a_followers_timeline():
    found = c._running({**ANSWER, "receiver": None}, 1, lambda lsn, known: known + 1 if lsn == 0x5000000 else known)
    assert found["timeline"] == found["position"].timeline == 2


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(c.Cluster, "_config", lambda _self: {"data_directory": str(tmp_path / "link" / "main")})
    (tmp_path / "data" / "main").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    made = c.Cluster("17/main", timeout=0)
    made.config_dir, made.start_conf = str(tmp_path / "etc"), str(tmp_path / "etc" / "start.conf")
    made.state_dir = str(tmp_path / ".paas" / "17-main")
    monkeypatch.setattr(made, "owner", None)
    monkeypatch.setattr(made, "_daemon_reload", lambda: None)
    return made


def test_a_link_is_followed(cluster, tmp_path):
    assert cluster.data_dir == str(tmp_path / "data" / "main") and cluster.clone_dir.startswith(cluster.data_dir)


def test_a_fence_is_told_by_what_holds_it_down(cluster, tmp_path):
    (tmp_path / "etc" / "start.conf").write_text("manual\n")
    cluster.hold_down(fenced=True)
    assert not os.path.exists(cluster.state_dir), "as on a disk that is full"
    assert cluster._held_fenced() and cluster._start_mode() == "disabled"
    cluster.hold_down()
    assert cluster._held_fenced(), "a rewind does not lift it"
    os.makedirs(cluster.state_dir)
    cluster.release()
    assert not cluster._held_fenced() and (tmp_path / "etc" / "start.conf").read_text() == "manual\n"


def test_what_is_held_down_for_a_rewind_is_not_fenced(cluster):
    cluster.hold_down()
    assert cluster._start_mode() == "disabled" and not cluster._held_fenced()


def test_two_runs_exclude_each_other_also_where_nothing_can_be_written(cluster, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    other = c.Cluster("17/main", timeout=0)
    other.config_dir, other.state_dir = cluster.config_dir, cluster.state_dir
    monkeypatch.setattr(c.Cluster, "_own_dir", full)
    cluster.lock()
    with pytest.raises(PostgresError, match="another run"):
        other.lock()


def test_a_process_that_cannot_be_looked_into_is_not_taken_for_none(cluster, monkeypatch):
    with open(os.path.join(cluster.data_dir, "postmaster.pid"), "w", encoding="utf-8") as handle:
        handle.write(f"{os.getpid()}\n{cluster.data_dir}\n")
    assert cluster.postmaster() is None, "no server, the number was given away again"
    monkeypatch.setattr(cluster, "_is_server", lambda process: process == str(os.getpid()))
    assert cluster.postmaster() is None, "another cluster's"
    monkeypatch.setattr(cluster, "_home", lambda _process: None)
    with pytest.raises(PostgresError, match="cannot be looked into"):
        cluster.postmaster()
