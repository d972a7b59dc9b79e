# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an agent is restarted, and what it is asked before and after."""

from __future__ import annotations

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._consul import restart
from ansible_collections.multiregion.paas.plugins.module_utils._consul.errors import RequestFailed

PARAMETERS = {"name": "me", "server": True, "url": "https://127.0.0.1:8501", "ca_file": "/ca.crt", "token": "operator", "timeout": 0}
WELL = {"Servers": [{"Name": name, "Healthy": True, "Voter": True, "Leader": name == "b"} for name in ("me", "b", "c")]}
ILL = {"Servers": [{**server, "Healthy": server["Name"] != "c"} for server in WELL["Servers"]]}


@pytest.fixture()
def answers(monkeypatch):
    """The agent's next answers; and what systemctl was told."""
    queue, told = [], []

    class Agent:
        deadline = 0

        def call(self, method, path, accept=()):
            answer = queue.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

    monkeypatch.setattr(restart, "Client", lambda *arguments: Agent())
    monkeypatch.setattr(restart, "_systemctl", lambda *arguments: told.append(arguments[0]))
    return queue, told


def test_a_server_that_may(answers):
    queue, told = answers
    queue += [WELL, WELL]
    assert restart.run(PARAMETERS, check_mode=False) == {"changed": True}
    assert told == ["daemon-reload", "restart"]


def test_a_server_that_must_not(answers):
    queue, told = answers
    queue += [ILL]
    with pytest.raises(restart.Refused, match="not healthy: c"):
        restart.run(PARAMETERS, check_mode=False)
    assert told == []


@pytest.mark.parametrize("said", ["No cluster leader", "rpc error making call: Raft leader not found in server lookup mapping"])
def test_a_server_without_the_others_has_no_quorum_to_lose(answers, said):
    queue, told = answers
    queue += [RequestFailed(f"Consul refused it with status 500: {said}.", 500, True), WELL]
    assert restart.run(PARAMETERS, check_mode=False) == {"changed": True}
    assert told == ["daemon-reload", "restart"]


@pytest.mark.parametrize("error", [RequestFailed("refused with status 403: Permission denied", 403, False), RequestFailed("does not answer", 0, True)])
def test_who_cannot_be_asked_is_not_restarted(answers, error):
    queue, told = answers
    queue += [error]
    with pytest.raises(RequestFailed):
        restart.run(PARAMETERS, check_mode=False)
    assert told == []
