# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx:* — the vhost of an app, built from a template, checked with `nginx -t` over the whole host, then reloaded."""

from __future__ import annotations

import re

from . import certs, domains, ports
from .core import (GLOBAL, LIB, Fail, State, app_dir, apps, computed, info1, out, prop, read, report, run, set_property, triple,
                   verbose, verify_app, warn, write)

# Key -> default in effect. The order is the one Dokku lists in its error message.
KEYS = {
    "access-log-format": "", "access-log-path": "/var/log/nginx/{app}-access.log", "bind-address-ipv4": "",
    "bind-address-ipv6": "::", "client-body-timeout": "60s", "client-header-timeout": "60s", "client-max-body-size": "1m",
    "disable-custom-config": "false", "error-log-path": "/var/log/nginx/{app}-error.log", "hsts": "true",
    "hsts-include-subdomains": "true", "hsts-preload": "false", "hsts-max-age": "15724800", "keepalive-timeout": "75s",
    "lingering-timeout": "5s", "nginx-conf-sigil-path": "nginx.conf.sigil", "nginx-service-command": "", "proxy-buffer-size": "4k",
    "proxy-buffering": "on", "proxy-buffers": "8 4k", "proxy-busy-buffers-size": "8k", "proxy-connect-timeout": "60s",
    "proxy-read-timeout": "60s", "proxy-send-timeout": "60s", "proxy-keepalive": "", "send-timeout": "60s",
    "underscore-in-headers": "off", "x-forwarded-for-value": "$remote_addr", "x-forwarded-port-value": "$server_port",
    "x-forwarded-proto-value": "$scheme", "x-forwarded-ssl": "",
}
GZIP_TYPES = ("text/css text/javascript text/xml text/plain text/x-component application/javascript application/x-javascript "
              "application/wasm application/json application/graphql-response+json application/xml application/rss+xml "
              "font/truetype application/x-font-ttf font/opentype application/vnd.ms-fontobject image/svg+xml")
ERRORS_4XX = "400 401 402 403 405 406 407 408 409 410 411 412 413 414 415 416 417 418 420 422 423 424 426 428 429 431 444 449 450 451"


def conf_path(app: str):
    return app_dir(app) / "nginx.conf"


def value(app: str, key: str) -> str:
    return computed("nginx", app, key, KEYS[key].format(app=app))


def version() -> tuple[int, ...]:
    found = re.search(r"nginx/([0-9.]+)", run("nginx", "-v", check=False).stderr)
    return tuple(int(part) for part in found.group(1).split(".")) if found else (1, 22, 1)


# --- the template

def listen(app: str, port: int, options: str) -> list[str]:
    v4 = value(app, "bind-address-ipv4")
    return [f"  listen      [{value(app, 'bind-address-ipv6')}]:{port}{options};",
            f"  listen      {v4 + ':' if v4 else ''}{port}{options};"]


def head(app: str, port: int, tls: bool, http2: bool, names: list[str], nginx: tuple[int, ...]) -> list[str]:
    modern = nginx >= (1, 25, 1)
    options = (" ssl" if tls else "") + (" http2" if http2 and not modern else "")
    lines = ["server {", *listen(app, port, options)]
    if http2 and modern:
        lines.append("  http2 on;")
    if names:
        lines.append(f"  server_name {' '.join(names)}; ")
    path, form = value(app, "access-log-path"), value(app, "access-log-format")
    lines += [
        f"  access_log  {path}{' ' + form if form and path != 'off' else ''};",
        f"  error_log   {value(app, 'error-log-path')};",
        f"  underscores_in_headers {value(app, 'underscore-in-headers')};", "",
    ]
    return lines


def timeouts(app: str) -> list[str]:
    keys = ("client-body-timeout", "client-header-timeout", "keepalive-timeout", "lingering-timeout", "send-timeout")
    return [f"  {key.replace('-', '_')} {value(app, key)};" for key in keys] + [""]


def tls_lines(app: str) -> list[str]:
    path = certs.tls_dir(app)
    return [f"  ssl_certificate           {path}/server.crt;", f"  ssl_certificate_key       {path}/server.key;",
            "  ssl_protocols             TLSv1.2 TLSv1.3;", "  ssl_prefer_server_ciphers off;", ""]


def location(app: str, container: int, tls: bool, listeners: list[str], nginx: tuple[int, ...]) -> list[str]:
    if not listeners:
        return ["  location    / {", "", "    return 502;", "", "  }"]
    lines = [
        "  location    / {", "", "    gzip on;", "    gzip_min_length  1100;", "    gzip_buffers  4 32k;", f"    gzip_types    {GZIP_TYPES};",
        "    gzip_vary on;", "    gzip_comp_level  6;", "", f"    proxy_pass  http://{app}-{container};",
    ]
    if tls and (1, 13, 9) <= nginx < (1, 25):
        lines.append("    http2_push_preload on; ")
    lines.append("    proxy_http_version 1.1;")
    for key in ("proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout", "proxy-buffer-size", "proxy-buffering",
                "proxy-buffers", "proxy-busy-buffers-size"):
        lines.append(f"    {key.replace('-', '_')} {value(app, key)};")
    lines += [
        "    proxy_set_header Upgrade $http_upgrade;", "    proxy_set_header Connection $http_connection;",
        "    proxy_set_header Host $http_host;",
        f"    proxy_set_header X-Forwarded-For {value(app, 'x-forwarded-for-value')};",
        f"    proxy_set_header X-Forwarded-Port {value(app, 'x-forwarded-port-value')};",
        f"    proxy_set_header X-Forwarded-Proto {value(app, 'x-forwarded-proto-value')};",
        "    proxy_set_header X-Request-Start $msec;",
    ]
    if value(app, "x-forwarded-ssl"):
        lines.append(f"    proxy_set_header X-Forwarded-Ssl {value(app, 'x-forwarded-ssl')};")
    return [*lines, "  }"]


def error_page(codes: str, page: str) -> list[str]:
    return [f"  error_page {codes} /{page}-error.html;", f"  location /{page}-error.html {{",
            f"    root {LIB}/data/nginx-vhosts/dokku-errors;", "    internal;", "  }", ""]


def render(app: str, maps: list, listeners: list[str]) -> str:
    names, tls_used, nginx = domains.names(app), certs.exists(app), version()
    ssl_port = prop("proxy", app, "proxy-ssl-port") or prop("proxy", GLOBAL, "proxy-ssl-port") or "443"
    include = f"  include {app_dir(app)}/nginx.conf.d/*.conf;"
    lines: list[str] = []
    for scheme, host, container in maps:
        tls = scheme in ("https", "grpcs")
        if scheme in ("http", "https"):
            lines += ["", *head(app, host, tls, tls, names, nginx), *timeouts(app), *(tls_lines(app) if tls else [])]
            if not tls and host == 80 and tls_used:
                lines += [include, "  location / {", f"    return 301 https://$host:{ssl_port}$request_uri;", "  }", "", "}"]
                continue
            lines += [*location(app, container, tls, listeners, nginx), "", f"  client_max_body_size {value(app, 'client-max-body-size')};", ""]
            lines += error_page(ERRORS_4XX, "400") + error_page("404", "404")
            lines += error_page(f"500 501 {'' if tls else '502 '}503 504 505 506 507 508 509 510 511", "500")
            lines += error_page("502", "502") if tls else []
            lines += [include, "", "}"]
        elif scheme in ("grpc", "grpcs") and listeners:
            lines += ["", *head(app, host, tls, True, names, nginx), *(tls_lines(app) if tls else []), "  location    / {",
                      f"    grpc_pass  grpc://{app}-{container};", "  }", "",
                      f"  client_max_body_size {value(app, 'client-max-body-size')};", include, "}"]
    if listeners:
        for container in sorted({container for scheme, _host, container in maps if scheme != "udp"}):
            lines += ["", f"upstream {app}-{container} {{"]
            keepalive = value(app, "proxy-keepalive")
            lines += [f"  keepalive {keepalive};"] if keepalive else []
            lines += [f"  server {address.rsplit(':', 1)[0]}:{container};" for address in listeners] + ["}"]
    return "\n".join(lines) + "\n"


# --- build and reload

def proxy_enabled(app: str) -> bool:
    return computed("proxy", app, "disabled", "false") != "true"


def build(app: str, in_sync: bool = False, warn_listeners: bool = True) -> None:
    """Rebuild the app's vhost and reload. The new file is in place before `nginx -t`: a broken one breaks the host."""
    from . import scheduler

    if computed("proxy", app, "type", "nginx") != "nginx":
        return
    if not proxy_enabled(app):
        info1(f"Nginx support is disabled for app ({app})")
        if conf_path(app).exists():
            info1("Deleting nginx.conf")
            conf_path(app).unlink()
            if scheduler.is_deployed(app):
                info1("Reloading nginx after nginx.conf deletion")
                reload_nginx()
        return
    listeners = scheduler.listeners(app)
    deployed = bool(listeners) and scheduler.is_deployed(app)
    if in_sync and deployed:
        info1(f"Ensuring network configuration is in sync for {app}")
    ports.configure(app)
    tls = certs.exists(app)
    maps = []
    for scheme, host, container in sorted(ports.effective(app), key=lambda entry: (f"{entry[0]}:{entry[1]}:{entry[2]}",)):
        if scheme == "https" and not tls:
            warn(f"Ignoring detected https port mapping without an accompanying ssl certificate ({scheme}:{host}:{container})")
        else:
            maps.append((scheme, host, container))
    if tls:
        tell_unmatched(app)
    if not listeners and warn_listeners and not State.quiet:
        warn(f"No web listeners specified for {app}")
    if not deployed and (listeners or not maps):
        return
    for name in sorted(set(domains.names(app))):
        info1(f"Configuring {name}...(using built-in template)")
    info1(f"Creating {'https' if tls else 'http'} nginx.conf")
    (app_dir(app) / "nginx.conf.d").mkdir(exist_ok=True)
    text = render(app, maps, listeners)
    write(conf_path(app), text, 0o600)
    if deployed:
        manage_hsts(app, tls)
    verbose("Reloading nginx")
    # A deploy builds the same configuration twice within a second, and one reload does.
    if State.loaded.get(app) != text:
        reload_nginx()
    State.loaded[app] = text


def tell_unmatched(app: str) -> None:
    covered, configured = certs.hostnames(app), domains.names(app)
    patterns = [re.escape(name).replace(r"\*", "[^.]*") for name in covered]
    if not patterns or any(re.fullmatch("|".join(patterns), name) for name in configured):
        return
    if not configured:
        return
    info1(f"No matching configured domains for {app} found in SSL certificate. Your app will show as insecure in a browser if accessed via SSL")
    info1("Please add appropriate domains via the dokku domains command")
    info1("Configured domains for app:")
    for name in configured:
        out(f"=====> {name}")
    info1("Domains found in SSL certificate:")
    for name in covered:
        out(f"=====> {name}")


def manage_hsts(app: str, tls: bool) -> None:
    path = app_dir(app) / "nginx.conf.d" / "hsts.conf"
    if not tls or value(app, "hsts") != "true":
        path.unlink(missing_ok=True)
        return
    verbose("Enabling HSTS (using built-in template)")
    text = f"max-age={value(app, 'hsts-max-age')}"
    text += "; includeSubdomains" if value(app, "hsts-include-subdomains") == "true" else ""
    text += "; preload" if value(app, "hsts-preload") == "true" else ""
    write(path, f'add_header Strict-Transport-Security "{text}" always;\n')


def validate() -> None:
    """`nginx -t` over the whole host; when it fails, show the configuration of every app that its message names."""
    result = run("sudo", "-n", "nginx", "-t", check=False)
    if not result.returncode:
        return
    for app in apps():
        if f"{app_dir(app)}/" in result.stderr:
            warn(f"Failed to validate nginx config for {app}. Contents below...")
            out(read(conf_path(app)))
    raise Fail("\n".join(line for line in result.stderr.splitlines() if "[warn]" not in line), raw=True)


def service(action: str) -> None:
    command = prop("nginx", GLOBAL, "nginx-service-command")
    run("sudo", "-n", *([command, action] if command else ["systemctl", action, "nginx"]))


def reload_nginx() -> None:
    validate()
    service("reload")


# --- commands

def cmd_set(args: list[str]) -> None:
    """Neither rebuilds nor looks whether the app exists."""
    def check(_app: str, key: str, new: str) -> str:
        if key == "proxy-keepalive" and new and not new.isdigit():
            raise Fail("Invalid value for proxy-keepalive: must be an integer")
        return new

    set_property("nginx", args, list(KEYS), bash=True, check_app=False, transform=check)


def collect(app: str) -> dict[str, str]:
    values = {"nginx-last-visited-at": ""} if app != GLOBAL else {}
    for key, default in KEYS.items():
        values.update(triple("nginx", app, key, default.format(app=app)))
    if app != GLOBAL:
        import os

        log = value(app, "access-log-path")
        if os.path.exists(log) and os.path.getsize(log):
            values["nginx-last-visited-at"] = str(int(os.path.getmtime(log)))
    return values


def cmd_report(args: list[str]) -> None:
    report("nginx", "nginx", args, collect, both=False)


def cmd_show_config(args: list[str]) -> None:
    app = verify_app(args[0] if args else None)
    if not conf_path(app).exists():
        raise Fail(f"No nginx.conf exists for {app}")
    out(read(conf_path(app)).rstrip("\n"))


def cmd_validate(args: list[str]) -> None:
    names = [arg for arg in args if not arg.startswith("--")]
    if names:
        verify_app(names[0])
    try:
        validate()
    except Fail:
        if "--clean" not in args:
            raise
        for app in names or apps():
            conf_path(app).unlink(missing_ok=True)
        validate()


def cmd_logs(kind: str):
    def show(args: list[str]) -> None:
        from .core import passthrough

        app = verify_app(next((arg for arg in args if not arg.startswith("-")), None))
        follow = ["-F"] if "-t" in args else []
        raise Fail(rc=passthrough("sudo", "-n", "tail", "-n", "20", *follow, value(app, f"{kind}-log-path")))

    return show


COMMANDS = {
    "nginx": cmd_report, "nginx:report": cmd_report, "nginx:set": cmd_set, "nginx:show-config": cmd_show_config,
    "nginx:validate-config": cmd_validate, "nginx:reload": lambda _args: reload_nginx(), "nginx:start": lambda _args: service("start"),
    "nginx:stop": lambda _args: service("stop"), "nginx:access-logs": cmd_logs("access"), "nginx:error-logs": cmd_logs("error"),
}
