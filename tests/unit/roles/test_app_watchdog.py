# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The app role's watchdog: which container it replaces, and when."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "roles" / "app" / "files" / "watchdog.py"


@pytest.fixture
def dog(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("paas_watchdog", str(FILE))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("paas_watchdog", loader))
    loader.exec_module(module)
    for name, path in (("CONFIG", "watchdog.json"), ("STATE", "state.json"), ("APPS", "apps")):
        setattr(module, name, tmp_path / path)
    module.CONFIG.write_text(json.dumps({"failures": 3, "apps": {"todo": "/healthz", "gone": "/healthz"}}))
    module.ANSWER_SECONDS = 0.2
    (module.APPS / "todo").mkdir(parents=True)
    module.replaced = []
    monkeypatch.setattr(module, "replace", lambda app: module.replaced.append(app) or True)
    monkeypatch.setattr(module, "running", lambda container: not container.startswith("stopped"))
    return module


def container(dog, number, name, port):
    for kind, text in (("CONTAINER", name), ("IP", "127.0.0.1"), ("PORT", str(port))):
        (dog.APPS / "todo" / f"{kind}.web.{number}").write_text(text + "\n")


class Unwell(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(500)

    def log_message(self, *_words):
        pass


@pytest.fixture
def unwell():
    server = HTTPServer(("127.0.0.1", 0), Unwell)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def hanging():
    """Takes connections and says nothing, as the kernel does for a process that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_error_is_an_answer(dog, unwell):
    container(dog, 1, "a", unwell)
    for _time in range(5):
        dog.main()
    assert dog.replaced == [] and json.loads(dog.STATE.read_text()) == {"a": 0}


def test_container_that_answered_and_hangs_is_replaced_after_three_times(dog, unwell, hanging):
    container(dog, 1, "a", unwell)
    dog.main()
    container(dog, 1, "a", hanging)
    dog.main()
    dog.main()
    assert dog.replaced == []
    dog.main()
    assert dog.replaced == ["todo"]


def test_container_that_starts_or_was_stopped_is_left_alone(dog, unwell, hanging):
    container(dog, 1, "starting", hanging)
    container(dog, 2, "stopped", unwell)
    dog.main()
    container(dog, 2, "stopped", hanging)
    for _time in range(5):
        dog.main()
    assert dog.replaced == []


def test_count_begins_anew_after_an_answer(dog, unwell, hanging):
    for _time in range(4):
        container(dog, 1, "a", unwell)
        dog.main()
        container(dog, 1, "a", hanging)
        dog.main()
        dog.main()
    assert dog.replaced == []
