# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import dataclasses

import pytest

from ansible_collections.multiregion.paas.plugins.module_utils._nginx import preferences
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.errors import ForeignPreferences, NoCandidate
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.plan import Current, Desired, Package, PackageVersion, plan_absent, plan_present
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.tables import KNOWN_BAD, known_bad_table
from ansible_collections.multiregion.paas.plugins.module_utils._nginx.version import parse_constraint

OLD, NEW, NEXT = "1.22.1-9+deb12u10", "1.26.3-3+deb13u10", "1.30.6-2"
STABLE, TESTING = ("Debian trixie",), ("Debian forky",)


def package(name="nginx", installed=None, versions=((OLD, STABLE), (NEW, STABLE), (NEXT, TESTING))):
    entries = [PackageVersion(*entry) for entry in versions]
    if installed is not None and all(entry.version != installed for entry in entries):
        entries.append(PackageVersion(installed))
    return Package(name, installed, tuple(entries), None)


def current(installed=None, preferences_text=None, proven=None, stale=False, others=()):
    packages = {entry.name: entry for entry in (package(installed=installed), package("nginx-common", installed), *others)}
    return Current(packages, preferences_text, proven, stale)


def desired(constraint="*", **changes):
    base = Desired(parse_constraint(constraint), ("http2",), ("nginx", "nginx-common"), KNOWN_BAD)
    return dataclasses.replace(base, **changes)


def converged(wish, installed=NEW):
    first = plan_present(current(installed), wish)
    return current(installed, first.preferences_after, first.proof_key)


def test_a_fresh_machine_gets_the_newest_that_fits():
    plan = plan_present(current(), desired("<1.30"))
    assert plan.version == NEW
    assert plan.install == {"nginx": NEW, "nginx-common": NEW}
    assert plan.before == {"nginx": None, "nginx-common": None}
    assert plan.prove and plan.changed and not plan.downgrade and not plan.swap
    assert plan.preferences_after == f"{preferences.MARK}\nPackage: nginx nginx-common\nPin: version 1.26.3-*\nPin-Priority: 1001\n"


def test_a_converged_machine_has_nothing_to_do():
    wish = desired("<1.30")
    assert not plan_present(converged(wish), wish).changed


@pytest.mark.parametrize("change", [{"features": ("http2", "http3")}, {"verify_key": "x"}])
def test_another_question_is_proven_again_without_an_installation(change):
    wish = desired("<1.30")
    plan = plan_present(converged(wish), dataclasses.replace(wish, **change))
    assert plan.prove and not plan.install


def test_a_security_revision_is_proven_when_it_came_by_itself():
    wish = desired("<1.30")
    state = converged(wish)
    newer = "1.26.3-3+deb13u11"
    entries = {
        name: dataclasses.replace(entry, installed=newer, versions=(*entry.versions, PackageVersion(newer, STABLE)))
        for name, entry in state.packages.items()
    }
    plan = plan_present(dataclasses.replace(state, packages=entries), wish)
    assert plan.prove and not plan.install and plan.preferences_after == state.preferences


def test_an_old_process_is_replaced():
    wish = desired("<1.30")
    plan = plan_present(dataclasses.replace(converged(wish), stale_process=True), wish)
    assert plan.changed and plan.swap and not plan.prove


def test_a_downgrade_has_to_be_allowed():
    with pytest.raises(NoCandidate, match="older than the installed"):
        plan_present(current(NEXT), desired("<1.30"))
    plan = plan_present(current(NEXT), desired("<1.30", allow_downgrade=True))
    assert plan.downgrade and plan.version == NEW


def test_the_installed_one_counts_though_no_source_has_it():
    versions = ((OLD, STABLE),)
    state = Current({"nginx": package("nginx", NEW, versions), "nginx-common": package("nginx-common", NEW, versions)})
    plan = plan_present(state, desired())
    assert plan.version == NEW and not plan.install


def test_no_candidate_says_why_for_each():
    with pytest.raises(NoCandidate) as failure:
        plan_present(current(), desired(">=1.29,!=1.30.*", features=("http2", "upstream_resolve")))
    text = str(failure.value)
    assert f"{NEXT} (Debian forky): does not satisfy !=1.30.*" in text
    assert f"{NEW} (Debian trixie): does not satisfy >=1.29; has no upstream_resolve" in text
    assert text.index(NEXT) < text.index(NEW) < text.index(OLD)


def test_no_source_at_all():
    with pytest.raises(NoCandidate, match="No source that apt knows has a package nginx"):
        plan_present(Current({}), desired())


def test_a_bad_one_is_passed_over_and_kept_out_when_the_pin_would_let_it_in():
    bad = NEW + "+bad1"
    versions = ((NEW, STABLE), (bad, STABLE))
    state = Current({name: package(name, None, versions) for name in ("nginx", "nginx-common")})
    table = known_bad_table([{"id": "T-1", "versions": [f"={bad}"], "source": "s", "reason": "r"}])
    plan = plan_present(state, desired(known_bad=table))
    assert plan.version == NEW
    first, second = plan.preferences_after.strip().split("\n\n")
    assert first.splitlines() == [preferences.MARK, "Explanation: T-1: r (s)", "Package: nginx nginx-common", f"Pin: version {bad}", "Pin-Priority: -1"]
    assert "Pin: version 1.26.3-*" in second
    exact = plan_present(state, desired(known_bad=table, pin_to="revision"))
    assert f"Pin: version {NEW}\n" in exact.preferences_after and "-1" not in exact.preferences_after.replace(NEW, "")


def test_a_warning_is_a_note():
    plan = plan_present(current(), desired("1.22.*"))
    assert plan.version == OLD
    assert [note.split(":")[0] for note in plan.notes] == ["CVE-2023-44487"]


def test_companions():
    library = Package("libpcre2-8-0", "10.42-1", (PackageVersion("10.42-1", STABLE), PackageVersion("10.47-1", TESTING)))
    module = Package("libnginx-mod-x", "1:0.1-1", (PackageVersion("1:0.1-1", STABLE),))
    wish = desired(packages=("nginx", "nginx-common", "libpcre2-8-0", "libnginx-mod-x"))
    plan = plan_present(current(others=(library, module)), wish)
    assert plan.version == NEXT
    assert plan.install == {"nginx": NEXT, "nginx-common": NEXT, "libpcre2-8-0": "10.47-1"}
    assert "Package: libpcre2-8-0\nPin: version 10.47-*" in plan.preferences_after
    assert any("libnginx-mod-x has its own version numbers" in note for note in plan.notes)
    with pytest.raises(NoCandidate, match="has a package libnginx-mod-y"):
        plan_present(current(), desired(packages=("nginx", "libnginx-mod-y")))


@pytest.mark.parametrize("plan", [lambda state: plan_present(state, desired()), plan_absent])
def test_a_foreign_file_is_refused(plan):
    with pytest.raises(ForeignPreferences):
        plan(current(preferences_text="Package: nginx\nPin: version *\nPin-Priority: 1\n"))


def test_absent():
    state = converged(desired())
    plan = plan_absent(state)
    assert plan.changed and plan.preferences_after is None and not plan.install
    assert not plan_absent(current(NEW)).changed
