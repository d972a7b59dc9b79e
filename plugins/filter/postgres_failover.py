# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was the primary, who takes over, and what is lost with it."""

from __future__ import annotations

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.module_utils._postgres.follower import slot_name

DOCUMENTATION = r"""
name: postgres_failover
short_description: Who was the primary, who takes over, and what is lost with it
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Chooses the follower that takes over from what the servers say that still answer, the one with the most of the log.
  - The old primary is the one that says so, or the one that the followers with the newest timeline are configured for. A server that is
    held down since an earlier failover is not taken for it.
positional: _input
options:
  _input:
    description:
      - What M(multiregion.paas.pg_follower_info) returned, by host. Hosts that did not answer are left out.
    type: dict
    required: true
  addresses:
    description:
      - The private address of every database host.
    type: dict
    required: true
  new_primary:
    description:
      - The host that takes over, instead of the most advanced one.
    type: str
    default: ""
  old:
    description:
      - The old primary, where it has been found before; empty to find it.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Choose
  ansible.builtin.set_fact:
    choice: "{{ servers | multiregion.paas.postgres_failover(addresses) }}"
"""

RETURN = r"""
_value:
  description:
    - C(old), the old primary's host, and C(new), the one that takes over.
    - C(others), the other followers that answered.
    - C(ahead), those of them that have more of the log than C(new). They cannot follow it without a rewind.
    - C(known), whether the end of the old primary's log is known.
    - C(lost_bytes), how much of the log the new primary has not got; where it is not C(known), at least that much.
    - C(lossless), whether it is proven that nothing is lost.
    - C(isolate), the followers that together take the majority of the regions from the old primary when they are detached; empty where
      those that answer cannot, or where the old primary had no guard.
    - C(guard_seconds), the time after which its guard has closed then.
    - C(done), whether C(new) is the primary already and answers, so that nobody is to be fenced or promoted.
  type: dict
"""


def _bytes(lsn: t.Any) -> int:
    if not lsn:
        return 0
    high, low = str(lsn).split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _reached(server: Mapping[str, t.Any]) -> tuple[int, int]:
    return int(server.get("timeline") or 0), max(_bytes(server.get("receive_lsn")), _bytes(server.get("replay_lsn")))


def _isolating(followers: Mapping[str, t.Any], counted: Mapping[str, t.Any]) -> list[str]:
    """By what the guard itself counts, which today's inventory need not be."""
    slots = {host: slot_name(host) for host in followers}
    regions = counted["followers"]
    heard_still = {region for slot, region in regions.items() if slot not in slots.values()} - {counted["region"]}
    if len(heard_still) >= counted["regions"] // 2:
        return []
    return [host for host in followers if regions.get(slots[host], counted["region"]) not in heard_still | {counted["region"]}]


def _named(followers: Mapping[str, t.Any], addresses: Mapping[str, str]) -> tuple[list[str], set[str]]:
    """The hosts and the addresses that the followers with the newest timeline are configured for: the others may still name one before."""
    newest = max((int(server.get("timeline") or 0) for server in followers.values()), default=0)
    named = {
        server["primary"]["host"] if server.get("primary") else server.get("detached_from")
        for server in followers.values() if int(server.get("timeline") or 0) == newest
    } - {None, ""}
    # A follower that runs is no primary, whoever still names it.
    return [host for host, address in addresses.items() if address in named and host not in followers], named


def _old_primary(servers: Mapping[str, t.Any], followers: Mapping[str, t.Any], addresses: Mapping[str, str], stopped: list[str]) -> str:
    hosts, named = _named(followers, addresses)
    if stopped:
        newest = max((int(server.get("timeline") or 0) for server in followers.values()), default=0)
        if hosts and stopped[0] not in hosts and int(servers[stopped[0]].get("timeline") or 0) <= newest:
            raise AnsibleFilterError(
                f"{stopped[0]} would come up as a primary, but the followers are configured for {', '.join(hosts)} and are not behind it:"
                f" it is a primary of former days. Hold it down first (pg_follower state=fenced on {stopped[0]}), then run this again"
            )
        return stopped[0]
    fenced = [host for host, server in servers.items() if server.get("fenced")]
    if not named and len(fenced) == 1:
        return fenced[0]
    if len(hosts) != 1:
        raise AnsibleFilterError(
            "The followers do not tell which server was the primary: they are configured for " + (", ".join(hosts or sorted(named)) or "none")
        )
    return hosts[0]


def postgres_failover(servers: t.Any, addresses: Mapping[str, str], new_primary: str = "", old: str = "") -> dict[str, t.Any]:
    followers = {
        host: server for host, server in servers.items()
        if server["role"] == "follower" and server.get("running") and server.get("accepting") and not server.get("fenced")
    }
    primaries = [host for host, server in servers.items() if server["role"] == "primary"]
    if len(primaries) > 1:
        raise AnsibleFilterError("More than one server is writable or would be when started: " + ", ".join(primaries))
    if primaries and servers[primaries[0]].get("accepting"):
        # Also what a run that was killed after the promotion finds.
        if new_primary not in ("", primaries[0]):
            raise AnsibleFilterError(f"{primaries[0]} is the primary and answers: switch over instead, or stop it first")
        return {
            "old": old, "new": primaries[0], "others": list(followers), "ahead": [], "known": True, "lost_bytes": 0, "lossless": True, "isolate": [],
            "guard_seconds": 0, "done": True,
        }
    old = old or _old_primary(servers, followers, addresses, primaries)
    if not followers:
        raise AnsibleFilterError("No follower answers, so there is nobody to take over: bring one of them back, or the old primary itself")
    new = new_primary or max(followers, key=lambda host: _reached(followers[host]))
    if new not in followers:
        raise AnsibleFilterError(f"{new} cannot take over: it is no running follower. These are: " + ", ".join(followers))

    reached = _reached(followers[new])
    end = servers.get(old, {})
    # While it runs, the end of its log is not the end yet; and positions of two timelines are not compared.
    known = bool(end.get("lsn")) and not end.get("running") and int(end.get("timeline") or 0) == reached[0]
    best = max(_reached(server) for server in followers.values())
    lost = max(0, best[1] - reached[1]) if best[0] == reached[0] else 0
    if known:
        # The last record starts there; who has got it is past that.
        behind = _bytes(end["lsn"]) - reached[1]
        lost = max(0, behind) if behind != 0 else 1
    guard = (servers[new].get("guards") or {}).get(old) or {}
    return {
        "old": old,
        "new": new,
        "others": [host for host in followers if host != new],
        "ahead": [host for host in followers if _reached(followers[host]) > reached],
        "known": known,
        "lost_bytes": lost,
        "lossless": known and lost == 0,
        "isolate": _isolating(followers, guard["counted"]) if guard.get("counted") else [],
        "guard_seconds": int(guard.get("seconds") or 0),
        "done": False,
    }


class FilterModule:
    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"postgres_failover": postgres_failover}
