# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nginx learned when, and which versions are bad for HTTP/2. Pure data, each entry with its source.

`versions` are upstream ranges, any of which may match. Distributions backport fixes without raising the upstream number, so
`fixed_revisions` name package versions of the same upstream number from which on the fix is in; they come from the packages'
own changelogs. `only_with` limits an entry to those who ask for a feature.

`action` is `reject` for what no configuration of a web server in front of an app can avoid, and `warn` where the defaults keep
it away: rejecting those would leave a supported distribution without any nginx.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .errors import InvalidInput
from .version import Constraint, compare, numbers, parse_constraint, upstream_of


@dataclass(frozen=True)
class Feature:
    """Something an nginx can be asked for."""

    name: str
    since: str
    build_flag: str | None
    source: str


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("http2", "1.9.5", "--with-http_v2_module", "https://nginx.org/en/docs/http/ngx_http_v2_module.html"),
        Feature("http3", "1.25.0", "--with-http_v3_module", "https://nginx.org/en/docs/http/ngx_http_v3_module.html"),
        Feature("upstream_resolve", "1.27.3", None, "https://nginx.org/en/docs/http/ngx_http_upstream_module.html#resolve"),
    )
}

#: From here on `http2 on;` in a server; before it the `http2` parameter of `listen`, which counts for the whole socket.
HTTP2_DIRECTIVE_SINCE = "1.25.1"


@dataclass(frozen=True)
class KnownBad:
    """One defect and where it is."""

    id: str
    versions: tuple[Constraint, ...]
    source: str
    reason: str
    fixed_revisions: tuple[str, ...] = ()
    only_with: str | None = None
    action: str = "reject"

    def affects(self, version: str, features: t.Iterable[str]) -> bool:
        """Whether a package version has the defect and it matters for somebody who asks for these features."""
        if self.only_with is not None and self.only_with not in features:
            return False
        if not any(constraint.allows(version) for constraint in self.versions):
            return False
        return not any(upstream_of(fixed) == upstream_of(version) and compare(version, fixed) >= 0 for fixed in self.fixed_revisions)


def _entry(
    name: str, versions: t.Sequence[str], source: str, reason: str, *, fixed: t.Sequence[str] = (), only_with: str | None = None, action: str = "reject"
) -> KnownBad:
    return KnownBad(name, tuple(parse_constraint(text) for text in versions), source, reason, tuple(fixed), only_with, action)


_ADVISORIES = "https://nginx.org/en/security_advisories.html"
_CHANGES = "https://nginx.org/en/CHANGES"

KNOWN_BAD: tuple[KnownBad, ...] = (
    _entry(
        "trac-959",
        [">=1.9.5,<1.10.2"],
        "https://trac.nginx.org/nginx/ticket/959",
        "an early POST over HTTP/2 is answered with REFUSED_STREAM, so that browsers' forms fail",
    ),
    _entry(
        "request-body-limit-req",
        [">=1.11.0,<1.11.7"],
        _CHANGES,
        "request bodies over HTTP/2 may be corrupted together with limit_req or auth_request",
    ),
    _entry(
        "CVE-2018-16843",
        [">=1.9.5,<1.14.1", ">=1.15.0,<1.15.6"],
        _ADVISORIES,
        "HTTP/2 clients can use up memory (also CVE-2018-16844: CPU time)",
    ),
    _entry(
        "CVE-2019-9511",
        [">=1.9.5,<1.16.1", ">=1.17.0,<1.17.3"],
        _ADVISORIES,
        "HTTP/2 floods use up CPU time and memory (also CVE-2019-9513, CVE-2019-9516)",
        fixed=["1.14.2-2+deb10u1", "1.14.2-3"],
    ),
    _entry(
        # nginx's own statement is that the default limits mitigate it; Debian's changelog of 1.24.0-2 repeats that. 1.22.1 of
        # bookworm never got the additional patch.
        "CVE-2023-44487",
        [">=1.9.5,<1.25.3"],
        "https://blog.nginx.org/blog/http-2-rapid-reset-attack-impacting-f5-nginx-products",
        "rapid reset: keep keepalive_requests at 1000 or less and http2_max_concurrent_streams at 128 or less",
        fixed=["1.24.0-2"],
        action="warn",
    ),
    _entry(
        "CVE-2026-42926",
        [">=1.29.4,<1.30.1"],
        _ADVISORIES,
        "requests proxied to an HTTP/2 backend can be injected into when proxy_set_body is used",
        fixed=["1.30.0-4"],
    ),
    _entry(
        "CVE-2026-42055",
        [">=1.13.10,<1.30.3", ">=1.31.0,<1.31.2"],
        _ADVISORIES,
        "buffer overflow towards HTTP/2 and gRPC backends when ignore_invalid_headers is off and header buffers are large",
        fixed=["1.22.1-9+deb12u9", "1.26.3-3+deb13u7", "1.30.1-5"],
        action="warn",
    ),
    _entry(
        "CVE-2024-24990",
        [">=1.25.0,<1.25.4"],
        _ADVISORIES,
        "a crafted QUIC session ends a worker (also CVE-2024-24989)",
        only_with="http3",
    ),
    _entry(
        "CVE-2024-31079",
        [">=1.25.0,<1.26.1"],
        _ADVISORIES,
        "a crafted QUIC session ends a worker or reads its memory (also CVE-2024-32760, CVE-2024-34161, CVE-2024-35200)",
        fixed=["1.26.0-2"],
        only_with="http3",
    ),
    _entry(
        "CVE-2026-40460",
        [">=1.25.0,<1.30.1"],
        _ADVISORIES,
        "HTTP/3 connection migration lets a client address be forged",
        fixed=["1.26.3-3+deb13u5", "1.30.0-4"],
        only_with="http3",
    ),
    _entry(
        "CVE-2026-42530",
        [">=1.31.0,<1.31.2"],
        _ADVISORIES,
        "use after free in HTTP/3",
        only_with="http3",
    ),
    _entry(
        "CVE-2026-90439",
        [">=1.29.2,<1.30.5", ">=1.31.0,<1.31.6"],
        _ADVISORIES,
        "buffer overflow in HTTP/3 with OpenSSL 3.5.0 and earlier",
        fixed=["1.30.4-7"],
        only_with="http3",
    ),
    _entry(
        "CVE-2026-95101",
        [">=1.25.0,<1.30.6"],
        "https://nginx.org/en/CHANGES-1.30",
        "part of an unknown HTTP/3 frame is taken for the request's body",
        fixed=["1.26.3-3+deb13u10", "1.30.4-8"],
        only_with="http3",
    ),
)


def known_bad_table(overrides: t.Iterable[t.Mapping[str, t.Any]]) -> tuple[KnownBad, ...]:
    """The built-in table with the user's entries: one with the id of a built-in entry takes its place.

    An entry with action `ignore` drops the built-in one. Raises InvalidInput for a range that cannot be parsed or is missing.
    """
    table = {entry.id: entry for entry in KNOWN_BAD}
    for override in overrides:
        name = override["id"]
        action = override.get("action") or "reject"
        if action == "ignore":
            table.pop(name, None)
            continue
        base = table.get(name)
        versions = tuple(parse_constraint(text) for text in override.get("versions") or ()) or (base.versions if base else ())
        source = override.get("source") or (base.source if base else "")
        if not versions or not source:
            raise InvalidInput(f"The known_bad entry {name!r} is not one of the built-in ones, so it needs versions and a source.")
        table[name] = KnownBad(
            id=name,
            versions=versions,
            source=source,
            reason=override.get("reason") or (base.reason if base else "listed as bad"),
            fixed_revisions=tuple(override.get("fixed_revisions") or ()) or (base.fixed_revisions if base else ()),
            only_with=override.get("only_with") or (base.only_with if base else None),
            action=action,
        )
    return tuple(table.values())


def has_feature(version: str, feature: str) -> bool:
    """Whether the upstream number of a package version is late enough for a feature."""
    return numbers(upstream_of(version)) >= numbers(FEATURES[feature].since)
