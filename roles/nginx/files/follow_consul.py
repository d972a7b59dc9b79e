# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""follow_consul.py SETTINGS: keep the servers of nginx's upstreams as Consul's prepared queries find them.

It asks each query once a second, as nginx 1.27.3 and later do by themselves, and reloads nginx only when a list has changed. Where Consul
does not answer, or knows nobody, the last list stays.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from urllib.parse import quote, urlsplit

PAUSE_SECONDS = 1
REQUEST_SECONDS = 10


class Consul:
    """One agent, over one connection that is kept. The token travels in a header only."""

    def __init__(self, url: str, ca_file: str, token: str) -> None:
        self.address = urlsplit(url)
        self.ca_file = ca_file
        self.token = token
        self.connection = None

    def execute(self, query: str) -> list:
        """The instances that the query finds; raises OSError, HTTPException or ValueError where there is no such answer."""
        try:
            if self.connection is None:
                context = ssl.create_default_context(cafile=self.ca_file)
                self.connection = http.client.HTTPSConnection(self.address.hostname, self.address.port or 443, timeout=REQUEST_SECONDS, context=context)
            # A server without a leader may answer, too.
            self.connection.request("GET", f"/v1/query/{quote(query, safe='')}/execute?stale", headers={"X-Consul-Token": self.token})
            answer = self.connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise ValueError(f"status {answer.status}: {body[:200].decode(errors='replace')}")
            return json.loads(body)["Nodes"] or []
        except BaseException:
            if self.connection is not None:
                self.connection.close()
            self.connection = None
            raise


def servers(nodes: list, parameters: str) -> str:
    """The lines for nginx, in one order whatever Consul's was."""
    found = set()
    for node in nodes:
        address = node["Service"]["Address"] or node["Node"]["Address"]
        found.add((f"[{address}]" if ":" in address else address, int(node["Service"]["Port"])))
    return "".join(f"server {address}:{port} {parameters};\n" for address, port in sorted(found))


def read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def write(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.new", path)


def nginx_takes() -> str:
    """Has nginx read its files; says what is wrong with them, and nothing when it goes on with them."""
    test = subprocess.run(["nginx", "-t", "-q"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if test.returncode:
        return test.stdout.strip()
    # One that does not run reads them when it starts.
    subprocess.run(["systemctl", "reload", "nginx.service"], check=False)
    return ""


class Follower:
    """Writes a file a site, NAME.servers in the folder."""

    def __init__(self, consul, folder: str, queries: dict, parameters: str, takes=nginx_takes) -> None:
        self.consul, self.folder, self.queries, self.parameters, self.takes = consul, folder, queries, parameters, takes
        # What was last said of each site, so that it is said once, and what nginx did not take.
        self.said: dict = {}
        self.refused: dict = {}

    def step(self) -> None:
        former = {}
        for name, query in self.queries.items():
            path = f"{self.folder}/{name}.servers"
            text = self._ask(name, query)
            before = read(path)
            if text and text not in (before, self.refused.get(name)):
                former[name] = before
                write(path, text)
        if not former:
            return
        wrong = self.takes()
        for name, before in former.items():
            path = f"{self.folder}/{name}.servers"
            if wrong:
                self.refused[name] = read(path)
                write(path, before)
                print(f"{name}: nginx does not take the new list, the former one stays: {wrong}", flush=True)
            else:
                self.refused.pop(name, None)
                print(f"{name}: " + read(path).replace("\n", " "), flush=True)

    def _ask(self, name: str, query: str) -> str:
        """The lines, empty where there is no better list than the last one."""
        try:
            text = servers(self.consul.execute(query), self.parameters)
            trouble = "" if text else "Consul knows no instance"
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            text, trouble = "", f"Consul does not answer: {error}"
        if trouble != self.said.get(name, ""):
            print(f"{name}: {trouble + ', the last list stays' if trouble else 'Consul answers again'}", flush=True)
            self.said[name] = trouble
        return text


def main() -> int:
    settings = json.loads(read(sys.argv[1]))
    consul = Consul(settings["url"], settings["ca_file"], read(settings["token_file"]).strip())
    follower = Follower(consul, settings["folder"], settings["queries"], settings["parameters"])
    while True:
        follower.step()
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
