# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Domain names, compared by meaning: case, trailing dot, octal escapes and international letters do not matter."""

from __future__ import annotations

import re

from .errors import InvalidDeclaration

_ESCAPE = re.compile(r"\\([0-7]{3})")
_PLAIN = re.compile(r"[a-z0-9_.-]*\Z")
WILDCARD = "*"


def _label(label: str) -> str:
    raw = _ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), label)
    if any(ord(character) > 127 for character in raw) and label == raw:
        try:
            raw = raw.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise InvalidDeclaration(f"{label!r} is not a label of an international domain name: {error}") from error
    lowered = raw.lower()
    return "".join(
        character if character in "*-_" or (character.isascii() and character.isalnum()) else f"\\{ord(character):03o}"
        for character in lowered
    )


def canonical(name: str) -> str:
    """Lower case, without the last dot, punycode, `*` as itself; raises InvalidDeclaration for what is no name."""
    text = name[:-1] if name.endswith(".") and not name.endswith("\\.") else name
    for separator in ("\u3002", "\uff0e", "\uff61"):  # IDNA's other full stops
        text = text.replace(separator, ".")
    labels = [_label(label) for label in text.split(".")]
    lengths = [len(_ESCAPE.sub("x", label)) for label in labels]
    if not all(0 < length < 64 for length in lengths) or sum(lengths) + len(lengths) > 254:
        raise InvalidDeclaration(f"{name!r} is not a domain name: a label has 1 to 63 characters and a name at most 253")
    return ".".join(labels)


def is_within(name: str, zone: str) -> bool:
    """Both canonical."""
    return name == zone or name.endswith("." + zone)


def regional(label: str, name: str) -> str:
    """Where one endpoint of a name is found alone. An asterisk is allowed as the first label only, so a wildcard's
    endpoints live beside it."""
    if name.startswith("*."):
        return f"{label}._wildcard.{name[2:]}"
    return f"{label}.{name}"


def regional_label(target: str, name: str) -> str | None:
    """The reverse of `regional`: the label, or None when the target is not one of the name's regional names."""
    suffix = "._wildcard" + name[1:] if name.startswith("*.") else "." + name
    label = target[: -len(suffix)] if target.endswith(suffix) else ""
    return label if label and "." not in label else None


def order_keys(name: str) -> tuple[str, str] | None:
    """Where ListResourceRecordSets puts a name: by its reversed labels, with the trailing dot as the service documents,
    and without it as simulators do. None for names whose place depends on how they are escaped."""
    if not _PLAIN.match(name):
        return None
    reverse = ".".join(reversed(name.split(".")))
    return reverse + ".", reverse
