# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Round-trip times, measured over loopback, and the module around them."""

from __future__ import annotations

import json
import socket

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.multiregion.paas.plugins.module_utils import _round_trip
from ansible_collections.multiregion.paas.plugins.modules import round_trip_info


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    """A port that nobody listens on, and nobody gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture
def deaf():
    """A port whose queue is full: what knocks there gets no answer."""
    waiting = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        while True:
            client = socket.socket()
            client.settimeout(0.5)
            waiting.append(client)
            try:
                client.connect(server.getsockname())
            except TimeoutError:
                break
        yield server.getsockname()[1]
        for client in waiting:
            client.close()


@pytest.fixture
def run(capsys):
    def call(**arguments):
        with patch_module_args(arguments), pytest.raises(SystemExit):
            round_trip_info.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_an_accepted_connection_is_an_answer(listener):
    assert 0 < _round_trip.round_trip_time("127.0.0.1", listener, 5) < 5000


def test_a_refused_connection_is_an_answer(closed):
    assert 0 < _round_trip.round_trip_time("127.0.0.1", closed, 5) < 5000


def test_who_does_not_answer_is_asked_once(deaf, monkeypatch):
    asked = []
    really = _round_trip.handshake
    monkeypatch.setattr(_round_trip, "handshake", lambda *arguments: asked.append(1) or really(*arguments))
    assert _round_trip.round_trip_time("127.0.0.1", deaf, 0.2) is None
    assert len(asked) == 1


def test_the_shortest_counts(monkeypatch):
    taken = iter([80.0, 75.5, 1080.0])
    monkeypatch.setattr(_round_trip, "handshake", lambda *_arguments: next(taken))
    assert _round_trip.round_trip_time("198.18.0.1", 443, 1) == 75.5


def test_an_answer_lost_later_does_not_spoil_the_earlier_ones(monkeypatch):
    taken = iter([80.0, None])
    monkeypatch.setattr(_round_trip, "handshake", lambda *_arguments: next(taken))
    assert _round_trip.round_trip_time("198.18.0.1", 443, 1) == 80.0


def test_the_module_gives_a_row_and_changes_nothing(run, listener):
    for check_mode in (False, True):
        result = run(targets={"here": "127.0.0.1"}, port=listener, _ansible_check_mode=check_mode)
        assert not result["changed"] and 0 <= result["round_trip_times"]["here"] < 5000


def test_no_answer_is_no_failure(run, deaf):
    assert run(targets={"here": "127.0.0.1"}, port=deaf, timeout=1)["round_trip_times"] == {"here": None}


def test_nowhere_to_measure_to_is_no_failure(run):
    assert run(targets={})["round_trip_times"] == {}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"targets": {"eu": "example.com"}}, "'example.com', the address of eu, is no IP address"),
        ({"targets": {}, "port": 0}, "0 is not between 1 and 65535"),
        ({"targets": {}, "timeout": 0}, "not at least 1 second"),
    ],
)
def test_what_is_wrong_is_said(run, arguments, words):
    result = run(**arguments)
    assert result["failed"] and words in result["msg"]
