# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who cannot be where the declaration says, by what was measured."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from botocore.session import Session

from ansible_collections.multiregion.paas.plugins.filter.steering_problems import PLACES, steering_problems

# Medians of a year between AWS regions, in ms: usual paths, and the ones nearest to both limits.
REAL = {
    "us-east-1": {"eu-west-1": 70, "ap-southeast-2": 200, "us-east-2": 15, "us-west-2": 64, "sa-east-1": 115, "af-south-1": 226, "eu-central-1": 93},
    "us-west-2": {"ap-southeast-2": 141, "ap-southeast-4": 152, "ap-northeast-1": 98, "eu-central-1": 142, "af-south-1": 273},
    "eu-west-1": {"eu-west-2": 13, "eu-central-1": 27, "ap-southeast-2": 256, "us-west-2": 118, "il-central-1": 70, "af-south-1": 158},
    "eu-central-1": {"eu-central-2": 9, "ap-southeast-2": 252, "sa-east-1": 204, "me-south-1": 86},
    "af-south-1": {"sa-east-1": 337, "ap-southeast-2": 409, "ap-southeast-4": 420, "me-central-1": 287, "ap-south-2": 295},
    "il-central-1": {"me-south-1": 110, "me-central-1": 144, "ap-northeast-2": 272, "ap-south-1": 135},
    "ap-northeast-2": {"eu-north-1": 250},
    "ap-east-1": {"ap-southeast-7": 63},
    "ap-southeast-1": {"ap-southeast-5": 8, "ap-southeast-3": 17},
}
US, EU, AP = ({"label": region, "region": region} for region in ("us-east-1", "eu-west-1", "ap-southeast-2"))
THREE = {"us-east-1": {"eu-west-1": 70, "ap-southeast-2": 200}, "eu-west-1": {"ap-southeast-2": 256}}


def test_hosts_that_are_in_their_regions_are_never_suspected():
    regions = {region for origin, row in REAL.items() for region in (origin, *row)}
    assert steering_problems([{"label": region, "region": region} for region in regions], REAL) == []


def test_a_host_that_others_are_too_near_to_is_named_alone():
    # "sydney" stands in Dublin.
    times = {"us-east-1": {"eu-west-1": 70, "sydney": 71}, "sydney": {"eu-west-1": 1}}
    (problem,) = steering_problems([US, EU, {"label": "sydney", "region": "ap-southeast-2"}], times)
    assert problem.startswith("sydney is not near ap-southeast-2, the AWS region that it stands for: 1 ms from eu-west-1, where light alone takes 169 ms;")
    assert "71 ms from us-east-1, where light alone takes 154 ms" in problem and "paas_aws_region" in problem


def test_a_host_that_is_too_far_from_where_it_should_be_is_found():
    # "falkenstein" stands in Sydney.
    times = {**THREE, "falkenstein": {"eu-west-1": 256, "us-east-1": 200}}
    (problem,) = steering_problems([US, EU, {"label": "falkenstein", "region": "eu-central-1"}], times)
    assert problem.startswith("eu-west-1 and falkenstein are not both near") and "256 ms between them, where the worst path takes 1" in problem


def test_two_that_contradict_each_other_only_are_both_named():
    (problem,) = steering_problems([US, EU], {"us-east-1": {"eu-west-1": 2.4}})
    assert problem.startswith("eu-west-1 and us-east-1 are not both near the AWS regions that they stand for, eu-west-1 and us-east-1: 2 ms between them")


def test_all_in_one_place_are_all_named():
    times = {one: dict.fromkeys(("us-east-1", "eu-west-1", "ap-southeast-2"), 0.2) for one in ("us-east-1", "eu-west-1", "ap-southeast-2")}
    assert len(steering_problems([US, EU, AP], times)) == 3


@pytest.mark.parametrize("there", [900, None])
def test_the_shorter_of_both_directions_counts(there):
    assert steering_problems([US, EU], {"us-east-1": {"eu-west-1": there}, "eu-west-1": {"us-east-1": 70}}) == []


@pytest.mark.parametrize("times", [{}, {"us-east-1": None}, {"us-east-1": {"eu-west-1": None}}, {"us-east-1": {"nobody": 1}}])
def test_what_was_not_measured_is_not_judged(times):
    assert steering_problems([US, EU], times) == []


def test_a_region_that_is_not_known_here_is_not_judged():
    assert steering_problems([US, {"label": "moon", "region": "moon-1"}], {"us-east-1": {"moon": 0.1}}) == []


def test_without_a_label_the_region_is_it():
    assert len(steering_problems([{"region": "us-east-1"}, {"region": "eu-west-1"}], {"us-east-1": {"eu-west-1": 1}})) == 1


def test_a_few_kilometres_are_forgiven():
    # Two hosts in Strasbourg, between Frankfurt and Zurich.
    endpoints = [{"label": "one", "region": "eu-central-1"}, {"label": "two", "region": "eu-central-2"}]
    assert steering_problems(endpoints, {"one": {"two": 0.3}}) == []


def test_every_region_that_route_53_knows_has_a_place():
    assert set(Session().get_service_model("route53").shape_for("ResourceRecordSetRegion").enum) <= set(PLACES)
    assert all(-90 < latitude < 90 and -180 < longitude < 180 for latitude, longitude in PLACES.values())


@pytest.mark.parametrize(
    ("endpoints", "times", "words"),
    [
        ("us-east-1", {}, "list of endpoints"),
        ([US], [], "dictionary from label to label"),
        ([US], {"us-east-1": 3}, "dictionary from label to label"),
        ([US, EU], {"us-east-1": {"eu-west-1": "far"}}, "from us-east-1 to eu-west-1 is 'far'"),
        ([US, EU], {"us-east-1": {"eu-west-1": -1}}, "is -1, not a number"),
    ],
)
def test_what_is_wrong_is_said(endpoints, times, words):
    with pytest.raises(AnsibleFilterError, match=words):
        steering_problems(endpoints, times)
