# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A user's program; runs on a lab's client machine, with nothing but Python's own library.

    user.py count HOST CA [--path /] [--interval 0.25] [--write]   a request again and again until standard input ends
    user.py session HOST CA [--rounds 5]                           every write, each read back at once

Each prints JSON, one object a line. A name is looked up for every connection, as the machine's caching resolver honours its
TTL, and every address of the answer is tried, as browsers do.
"""

from __future__ import annotations

import argparse
import http.client
import http.cookies
import json
import socket
import ssl
import sys
import threading
import time

TIMEOUT = 5.0


class Connection(http.client.HTTPSConnection):
    """Connects to the first address that answers and remembers which."""

    addresses: tuple[str, ...] = ()
    address = ""

    def connect(self) -> None:
        found = socket.getaddrinfo(self.host, self.port, socket.AF_INET, socket.SOCK_STREAM)
        self.addresses = tuple(entry[4][0] for entry in found)
        for position, address in enumerate(self.addresses):
            try:
                plain = socket.create_connection((address, self.port), self.timeout)
                self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
                self.address = address
                return
            except OSError:
                if position == len(self.addresses) - 1:
                    raise


class User:
    """A browser's session: cookies, one connection at a time."""

    def __init__(self, host: str, ca: str) -> None:
        self.host = host
        self.context = ssl.create_default_context(cafile=ca)
        self.cookies: dict[str, str] = {}
        self.connection = self.fresh()

    def fresh(self) -> Connection:
        self.connection = Connection(self.host, 443, timeout=TIMEOUT, context=self.context)
        return self.connection

    def ask(self, method: str, path: str, body: object = None) -> tuple[http.client.HTTPResponse, object]:
        headers = {"Accept": "text/html, application/json"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        for line in answer.headers.get_all("Set-Cookie", []):
            for morsel in http.cookies.SimpleCookie(line).values():
                self.cookies[morsel.key] = morsel.value
        if answer.headers.get_content_type() == "application/json" and text:
            return answer, json.loads(text)
        return answer, text.decode("utf-8", "replace")


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


def count(arguments: argparse.Namespace) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    user = User(arguments.host, arguments.ca)
    number = 0
    while not ended.is_set():
        number += 1
        row: dict[str, object] = {"began": time.time()}
        connection = user.fresh()
        try:
            if arguments.write:
                answer, _unused = user.ask("POST", "/api/todos", {"title": f"counted {number}"})
            else:
                answer, _unused = user.ask("GET", arguments.path)
            row.update(
                status=answer.status, region=answer.headers.get("X-Region"), host=answer.headers.get("X-Host"), error=None
            )
        except (OSError, http.client.HTTPException) as error:
            row.update(status=None, region=None, host=None, error=f"{type(error).__name__}: {error}")
        row.update(addresses=connection.addresses, address=connection.address, ended=time.time())
        connection.close()
        say(**row)
        ended.wait(arguments.interval)


def session(arguments: argparse.Namespace) -> None:
    user = User(arguments.host, arguments.ca)
    stale: list[str] = []
    seconds: list[float] = []
    reads = 0

    def write(method: str, path: str, body: object, status: int) -> object:
        begin = time.monotonic()
        answer, value = user.ask(method, path, body)
        seconds.append(time.monotonic() - begin)
        if answer.status != status:
            raise SystemExit(f"{method} {path}: {answer.status} {value}")
        return value

    def read_back(what: str, expected: list[tuple[str, bool]]) -> None:
        nonlocal reads
        reads += 1
        answer, value = user.ask("GET", "/api/todos")
        if answer.status != 200:
            raise SystemExit(f"GET /api/todos: {answer.status} {value}")
        if [(todo["title"], todo["completed"]) for todo in value["todos"]] != expected:
            stale.append(f"{what}: expected {expected}, got {value['todos']}")

    for number in range(arguments.rounds):
        name = f"{arguments.title} {number}"
        first = write("POST", "/api/todos", {"title": name}, 201)
        read_back("add", [(name, False)])
        write("PATCH", f"/api/todos/{first['id']}", {"completed": True}, 200)
        read_back("complete", [(name, True)])
        write("PATCH", f"/api/todos/{first['id']}", {"title": f"{name}!"}, 200)
        read_back("edit", [(f"{name}!", True)])
        second = write("POST", "/api/todos", {"title": "other"}, 201)
        write("POST", "/api/todos/toggle-all", {"completed": True}, 200)
        read_back("toggle all", [(f"{name}!", True), ("other", True)])
        write("POST", "/api/todos/toggle-all", {"completed": False}, 200)
        write("PATCH", f"/api/todos/{second['id']}", {"completed": True}, 200)
        write("POST", "/api/todos/clear-completed", {}, 200)
        read_back("clear completed", [(f"{name}!", False)])
        write("DELETE", f"/api/todos/{first['id']}", None, 200)
        read_back("delete", [])
    kept = write("POST", "/api/todos", {"title": arguments.title}, 201)
    read_back("last", [(arguments.title, False)])
    answer, whoami = user.ask("GET", "/whoami")
    _unused, later = User(arguments.host, arguments.ca).ask("GET", "/whoami")
    say(
        id=kept["id"], reads=reads, stale=stale, whoami=whoami, reader=later, region=answer.headers.get("X-Region"),
        write_seconds=seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("count", "session"):
        sub = commands.add_parser(name)
        sub.add_argument("host")
        sub.add_argument("ca")
        if name == "count":
            sub.add_argument("--path", default="/")
            sub.add_argument("--interval", type=float, default=0.25)
            sub.add_argument("--write", action="store_true")
        else:
            sub.add_argument("--rounds", type=int, default=5)
            sub.add_argument("--title", default="from here")
    arguments = parser.parse_args()
    {"count": count, "session": session}[arguments.command](arguments)


if __name__ == "__main__":
    main()
