# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""storage:* — directories on the host mounted into containers."""

from __future__ import annotations

import hashlib
import json
import re

from .core import GLOBAL, LIB, Fail, State, flags, info1, out, read, report, run, verbose, verify_app, warn, write

OWNERS = {"herokuish": "32767", "heroku": "1000", "paketo": "2000", "root": "0", "false": ""}


def data_dir():
    return LIB / "data" / "storage"


def entries_path():
    return LIB / "config" / "storage" / GLOBAL / "entries.json"


def mounts_path(app: str):
    return LIB / "config" / "storage" / app / "attachments.json"


def entries() -> dict[str, dict]:
    return json.loads(read(entries_path()) or "{}")


def attachments(app: str) -> list[dict]:
    return json.loads(read(mounts_path(app)) or "[]")


def save(path, data) -> None:
    write(path, json.dumps(data, indent=1), 0o600)


def mount_text(mount: dict) -> str:
    options = mount.get("volume_options", "") or ("ro" if mount.get("readonly") else "")
    return f"{mount['host_path']}:{mount['container_path']}{':' + options if options else ''}"


def mount_options(app: str, phase: str, process: str) -> list[str]:
    found = []
    for mount in attachments(app):
        if phase in mount["phases"].split(",") and mount["process_type"] in ("_default_", process):
            found += ["-v", mount_text(mount)]
    return found


def chown(path, owner: str) -> None:
    uid = OWNERS.get(owner, owner)
    if uid:
        verbose(f"Setting directory ownership to {uid}:{uid}")
        run("sudo", "-n", "/usr/lib/dokku-standin/storage-chown", uid, str(path))


# --- commands

def cmd_ensure(args: list[str]) -> None:
    options, rest = flags("storage:ensure-directory", args, (), ("chown",))
    warn("Deprecated: please use 'storage:create' instead of 'storage:ensure-directory'")
    if not rest:
        raise Fail("Please specify a directory to create")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", rest[0]):
        raise Fail("Directory can only contain the following set of characters: [A-Za-z0-9_-]")
    path = data_dir() / rest[0]
    info1(f"Ensuring {path} exists")
    path.mkdir(parents=True, exist_ok=True)
    chown(path, options.get("chown", "herokuish"))
    verbose("Directory ready for mounting")


def cmd_create(args: list[str]) -> None:
    options, rest = flags("storage:create", args, (), ("chown", "mode", "scheduler"))
    if not rest or not re.fullmatch(r"[A-Za-z0-9_-]+", rest[0]):
        raise Fail("Please specify a storage entry name")
    from pathlib import Path

    name, known = rest[0], entries()
    path = Path(rest[1]) if rest[1:] else data_dir() / name
    if name in known:
        info1(f"Storage entry {name} already exists, leaving in place")
    if not path.exists():
        path.mkdir(parents=True)
        verbose(f"Created {path}")
    entry = {"name": name, "scheduler": "docker-local", "host_path": str(path)}
    if options.get("chown"):
        entry["chown"] = options["chown"]
        chown(path, options["chown"])
    known.setdefault(name, {**entry, "schema_version": 1})
    save(entries_path(), known)
    info1(f"Storage entry {name} created")


def parse_mount(text: str) -> dict:
    parts = text.split(":")
    if len(parts) == 1:
        raise Fail(f'storage entry "{text}" does not exist; create it first with `dokku storage:create`')
    host, container = parts[0], parts[1]
    good_host = host.startswith("/") or re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", host)
    if len(parts) > 3 or not good_host or not container.startswith("/"):
        raise Fail("Volume name must be two characters or more. Volume name must not contain invalid characters. "
                   "Storage path must be two valid paths divided by colon.")
    options = parts[2] if len(parts) > 2 else ""
    mount = {"entry_name": "legacy-" + hashlib.sha1(host.encode()).hexdigest()[:10], "host_path": host, "container_path": container}
    if "ro" in options.split(","):
        mount["readonly"] = True
    if options:
        mount["volume_options"] = options
    return mount


def cmd_mount(args: list[str]) -> None:
    options, rest = flags("storage:mount", args, ("readonly",), ("container-dir", "phases", "process-type"))
    app = verify_app(rest[0] if rest else None)
    text = rest[1] if rest[1:] else ""
    mounts, known = attachments(app), entries()
    extra = {"phases": options.get("phases", "deploy,run"), "process_type": options.get("process-type", "_default_")}
    if options.get("container-dir"):
        if text not in known:
            raise Fail(f'storage entry "{text}" does not exist; create it first with `dokku storage:create`')
        new = {"entry_name": text, "host_path": known[text]["host_path"], "container_path": options["container-dir"], **extra}
        if options.get("readonly"):
            new["readonly"] = True
        kept = [m for m in mounts if (m["entry_name"], m["container_path"]) != (text, new["container_path"])]
        save(mounts_path(app), [*kept, new])
        verb = "mounted at {} on {}" if len(kept) == len(mounts) else "mount at {} on {} updated"
        info1(f"Storage entry {text} " + verb.format(new["container_path"], app))
        return
    new = parse_mount(text)
    if any(mount_text(m) == mount_text(new) for m in mounts):
        raise Fail("Mount path already exists.")
    known.setdefault(new["entry_name"], {"name": new["entry_name"], "scheduler": "docker-local", "host_path": new["host_path"], "schema_version": 1})
    save(entries_path(), known)
    save(mounts_path(app), [*mounts, {**new, **extra}])


def cmd_unmount(args: list[str]) -> None:
    options, rest = flags("storage:unmount", args, (), ("container-dir",))
    app = verify_app(rest[0] if rest else None)
    text, mounts = rest[1] if rest[1:] else "", attachments(app)

    def wanted(mount: dict) -> bool:
        return mount_text(mount) == text or mount["entry_name"] == text and options.get("container-dir", mount["container_path"]) == mount["container_path"]

    kept = [mount for mount in mounts if not wanted(mount)]
    if len(kept) == len(mounts):
        raise Fail("Mount path does not exist.")
    save(mounts_path(app), kept)


def cmd_list(args: list[str]) -> None:
    options, rest = flags("storage:list", args, (), ("format",))
    app = verify_app(rest[0] if rest else None)
    if options.get("format") == "json":
        keys = ("entry_name", "host_path", "container_path", "readonly", "volume_options")
        rows = [{key: m[key] for key in keys if m.get(key)} for m in attachments(app)]
        out(json.dumps(rows, separators=(",", ":")))
        return
    info1(f"{app} volume bind-mounts:")
    for mount in attachments(app):
        out(mount_text(mount) if State.quiet else f"       {mount_text(mount)}")


def cmd_list_entries(args: list[str]) -> None:
    flags("storage:list-entries", args, (), ("format",))
    out(json.dumps([entries()[name] for name in sorted(entries())], indent=2))


def collect(app: str) -> dict[str, str]:
    if app == GLOBAL:
        return {}
    values = {}
    for phase in ("build", "deploy", "run"):
        values[f"storage-{phase}-mounts"] = " ".join(f"-v {mount_text(m)}" for m in attachments(app) if phase in m["phases"].split(","))
    for number, mount in enumerate(attachments(app), 1):
        for key in ("container-path", "entry-name", "host-path", "phases", "process-type", "volume-options"):
            values[f"storage-attachment.{number}.{key}"] = mount.get(key.replace("-", "_"), "")
        values[f"storage-attachment.{number}.readonly"] = "true" if mount.get("readonly") else "false"
        values[f"storage-attachment.{number}.subpath"] = values[f"storage-attachment.{number}.volume-chown"] = ""
    return values


def cmd_report(args: list[str]) -> None:
    report("storage", "storage", args, collect)


COMMANDS = {
    "storage": cmd_report, "storage:report": cmd_report, "storage:ensure-directory": cmd_ensure, "storage:create": cmd_create,
    "storage:mount": cmd_mount, "storage:unmount": cmd_unmount, "storage:list": cmd_list, "storage:list-entries": cmd_list_entries,
}
