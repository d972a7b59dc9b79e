# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a certificate has to be issued. Pure: no clock, no file, no network."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Optional, Tuple

from .errors import InputError

DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
# RFC 5280's numbers, under the names that RFC 8555 clients use.
REVOCATION_REASONS = {
    "unspecified": 0,
    "key_compromise": 1,
    "affiliation_changed": 3,
    "superseded": 4,
    "cessation_of_operation": 5,
}
MAX_NAMES = 100
# Seconds until a CA that has given no renewal time is asked again (RFC 9773, 4.3.3).
ASK_AGAIN = 6 * 3600
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Desired:
    """What was asked for, with names in the DNS's own form."""

    names: Tuple[str, ...]
    directory: str
    key_type: Optional[str]  # None: the key is kept elsewhere, only a CSR is here
    certificate_profile: Optional[str] = None
    preferred_chain: Optional[str] = None
    renew_days: Optional[int] = None  # None: auto
    force: bool = False
    csr_public_key: Optional[bytes] = None


@dataclass(frozen=True)
class Window:
    """The CA's suggested renewal window (RFC 9773), None where it has named none, and when it may be asked again."""

    start: Optional[datetime]
    end: Optional[datetime]
    ask_again: datetime
    url: str = ""


@dataclass(frozen=True)
class Current:
    """What lies in `dest`."""

    names: Tuple[str, ...] = ()
    serial: int = 0
    cert_id: Optional[str] = None
    issuer: str = ""
    not_before: datetime = EPOCH
    not_after: datetime = EPOCH
    key_type: Optional[str] = None  # of the private key; None where there is none
    public_key: bytes = b""
    key_public_key: Optional[bytes] = None
    directory: Optional[str] = None
    certificate_profile: Optional[str] = None
    preferred_chain: Optional[str] = None
    revoked: bool = False
    window: Optional[Window] = None


@dataclass(frozen=True)
class Plan:
    """Issue when there are reasons; each begins with a word that a program can compare."""

    reasons: Tuple[str, ...] = field(default_factory=tuple)
    renew_at: Optional[datetime] = None
    warnings: Tuple[str, ...] = ()

    @property
    def issue(self) -> bool:
        return bool(self.reasons)

    @property
    def renewal_only(self) -> bool:
        """The same certificate again, because its time has come: what ARI's `replaces` is for."""
        return bool(self.reasons) and all(reason.split(":")[0] in ("due", "expired", "forced") for reason in self.reasons)


def directory_url(directory: str) -> str:
    """The URL behind `production`, `staging` or a URL."""
    url = DIRECTORIES.get(directory, directory)
    if not url.startswith("https://"):
        raise InputError("directory is %r: give production, staging or an https:// URL" % directory)
    return url


def normalise_names(names) -> Tuple[str, ...]:
    """Lower case, A-labels (IDNA 2008), no final dot, no double, in the order given (the first becomes the common one).

    Raises InputError for what is no DNS name, for no names and for more than 100.
    """
    result = []
    for name in names:
        result.append(_normalise(name))
    result = list(dict.fromkeys(result))
    if not result:
        raise InputError("names is empty: give at least one DNS name")
    if len(result) > MAX_NAMES:
        raise InputError("names has %d entries: a CA puts at most %d into one certificate" % (len(result), MAX_NAMES))
    for name in result:
        parent = "*." + name.split(".", 1)[1]
        if not name.startswith("*.") and parent in result:
            raise InputError("names has both %s and %s, which covers it: CAs refuse such an order. Leave %s out" % (name, parent, name))
    return tuple(result)


def _normalise(name) -> str:
    original = name
    name = str(name).strip().rstrip(".").lower()
    wildcard = name.startswith("*.")
    if wildcard:
        name = name[2:]
    if not name.isascii():
        try:
            import idna

            name = idna.encode(name, uts46=True).decode("ascii").lower()
        except ImportError:
            name = name.encode("idna").decode("ascii").lower()
        except UnicodeError as error:
            raise InputError("names has %r, which is no DNS name: %s" % (original, error)) from error
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 - len("_acme-challenge."):
        raise InputError("names has %r, which is no DNS name that a CA can certify" % (original,))
    for label in labels:
        fine = 0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-"
        if not fine or not all(character in "abcdefghijklmnopqrstuvwxyz0123456789-" for character in label):
            raise InputError("names has %r, which is no DNS name: label %r" % (original, label))
    if labels[-1].isdigit():
        raise InputError("names has %r: DNS-01 proves names, not addresses" % (original,))
    return ("*." if wildcard else "") + name


def challenge_name(name: str) -> str:
    """Where the CA looks: an apex and its wildcard share one name."""
    return "_acme-challenge." + (name[2:] if name.startswith("*.") else name)


def certificate_id(key_identifier: bytes, serial: int) -> str:
    """RFC 9773, 4.1: base64url of the authority key identifier, a dot, base64url of the serial's DER bytes."""
    length = serial.bit_length() // 8 + 1
    parts = (key_identifier, serial.to_bytes(length, "big", signed=True))
    return ".".join(base64.urlsafe_b64encode(part).decode("ascii").rstrip("=") for part in parts)


def ari_time(window: Window, cert_id: str) -> datetime:
    """A point in the CA's window that depends on the certificate only.

    RFC 9773 asks for a uniformly random one. Drawn from the certificate's id it is spread over all certificates as well,
    and every run, check mode too, comes to the same time.
    """
    draw = int.from_bytes(hashlib.sha256(cert_id.encode("ascii")).digest()[:8], "big") / float(1 << 64)
    return (window.start + (window.end - window.start) * draw).replace(microsecond=0)


def renewal_time(current: Current, renew_days: Optional[int]) -> datetime:
    """When the certificate is to be renewed: a number of days before its end; else ARI; else two thirds of its life."""
    if renew_days is not None and not outlives(renew_days, current):
        return current.not_after - timedelta(days=renew_days)
    if renew_days is None and current.window is not None and current.window.start is not None and current.cert_id is not None:
        return min(ari_time(current.window, current.cert_id), current.not_after)
    return (current.not_before + _life(current) * 2 / 3).replace(microsecond=0)


def outlives(renew_days: Optional[int], current: Current) -> bool:
    """Whether so many days are the certificate's whole life or more: each run would find a new certificate due again."""
    return renew_days is not None and renew_days >= _life(current) / timedelta(days=1)


def _life(current: Current) -> timedelta:
    return current.not_after - current.not_before


def wants_ari(current: Optional[Current], desired: Desired, now: datetime) -> bool:
    """Whether the CA is to be asked now: never for what is reissued anyway, nor before the time it named."""
    if current is None or desired.renew_days is not None or current.cert_id is None:
        return False
    if any(not reason.startswith("due:") for reason in plan(current, desired, now).reasons):
        return False
    return current.window is None or current.window.ask_again <= now


def plan(current: Optional[Current], desired: Desired, now: datetime) -> Plan:
    """Compare what lies there with what is asked."""
    if current is None:
        return Plan(reasons=("missing: there is no certificate yet",))
    reasons = []
    if desired.force:
        reasons.append("forced: force is set")
    if current.revoked:
        reasons.append("revoked: the certificate was revoked")
    if set(current.names) != set(desired.names):
        missing = [name for name in desired.names if name not in current.names]
        extra = [name for name in current.names if name not in desired.names]
        parts = (["without " + ", ".join(missing)] if missing else []) + (["with " + ", ".join(extra) + " that nobody asks for"] if extra else [])
        reasons.append("names: the certificate is " + " and ".join(parts))
    if desired.csr_public_key is not None:
        if desired.csr_public_key != current.public_key:
            reasons.append("key: the certificate's key is not the CSR's")
    elif current.key_public_key is None:
        reasons.append("key: there is no private key")
    elif current.key_public_key != current.public_key:
        reasons.append("key: key and certificate do not belong together")
    elif current.key_type != desired.key_type:
        reasons.append("key_type: it is %s, asked for is %s" % (current.key_type, desired.key_type))
    if current.directory != desired.directory:
        reasons.append("directory: it was issued by %s, asked for is %s" % (current.directory or "an unknown one", desired.directory))
    if (current.certificate_profile or None) != (desired.certificate_profile or None):
        reasons.append(
            "profile: it is %s, asked for is %s" % (current.certificate_profile or "the CA's default", desired.certificate_profile or "the CA's default")
        )
    if (current.preferred_chain or None) != (desired.preferred_chain or None):
        reasons.append(
            "preferred_chain: it is %s, asked for is %s" % (current.preferred_chain or "the CA's default", desired.preferred_chain or "the CA's default")
        )
    renew_at = renewal_time(current, desired.renew_days)
    if current.not_after <= now:
        reasons.append("expired: it ended at %s" % timestamp(current.not_after))
    elif renew_at <= now:
        reasons.append("due: its renewal time was %s" % timestamp(renew_at))
    warnings = ()
    if outlives(desired.renew_days, current):
        warnings = (
            "renew is %d days, but the certificate lives only %.1f: every run would issue a new one. It is renewed at two thirds of its life, %s"
            % (desired.renew_days, _life(current) / timedelta(days=1), timestamp(renew_at)),
        )
    return Plan(reasons=tuple(reasons), renew_at=renew_at, warnings=warnings)


def timestamp(when: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def merge_values(existing, add=(), remove=()) -> Tuple[str, ...]:
    """A TXT set with ours added or taken away; the others' stay, in their order."""
    kept = [value for value in existing if value not in set(remove)]
    return tuple(dict.fromkeys(kept + list(add)))
