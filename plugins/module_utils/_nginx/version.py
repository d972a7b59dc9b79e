# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions: Debian's ordering, upstream numbers, and the constraint language. Pure."""

from __future__ import annotations

import fnmatch
import re
import typing as t
from dataclasses import dataclass

from .errors import InvalidInput

_UPSTREAM = re.compile(r"^\d+(?:\.\d+)*")
_TERM = re.compile(r"^(>=|<=|==|!=|>|<|=)?\s*([0-9][0-9A-Za-z.+~:-]*?(?:\.?\*)?|\*)$")


def split_version(version: str) -> tuple[int, str, str]:
    """Epoch, upstream part and Debian revision of a package version."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    return (int(epoch) if epoch.isdigit() else 0, upstream, revision)


def upstream_of(version: str) -> str:
    """The number that nginx itself reports: 1.26.3 of 1.26.3-3+deb13u1 or of 1.26.3+dfsg-1."""
    match = _UPSTREAM.match(split_version(version)[1])
    return match.group(0) if match else ""


def numbers(upstream: str) -> tuple[int, ...]:
    """Comparable form of an upstream number; trailing zeros do not count, so 1.26 equals 1.26.0."""
    parts = [int(part) for part in upstream.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _order(character: str) -> int:
    if character == "~":
        return -1
    if character.isdigit() or character == "":
        return 0
    if character.isalpha():
        return ord(character)
    return ord(character) + 256


def _compare_part(left: str, right: str) -> int:
    """dpkg's verrevcmp: alternating runs of non-digits and digits."""
    i = j = 0
    while i < len(left) or j < len(right):
        while (i < len(left) and not left[i].isdigit()) or (j < len(right) and not right[j].isdigit()):
            a = _order(left[i] if i < len(left) else "")
            b = _order(right[j] if j < len(right) else "")
            if a != b:
                return -1 if a < b else 1
            i += 1
            j += 1
        a_digits = re.match(r"\d*", left[i:]).group(0)  # type: ignore[union-attr]
        b_digits = re.match(r"\d*", right[j:]).group(0)  # type: ignore[union-attr]
        a_number, b_number = int(a_digits or 0), int(b_digits or 0)
        if a_number != b_number:
            return -1 if a_number < b_number else 1
        i += len(a_digits)
        j += len(b_digits)
    return 0


def compare(left: str, right: str) -> int:
    """Negative, zero or positive, as `dpkg --compare-versions` orders two package versions."""
    left_parts, right_parts = split_version(left), split_version(right)
    if left_parts[0] != right_parts[0]:
        return -1 if left_parts[0] < right_parts[0] else 1
    return _compare_part(left_parts[1], right_parts[1]) or _compare_part(left_parts[2], right_parts[2])


@dataclass(frozen=True)
class Term:
    """One comparison of a constraint."""

    operator: str
    operand: str

    def __str__(self) -> str:
        return ("" if self.operator == "=" and self.operand.endswith("*") else self.operator) + self.operand

    def allows(self, version: str) -> bool:
        """Whether a package version passes.

        An operand with a Debian revision is compared as a whole package version, one without by the upstream number.
        """
        if self.operand.endswith("*"):
            stem = self.operand[:-1]
            pattern = stem + "*" if stem else "*"
            # 1.26.* is 1.26 itself and everything under it, and not 1.260.
            matched = fnmatch.fnmatchcase(upstream_of(version) + ".", pattern)
            return matched if self.operator == "=" else not matched
        if "-" in self.operand or ":" in self.operand:
            ordering = compare(version, self.operand)
        else:
            left, right = numbers(upstream_of(version)), numbers(self.operand)
            ordering = (left > right) - (left < right)
        return {
            "=": ordering == 0,
            "!=": ordering != 0,
            ">=": ordering >= 0,
            "<=": ordering <= 0,
            ">": ordering > 0,
            "<": ordering < 0,
        }[self.operator]


@dataclass(frozen=True)
class Constraint:
    """A list of terms that must all hold."""

    terms: tuple[Term, ...]

    def __str__(self) -> str:
        return ",".join(str(term) for term in self.terms) or "*"

    def broken(self, version: str) -> tuple[Term, ...]:
        """The terms that a package version does not satisfy."""
        return tuple(term for term in self.terms if not term.allows(version))

    def allows(self, version: str) -> bool:
        return not self.broken(version)


def parse_constraint(text: str) -> Constraint:
    """Read `>=1.25.1,<1.31`, `1.26.*`, `=1.26.3-3+deb13u1`, `!=1.27.0` or `*`; raise InvalidInput for anything else."""
    terms: list[Term] = []
    for raw in text.split(","):
        word = raw.strip()
        match = _TERM.match(word)
        if not match:
            raise InvalidInput(
                f"The version constraint {text!r} cannot be understood at {word!r}: write terms such as >=1.25.1, <1.31, 1.26.* "
                f"or !=1.27.0, with commas between them."
            )
        operator, operand = match.group(1) or "=", match.group(2)
        if operator == "==":
            operator = "="
        if operand.endswith("*"):
            if operator not in ("=", "!="):
                raise InvalidInput(f"The version constraint {text!r} compares with a wildcard at {word!r}: leave out the {operator} or the *.")
            if operand != "*" and not operand.endswith(".*"):
                raise InvalidInput(f"The version constraint {text!r} has a wildcard inside a number at {word!r}: write it after a dot, as in 1.26.*.")
        elif "-" not in operand and ":" not in operand and not re.fullmatch(r"\d+(\.\d+)*", operand):
            raise InvalidInput(f"The version constraint {text!r} has no version number at {word!r}: numbers and dots, or a whole package version.")
        terms.append(Term(operator, operand))
    return Constraint(tuple(terms))


def newest(versions: t.Iterable[str]) -> str | None:
    """The highest of some package versions by Debian's ordering."""
    best: str | None = None
    for version in versions:
        if best is None or compare(version, best) > 0:
            best = version
    return best
