# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One task from its parameters to its result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

from . import task as tasks
from .apply import apply, apply_absent, check_pair
from .command import Runner, SshTarget
from .errors import BadDeclaration, DokkuMissing
from .model import OLDEST, Current, Desired
from .plan import Plan, plan, plan_absent
from .read import read, read_config

NOT_SHOWN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


def read_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise BadDeclaration(f"The file {path} cannot be read: {exc}.") from exc


def shown(params: Mapping[str, Any]) -> Dict[str, Any]:
    """The parameters as a log may have them: config keys without their values."""

    def keys_only(values: Optional[Mapping[str, Any]]) -> Optional[Dict[str, str]]:
        return None if values is None else {str(key): NOT_SHOWN for key in values}

    found = {key: value for key, value in params.items() if not key.startswith("_")}
    found["config"] = keys_only(params.get("config"))
    if params.get("config_from"):
        found["config_from"] = {**params["config_from"], "values": keys_only(params["config_from"].get("values"))}
    if (params.get("certificate") or {}).get("key_content"):
        found["certificate"] = {**params["certificate"], "key_content": NOT_SHOWN}
    return found


def lines(side: Mapping[str, Any]) -> str:
    """A diff's side, one line a fact."""
    found = []
    for facet, value in side.items():
        if isinstance(value, Mapping):
            found += [f"{facet}.{key}: {entry}" for key, entry in sorted(value.items())]
        elif isinstance(value, (list, tuple)):
            found += [f"{facet}: {entry}" for entry in value]
        else:
            found.append(f"{facet}: {value}")
    return "".join(line + "\n" for line in found)


class Task:
    """Knows how many commands ran, also after a failure."""

    def __init__(self, params: Mapping[str, Any], runner: Optional[Runner] = None, files: Callable[[str], str] = read_file) -> None:
        self.params = dict(params)
        self.files = files
        ssh = self.params.get("ssh")
        target = SshTarget(ssh["host"], ssh.get("user") or "dokku", ssh.get("port") or 22, ssh.get("key_file")) if ssh else None
        self.runner = runner or Runner(target, tasks.secrets_of(self.params))

    @property
    def commands(self) -> int:
        return self.runner.count

    def run(self, check_mode: bool) -> Dict[str, Any]:
        if self.params.get("processes") is not None:
            self.params["processes"] = self._scale(self.params["processes"])
        if self.params.get("state") == "absent":
            return self._absent(check_mode)
        desired = tasks.declare(self.params, self.files, self._copied())
        try:
            current = read(self.runner, desired)
        except DokkuMissing:
            if not check_mode:
                raise
            # A fresh host, on which nothing was installed since this is check mode.
            current = Current(version=OLDEST, exists=False)
        self.runner.learn(current.config.values())
        planned = plan(current, desired)
        if desired.certificate is not None and desired.certificate != current.certificate:
            check_pair(self.runner, desired.certificate)
        if planned.changed and not check_mode:
            apply(self.runner, current, desired, planned, int(self.params.get("timeout") or 900))
        return {
            **self._result(planned),
            "release": tasks.release(current, desired, planned),
            "urls": tasks.urls(current, desired),
        }

    def _absent(self, check_mode: bool) -> Dict[str, Any]:
        desired = Desired(self.params["name"])
        current = read(self.runner, desired)
        planned = plan_absent(current, desired.name, self.params.get("confirm"))
        if planned.changed and not check_mode:
            apply_absent(self.runner, desired, planned, int(self.params.get("timeout") or 900))
        return self._result(planned)

    def _result(self, planned: Plan) -> Dict[str, Any]:
        return {
            "changed": planned.changed,
            "changes": list(planned.changes),
            "commands": self.commands,
            "restarted": planned.replaces_containers,
            "diff": {
                "before": lines(planned.before),
                "after": lines(planned.after),
                "before_header": self.params["name"],
                "after_header": self.params["name"],
            },
        }

    def _copied(self) -> Optional[Dict[str, str]]:
        origin = self.params.get("config_from")
        if not origin:
            return None
        values = read_config(self.runner, origin["app"]) if origin.get("app") else origin.get("values") or {}
        return tasks.copied(values, origin.get("exclude") or [])

    @staticmethod
    def _scale(values: Mapping[str, Any]) -> Dict[str, int]:
        try:
            return {str(key): int(value) for key, value in values.items()}
        except (TypeError, ValueError) as exc:
            raise BadDeclaration("processes takes a number for each process type.") from exc
