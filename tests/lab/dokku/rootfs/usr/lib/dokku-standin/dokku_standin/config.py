# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config:* — environment variables of an app, kept in config/APP/ENV."""

from __future__ import annotations

import re

from .core import GLOBAL, LIB, Fail, State, flags, info1, info2, out, read, stdin_bytes, verify_app_or_global, warn, write

KEY = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$")
ESCAPES = {"n": "\n", "r": "\r"}


# --- the file

def env_path(app: str):
    return LIB / "config" / app / "ENV"


def quote_double(value: str) -> str:
    if re.fullmatch(r"-?[1-9][0-9]*|0", value):
        return value
    for plain, escaped in (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ('"', '\\"'), ("!", "\\!"), ("$", "\\$"), ("`", "\\`")):
        value = value.replace(plain, escaped)
    return f'"{value}"'


def parse_env(text: str) -> dict[str, str]:
    """The subset of the env file format that Dokku itself writes, and plain KEY=VALUE lines."""
    values = {}
    pattern = re.compile(r"""^\s*(?:export\s+)?([^\s=#]+)\s*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\n]*))[ \t]*$""", re.M | re.S)
    for match in pattern.finditer(text):
        key, double, single, bare = match.groups()
        if double is not None:
            value = re.sub(r"\\(.)", lambda m: ESCAPES.get(m.group(1), m.group(1)), double, flags=re.S)
        else:
            value = single if single is not None else bare.split(" #", 1)[0].strip()
        values[key] = value
    return values


def load(app: str) -> dict[str, str]:
    return dict(sorted(parse_env(read(env_path(app))).items()))


def save(app: str, values: dict[str, str]) -> None:
    write(env_path(app), "".join(f"{k}={quote_double(v)}\n" for k, v in sorted(values.items())) or "\n", 0o600)


def effective(app: str) -> dict[str, str]:
    return dict(sorted({**load(GLOBAL), **load(app)}.items()))


def quote_single(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


# --- commands

def target_of(options: dict, rest: list[str]) -> tuple[str, list[str]]:
    if options.get("global"):
        return GLOBAL, rest
    if not rest and State.app:
        return verify_app_or_global(State.app), rest
    return verify_app_or_global(rest[0] if rest else None), rest[1:]


def table(values: dict[str, str], indent: str) -> list[str]:
    width = max([len(key) for key in values], default=0) + 3
    return [f"{indent}{key + ':':<{width}}{values[key]}" for key in values]


def apply(app: str, values: dict[str, str], restart: bool, replace: bool = False) -> None:
    for key in values:
        if not KEY.match(key):
            raise Fail(f"Invalid key name: '{key}'")
    save(app, {**({} if replace else load(app)), **values})
    if not State.quiet and values:
        info1("Setting config vars")
        for line in table(values, "       "):
            out(line)
    after_change(app, restart)


def after_change(app: str, restart: bool) -> None:
    """Dokku restarts even when nothing changed, and a restart that fails is only a warning."""
    if not restart or app == GLOBAL:
        return
    from . import ps, scheduler

    if not scheduler.is_deployed(app) or ps.restore(app) == "false":
        return
    info1(f"Restarting app {app}")
    try:
        ps.release_and_deploy(app)
    except Fail as failure:
        ps.print_failure(failure)
        warn("Failure while restarting app: ")


def cmd_set(args: list[str]) -> None:
    options, rest = flags("config:set", args, ("global", "no-restart", "encoded"))
    app, pairs = target_of(options, rest)
    if not pairs:
        raise Fail("At least one env pair must be given")
    values = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise Fail(f"Invalid env pair: {pair}")
        if options.get("encoded"):
            import base64
            import binascii

            position = next((i for i, c in enumerate(value) if not re.match(r"[A-Za-z0-9+/=]", c)), len(value) - len(value) % 4)
            try:
                value = base64.b64decode(value, validate=True).decode()
            except (binascii.Error, ValueError) as error:
                raise Fail(f"illegal base64 data at input byte {position} for key '{key}'") from error
        values[key] = value
    apply(app, dict(sorted(values.items())), not options.get("no-restart"))


def cmd_import(args: list[str]) -> None:
    options, rest = flags("config:import", args, ("global", "no-restart", "replace"), ("format",))
    app, files = target_of(options, rest)
    if not files:
        raise Fail("Expected: file")
    if files[0] == "-":
        info1("Reading config vars from stdin")
        text = stdin_bytes().decode()
    else:
        info1(f"Reading config vars from {files[0]}")
        from pathlib import Path

        if not Path(files[0]).is_file():
            raise Fail(f"open {files[0]}: no such file or directory")
        text = read(Path(files[0]))
    if options.get("format", "envfile") == "json":
        import json

        try:
            values = json.loads(text)
        except ValueError as error:
            raise Fail(f"invalid character in JSON: {error}") from error
        for value in values.values() if isinstance(values, dict) else []:
            if not isinstance(value, str):
                kind = {bool: "bool", dict: "object", list: "array"}.get(type(value), "number")
                raise Fail(f"json: cannot unmarshal {kind} into Go value of type string")
    else:
        values = parse_env(text)
    if not values:
        raise Fail("No config vars to set")
    for key in sorted(values):
        info1(f"Setting config var {key}={values[key]}")
    apply(app, dict(sorted(values.items())), not options.get("no-restart"), bool(options.get("replace")))


def cmd_unset(args: list[str]) -> None:
    options, rest = flags("config:unset", args, ("global", "no-restart"))
    app, keys = target_of(options, rest)
    if not keys:
        raise Fail("At least one key must be given")
    values = load(app)
    for key in keys:
        if not KEY.match(key):
            raise Fail(f"Invalid key name: '{key}'")
        if key in values:
            info1(f"Unsetting {key}")
            del values[key]
        else:
            info1(f"Skipping {key}, it is not set in the environment")
    save(app, values)
    after_change(app, not options.get("no-restart"))


def cmd_clear(args: list[str]) -> None:
    options, rest = flags("config:clear", args, ("global", "no-restart"))
    app, _rest = target_of(options, rest)
    for key in load(app):
        info1(f"Unsetting {key}")
    save(app, {})
    after_change(app, not options.get("no-restart"))


def cmd_get(args: list[str]) -> None:
    options, rest = flags("config:get", args, ("global", "quoted"))
    app, keys = target_of(options, rest)
    if len(keys) != 1:
        raise Fail("Expected: key")
    values = load(app)
    if keys[0] not in values:
        raise Fail()
    out(quote_single(values[keys[0]]) if options.get("quoted") else values[keys[0]])


def cmd_keys(args: list[str]) -> None:
    options, rest = flags("config:keys", args, ("global", "merged"))
    app, _rest = target_of(options, rest)
    for key in effective(app) if options.get("merged") else load(app):
        out(key)


def cmd_show(args: list[str]) -> None:
    options, rest = flags("config:show", args, ("global", "merged"))
    app, _rest = target_of(options, rest)
    info2(f"{app if app != GLOBAL else 'global'} env vars")
    lines = table(effective(app) if options.get("merged") else load(app), "")
    out("\n".join(lines))


def cmd_export(args: list[str]) -> None:
    options, rest = flags("config:export", args, ("global", "merged"), ("format",))
    app, _rest = target_of(options, rest)
    values = effective(app) if options.get("merged") else load(app)
    form = options.get("format", "exports")
    if form == "exports":
        lines = [f"export {k}={quote_single(v)}" for k, v in values.items()]
    elif form == "envfile":
        lines = [f"{k}={quote_double(v)}" for k, v in values.items()]
    elif form == "shell":
        lines = [" ".join(f"{k}={quote_single(v)}" for k, v in values.items()) + " "]
    elif form == "docker-args":
        lines = [" ".join(f"--env={k}={quote_single(v)}" for k, v in values.items())]
    elif form == "docker-args-keys":
        lines = [" ".join(f"--env={k}" for k in values)]
    elif form == "pretty":
        lines = table(values, "")
    elif form in ("json", "json-list"):
        import json

        data = values if form == "json" else [{"name": k, "value": v} for k, v in values.items()]
        lines = [json.dumps(data, separators=(",", ":"), ensure_ascii=False)]
    else:
        raise Fail(f"Unknown export format: {form}")
    if lines:
        out("\n".join(lines))


def cmd_bundle(args: list[str]) -> None:
    options, rest = flags("config:bundle", args, ("global", "merged"))
    app, _rest = target_of(options, rest)
    import io
    import sys
    import tarfile

    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for key, value in (effective(app) if options.get("merged") else load(app)).items():
            member = tarfile.TarInfo(key)
            member.size, member.mode = len(value.encode()), 0o600
            archive.addfile(member, io.BytesIO(value.encode()))


COMMANDS = {
    "config": cmd_show, "config:set": cmd_set, "config:import": cmd_import, "config:unset": cmd_unset, "config:clear": cmd_clear,
    "config:get": cmd_get, "config:keys": cmd_keys, "config:show": cmd_show, "config:export": cmd_export, "config:bundle": cmd_bundle,
}
