# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Postgres section of the estate's status."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: postgres_status
short_description: The Postgres section of the estate's status
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Makes one row of each database host from what it says of itself and from what the primary says of it.
positional: _input
options:
  _input:
    description:
      - What M(multiregion.paas.pg_follower_info) returned, by host, also for those that gave no answer.
    type: dict
    required: true
  addresses:
    description:
      - The private address of every database host.
    type: dict
    required: true
  regions:
    description:
      - The region of every database host.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show who lags
  ansible.builtin.debug:
    msg: "{{ answers | multiregion.paas.postgres_status(addresses, regions) | selectattr('lag_bytes', 'gt', 1000000) }}"
"""

RETURN = r"""
_value:
  description:
    - One row a host with C(host), C(region), C(role), C(state), C(timeline), C(follows), C(lag_bytes), C(lag_seconds), C(slots),
      C(slots_kept_bytes), C(fenced), C(detached), C(details) (C(system_identifier) and the C(slots)) and C(problems).
    - C(lag_bytes) is how far it is behind the primary, or, while the primary gives no answer, what it has received and not
      replayed; null where it is cut off.
    - C(slots_kept_bytes) is the disk that log takes which the server keeps for the slot that is furthest behind.
  type: list
  elements: dict
"""


def _state(answer: Mapping[str, t.Any]) -> str:
    if "role" not in answer:
        return "no answer"
    if answer["role"] == "absent":
        return "no cluster"
    if not answer.get("running"):
        return "stopped"
    return "running" if answer.get("accepting") else "not accepting"


def _row(host: str, answer: Mapping[str, t.Any], primary: Mapping[str, t.Any], addresses: Mapping[str, str], regions: Mapping[str, str]) -> dict[str, t.Any]:
    hosts = {address: name for name, address in addresses.items()}
    upstream = (answer.get("primary") or {}).get("host")
    # What the primary has not even sent yet, only the primary knows.
    seen = [sender for sender in primary.get("followers") or [] if sender["address"] == addresses.get(host)]
    slots = answer.get("slots") or []
    return {
        "host": host,
        "region": regions.get(host),
        "role": answer.get("role"),
        "state": _state(answer),
        "timeline": answer.get("timeline"),
        "follows": hosts.get(upstream, upstream),
        "lag_bytes": None if answer.get("role") == "primary" else seen[0]["lag_bytes"] if seen else answer.get("lag_bytes"),
        "lag_seconds": None if answer.get("lag_seconds") is None else round(answer["lag_seconds"], 1),
        "slots": len(slots) if "slots" in answer else None,
        "slots_kept_bytes": max([slot["retained_bytes"] or 0 for slot in slots], default=0) if "slots" in answer else None,
        "fenced": answer.get("fenced"),
        "detached": answer.get("detached"),
        "details": {"system_identifier": answer.get("system_identifier"), "slots": slots},
    }


def _problems(row: Mapping[str, t.Any], answer: Mapping[str, t.Any], rows: list[dict[str, t.Any]]) -> list[str]:
    if row["state"] == "no answer":
        return ["gives no answer: " + str(answer.get("msg") or "it was left out").strip()]
    found = []
    clusters = {other["details"]["system_identifier"] for other in rows} - {None}
    primaries = [other["host"] for other in rows if other["role"] == "primary"]
    own = row["details"]["system_identifier"]
    if own and len(clusters) > 1:
        found.append(f"the servers belong to {len(clusters)} different clusters, this one to {own}")
    if row["role"] == "primary" and len(primaries) > 1:
        found.append("more than one server is writable or would be when started: " + ", ".join(primaries))
    if row["fenced"]:
        found.append("is fenced: rejoin.yml takes it back")
    elif row["state"] == "no cluster":
        found.append("has no cluster: add_follower.yml makes it a follower")
    elif row["state"] != "running":
        found.append("is " + row["state"])
    if row["detached"]:
        found.append("was detached on purpose: rejoin.yml takes it back")
    elif row["role"] == "follower" and row["state"] == "running" and not answer.get("streaming"):
        found.append("streams from nobody")
    elif row["role"] == "follower" and primaries and row["follows"] not in primaries:
        found.append(f"follows {row['follows']}, which is not the primary")
    found += [f"the slot {slot['name']} has lost log that its follower needs" for slot in row["details"]["slots"] if slot["wal_status"] == "lost"]
    return found


def postgres_status(answers: t.Any, addresses: Mapping[str, str], regions: Mapping[str, str]) -> list[dict[str, t.Any]]:
    if not isinstance(answers, Mapping) or any(not isinstance(answer, Mapping) for answer in answers.values()):
        raise AnsibleFilterError("postgres_status needs what pg_follower_info returned, by host")
    running = [answer for answer in answers.values() if answer.get("role") == "primary" and answer.get("accepting")]
    primary = running[0] if len(running) == 1 else {}
    rows = [_row(host, answer, primary, addresses, regions) for host, answer in answers.items()]
    return [{**row, "problems": _problems(row, answers[row["host"]], rows)} for row in rows]


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"postgres_status": postgres_status}
