# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""plugin:* — the core ones by name, and those from git repositories as plugn keeps them: cloned, pinned, triggered at install and update."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from . import VERSION
from .core import LIB, Fail, err, flags, info1, need_root, out, passthrough, run, write

CORE_PLUGINS = """00_dokku-standard 20_events app-json apps builder builder-dockerfile builder-herokuish builder-lambda builder-nixpacks
builder-null builder-pack builder-railpack buildpacks builds caddy-vhosts certs checks common config cron docker-options domains enter git
haproxy-vhosts logs network nginx-vhosts openresty-vhosts plugin ports proxy ps registry repo resource run scheduler
scheduler-docker-local scheduler-null shell ssh-keys storage trace traefik-vhosts""".split()


def available(name: str = "") -> Path:
    return LIB / "plugins" / "available" / name


def enabled(name: str = "") -> Path:
    return LIB / "plugins" / "enabled" / name


def git(path: Path, *words: str, check: bool = True):
    return run("git", "-c", f"safe.directory={path}", "-C", str(path), *words, check=check)


def asked(path: Path, *words: str) -> str:
    result = git(path, *words, check=False)
    return "" if result.returncode else result.stdout.strip()


def describe(name: str) -> dict:
    if name in CORE_PLUGINS:
        words = {"00_dokku-standard": "standard", "20_events": "events logging", "certs": "certificate management"}.get(name, name)
        return {"name": name, "version": {"builds": "0.34.0"}.get(name, VERSION), "enabled": True, "core": True,
                "description": f"dokku core {words} plugin", "source_url": "", "committish": "", "branch": ""}
    path = available(name)
    toml = (path / "plugin.toml").read_text() if (path / "plugin.toml").exists() else ""
    told = dict(re.findall(r'^\s*(version|description)\s*=\s*"([^"]*)"', toml, re.MULTILINE))
    row = {"name": name, "version": told.get("version", ""), "enabled": enabled(name).is_symlink(), "core": False,
           "description": told.get("description", ""), "source_url": "", "committish": "", "branch": ""}
    if (path / ".git").exists():
        branch = asked(path, "rev-parse", "--abbrev-ref", "HEAD")
        row.update(source_url=asked(path, "remote", "get-url", "origin"), committish=asked(path, "rev-parse", "HEAD"),
                   branch="" if branch == "HEAD" else branch)
    return row


def names() -> list[str]:
    others = [path.name for path in available().iterdir() if path.is_dir()] if available().is_dir() else []
    return sorted({*CORE_PLUGINS, *others})


def line(row: dict) -> str:
    """As `plugn list` prints it."""
    return f"  {row['name']:<20} {row['version']:<5} {'enabled' if row['enabled'] else 'disabled':<10} {row['description']}"


def cmd_list(args: list[str]) -> None:
    options, _rest = flags("plugin:list", args, (), ("format",))
    rows = [describe(name) for name in names()]
    if options.get("format") != "json":
        for row in rows:
            out(line(row))
        return
    # Dokku takes these lines apart at their blanks, so a plugin without a version has its state for one, or is left out.
    told = []
    for row in rows:
        words = line(row).split()
        if len(words) >= 3:
            told.append({**row, "version": words[1], "enabled": words[2] == "enabled", "description": " ".join(words[3:])})
    out(json.dumps(told, separators=(",", ":")))


def cmd_installed(args: list[str]) -> None:
    if not args or args[0] not in names():
        raise Fail()


def cmd_dependencies(_args: list[str]) -> None:
    need_root()


def trigger(name: str) -> None:
    for path in sorted(enabled().iterdir()) if enabled().is_dir() else []:
        program = path / name
        if program.is_file() and os.access(program, os.X_OK) and passthrough(str(program)):
            raise Fail()


def change(name: str, committish: str) -> None:
    """What `plugn update` does: a branch is pulled, a commit or tag is checked out and noted."""
    path = available(name)
    if not (path / ".git").is_dir():
        out(f"Plugin ({name}) not managed by git")
        return
    if not committish and not asked(path, "symbolic-ref", "HEAD"):
        out(f"Plugin pinned to {(path / '.plugin_committish').read_text().strip()}")
        return
    git(path, "fetch", "--quiet")
    if not committish:
        git(path, "pull", "--quiet")
        out(f"Plugin ({name}) updated")
        return
    git(path, "fetch", "--quiet", "--tags")
    # plugn keeps git's words to itself.
    if git(path, "checkout", "--quiet", committish, check=False).returncode:
        raise Fail()
    git(path, "pull", "--quiet", check=False)
    write(path / ".plugin_committish", f"{committish}\n")
    out(f"Plugin ({name}) updated and pinned to {committish}")


def cmd_install(args: list[str]) -> None:
    need_root()
    if not args or args[0] == "--core":
        trigger("install")
        return
    url, rest = args[0], args[1:]
    if not url.startswith(("https:", "git", "ssh:", "file:")):
        err(" !     First argument must be --core or url to plugin\n !     Valid prefixes: https:, git:, ssh:, file:\n !     Valid suffixes: .tar.gz, .tgz")
        raise Fail("Please retry with valid arguments")
    options = dict(zip(rest[::2], rest[1::2]))
    name = options.get("--name") or re.sub(r"^dokku-", "", url.rsplit("/", 1)[-1].partition(".")[0])
    path = available(name)
    info1(f"Cloning plugin repo {url} to {path}")
    if not path.exists():
        available().mkdir(parents=True, exist_ok=True)
        run("git", "clone", "--quiet", url, str(path))
    elif not (path / ".git").is_dir():
        raise Fail(f"{name} is already installed, but it does not seem to be a git repository", raw=True)
    elif asked(path, "config", "remote.origin.url") != url:
        raise Fail(f"Plugin '{name}' is already installed, but with a different url. To install anyway, uninstall it first.", raw=True)
    else:
        err(f"Plugin '{name}' is already installed.")
    cmd_enable([name])
    if options.get("--committish"):
        change(name, options["--committish"])
    trigger("install")
    info1("Priming bash-completion cache")


def cmd_update(args: list[str]) -> None:
    need_root()
    for name in args[:1] or [path.name for path in enabled().iterdir()]:
        if name in CORE_PLUGINS:
            raise Fail("Cannot trigger plugin:update against core plugin, please update Dokku instead")
        if not enabled(name).is_symlink():
            raise Fail("Specified plugin not enabled or installed")
        change(name, "".join(args[1:2]))
    trigger("update")
    info1("Priming bash-completion cache")


def cmd_enable(args: list[str]) -> None:
    need_root()
    (name,) = args
    if enabled(name).exists():
        raise Fail("Plugin already enabled")
    if not available(name).exists():
        raise Fail("Plugin does not exist")
    enabled().mkdir(parents=True, exist_ok=True)
    enabled(name).symlink_to(available(name))
    info1(f"Plugin {name} enabled")


def cmd_uninstall(args: list[str]) -> None:
    need_root()
    (name,) = args
    if name in CORE_PLUGINS:
        raise Fail("Cannot uninstall a core plugin")
    if not available(name).exists():
        raise Fail(f"Plugin ({name}) is not currently installed")
    trigger("uninstall")
    enabled(name).unlink(missing_ok=True)
    run("rm", "-rf", str(available(name)))
    info1(f"Plugin {name} uninstalled")


def cmd_trigger(args: list[str]) -> None:
    """As the user dokku: Dokku's own trigger that notes where a release came from, and those of the plugins."""
    from .git import set_origin

    if args[:1] == ["deploy-source-set"]:
        set_origin(*args[1:4])
    else:
        trigger(args[0])


COMMANDS = {
    "plugin:list": cmd_list, "plugin:installed": cmd_installed, "plugin:install-dependencies": cmd_dependencies, "plugin:install": cmd_install,
    "plugin:update": cmd_update, "plugin:enable": cmd_enable, "plugin:uninstall": cmd_uninstall,
    "plugin:trigger": cmd_trigger,
}
