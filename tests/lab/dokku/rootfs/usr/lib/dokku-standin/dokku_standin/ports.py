# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ports:* — which host port and scheme lead to which container port."""

from __future__ import annotations

from . import certs
from .core import (GLOBAL, Fail, State, flags, info1, out, prop, prop_list, report, set_prop, set_prop_list, verify_app)

Map = tuple[str, int, int]  # scheme, host port, container port


def show(maps: list[Map]) -> list[str]:
    return sorted(f"{scheme}:{host}:{container}" for scheme, host, container in maps)


def parse_one(text: str) -> Map:
    parts = text.split(":")
    if len(parts) != 3:
        raise Fail(f"Invalid port map {text} [len={len(parts)}]")
    numbers = []
    for name, part in zip(("hostPort", "containerPort"), parts[1:]):
        if not part.lstrip("-").isdigit():
            raise Fail(f'Invalid port map {text} [err=strconv.Atoi: parsing "{part}": invalid syntax]')
        if not 0 < int(part) < 65536:
            raise Fail(f"Invalid port map {text} [{name}={part}]")
        numbers.append(int(part))
    return parts[0], numbers[0], numbers[1]


def explicit(app: str) -> list[Map]:
    return [parse_one(text) for text in prop_list("ports", app, "map")]


def port_property(app: str, key: str) -> int:
    value = prop("proxy", app, key) or prop("proxy", GLOBAL, key)
    return int(value) if value.isdigit() else 0


def detected(app: str) -> list[Map]:
    maps = [parse_one(text) for text in prop_list("ports", app, "map-detected")]
    maps = maps or [("http", port_property(app, "proxy-port") or 80, 5000)]
    if certs.exists(app):
        on_80 = [entry for entry in maps if entry[:2] == ("http", 80)]
        if on_80:
            maps = maps + [("https", port_property(app, "proxy-ssl-port") or 443, container) for _scheme, _port, container in on_80]
        else:
            maps = [("https" if scheme == "http" else scheme, host, container) for scheme, host, container in maps]
    return maps


def effective(app: str) -> list[Map]:
    return explicit(app) or detected(app)


def web_port(app: str) -> str:
    return next((str(container) for scheme, _host, container in effective(app) if scheme != "udp"), "5000")


def store(app: str, maps: list[Map]) -> None:
    seen = set()
    for scheme, host, _container in maps:
        if (scheme, host) in seen:
            raise Fail(f"Error validating all port mappings: The same scheme:host-port is being reused: {scheme}:{host}")
        seen.add((scheme, host))
    set_prop_list("ports", app, "map", show(maps))


def configure(app: str) -> None:
    """Give the app its proxy ports; without vhosts it listens on a random high port."""
    from . import domains

    vhosts = domains.enabled(app)
    if not prop("proxy", app, "proxy-port"):
        port = prop("proxy", GLOBAL, "proxy-port") or "80"
        if not vhosts:
            info1("No port set, setting to random open high port")
            port = available()
            info1(f"Random port {port}")
        set_prop("proxy", app, "proxy-port", port)
    if not prop("proxy", app, "proxy-ssl-port") and certs.exists(app):
        port = prop("proxy", GLOBAL, "proxy-ssl-port") or "443"
        if not vhosts:
            info1("No ssl port set, setting to random open high port")
            port = available()
        set_prop("proxy", app, "proxy-ssl-port", port)


def available() -> str:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def after_certs_update(app: str) -> None:
    """The drift: a certificate adds https:443 beside an explicit http:80."""
    if prop("proxy", app, "proxy-port") == "80":
        set_prop("proxy", app, "proxy-port", "")
    if prop("proxy", app, "proxy-ssl-port") == "443":
        set_prop("proxy", app, "proxy-ssl-port", "")
    maps = explicit(app)
    if any(entry[:2] == ("https", 443) for entry in maps):
        return
    added = [("https", 443, container) for scheme, host, container in maps if (scheme, host) == ("http", 80)]
    if added:
        store(app, maps + added)


def after_certs_remove(app: str) -> None:
    store(app, [entry for entry in explicit(app) if entry[:2] != ("https", 443)])


def change(app: str, maps: list[Map]) -> None:
    from . import nginx

    store(app, maps)
    nginx.build(app)


def wanted(command: str, args: list[str]) -> tuple[str, list[Map]]:
    _options, rest = flags(command, args)
    app = verify_app(rest[0] if rest else None)
    if not rest[1:]:
        raise Fail("No port mapping specified")
    return app, [parse_one(text) for text in rest[1:]]


def cmd_set(args: list[str]) -> None:
    app, maps = wanted("ports:set", args)
    change(app, maps)


def cmd_add(args: list[str]) -> None:
    app, maps = wanted("ports:add", args)
    change(app, explicit(app) + maps)


def cmd_remove(args: list[str]) -> None:
    app, maps = wanted("ports:remove", args)
    change(app, [entry for entry in explicit(app) if entry not in maps])


def cmd_clear(args: list[str]) -> None:
    from . import nginx

    _options, rest = flags("ports:clear", args)
    app = verify_app(rest[0] if rest else None)
    set_prop("ports", app, "map", "")
    nginx.build(app)


def cmd_list(args: list[str]) -> None:
    _options, rest = flags("ports:list", args)
    app = verify_app(rest[0] if rest else None)
    maps = show(explicit(app))
    if not maps:
        raise Fail("No port mappings configured for app")
    info1(f"Port mappings for {app}")
    rows = [] if State.quiet else [["-----> scheme", "host port", "container port"]]
    rows += [text.split(":") for text in sorted(maps)]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for row in rows:
        out(f"    {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}".rstrip())


def as_json(maps: list[Map]) -> str:
    import json

    if not maps:
        return "null"
    rows = [{"container_port": container, "host_port": host, "scheme": scheme} for scheme, host, container in sorted(maps)]
    return json.dumps(rows, separators=(",", ":"))


def collect(app: str) -> dict[str, str]:
    if app == GLOBAL:
        return {}
    return {
        "ports-map": " ".join(show(explicit(app))), "ports-map-json": as_json(explicit(app)),
        "ports-map-detected": " ".join(show(detected(app))), "ports-map-detected-json": as_json(detected(app)),
    }


def cmd_report(args: list[str]) -> None:
    report("ports", "ports", args, collect)


COMMANDS = {
    "ports": cmd_report, "ports:report": cmd_report, "ports:list": cmd_list, "ports:set": cmd_set, "ports:add": cmd_add,
    "ports:remove": cmd_remove, "ports:clear": cmd_clear,
}
