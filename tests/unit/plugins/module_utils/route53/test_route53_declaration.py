# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options may say, and what is refused before any change."""

from __future__ import annotations

import pytest
from route53_fake import CHECK, NAME, ZONE, declaration, endpoint

from ansible_collections.multiregion.paas.plugins.module_utils._route53.declaration import CLOUDFRONT_ZONE
from ansible_collections.multiregion.paas.plugins.module_utils._route53.errors import InvalidDeclaration

US = endpoint("us-east-1", "192.0.2.1")
EU = endpoint("eu-west-1", "192.0.2.2")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoints": [endpoint("mars-north-1", "192.0.2.1")]}, "'mars-north-1' is not an AWS region"),
        ({"endpoints": [US, endpoint("us-east-1", "192.0.2.9", label="b")]}, "the region 'us-east-1' has 2 endpoints"),
        ({"endpoints": [US, endpoint("eu-west-1", "192.0.2.9", label="US-EAST-1")]}, "the label 'us-east-1' has 2 endpoints"),
        ({"endpoints": [endpoint("us-east-1", "192.0.2")]}, "'192.0.2' is not an IPv4 or IPv6 address"),
        ({"endpoints": [endpoint("us-east-1", "fe80::1%eth0")]}, "link-local"),
        ({"endpoints": [endpoint("us-east-1", "2001:db8::1", "2001:DB8:0::1")]}, "listed twice"),
        ({"endpoints": [endpoint("us-east-1")]}, "either addresses or a target"),
        ({"endpoints": [endpoint("us-east-1", "192.0.2.1", target={"dns_name": "x.com", "zone_id": "Z"})]}, "either addresses or a target"),
        ({"endpoints": [endpoint("us-east-1", "192.0.2.1", label="a.b")]}, "one label"),
        ({"endpoints": [endpoint("us-east-1", "192.0.2.1", label="*")]}, "one label"),
        ({"endpoints": [endpoint("us-east-1", "192.0.2.1", label="x" * 64)]}, "not a domain name"),
        ({"endpoints": []}, "endpoints is empty"),
        ({"names": []}, "names is empty"),
        ({"names": ["app.example.org"]}, "'app.example.org' is not within the zone example.com"),
        ({"names": ["a.*.example.com"]}, "first label"),
        ({"names": ["x*.example.com"]}, "first label"),
        ({"names": ["a..example.com"]}, "not a domain name"),
        ({"names": ["example.com", "us-east-1.example.com"]}, "is one of the names and the regional name of"),
        ({"ttl": -1}, "ttl"),
        ({"regional_names": False, "endpoints": [endpoint("us-east-1", "192.0.2.1", "192.0.2.2")]}, "one address per family"),
        ({"health_check": {"type": "TCP", "path": "/x"}}, "a TCP check has no path"),
        ({"health_check": {"type": "HTTP_STR_MATCH"}}, "needs a search_string"),
        ({"health_check": {"failure_threshold": 0}}, "between 1 and 10"),
        ({"health_check": {"failure_threshold": 11}}, "between 1 and 10"),
        ({"health_check": {"port": 65536}}, "not a port"),
        ({"health_check": {"regions": ["us-east-1", "eu-west-1"]}}, "at least three"),
        ({"health_check": {"regions": ["us-east-1", "eu-west-1", "eu-central-1"]}}, "no checkers in 'eu-central-1'"),
        ({"health_check": {"host": "*.example.com"}}, "wildcard"),
        ({"health_check": {"path": "/" + "x" * 255}}, "255 characters"),
        (
            {
                "endpoints": [
                    endpoint(
                        "us-east-1", target={"dns_name": "d.cloudfront.net", "zone_id": CLOUDFRONT_ZONE, "evaluate_target_health": True}
                    )
                ]
            },
            "CloudFront",
        ),
    ],
)
def test_refused(options, words):
    with pytest.raises(InvalidDeclaration, match=words.replace("*", r"\*")):
        declaration(**options)


def test_every_problem_is_named_at_once():
    with pytest.raises(InvalidDeclaration) as caught:
        declaration(names=["app.example.org"], endpoints=[endpoint("mars-north-1", "x")], ttl=-1)
    assert len(caught.value.details["problems"]) == 4


def test_names_are_compared_by_meaning():
    assert declaration(names=["APP.example.com.", "app.example.com"]).names == (NAME,)


def test_addresses_are_compared_by_meaning():
    (found,) = declaration(endpoints=[endpoint("us-east-1", "2001:DB8:0:0::1", " 192.0.2.1 ")]).endpoints
    assert found.addresses == ("192.0.2.1", "2001:db8::1")


def test_absent_needs_no_endpoints():
    assert not declaration(state="absent", endpoints=[]).present


@pytest.mark.parametrize(
    ("endpoints", "words"),
    [
        ([US, endpoint("eu-west-1", "192.0.2.2", "2001:db8::2")], "AAAA is left out, because us-east-1"),
        ([US, endpoint("eu-west-1", "2001:db8::2")], "no IPv4 address in eu-west-1"),
        ([US, EU], None),
        ([endpoint("us-east-1", "192.0.2.1", "2001:db8::1"), endpoint("eu-west-1", "192.0.2.2", "2001:db8::2")], None),
    ],
)
def test_families_that_a_region_lacks_are_said(endpoints, words):
    warnings = " ".join(declaration(endpoints=endpoints).warnings)
    assert (words in warnings) if words else not warnings


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"type": "HTTPS"}, ("HTTPS", 443, "/", None, False)),
        ({"type": "HTTPS", "host": "A.example.com."}, ("HTTPS", 443, "/", "a.example.com", True)),
        ({"type": "HTTPS", "host": "a.example.com", "enable_sni": False}, ("HTTPS", 443, "/", "a.example.com", False)),
        ({"type": "HTTP", "path": "x"}, ("HTTP", 80, "/x", None, False)),
        ({"type": "HTTP", "search_string": "ok"}, ("HTTP_STR_MATCH", 80, "/", None, False)),
        ({"type": "TCP"}, ("TCP", 443, None, None, False)),
        ({"type": "TCP", "port": 22}, ("TCP", 22, None, None, False)),
    ],
)
def test_health_check_defaults(options, expected):
    check = declaration(health_check=options).check
    assert (check.type, check.port, check.path, check.host, check.sni) == expected


@pytest.mark.parametrize(
    ("target", "evaluate", "ipv6"),
    [
        ({"dns_name": "lb.elb.amazonaws.com", "zone_id": "/hostedzone/ZELB"}, True, False),
        ({"dns_name": "dualstack.lb.elb.amazonaws.com", "zone_id": "ZELB", "evaluate_target_health": False}, False, True),
        ({"dns_name": "d.cloudfront.net", "zone_id": CLOUDFRONT_ZONE}, False, True),
    ],
)
def test_targets(target, evaluate, ipv6):
    (found,) = declaration(endpoints=[endpoint("us-east-1", target=target)]).endpoints
    assert (found.target.evaluate_health, found.target.ipv6) == (evaluate, ipv6)


def test_the_scope_survives_other_settings_but_not_another_zone_or_name():
    first = declaration().scope
    assert declaration(endpoints=[US], ttl=5, health_check=CHECK, names=[NAME, "zzz.example.com"]).scope == first
    assert declaration(names=["other.example.com"]).scope != first
    assert declaration(zone=type(ZONE)("Z2", "example.com")).scope != first
