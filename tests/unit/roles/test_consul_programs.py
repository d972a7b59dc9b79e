# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that the role consul puts on a host."""

from __future__ import annotations

import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "consul" / "files"


@pytest.fixture()
def prepare(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("prepare", FILES / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder in ("etc/agent.d", "etc/tls", "run"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/agent.d/agent.json").write_text("{}", encoding="utf-8")
    (tmp_path / "etc/agent.d/tokens.json").write_text("{}", encoding="utf-8")
    (tmp_path / "etc/services.json").write_text(json.dumps({"services": [service("true"), service("exit 1"), service("exit 3")]}), encoding="utf-8")
    monkeypatch.setattr(module, "FOLDER", str(tmp_path / "etc"))
    monkeypatch.setattr(module, "RUN", str(tmp_path / "run"))
    monkeypatch.setattr(module, "ON_START", [str(tmp_path / "etc/agent.d/agent.json")])
    monkeypatch.setattr(module, "ON_RELOAD", [str(tmp_path / "etc" / name) for name in ("agent.d/tokens.json", "services.json", "tls/*.crt")])
    monkeypatch.setattr(module, "PROGRAM", sys.executable)

    def run(what):
        monkeypatch.setattr(sys, "argv", ["prepare.py", what])
        assert module.main() == 0

    return run


def service(script):
    return {"name": script, "checks": [{"args": ["/bin/sh", "-c", script]}]}


def test_the_first_status_is_a_checks_own(prepare, tmp_path):
    prepare("start")
    written = json.loads((tmp_path / "run/services.json").read_text(encoding="utf-8"))
    assert [entry["checks"][0]["status"] for entry in written["services"]] == ["passing", "warning", "critical"]
    assert (tmp_path / "run/services.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changed", "said"),
    [(None, ""), ("agent.d/agent.json", "restart\n"), ("agent.d/tokens.json", "reload\n"), ("services.json", "reload\n"), ("tls/consul.crt", "reload\n")],
)
def test_what_the_agent_has_not_read(prepare, tmp_path, capsys, changed, said):
    prepare("start")
    if changed:
        (tmp_path / "etc" / changed).write_text('{"services": []}', encoding="utf-8")
    prepare("unread")
    assert capsys.readouterr().out == said
    if said == "reload\n":
        prepare("reload")
        prepare("unread")
        assert capsys.readouterr().out == ""


def test_an_agent_that_never_ran(prepare, capsys):
    prepare("unread")
    assert capsys.readouterr().out == "restart\n"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if (self.path, self.headers["Host"]) == ("/health", "todo.example.com") else 503)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(
    ("url", "code"), [("http://todo.example.com:{}/health", 0), ("http://todo.example.com:{}/", 2), ("https://todo.example.com:{}/health", 2)]
)
def test_a_check_by_http(url, code):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, str(FILES / "check_http.py"), url.format(server.server_address[1]), "127.0.0.1"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == code
    server.shutdown()
    server.server_close()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
