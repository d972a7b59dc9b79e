# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nginx to take and what has to be done for it. Pure: no apt, no files, no processes."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from . import preferences
from .errors import ForeignPreferences, NoCandidate
from .tables import KnownBad, has_feature
from .version import Constraint, compare, newest

MAIN_PACKAGE = "nginx"


@dataclass(frozen=True)
class PackageVersion:
    """A version of a package that apt knows. `releases` are the places it comes from, empty when it is only installed."""

    version: str
    releases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Package:
    """A package as apt sees it. `candidate` is what apt would install now by itself."""

    name: str
    installed: str | None = None
    versions: tuple[PackageVersion, ...] = ()
    candidate: str | None = None

    def get(self, version: str) -> PackageVersion | None:
        return next((entry for entry in self.versions if entry.version == version), None)


@dataclass(frozen=True)
class Current:
    """What was read from the machine.

    `preferences` is the text of the module's own file, None when there is none. `proven` is what the last proof was about
    (see Plan.proof_key). `stale_process`: an nginx runs from a binary that was replaced on disk.
    """

    packages: t.Mapping[str, Package]
    preferences: str | None = None
    proven: str | None = None
    stale_process: bool = False


@dataclass(frozen=True)
class Desired:
    """What the user asked for."""

    constraint: Constraint
    features: tuple[str, ...]
    packages: tuple[str, ...]
    known_bad: tuple[KnownBad, ...]
    allow_downgrade: bool = False
    pin_priority: int = 1001
    pin_to: str = "upstream"
    verify_key: str = ""


@dataclass(frozen=True)
class Verdict:
    """Why a version is taken or not. `notes` are warnings that do not stand in its way."""

    version: str
    releases: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unfit: bool = False

    @property
    def accepted(self) -> bool:
        return not self.reasons


@dataclass(frozen=True)
class Plan:
    """What there is to do; `changed` is False when that is nothing.

    `install` names the packages to bring to a version, `before` the versions that these had (None: not installed).
    """

    version: str | None
    verdicts: tuple[Verdict, ...] = ()
    install: t.Mapping[str, str] = field(default_factory=dict)
    before: t.Mapping[str, str | None] = field(default_factory=dict)
    preferences_before: str | None = None
    preferences_after: str | None = None
    proof_key: str | None = None
    prove: bool = False
    swap: bool = False
    notes: tuple[str, ...] = ()

    @property
    def downgrade(self) -> bool:
        return any(old is not None and compare(self.install[name], old) < 0 for name, old in self.before.items() if name in self.install)

    @property
    def changed(self) -> bool:
        return bool(self.install) or self.preferences_before != self.preferences_after or self.prove or self.swap


def judge(package: Package, desired: Desired) -> tuple[Verdict, ...]:
    """A verdict for every version that apt knows, the newest first."""
    verdicts = []
    ordered: list[PackageVersion] = []
    for entry in package.versions:
        position = next((i for i, other in enumerate(ordered) if compare(entry.version, other.version) > 0), len(ordered))
        ordered.insert(position, entry)
    for entry in ordered:
        reasons = [f"does not satisfy {term}" for term in desired.constraint.broken(entry.version)]
        reasons += [f"has no {feature}" for feature in desired.features if not has_feature(entry.version, feature)]
        notes = []
        for bad in desired.known_bad:
            if bad.affects(entry.version, desired.features):
                (reasons if bad.action == "reject" else notes).append(f"{bad.id}: {bad.reason} ({bad.source})")
        unfit = bool(reasons)
        if package.installed is not None and not desired.allow_downgrade and compare(entry.version, package.installed) < 0:
            reasons.append(f"older than the installed {package.installed}, and allow_downgrade is false")
        verdicts.append(Verdict(entry.version, entry.releases, tuple(reasons), tuple(notes), unfit))
    return tuple(verdicts)


def _explain(verdicts: t.Sequence[Verdict], desired: Desired) -> str:
    asked = f"version {desired.constraint}" + (f" with {', '.join(desired.features)}" if desired.features else "")
    if not verdicts:
        return (
            f"No source that apt knows has a package {MAIN_PACKAGE}, so none can be taken for {asked}: "
            f"refresh the package lists or add a source that has it."
        )
    lines = [f"No version of {MAIN_PACKAGE} in apt's sources can be taken for {asked}:"]
    for verdict in verdicts:
        where = ", ".join(verdict.releases) or "installed, in no source"
        lines.append(f"  {verdict.version} ({where}): {'; '.join(verdict.reasons)}")
    lines.append("Add a source that has a newer one, or ask for less.")
    return "\n".join(lines)


def _companion(package: Package, chosen: PackageVersion) -> str | None:
    """The version of another package that goes with the chosen nginx, None when apt is to decide."""
    if package.get(chosen.version) is not None:
        return chosen.version
    # Modules and libraries have their own numbers: take the newest of the places that the chosen nginx comes from.
    return newest(entry.version for entry in package.versions if set(entry.releases) & set(chosen.releases))


def plan_present(current: Current, desired: Desired) -> Plan:
    """Choose the newest version that may be taken and list what is missing for it.

    Raises NoCandidate with every version's reasons, ForeignPreferences when the preferences file is not the module's.
    """
    if current.preferences is not None and not preferences.is_ours(current.preferences):
        raise ForeignPreferences("The preferences file does not carry this module's mark, so somebody else wrote it.")
    main = current.packages.get(MAIN_PACKAGE) or Package(MAIN_PACKAGE)
    verdicts = judge(main, desired)
    accepted = [verdict for verdict in verdicts if verdict.accepted]
    if not accepted:
        raise NoCandidate(_explain(verdicts, desired))
    verdict = accepted[0]
    chosen = main.get(verdict.version)
    if chosen is None:  # pragma: no cover - the verdicts come from these very versions
        raise NoCandidate(_explain(verdicts, desired))

    notes = list(verdict.notes)
    pins: dict[str, str] = {}
    install: dict[str, str] = {}
    before: dict[str, str | None] = {}
    for name in desired.packages:
        package = current.packages.get(name) or Package(name)
        if not package.versions:
            raise NoCandidate(f"No source that apt knows has a package {name}, which is in the set to be pinned with {MAIN_PACKAGE} {chosen.version}.")
        version = _companion(package, chosen)
        if version is None:
            notes.append(f"{name} has its own version numbers and is not in the same source as {MAIN_PACKAGE} {chosen.version}: it is left to apt.")
            continue
        pins[name] = preferences.version_glob(version, desired.pin_to)
        if package.installed != version:
            install[name] = version
            before[name] = package.installed
    glob = pins[MAIN_PACKAGE]
    rejected = {
        entry.version: entry.reasons[0]
        for entry in verdicts
        # Whatever the pin would let in and must not come in.
        if entry.unfit and preferences.matches(glob, entry.version)
    }
    after = preferences.render(pins, rejected, desired.pin_priority)
    proof_key = f"{chosen.version} {','.join(sorted(desired.features))} {desired.verify_key}"
    return Plan(
        version=chosen.version,
        verdicts=verdicts,
        install=install,
        before=before,
        preferences_before=current.preferences,
        preferences_after=after,
        proof_key=proof_key,
        prove=bool(install) or current.proven != proof_key,
        swap=current.stale_process and not install,
        notes=tuple(notes),
    )


def plan_absent(current: Current) -> Plan:
    """Take the pin away and leave the packages as they are."""
    if current.preferences is not None and not preferences.is_ours(current.preferences):
        raise ForeignPreferences("The preferences file does not carry this module's mark, so somebody else wrote it.")
    main = current.packages.get(MAIN_PACKAGE)
    return Plan(version=main.installed if main else None, preferences_before=current.preferences, preferences_after=None)
