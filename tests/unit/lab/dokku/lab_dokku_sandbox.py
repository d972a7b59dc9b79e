# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A sandbox for the Dokku stand-in: its own folders, and a `docker`, `sudo` and `nginx` that only pretend."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[2] / "lab" / "dokku" / "rootfs" / "usr" / "lib" / "dokku-standin"
sys.path.insert(0, str(PACKAGE))

from dokku_standin import cli

FAKE_DOCKER: dict = {"__name__": "fake_docker"}
exec(compile((HERE / "fakes" / "fake_docker.py").read_text(), "fake_docker.py", "exec"), FAKE_DOCKER)
REAL_RUN = subprocess.run


def run_or_pretend(argv, **options):
    """`subprocess.run`, but a docker is called here: some thousand of them start too slowly for a unit test."""
    if argv[0] != "docker":
        return REAL_RUN(argv, check=options.pop("check", False), **options)
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    environ, stdin, rc = dict(os.environ), sys.stdin, 0
    os.environ.update(options.get("env") or {})
    sys.stdin = io.StringIO((options.get("input") or b"").decode())
    try:
        with redirect_stdout(out), redirect_stderr(err):
            FAKE_DOCKER["main"](list(argv[1:]))
    except SystemExit as end:
        rc = int(end.code or 0)
    finally:
        os.environ.clear()
        os.environ.update(environ)
        sys.stdin = stdin
    return subprocess.CompletedProcess(argv, rc, out.buffer.getvalue(), err.getvalue().encode())


APP_JSON = {
    "healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/"}]},
    "scripts": {"dokku": {"predeploy": "echo predeploy-ran", "postdeploy": "echo postdeploy-ran"}},
    "cron": [{"command": "echo hi", "schedule": "@daily"}],
}
BAD_APP_JSON = {"healthchecks": {"web": [{"type": "startup", "name": "web", "path": "/fails", "attempts": 1}]}}
PROCFILE = "web: /server\nworker: sleep 1000\nrelease: echo release-ran\n"


@dataclass
class Result:
    rc: int
    out: str
    err: str


class Sandbox:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.lib, self.var = folder / "home" / "dokku", folder / "lib" / "dokku", folder / "var"
        for path in (self.root, self.lib, self.var):
            path.mkdir(parents=True)
        (self.root / "VHOST").write_text("example.test\n")
        self.docker_state = folder / "docker.json"
        self.reloads = folder / "reloads"
        self.environ = {
            **os.environ, "PATH": f"{HERE / 'fakes'}:{os.environ['PATH']}", "DOKKU_ROOT": str(self.root), "DOKKU_LIB_ROOT": str(self.lib),
            "FAKE_DOCKER_STATE": str(self.docker_state), "FAKE_NGINX_LOG": str(self.reloads), "STANDIN_PACKAGE": str(PACKAGE),
            "DOKKU_STANDIN_TEST": "1",
        }
        self.environ.pop("DOKKU_QUIET_OUTPUT", None)
        self.environ.pop("SSH_ORIGINAL_COMMAND", None)

    def image(self, name: str, app_json: dict | None = None, procfile: str = PROCFILE) -> None:
        state = self.state()
        files = {"/app/Procfile": procfile} if procfile else {}
        if app_json is not None:
            files["/app/app.json"] = json.dumps(app_json)
        state["images"][name] = {"Id": f"sha256:{len(state['images']):064x}", "files": files,
                                 "Config": {"WorkingDir": "/app", "ExposedPorts": {"5000/tcp": {}}, "Labels": {}, "Env": [], "Cmd": ["/server"]}}
        self.docker_state.write_text(json.dumps(state))

    def state(self) -> dict:
        if self.docker_state.exists():
            return json.loads(self.docker_state.read_text())
        return {"counter": 0, "images": {}, "containers": {}, "networks": {}}

    def dokku(self, *argv: str, stdin: bytes = b"") -> Result:
        """In this process: a command takes milliseconds."""
        out, err, before = io.StringIO(), io.StringIO(), sys.stdin
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin))
        try:
            with redirect_stdout(out), redirect_stderr(err):
                rc = cli.main(list(argv))
        finally:
            sys.stdin = before
        return Result(rc, out.getvalue(), err.getvalue())

    def shell(self, command: str) -> Result:
        done = subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, env=self.environ, stdin=subprocess.DEVNULL)
        return Result(done.returncode, done.stdout, done.stderr)

    def command(self, line: str) -> Result:
        """A recorded line. What a shell would do around one dokku command is done here, so that deploys stay in this process."""
        match = re.fullmatch(
            r"(?:echo (?P<answer>\w+) \| )?(?P<dokku>dokku [^|<>;$`]*?)\s*(?:</dev/null)?(?P<quiet>>/dev/null(?: 2>&1)?)?(?P<rc>; echo rc=\$\?)?"
            r"(?:\| tail -(?P<tail>\d+))?", line)
        if not match:
            return self.shell(line)
        result = self.dokku(*shlex.split(match["dokku"])[1:], stdin=f"{match['answer']}\n".encode() if match["answer"] else b"")
        rc, out, err = result.rc, result.out, result.err
        if match["quiet"]:
            out, err = "", "" if "2>" in match["quiet"] else err
        if match["rc"]:
            rc, out = 0, f"{out}rc={rc}\n"
        if match["tail"]:
            rc, out = 0, "\n".join(out.splitlines()[-int(match["tail"]):])
        return Result(rc, out, err)
