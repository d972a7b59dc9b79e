# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""domains:* — the names an app answers to, in its VHOST file. Every change rebuilds the app's nginx configuration."""

from __future__ import annotations

import re

from . import config
from .core import GLOBAL, ROOT, Fail, app_dir, info1, read_lines, report, set_prop, verify_app, write

HOSTNAME = re.compile(r"^[a-z0-9.*-]*[a-z0-9*-]$")


def vhost_path(app: str):
    return (ROOT if app == GLOBAL else app_dir(app)) / "VHOST"


def valid(name: str) -> bool:
    return name == "_" or bool(HOSTNAME.match(name.lower()))


def enabled(app: str) -> bool:
    return config.load(app).get("NO_VHOST") != "1"


def global_names() -> list[str]:
    return read_lines(vhost_path(GLOBAL))


def names(app: str) -> list[str]:
    return read_lines(vhost_path(app)) if enabled(app) else []


def write_names(app: str, values: list[str]) -> None:
    write(vhost_path(app), "".join(f"{value}\n" for value in values))


def defaults(app: str) -> list[str]:
    found = [name for name in global_names() if not re.fullmatch(r"[0-9.]+|[0-9a-fA-F]*:[0-9a-fA-F:]+", name)]
    return [app if "." in app else f"{app}.{name}" for name in found]


def setup(app: str) -> None:
    """A new app gets its default name, or no vhost support when there is no global name."""
    if vhost_path(app).exists():
        return
    if defaults(app):
        info1("Creating new app virtual host file...")
        write_names(app, defaults(app))
    else:
        info1("Global server virtual host not set, disabling app vhost...")
        set_no_vhost(app, "1")


def set_no_vhost(app: str, value: str) -> None:
    config.save(app, {**config.load(app), "NO_VHOST": value})
    set_prop("proxy", app, "proxy-port", "")
    set_prop("proxy", app, "proxy-ssl-port", "")


def disable_vhost(app: str) -> None:
    vhost_path(app).unlink(missing_ok=True)
    info1("App virtual host support disabled")
    set_no_vhost(app, "1")


def enable(app: str, restart: bool) -> None:
    """The quirk: enabling writes the default name over whatever the file holds."""
    from . import nginx
    from .core import silent

    if defaults(app):
        write_names(app, defaults(app))
    set_no_vhost(app, "0")
    if restart:
        with silent():
            nginx.build(app, warn_listeners=False)
            config.after_change(app, True)
    else:
        nginx.build(app)


def rebuild(app: str) -> None:
    from . import nginx

    nginx.build(app)


def check_names(args: list[str], app: str) -> list[str]:
    if not args:
        raise Fail(f"Please specify a domain name. Usage: dokku {app}  <domain> [<domain> ...]")
    for name in args:
        if not valid(name):
            raise Fail(f"{name} is invalid. exiting...")
    return args


def cmd_add(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    present = read_lines(vhost_path(app))
    for name in check_names(args[1:], app):
        if name in present:
            info1(f"Skipping: {name} already added to {app}")
        else:
            present.append(name)
            info1(f"Added {name} to {app}")
    write_names(app, present)
    if not enabled(app):
        enable(app, restart=False)
    rebuild(app)


def cmd_set(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    new = check_names(args[1:], app)
    write_names(app, new)
    info1(f"Set {' '.join(new)} for {app}")
    if not enabled(app):
        enable(app, restart=False)
    rebuild(app)


def cmd_remove(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not args[1:]:
        raise Fail(f"Please specify a domain name. Usage: dokku {app}  <domain> [<domain> ...]")
    present = read_lines(vhost_path(app))
    for name in args[1:]:
        present = [other for other in present if other != name]
        info1(f"Removed {name} from {app}")
    write_names(app, present)
    rebuild(app)


def cmd_clear(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    write_names(app, [])
    rebuild(app)
    info1(f"Cleared domains in {app}")


def cmd_reset(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    cmd_clear([app])
    vhost_path(app).unlink(missing_ok=True)
    setup(app)
    rebuild(app)
    info1(f"Reset domains for {app}")


def cmd_enable(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if enabled(app):
        info1(f"Domains (VHOST) support is already enabled for app ({app})")
    else:
        enable(app, restart=True)


def cmd_disable(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not enabled(app):
        info1(f"Domains (VHOST) support is already disabled for app ({app})")
        return
    disable_vhost(app)
    rebuild(app)


def cmd_add_global(args: list[str]) -> None:
    present = global_names()
    for name in check_names(args, GLOBAL):
        if name in present:
            info1(f"Skipping {name}: already added")
        else:
            present.append(name)
            info1(f"Added {name}")
    write_names(GLOBAL, present)


def cmd_set_global(args: list[str]) -> None:
    write_names(GLOBAL, check_names(args, GLOBAL))
    info1(f"Set {' '.join(args)}")


def cmd_remove_global(args: list[str]) -> None:
    for name in args:
        info1(f"Removed {name}")
    write_names(GLOBAL, [name for name in global_names() if name not in args])


def cmd_clear_global(_args: list[str]) -> None:
    write_names(GLOBAL, [])


def collect(app: str) -> dict[str, str]:
    values = {"domains-global-enabled": "true" if global_names() else "false", "domains-global-vhosts": " ".join(global_names())}
    if app != GLOBAL:
        values["domains-app-enabled"] = "true" if enabled(app) else "false"
        values["domains-app-vhosts"] = " ".join(names(app))
    return values


def cmd_report(args: list[str]) -> None:
    report("domains", "domains", args, collect, lambda: collect(GLOBAL), both=False)


COMMANDS = {
    "domains": cmd_report, "domains:report": cmd_report, "domains:add": cmd_add, "domains:set": cmd_set, "domains:remove": cmd_remove,
    "domains:clear": cmd_clear, "domains:reset": cmd_reset, "domains:enable": cmd_enable, "domains:disable": cmd_disable,
    "domains:add-global": cmd_add_global, "domains:set-global": cmd_set_global, "domains:remove-global": cmd_remove_global,
    "domains:clear-global": cmd_clear_global,
}
