# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section on apps of the estate's status."""

from __future__ import annotations

import fnmatch
import typing as t
from collections import Counter
from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: apps_status
short_description: The section on apps of the estate's status
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Makes one row of each app on each host, and tells where hosts drift apart - in release, processes, domains, certificate and config.
  - What most hosts have counts as right; with as many on both sides, what the first host has.
positional: _input
options:
  _input:
    description:
      - What M(multiregion.paas.dokku_app_info) returned under one salt, by host, also for those that gave no answer.
    type: dict
    required: true
  regions:
    description:
      - The region of every host.
    type: dict
    required: true
  drained:
    description:
      - Whether each host is drained.
    type: dict
    default: {}
  local:
    description:
      - Config keys whose values may differ between hosts, by app, besides those that the role P(multiregion.paas.app#role) and Dokku set.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show which hosts drift
  ansible.builtin.debug:
    msg: "{{ answers | multiregion.paas.apps_status(regions) | selectattr('problems') | map(attribute='host') | unique }}"
"""

RETURN = r"""
_value:
  description:
    - One row an app and host with C(host), C(region), C(app), C(state), C(release), C(processes), C(config_keys), C(certificate),
      C(certificate_expires), C(drained), C(details) (the whole release, C(domains) and the hashes of the C(config)) and C(problems).
  type: list
  elements: dict
"""

# What the role and Dokku give each host, and the release, which is compared by itself.
_LOCAL = ("PAAS_HOST", "PAAS_REGION", "PAAS_RELEASE", "READ_DATABASE_URL", "VALKEY_URL", "GIT_REV", "NO_VHOST", "DOKKU_*")
_STATES = {"true": "running", "mixed": "partly running", "false": "stopped"}


def _short(source: str) -> str:
    """What a person can compare: the tag, or the beginning of the digest."""
    _place, _at, digest = source.partition("@sha256:")
    return digest[:12] or source.rpartition("/")[2]


def _state(app: Mapping[str, t.Any]) -> str:
    if not app["exists"]:
        return "no app"
    return _STATES.get(app["running"], app["running"]) if app["release"]["source"] else "not deployed"


def _row(host: str, region: str | None, app: Mapping[str, t.Any], drained: t.Any) -> dict[str, t.Any]:
    certificate = app.get("certificate") or {}
    processes = app.get("processes") or {}
    return {
        "host": host,
        "region": region,
        "app": app.get("name"),
        "state": _state(app) if app else "no answer",
        "release": _short(app["release"]["source"]) if app.get("exists") else None,
        "processes": " ".join(f"{name}={quantity}" for name, quantity in sorted(processes.items())),
        "config_keys": len(app["config"]) if app.get("exists") else None,
        "certificate": certificate.get("serial"),
        "certificate_expires": certificate.get("expires"),
        "drained": drained,
        "details": {"release": app.get("release"), "domains": app.get("domains"), "config": app.get("config")},
    }


def _usual(values: Mapping[str, t.Any]) -> t.Any:
    """What most hosts have; the first of them wins a draw."""
    return Counter(values.values()).most_common(1)[0][0]


def _shared_config(row: Mapping[str, t.Any], local: Sequence[str]) -> dict[str, str]:
    return {key: value for key, value in row["details"]["config"].items() if not any(fnmatch.fnmatchcase(key, pattern) for pattern in (*_LOCAL, *local))}


def _shared_domains(row: Mapping[str, t.Any]) -> str:
    """Each region has its own names besides the common ones; which they are must be the same."""
    prefix = f"{row['region']}."
    return ", ".join(sorted("REGION." + name[len(prefix) :] if name.startswith(prefix) else name for name in row["details"]["domains"])) or "none"


def _drift(rows: Sequence[Mapping[str, t.Any]], local: Sequence[str]) -> dict[str, list[str]]:
    """For each host in what the app there differs from what is usual."""
    found: dict[str, list[str]] = {row["host"]: [] for row in rows}
    facets: dict[str, dict[str, str]] = {
        "release": {row["host"]: row["details"]["release"]["digest"] or row["details"]["release"]["source"] for row in rows},
        "processes": {row["host"]: row["processes"] or "none" for row in rows},
        "domains": {row["host"]: _shared_domains(row) for row in rows},
        "certificate": {row["host"]: row["certificate"] or "none" for row in rows},
    }
    for facet, values in facets.items():
        usual = _usual(values)
        for host, value in values.items():
            if value != usual:
                shown = (_short("@" + value), _short("@" + usual)) if facet == "release" else (value, usual)
                found[host].append(f"has the {facet} {shown[0] or 'none'}, others {shown[1] or 'none'}")
    configs = {row["host"]: _shared_config(row, local) for row in rows}
    for key in sorted({key for config in configs.values() for key in config}):
        values = {host: config.get(key, "") for host, config in configs.items()}
        usual = _usual(values)
        for host, value in values.items():
            if value != usual:
                which = f"no {key}" if not value else key if not usual else f"another {key}"
                found[host].append(f"has {which} in its config" + ("" if usual else ", others do not"))
    return found


def _problems(row: Mapping[str, t.Any], drift: Mapping[str, list[str]]) -> list[str]:
    if row["state"] in ("no app", "not deployed"):
        found = [f"{row['app']} is " + ("not there: site.yml sets it up" if row["state"] == "no app" else "not deployed: site.yml gives it its release")]
    else:
        found = [] if row["state"] == "running" else [f"{row['app']} is {row['state']}"]
    return found + [f"{row['app']} {text}" for text in drift.get(row["host"], [])]


def apps_status(
    answers: t.Any, regions: Mapping[str, str], drained: Mapping[str, bool] | None = None, local: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, t.Any]]:
    if not isinstance(answers, Mapping) or any(not isinstance(answer, Mapping) for answer in answers.values()):
        raise AnsibleFilterError("apps_status needs what dokku_app_info returned, by host")
    rows = [_row(host, regions.get(host), app, (drained or {}).get(host)) for host, answer in answers.items() for app in answer.get("apps", [{}])]
    drifts = {}
    for name in dict.fromkeys(row["app"] for row in rows):
        alike = [row for row in rows if row["app"] == name and row["state"] not in ("no answer", "no app", "not deployed")]
        drifts[name] = _drift(alike, (local or {}).get(name) or []) if alike else {}
    seen: set[str] = set()
    found = []
    for row in rows:
        if row["state"] == "no answer":
            problems = ["gives no answer: " + str(answers[row["host"]].get("msg") or "it was left out").strip()]
        else:
            problems = _problems(row, drifts[row["app"]])
            if row["drained"] and row["host"] not in seen:
                problems.append("is drained: undrain.yml lets it serve again")
            seen.add(row["host"])
        found.append({**row, "problems": problems})
    return found


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"apps_status": apps_status}
