# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every command shares: paths, output, properties, arguments, `:set` and `:report`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(os.environ.get("DOKKU_ROOT", "/home/dokku"))
LIB = Path(os.environ.get("DOKKU_LIB_ROOT", "/var/lib/dokku"))
APP_NAME = re.compile(r"^[a-z0-9][a-z0-9.-]*$")
GLOBAL = "--global"


class State:
    """The options of the front end, and where warnings go: inside a build everything is merged into stdout."""

    quiet = False
    force = False
    app = ""
    merged = False
    loaded: dict[str, str] = {}  # app -> the nginx configuration that this command has loaded


class Fail(Exception):
    """A command that ends with an error.

    `raw` texts are printed without Dokku's exclamation mark; `shown` was printed already, where it happened.
    """

    def __init__(self, message: str = "", rc: int = 1, raw: bool = False, shown: str = "") -> None:
        super().__init__(message)
        self.message, self.rc, self.raw, self.shown = message, rc, raw, shown


def need_root() -> None:
    if os.geteuid() != 0 and not os.environ.get("DOKKU_STANDIN_TEST"):
        raise Fail("This command must be run as root")


# --- output

def out(text: str = "") -> None:
    print(text, flush=True)


def err(text: str = "") -> None:
    print(text, file=sys.stdout if State.merged else sys.stderr, flush=True)


def info1(text: str) -> None:
    if not State.quiet:
        out(f"-----> {text}")


def info2(text: str) -> None:
    if not State.quiet:
        out(f"=====> {text}")


def verbose(text: str) -> None:
    if not State.quiet:
        out(f"       {text}")


def warn(text: str) -> None:
    err(f" !     {text}")


@contextmanager
def merged():
    """Inside a captured build stderr is stdout."""
    before, State.merged = State.merged, True
    try:
        yield
    finally:
        State.merged = before


@contextmanager
def silent():
    before, State.quiet = State.quiet, True
    try:
        yield
    finally:
        State.quiet = before


# --- processes

def run(*argv: str, check: bool = True, stdin: bytes | None = None, env: dict | None = None, text: bool = True):
    """Run a program and return its result; a failure is Dokku's failure, with the program's own words."""
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    result = subprocess.run(argv, check=False, capture_output=True, env=env, **source)
    if text:
        result.stdout = result.stdout.decode(errors="replace")
        result.stderr = result.stderr.decode(errors="replace")
    if check and result.returncode:
        message = result.stderr if text else result.stderr.decode(errors="replace")
        raise Fail(message.rstrip("\n"), raw=True)
    return result


def docker(*argv: str, **kwargs):
    return run("docker", *argv, **kwargs)


def passthrough(*argv: str, env: dict | None = None) -> int:
    """Run a program on our own streams (or, under a test's redirection, copy its output to them)."""
    try:
        real = sys.stdout.fileno() == 1
    except (OSError, ValueError):
        real = False
    sys.stdout.flush()
    if real:
        return subprocess.call(argv, env=env)
    result = subprocess.run(argv, check=False, capture_output=True, env=env, stdin=subprocess.DEVNULL)
    sys.stdout.write(result.stdout.decode(errors="replace"))
    sys.stderr.write(result.stderr.decode(errors="replace"))
    return result.returncode


def stdin_bytes() -> bytes:
    return getattr(sys.stdin, "buffer", sys.stdin).read()


# --- files

def write(path: Path, text: str, mode: int = 0o644) -> None:
    write_bytes(path, text.encode(), mode)


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace a file in one step, so that a killed command leaves the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
    os.chmod(temporary, mode)
    os.replace(temporary, path)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def read_lines(path: Path) -> list[str]:
    return [line for line in read(path).splitlines() if line]


def prop(plugin: str, app: str, key: str, default: str = "") -> str:
    value = read(LIB / "config" / plugin / app / key)
    return value if value else default


def set_prop(plugin: str, app: str, key: str, value: str) -> None:
    path = LIB / "config" / plugin / app / key
    if value:
        write(path, value, 0o600)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)


def prop_list(plugin: str, app: str, key: str) -> list[str]:
    return read_lines(LIB / "config" / plugin / app / key)


def set_prop_list(plugin: str, app: str, key: str, values: list[str]) -> None:
    set_prop(plugin, app, key, "".join(f"{value}\n" for value in values))


def computed(plugin: str, app: str, key: str, default: str = "") -> str:
    return prop(plugin, app, key) or prop(plugin, GLOBAL, key) or default


# --- apps and arguments

def app_dir(app: str) -> Path:
    return ROOT / app


def apps() -> list[str]:
    if not ROOT.is_dir():
        return []
    return sorted(p.name for p in ROOT.iterdir() if p.is_dir() and (p / "refs").is_dir())


def verify_app(app: str | None) -> str:
    if not app:
        raise Fail("Please specify an app to run the command on")
    if not re.match(r"^[a-z0-9][a-z0-9._-]*$", app) or not (app_dir(app) / "refs").is_dir():
        raise Fail(f"App {app} does not exist", rc=20)
    return app


def verify_app_or_global(app: str | None) -> str:
    return app if app == GLOBAL else verify_app(app)


def flags(command: str, args: list[str], switches: tuple = (), values: tuple = ()) -> tuple[dict, list[str]]:
    """Parse as pflag does: options anywhere, `--x=y` or `--x y`; an unknown one ends with rc 2."""
    options: dict = {}
    rest: list[str] = []
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--":
            return options, rest + queue
        if not arg.startswith("--") or arg == GLOBAL and "global" not in switches:
            rest.append(arg)
            continue
        name, equals, value = arg[2:].partition("=")
        if name in switches:
            options[name] = value != "false" if equals else True
        elif name in values:
            if not equals:
                if not queue:
                    raise Fail(f"Usage of {command}:\nflag needs an argument: --{name}", rc=2, raw=True)
                value = queue.pop(0)
            options[name] = value
        else:
            raise Fail(f"Usage of {command}:\nunknown flag: --{name}", rc=2, raw=True)
    return options, rest


# --- `PLUGIN:set` and `PLUGIN:report`

def set_property(plugin: str, args: list[str], valid: list[str], bash: bool = False, app_only: tuple = (),
                 check_app: bool = True, transform=None) -> tuple[str, str, str]:
    """`PLUGIN:set APP KEY [VALUE...]`: returns what was set. Bash plugins and Go plugins word their errors differently."""
    target = args[0] if args else None
    if check_app:
        target = verify_app_or_global(target)
    elif not target:
        raise Fail("Please specify an app to run the command on")
    if len(args) < 2 or not args[1]:
        raise Fail("No key specified" if bash else "No property specified")
    key, value = args[1], " ".join(args[2:]) if not bash else (args[2] if len(args) > 2 else "")
    if key not in valid:
        kind = "key" if bash else "property"
        plural = "keys" if bash else "properties"
        raise Fail(f"Invalid {kind} specified, valid {plural} include: {', '.join(valid)}")
    if target == GLOBAL and key in app_only:
        raise Fail("Property cannot be specified globally")
    if transform:
        value = transform(target, key, value)
    set_prop(plugin, target, key, value)
    if value:
        info2(f"Setting {key} to {value}")
    else:
        info2(f"Unsetting {key}")
    return target, key, value


def label(flag: str, upper: bool = True) -> str:
    words = flag.replace("-", " ").replace(".", " ")
    return (words[:1].upper() + words[1:] if upper else words) + ":"


def report(title: str, prefix: str, args: list[str], collect, collect_global=None, both: bool = True,
           upper: bool = True, extra_json=None, strict: bool = False) -> None:
    """`PLUGIN:report [APP|--global] [--format stdout|json] [--ONE-FLAG]`.

    `collect(app)` returns flag -> value, the flag without its dashes. `both`: Go plugins print the old prefixed key and
    the new short one in JSON, bash plugins the short one only.
    """
    names: list[str] = []
    wanted: list[str] = []
    form = ""
    queue = list(args)
    while queue:
        arg = queue.pop(0)
        if arg == "--format":
            form = queue.pop(0) if queue else ""
        elif arg.startswith("--format="):
            form = arg.partition("=")[2]
        elif arg == GLOBAL or not arg.startswith("--"):
            names.append(arg)
        else:
            wanted.append(arg)
    if len(wanted) > 1:
        if strict:
            raise Fail(f"{prefix}:report command allows only a single flag")
        return
    if form and wanted:
        raise Fail("--format flag cannot be specified when specifying an info flag")
    if form not in ("", "stdout", "json"):
        raise Fail(f'Format must be "stdout" or "json": "{form}"')
    if names:
        targets = [verify_app_or_global(names[0])]
    else:
        targets = apps()
        if not targets:
            warn("You haven't deployed any applications yet")
            return
    import json

    for target in targets:
        if target == GLOBAL:
            if collect_global:
                values = collect_global()
            else:
                values = {k: v for k, v in collect(GLOBAL).items() if k.startswith(f"{prefix}-global-")}
        else:
            values = collect(target)
        if wanted:
            if wanted[0][2:] not in values:
                valid = ", ".join(f"--{key}" for key in sorted(values))
                raise Fail(f"Invalid flag passed, valid flags: {valid}")
            out(values[wanted[0][2:]])
            continue
        if form == "json":
            flat = {}
            for key, value in values.items():
                short = key[len(prefix) + 1:] if key.startswith(f"{prefix}-") else key
                flat[short] = value
                if both:
                    flat[key] = value
            if extra_json:
                flat.update(extra_json(target))
            out(json.dumps(dict(sorted(flat.items())), separators=(",", ":"), ensure_ascii=False))
            continue
        info2(f"{target if target != GLOBAL else 'Global'} {title} information")
        width = max([31, *(len(key) + 2 for key in values)])
        for key in sorted(values):
            out(f"       {label(key, upper):<{width}}{values[key]}")


def triple(plugin: str, app: str, key: str, default: str, prefix: str | None = None) -> dict[str, str]:
    """The convention of three: the app's own value, the global one, the one in effect."""
    prefix = prefix or plugin
    return {
        f"{prefix}-{key}": "" if app == GLOBAL else prop(plugin, app, key),
        f"{prefix}-global-{key}": prop(plugin, GLOBAL, key),
        f"{prefix}-computed-{key}": (prop(plugin, GLOBAL, key) if app == GLOBAL else computed(plugin, app, key)) or default,
    }
