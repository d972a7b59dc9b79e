# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read an app's state: only the reports of what is declared, side by side."""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Dict, List, Mapping, Tuple

from .command import APP_MISSING, Command, Result, Runner, dokku
from .errors import CommandFailed, DokkuUnavailable
from .model import (
    OLDEST,
    Certificate,
    Checks,
    Current,
    Desired,
    Mount,
)

Reading = Tuple[Command, Callable[[str], Dict[str, Any]]]


def _flat(text: str) -> Dict[str, Any]:
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def parse_version(text: str) -> Tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", text)
    if not match:
        raise DokkuUnavailable(f"`dokku version` answered {text.strip()!r}, which holds no version.")
    return tuple(int(part) for part in match.groups())


def _types(text: str) -> Tuple[str, ...]:
    return () if text in ("", "none") else tuple(sorted(part for part in text.split(",") if part))


def _apps(text: str) -> Dict[str, Any]:
    report = _flat(text)
    return {"deploy_source": report.get("deploy-source", ""), "deploy_metadata": report.get("deploy-source-metadata", "")}


def _domains(text: str) -> Dict[str, Any]:
    report = _flat(text)
    return {"vhosts_enabled": report.get("app-enabled") == "true", "domains": tuple(report.get("app-vhosts", "").split())}


def _scale(text: str) -> Dict[str, Any]:
    return {"scale": {entry["process_type"]: int(entry["quantity"]) for entry in json.loads(text or "[]")}}


def _checks(text: str) -> Dict[str, Any]:
    report = _flat(text)
    return {"checks": Checks(_types(report.get("disabled-list", "")), _types(report.get("skipped-list", "")), report.get("wait-to-retire", ""))}


def _storage(text: str) -> Dict[str, Any]:
    mounts: List[Mount] = []
    for entry in json.loads(text or "[]"):
        options = {part for part in str(entry.get("volume_options") or "").split(",") if part}
        if str(entry.get("readonly", "")).lower() == "true":
            options.add("ro")
        name = entry.get("entry_name", "")
        named = bool(name) and not name.startswith("legacy-")
        mounts.append(Mount(name if named else entry["host_path"], entry["container_path"], tuple(sorted(options))))
    return {"storage": tuple(mounts)}


def _docker_options(text: str) -> Dict[str, Any]:
    report = _flat(text)
    return {
        "docker_options": {
            key[: -len("-list")]: tuple(value)
            for key, value in report.items()
            if key.endswith("-list") and isinstance(value, list) and not key.startswith("docker-options-")
        }
    }


def _unprefixed(report: Mapping[str, Any], prefix: str) -> Dict[str, str]:
    return {key: str(value) for key, value in report.items() if not key.startswith((prefix, "computed-", "global-"))}


def _networks_known(text: str) -> Dict[str, Any]:
    return {"known_networks": tuple(sorted(entry["Name"] for entry in json.loads(text or "[]")))}


def readings(desired: Desired) -> List[Reading]:
    """The report commands for what the task declares, each with how to understand its answer."""
    app = desired.name
    found: List[Reading] = [
        (dokku("apps:report", app, "--format", "json"), _apps),
        (dokku("ps:report", app, "--deployed"), lambda text: {"deployed": text.strip() == "true"}),
        (dokku("--quiet", "config:export", "--format", "json", app, secret=True), lambda text: {"config": _flat(text)}),
    ]
    if desired.domains is not None:
        found.append((dokku("domains:report", app, "--format", "json"), _domains))
    if desired.ports is not None or desired.with_pair:
        found.append((dokku("ports:report", app, "--ports-map"), lambda text: {"ports": tuple(text.split())}))
    if desired.serves:
        found.append((dokku("proxy:report", app, "--proxy-type"), lambda text: {"proxy_type": text.strip()}))
    if desired.scale is not None:
        found.append((dokku("ps:scale", "--format", "json", app), _scale))
    if desired.checks is not None or desired.strategy is not None:
        found.append((dokku("checks:report", app, "--format", "json"), _checks))
    if desired.nginx is not None:
        found.append((dokku("nginx:report", app, "--format", "json"), lambda text: {"nginx": _unprefixed(_flat(text), "nginx-")}))
    if desired.storage is not None:
        found.append((dokku("storage:list", "--format", "json", app), _storage))
    if desired.docker_options is not None:
        found.append((dokku("docker-options:report", app, "--format", "json"), _docker_options))
    if desired.networks is not None:
        found.append((dokku("network:report", app, "--format", "json"), lambda text: {"networks": _unprefixed(_flat(text), "network-")}))
        found.append((dokku("network:list", "--format", "json"), _networks_known))
    if desired.resources is not None:
        found.append((dokku("resource:report", app, "--format", "json"), lambda text: {"resources": _unprefixed(_flat(text), "resource-")}))
    if desired.restart_policy is not None:
        found.append((dokku("ps:report", app, "--ps-restart-policy"), lambda text: {"restart_policy": text.strip()}))
    if desired.builder is not None:
        found.append((dokku("builder:report", app, "--format", "json"), lambda text: {"builder": _unprefixed(_flat(text), "builder-")}))
        if "dockerfile-path" in desired.builder:
            found.append((dokku("builder-dockerfile:report", app, "--format", "json"), lambda text: {"builder": _unprefixed(_flat(text), "builder-")}))
    if desired.buildpacks is not None:
        found.append(
            (
                dokku("buildpacks:report", app, "--buildpacks-list"),
                lambda text: {"buildpacks": tuple(part for part in re.split(r"[,\s]+", text.strip()) if part)},
            )
        )
    if desired.logs is not None:
        found.append((dokku("logs:report", app, "--format", "json"), lambda text: {"logs": _unprefixed(_flat(text), "logs-")}))
    return found


def _installed_pair(crt: Result, key: Result) -> Dict[str, Any]:
    """Without a certificate both commands fail, and that is an answer; a half of a pair counts as none."""
    if crt.rc != 0 or key.rc != 0 or "BEGIN CERTIFICATE" not in crt.stdout:
        return {"certificate": None}
    return {"certificate": Certificate(crt.stdout.strip() + "\n", key.stdout.strip() + "\n")}


def check_version(version: Tuple[int, ...]) -> None:
    if version < OLDEST:
        found, needed = ".".join(map(str, version)), ".".join(map(str, OLDEST))
        raise DokkuUnavailable(f"This host has Dokku {found}, whose reports lack what is needed. Upgrade it to {needed} or later.")


def read(runner: Runner, desired: Desired) -> Current:
    """Everything at once. An app that is missing answers each report with exit status 20."""
    wanted = readings(desired)
    commands = [dokku("version"), *(command for command, _understand in wanted)]
    if desired.with_pair:
        commands += [dokku("certs:show", desired.name, "crt"), dokku("certs:show", desired.name, "key", secret=True)]
    results = runner.run_all(commands)
    if results[0].rc != 0:
        raise DokkuUnavailable(f"`dokku version` failed: {results[0].complaint()}")
    version = parse_version(results[0].stdout)
    check_version(version)
    if results[1].rc == APP_MISSING:
        networks = [understand(result.stdout) for (_c, understand), result in zip(wanted, results[1:]) if understand is _networks_known and result.rc == 0]
        return Current(version=version, exists=False, **(networks[0] if networks else {}))
    found: Dict[str, Any] = {}
    for (command, understand), result in zip(wanted, results[1:]):
        if result.rc != 0:
            words = "" if command.secret else ": " + runner.mask(result.complaint())
            raise CommandFailed(f"Reading the app {desired.name} failed, `{command.describe()}` gave exit status {result.rc}{words}", rc=result.rc)
        try:
            piece = understand(result.stdout)
        except (ValueError, KeyError, TypeError) as exc:
            raise CommandFailed(f"`{command.describe()}` answered something else than expected ({type(exc).__name__}).") from exc
        for key, value in piece.items():
            found[key] = {**found[key], **value} if key == "builder" and key in found else value
    if desired.with_pair:
        found.update(_installed_pair(results[-2], results[-1]))
    return Current(version=version, exists=True, **found)


def read_config(runner: Runner, app: str) -> Dict[str, str]:
    """The config of another app, to copy from."""
    result = runner.must(dokku("--quiet", "config:export", "--format", "json", app, secret=True), f"Reading the config of the app {app}")
    return {str(key): str(value) for key, value in _flat(result.stdout).items()}
