# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarts one agent so that its datacenter keeps its quorum."""

from __future__ import annotations

import subprocess
import time

from .client import PAUSE_SECONDS, Client
from .errors import ConsulError, RequestFailed


class Refused(ConsulError):
    """The step would lose the quorum; nothing was done."""


def quorum_problem(health: dict, name: str) -> str:
    """Why the named server must not stop now, or nothing. A single server has nobody to wait for."""
    if not health.get("Servers"):
        return "The leader has not looked at its servers yet."
    voters = [server for server in health["Servers"] if server["Voter"]]
    others = [server["Name"] for server in voters if server["Healthy"] and server["Name"] != name]
    needed = len(voters) // 2 + 1
    if name not in [server["Name"] for server in voters] or len(voters) == 1 or len(others) >= needed:
        return ""
    ill = sorted(server["Name"] for server in voters if not server["Healthy"])
    return (
        f"Without {name} only {len(others)} of {len(voters)} servers of the datacenter would be healthy, and {needed} have to be"
        + (f"; not healthy: {', '.join(ill)}. Mend these first." if ill else ".")
    )


def is_back(health: dict, name: str) -> bool:
    servers = health.get("Servers") or ()
    return any(server["Leader"] for server in servers) and any(server["Name"] == name and server["Healthy"] for server in servers)


def _health(client: Client) -> dict:
    # 429: somebody is not healthy; the answer says who.
    return client.call("GET", "/v1/operator/autopilot/health", accept=(429,))


def _systemctl(*arguments: str) -> str:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConsulError(f"systemctl {' '.join(arguments)} failed: {done.stderr.strip()}. Look at: journalctl -u consul")
    return done.stdout


def run(parameters: dict, check_mode: bool) -> dict:
    """The module's whole work; returns its result."""

    def client() -> Client:
        return Client(parameters["url"], parameters["ca_file"], parameters["token"], parameters["timeout"])

    name, server = parameters["name"], parameters["server"]
    if server:
        before = client()
        while True:
            try:
                problem = quorum_problem(_health(before), name)
            except RequestFailed as error:
                # Without a leader for so long it has no quorum to lose, such as one that has not got the others' gossip key.
                if error.status != 500 or "leader" not in str(error):
                    raise
                break
            if not problem:
                break
            if check_mode or time.monotonic() + PAUSE_SECONDS > before.deadline:
                raise Refused(f"Refused to restart the Consul server {name}. {problem}")
            time.sleep(PAUSE_SECONDS)
    if check_mode:
        return {"changed": True}
    # A run that ended after it wrote the unit had no time for this.
    _systemctl("daemon-reload")
    _systemctl("restart", "consul.service")
    after = client()
    while True:
        try:
            if is_back(_health(after), name) if server else after.call("GET", "/v1/status/leader"):
                return {"changed": True}
        except RequestFailed as error:
            if not error.temporary and error.status != 403:
                raise
        if time.monotonic() + PAUSE_SECONDS > after.deadline:
            raise ConsulError(f"{name} is not healthy {parameters['timeout']} s after its restart. Look at: journalctl -u consul")
        time.sleep(PAUSE_SECONDS)
