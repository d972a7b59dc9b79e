# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import InputError
from ansible_collections.multiregion.paas.plugins.module_utils._acme.plan import (
    Current,
    Desired,
    Window,
    ari_time,
    certificate_id,
    challenge_name,
    directory_url,
    merge_values,
    normalise_names,
    plan,
    renewal_time,
    wants_ari,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
URL = "https://ca.test/dir"
DESIRED = Desired(names=("a.test", "b.test"), directory=URL, key_type="ec256")
CURRENT = Current(
    names=("b.test", "a.test"),
    serial=7,
    cert_id="aki.serial",
    not_before=NOW - timedelta(days=30),
    not_after=NOW + timedelta(days=60),
    key_type="ec256",
    public_key=b"key",
    key_public_key=b"key",
    directory=URL,
)
WINDOW = Window(start=NOW + timedelta(days=25), end=NOW + timedelta(days=27), ask_again=NOW + timedelta(hours=6))


def words(current, desired, now=NOW):
    return [reason.split(":")[0] for reason in plan(current, desired, now).reasons]


def test_nothing_there():
    assert words(None, DESIRED) == ["missing"]


def test_nothing_to_do_whatever_the_order_of_names():
    decision = plan(CURRENT, DESIRED, NOW)
    assert not decision.issue and decision.renew_at == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    "current, desired, expected",
    [
        ({}, {"names": ("a.test",)}, ["names"]),
        ({}, {"names": ("a.test", "b.test", "c.test")}, ["names"]),
        ({}, {"key_type": "rsa2048"}, ["key_type"]),
        ({}, {"directory": "https://other.test/dir"}, ["directory"]),
        ({"directory": None}, {}, ["directory"]),
        ({}, {"certificate_profile": "shortlived"}, ["profile"]),
        ({"certificate_profile": "shortlived"}, {}, ["profile"]),
        ({}, {"preferred_chain": "X1"}, ["preferred_chain"]),
        ({"key_public_key": b"other"}, {}, ["key"]),
        ({"key_public_key": None}, {}, ["key"]),
        ({"revoked": True}, {}, ["revoked"]),
        ({"not_after": NOW}, {}, ["expired"]),
        ({}, {"force": True}, ["forced"]),
        ({}, {"renew_days": 61}, ["due"]),
        ({}, {"renew_days": 89}, ["due"]),
        # The certificate would be due the moment it is there.
        ({}, {"renew_days": 90}, []),
        ({}, {"renew_days": 10**12}, []),
        ({}, {"renew_days": 59}, []),
        ({"not_before": NOW - timedelta(days=60), "not_after": NOW + timedelta(days=30)}, {}, ["due"]),
        ({"key_type": None, "key_public_key": None}, {"key_type": None, "csr_public_key": b"key"}, []),
        ({"key_type": None, "key_public_key": None}, {"key_type": None, "csr_public_key": b"new"}, ["key"]),
        ({"not_after": NOW}, {"names": ("a.test",), "force": True}, ["forced", "names", "expired"]),
    ],
)
def test_reasons(current, desired, expected):
    assert words(replace(CURRENT, **current), replace(DESIRED, **desired)) == expected


@pytest.mark.parametrize(
    "current, desired, only",
    [
        ({"not_after": NOW}, {}, True),
        ({}, {"force": True}, True),
        ({"not_after": NOW}, {"names": ("a.test",)}, False),
        ({}, {}, False),
    ],
)
def test_only_a_renewal_says_what_it_replaces(current, desired, only):
    assert plan(replace(CURRENT, **current), replace(DESIRED, **desired), NOW).renewal_only is only


def test_the_window_decides_before_two_thirds_do():
    current = replace(CURRENT, window=WINDOW)
    when = renewal_time(current, None)
    assert WINDOW.start <= when <= WINDOW.end
    assert words(current, DESIRED, when - timedelta(seconds=1)) == []
    assert words(current, DESIRED, when) == ["due"]
    past = replace(WINDOW, start=NOW - timedelta(days=3), end=NOW - timedelta(days=2))
    assert words(replace(CURRENT, window=past), DESIRED) == ["due"]


def test_a_number_of_days_is_stronger_than_the_window():
    assert renewal_time(replace(CURRENT, window=WINDOW), 10) == CURRENT.not_after - timedelta(days=10)


def test_a_number_of_days_beyond_the_life_is_two_thirds_of_it_and_told():
    decision = plan(CURRENT, replace(DESIRED, renew_days=3650), NOW)
    assert decision.renew_at == NOW + timedelta(days=30)
    (warning,) = decision.warnings
    assert "renew is 3650 days" in warning and "lives only 90.0" in warning and "2026-12-21" in warning
    assert plan(CURRENT, replace(DESIRED, renew_days=89), NOW).warnings == plan(CURRENT, DESIRED, NOW).warnings == ()


def test_a_window_without_times_says_only_when_to_ask_again():
    current = replace(CURRENT, window=Window(start=None, end=None, ask_again=NOW + timedelta(hours=6)))
    assert renewal_time(current, None) == NOW + timedelta(days=30)
    assert wants_ari(current, DESIRED, NOW) is False and wants_ari(current, DESIRED, NOW + timedelta(hours=6)) is True


@given(st.text(alphabet="abcdef0123456789.", min_size=1), st.integers(1, 10**6))
def test_the_time_in_the_window_is_the_same_at_every_look(identifier, seconds):
    window = replace(WINDOW, end=WINDOW.start + timedelta(seconds=seconds))
    when = ari_time(window, identifier)
    assert when == ari_time(window, identifier) and window.start <= when <= window.end


def test_the_times_of_many_certificates_are_spread():
    times = [ari_time(WINDOW, "a.%d" % number) for number in range(400)]
    middle = WINDOW.start + (WINDOW.end - WINDOW.start) / 2
    assert 150 < sum(when < middle for when in times) < 250


@pytest.mark.parametrize(
    "current, desired, expected",
    [
        ({}, {}, True),
        ({"window": WINDOW}, {}, False),
        ({"window": replace(WINDOW, ask_again=NOW)}, {}, True),
        ({}, {"renew_days": 30}, False),
        ({}, {"force": True}, False),
        ({"not_after": NOW}, {}, False),
        ({"cert_id": None}, {}, False),
        ({}, {"names": ("a.test",)}, False),
    ],
)
def test_the_ca_is_asked_only_where_its_advice_counts(current, desired, expected):
    assert wants_ari(replace(CURRENT, **current), replace(DESIRED, **desired), NOW) is expected
    assert wants_ari(None, DESIRED, NOW) is False


def test_certificate_id_is_the_rfcs_example():
    identifier = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    assert certificate_id(identifier, 0x87654321) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.parametrize(
    "given_names, expected",
    [
        (["A.Test."], ("a.test",)),
        (["b\u00fccher.test", "xn--bcher-kva.test"], ("xn--bcher-kva.test",)),
        (["*.b\u00fccher.test"], ("*.xn--bcher-kva.test",)),
        (["stra\u00dfe.test"], ("xn--strae-oqa.test",)),
        (["b.test", "a.test", "b.test"], ("b.test", "a.test")),
        (["a.test", "*.a.test"], ("a.test", "*.a.test")),
        (["us-east-1.todo.paas.test", "todo.paas.test"], ("us-east-1.todo.paas.test", "todo.paas.test")),
    ],
)
def test_names(given_names, expected):
    assert normalise_names(given_names) == expected


@pytest.mark.parametrize(
    "names",
    [[], [""], ["test"], ["a..test"], ["-a.test"], ["a-.test"], ["a_b.test"], ["*.*.test"], ["a.*.test"], ["*a.test"], ["1.2.3.4"], ["::1"]]
    + [["x" * 64 + ".test"], ["*.a.test", "b.a.test"], ["n%d.test" % number for number in range(101)], [".".join(["x" * 60] * 5)], ["\u2603\ufffd.test"]],
)
def test_what_is_no_name(names):
    with pytest.raises(InputError, match="names"):
        normalise_names(names)


def test_apex_and_wildcard_share_a_name():
    assert challenge_name("a.test") == challenge_name("*.a.test") == "_acme-challenge.a.test"


def test_directory():
    assert directory_url("staging") == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert directory_url(URL) == URL
    with pytest.raises(InputError, match="directory"):
        directory_url("http://ca.test/dir")


values = st.lists(st.sampled_from("abcdefgh"), unique=True)


@given(values, values)
def test_adding_and_taking_away_leaves_what_others_have(theirs, ours):
    ours = [one for one in ours if one not in theirs]
    together = merge_values(theirs, add=ours)
    assert set(together) == set(theirs) | set(ours)
    assert merge_values(together, remove=ours) == tuple(theirs)
    assert merge_values(together, add=ours) == together
