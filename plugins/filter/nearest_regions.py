# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Order regions by measured round-trip times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: nearest_regions
short_description: Order regions by measured round-trip times
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Returns the other regions as seen from one of them, the nearest first.
  - A region to which nothing was measured comes after all others. Equal times are ordered by name, so that every host comes to the same order.
positional: _input
options:
  _input:
    description: The region that looks around.
    type: str
    required: true
  round_trip_times:
    description:
      - What was measured, as a list of dictionaries with C(between), two regions, and C(ms), or as a dictionary of dictionaries, from region to
        region to milliseconds. A time counts in both directions unless both were measured.
    type: raw
    required: true
  regions:
    description: The regions to order. If omitted, all that times were measured for.
    type: list
    elements: str
  absent:
    description: Regions to leave out.
    type: list
    elements: str
    default: []
  itself:
    description: Whether the region itself comes first in the result.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Where to fail over to
  ansible.builtin.debug:
    msg: "{{ paas_region | multiregion.paas.nearest_regions(times, absent=paas_absent_regions) | first }}"
  vars:
    times:
      - {between: [us-east-1, eu-west-1], ms: 75}
      - {between: [us-east-1, ap-southeast-2], ms: 200}
      - {between: [eu-west-1, ap-southeast-2], ms: 255}
"""

RETURN = r"""
_value:
  description: Names of regions.
  type: list
  elements: str
  sample: [eu-west-1, ap-southeast-2]
"""


def _milliseconds(value, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise AnsibleFilterError(f"nearest_regions: the time {where} is {value!r}, not a number of milliseconds")
    return number


def _measured(times) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    if isinstance(times, Mapping):
        for origin, row in times.items():
            if not isinstance(row, Mapping):
                raise AnsibleFilterError(f"nearest_regions: the times from {origin} are a dictionary from region to milliseconds")
            for target, value in row.items():
                found[str(origin), str(target)] = _milliseconds(value, f"from {origin} to {target}")
    elif isinstance(times, Sequence) and not isinstance(times, str):
        for entry in times:
            if not isinstance(entry, Mapping) or "ms" not in entry or len(entry.get("between") or ()) != 2:
                raise AnsibleFilterError(f"nearest_regions: {entry!r} has not the keys between, with two regions, and ms")
            one, other = (str(region) for region in entry["between"])
            found[one, other] = _milliseconds(entry["ms"], f"between {one} and {other}")
    else:
        raise AnsibleFilterError("nearest_regions: round_trip_times is a list or a dictionary")
    return {**{(target, origin): value for (origin, target), value in found.items()}, **found}


def nearest_regions(region: str, round_trip_times, regions: Sequence | None = None, absent: Sequence = (), itself: bool = False) -> list[str]:
    if not isinstance(region, str) or not region:
        raise AnsibleFilterError("nearest_regions: the input is the name of a region")
    for name, value in (("regions", regions), ("absent", absent)):
        if value is not None and (isinstance(value, str) or not isinstance(value, Sequence)):
            raise AnsibleFilterError(f"nearest_regions: {name} is a list of regions")
    times = _measured(round_trip_times)
    known = {name for pair in times for name in pair} if regions is None else {str(name) for name in regions}
    others = known - {str(name) for name in absent} - {region}
    ordered = sorted(others, key=lambda other: (times.get((region, other), float("inf")), other))
    return [str(region), *ordered] if itself else ordered


class FilterModule:
    def filters(self) -> dict:
        return {"nearest_regions": nearest_regions}
