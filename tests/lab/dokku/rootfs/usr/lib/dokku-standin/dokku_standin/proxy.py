# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""proxy:* — whether a proxy stands before the app, and on which ports."""

from __future__ import annotations

from . import nginx
from .core import GLOBAL, Fail, apps, computed, flags, info1, prop, report, set_prop, set_property, verify_app, warn

PORT_KEYS = ("proxy-port", "proxy-ssl-port")


def collect(app: str) -> dict[str, str]:
    values = {
        "proxy-global-type": prop("proxy", GLOBAL, "type"), "proxy-computed-type": computed("proxy", app, "type", "nginx"),
        "proxy-computed-disabled": computed("proxy", app, "disabled", "false"),
    }
    for key in PORT_KEYS:
        values[f"proxy-global-{key}"] = prop("proxy", GLOBAL, key)
        values[f"proxy-computed-{key}"] = computed("proxy", app, key)
        values[f"proxy-{key}"] = prop("proxy", app, key)
    values["proxy-type"] = prop("proxy", app, "type")
    values["proxy-disabled"] = prop("proxy", app, "disabled")
    values["proxy-enabled"] = "true" if nginx.proxy_enabled(app) else "false"
    return values


def cmd_set(args: list[str]) -> None:
    if len(args) == 2 and ":" in args[1]:
        verify_app(args[0])
        warn("Detected potential port mapping instead of proxy type")
        raise Fail("Consider using ports:set command or specifying a valid proxy")
    if len(args) == 2 and args[1] in ("nginx", "caddy", "haproxy", "openresty", "traefik"):
        args = [args[0], "type", args[1]]
    set_property("proxy", args, ["disabled", "proxy-port", "proxy-ssl-port", "type"])


def cmd_build(args: list[str]) -> None:
    options, rest = flags("proxy:build-config", args, ("all",), ("parallel",))
    for app in apps() if options.get("all") else [verify_app(rest[0] if rest else None)]:
        nginx.build(app, in_sync=True)


def cmd_clear(args: list[str]) -> None:
    options, rest = flags("proxy:clear-config", args, ("all",))
    for app in apps() if options.get("all") else [verify_app(rest[0] if rest else None)]:
        nginx.conf_path(app).unlink(missing_ok=True)
        nginx.reload_nginx()


def redeploy(app: str) -> None:
    from . import ps, scheduler

    if scheduler.is_deployed(app):
        ps.release_and_deploy(app)
    else:
        warn(f"App {app} has not been deployed")


def cmd_disable(args: list[str]) -> None:
    from . import domains

    app = verify_app(args[0] if args else None)
    if not nginx.proxy_enabled(app):
        info1("Proxy is already disabled")
        return
    info1("Disabling proxy for app")
    set_prop("proxy", app, "disabled", "true")
    domains.disable_vhost(app)
    nginx.build(app)
    redeploy(app)


def cmd_enable(args: list[str]) -> None:
    from . import config, domains

    app = verify_app(args[0] if args else None)
    if nginx.proxy_enabled(app):
        info1("Proxy is already enabled")
        return
    info1("Enabling proxy for app")
    set_prop("proxy", app, "disabled", "")
    if config.load(app).get("NO_VHOST") == "1":
        if domains.defaults(app):
            domains.write_names(app, domains.defaults(app))
        domains.set_no_vhost(app, "0")
    nginx.build(app)
    redeploy(app)


def cmd_old_ports(args: list[str]) -> None:
    raise Fail(f"Invalid plugin subcommand call: {args[0] if args else 'ports'}")


def cmd_report(args: list[str]) -> None:
    report("proxy", "proxy", args, collect)


COMMANDS = {
    "proxy": cmd_report, "proxy:report": cmd_report, "proxy:set": cmd_set, "proxy:build-config": cmd_build, "proxy:enable": cmd_enable,
    "proxy:disable": cmd_disable, "proxy:clear-config": cmd_clear,
    **{f"proxy:{name}": (lambda _args, name=name: cmd_old_ports([name])) for name in ("ports", "ports-set", "ports-add", "ports-remove", "ports-clear")},
}
