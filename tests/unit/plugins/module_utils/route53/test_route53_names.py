# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names compared by meaning."""

from __future__ import annotations

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._route53 import names
from ansible_collections.multiregion.paas.plugins.module_utils._route53.errors import InvalidDeclaration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("App.Example.COM", "app.example.com"),
        ("app.example.com.", "app.example.com"),
        ("\\052.example.com.", "*.example.com"),
        ("*.example.com", "*.example.com"),
        ("a\\041b.example.com", "a\\041b.example.com"),
        ("\\101bc.example.com", "abc.example.com"),
        ("m\u00fcnchen.example.com", "xn--mnchen-3ya.example.com"),
        ("M\u00dcNCHEN\u3002example.com", "xn--mnchen-3ya.example.com"),
        ("_sip._tcp.example.com", "_sip._tcp.example.com"),
        ("a!b.example.com", "a\\041b.example.com"),
    ],
)
def test_canonical(text, expected):
    assert names.canonical(text) == expected
    assert names.canonical(names.canonical(text)) == expected


@pytest.mark.parametrize("text", ["", ".", "a..b", "x" * 64 + ".com", ".".join(["x" * 50] * 6), "\u00ad.com"])
def test_what_is_no_name(text):
    with pytest.raises(InvalidDeclaration):
        names.canonical(text)


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        ("example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("com", "example.com", False),
    ],
)
def test_is_within(name, zone, expected):
    assert names.is_within(name, zone) is expected


@pytest.mark.parametrize(("name", "expected"), [("app.example.com", "eu.app.example.com"), ("*.example.com", "eu._wildcard.example.com")])
def test_regional_and_back(name, expected):
    assert names.regional("eu", name) == expected
    assert names.regional_label(expected, name) == "eu"


@pytest.mark.parametrize("target", ["app.example.com", "a.b.app.example.com", "other.example.com", "lb.amazonaws.com"])
def test_other_names_are_not_regional(target):
    assert names.regional_label(target, "app.example.com") is None


def test_order_as_documented_and_as_simulators_do():
    documented, simulated = zip(*(names.order_keys(name) for name in ("app.example.com", "app-x.example.com", "us.app.example.com")))
    assert documented[1] < documented[0] < documented[2]
    assert simulated[0] < simulated[1] < simulated[2]
    assert names.order_keys("*.example.com") is None
