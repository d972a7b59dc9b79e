# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the endpoints that cannot be near the AWS region they stand for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: steering_problems
short_description: Find the endpoints that cannot be near the AWS region they stand for
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Route 53 knows how far users are from AWS regions, not from the hosts that stand for them. Hosts outside AWS name the nearest AWS region, and
    where they name a wrong one, users are sent to a far region.
  - Compares the round-trip times measured between the endpoints with where AWS's regions lie on the globe. Two endpoints contradict their regions
    when they are nearer to each other than light in glass allows (102 km for each millisecond of a round trip, 5 ms are forgiven), or farther than
    four times that and 100 ms, which no path between any two AWS regions is.
  - An endpoint that contradicts its region together with several others is named alone, otherwise both are. Without a finding an endpoint may still
    be some hundred kilometres from where it should be.
  - What was not measured, and AWS regions whose place is not known here, are not judged.
positional: _input, round_trip_times
options:
  _input:
    description: The endpoints, as the filter P(multiregion.paas.latency_endpoints#filter) makes them. Of each, C(label) and C(region) are read.
    type: list
    elements: dict
    required: true
  round_trip_times:
    description:
      - A dictionary from label to label to milliseconds, or null for what was not measured. M(multiregion.paas.round_trip_info) gives one row of it.
      - Of both directions the shorter time counts.
    type: dict
    required: true
seealso:
  - plugin: multiregion.paas.latency_endpoints
    plugin_type: filter
  - plugin: multiregion.paas.round_trip_info
    plugin_type: module
"""

EXAMPLES = r"""
- name: Look for hosts that are not where they say
  ansible.builtin.debug:
    msg: "{{ endpoints | multiregion.paas.steering_problems(times) }}"
  vars:
    endpoints: "{{ hostvars | multiregion.paas.latency_endpoints(groups['paas_dokku']) }}"
    times:
      us-east-1: {falkenstein: 91.2, eu-west-1: 68.9}
      eu-west-1: {falkenstein: 28.5}
"""

RETURN = r"""
_value:
  description: One sentence a problem, with the endpoints, the times and what to do. Empty when nothing contradicts.
  type: list
  elements: str
  sample:
    - "sydney is not near ap-southeast-2, the AWS region that it stands for: 12 ms from eu-west-1, where light alone takes 169 ms; 80 ms from
      us-east-1, where light alone takes 154 ms. Route 53 sends it the users of that region: name the AWS region that is nearest to its hosts in
      paas_aws_region"
"""

EARTH_RADIUS_KM = 6371.0
# Light travels 204 km in a millisecond in glass, and has to come back.
KM_PER_MS = 102.0
# Regions spread over a metropolis, and their places here are rounded.
FORGIVEN_MS = 5.0
# Cables make detours. The worst between AWS regions, in 2024 and 2025: São Paulo to Cape Town, 337 ms for 62 ms of light; Tel Aviv to Abu Dhabi,
# 144 ms for 21 ms.
DETOUR_FACTOR = 4.0
DETOUR_MS = 100.0

# Latitude and longitude of the city that AWS names for a region, in degrees.
PLACES = {
    "af-south-1": (-33.9, 18.4),
    "ap-east-1": (22.3, 114.2),
    "ap-east-2": (25.0, 121.5),
    "ap-northeast-1": (35.7, 139.7),
    "ap-northeast-2": (37.6, 127.0),
    "ap-northeast-3": (34.7, 135.5),
    "ap-south-1": (19.1, 72.9),
    "ap-south-2": (17.4, 78.5),
    "ap-southeast-1": (1.4, 103.8),
    "ap-southeast-2": (-33.9, 151.2),
    "ap-southeast-3": (-6.2, 106.8),
    "ap-southeast-4": (-37.8, 145.0),
    "ap-southeast-5": (3.1, 101.7),
    "ap-southeast-6": (-36.8, 174.8),
    "ap-southeast-7": (13.8, 100.5),
    "ca-central-1": (45.5, -73.6),
    "ca-west-1": (51.0, -114.1),
    "cn-north-1": (39.9, 116.4),
    "cn-northwest-1": (37.5, 105.2),
    "eu-central-1": (50.1, 8.7),
    "eu-central-2": (47.4, 8.5),
    "eu-north-1": (59.3, 18.1),
    "eu-south-1": (45.5, 9.2),
    "eu-south-2": (41.6, -0.9),
    "eu-west-1": (53.3, -6.3),
    "eu-west-2": (51.5, -0.1),
    "eu-west-3": (48.9, 2.4),
    "eusc-de-east-1": (52.4, 13.1),
    "il-central-1": (32.1, 34.8),
    "me-central-1": (24.5, 54.4),
    "me-south-1": (26.1, 50.6),
    "mx-central-1": (20.6, -100.4),
    "sa-east-1": (-23.5, -46.6),
    "us-east-1": (39.0, -77.5),
    "us-east-2": (40.1, -83.0),
    "us-gov-east-1": (40.1, -83.0),
    "us-gov-west-1": (45.8, -119.7),
    "us-west-1": (37.4, -122.0),
    "us-west-2": (45.8, -119.7),
}


class _Contradiction(NamedTuple):
    """Two labels, and what was measured between them beside what can be."""

    labels: tuple[str, str]
    ms: float
    limit: str


def _light_ms(one: str, other: str) -> float:
    """How long light takes through glass between two AWS regions and back, along a great circle."""
    (latitude, longitude), (latitude2, longitude2) = (tuple(map(math.radians, PLACES[region])) for region in (one, other))
    haversine = (
        math.sin((latitude2 - latitude) / 2) ** 2 + math.cos(latitude) * math.cos(latitude2) * math.sin((longitude2 - longitude) / 2) ** 2
    )
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(haversine)) / KM_PER_MS


def _measured(times: Mapping, one: str, other: str) -> float | None:
    """The shorter of both directions; a longer one had to wait somewhere."""
    found = []
    for origin, target in ((one, other), (other, one)):
        value = (times.get(origin) or {}).get(target)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
            raise AnsibleFilterError(f"steering_problems: the time from {origin} to {target} is {value!r}, not a number of milliseconds")
        found.append(float(value))
    return min(found, default=None)


def _contradictions(regions: Mapping[str, str], times: Mapping) -> list[_Contradiction]:
    labels = sorted(label for label in regions if regions[label] in PLACES)
    found = []
    for position, one in enumerate(labels):
        for other in labels[position + 1 :]:
            ms, light = _measured(times, one, other), _light_ms(regions[one], regions[other])
            if ms is None:
                continue
            if ms < light - FORGIVEN_MS:
                found.append(_Contradiction((one, other), ms, f"light alone takes {light:.0f} ms"))
            elif ms > DETOUR_FACTOR * light + DETOUR_MS:
                found.append(_Contradiction((one, other), ms, f"the worst path takes {DETOUR_FACTOR * light + DETOUR_MS:.0f} ms"))
    return found


def steering_problems(endpoints: Sequence, round_trip_times: Mapping) -> list[str]:
    if isinstance(endpoints, str) or not isinstance(endpoints, Sequence):
        raise AnsibleFilterError("steering_problems: the input is a list of endpoints")
    if not isinstance(round_trip_times, Mapping) or not all(isinstance(row or {}, Mapping) for row in round_trip_times.values()):
        raise AnsibleFilterError("steering_problems: round_trip_times is a dictionary from label to label to milliseconds")
    regions = {str(endpoint.get("label") or endpoint["region"]): str(endpoint["region"]) for endpoint in endpoints}
    left = _contradictions(regions, round_trip_times)
    advice = "Route 53 sends {whom} the users of {what}: name the AWS region that is nearest to {whose} hosts in paas_aws_region"
    problems = []
    while left:
        # The one that contradicts most is likelier wrong than all the others that agree with each other.
        (label, most), (_other, second) = Counter(label for contradiction in left for label in contradiction.labels).most_common(2)
        if most == second:
            break
        reasons = []
        for contradiction in (each for each in left if label in each.labels):
            (other,) = set(contradiction.labels) - {label}
            reasons.append(f"{contradiction.ms:.0f} ms from {other}, where {contradiction.limit}")
        problems.append(
            f"{label} is not near {regions[label]}, the AWS region that it stands for: {'; '.join(reasons)}. "
            + advice.format(whom="it", what="that region", whose="its")
        )
        left = [each for each in left if label not in each.labels]
    for contradiction in left:
        one, other = contradiction.labels
        problems.append(
            f"{one} and {other} are not both near the AWS regions that they stand for, {regions[one]} and {regions[other]}: "
            f"{contradiction.ms:.0f} ms between them, where {contradiction.limit}. "
            + advice.format(whom="them", what="those regions", whose="their")
        )
    return problems


class FilterModule:
    def filters(self) -> dict:
        return {"steering_problems": steering_problems}
