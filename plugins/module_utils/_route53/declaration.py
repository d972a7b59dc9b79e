# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the module's options to a Declaration; refuses what cannot be meant, all of it at once."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, Optional

from .errors import InvalidDeclaration
from .model import CheckTemplate, Declaration, Endpoint, Target, Zone, short_id
from .names import canonical, is_within, regional

# All CloudFront distributions; an alias to one cannot evaluate health.
CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
DEFAULT_PORTS = {"TCP": 443, "HTTP": 80, "HTTP_STR_MATCH": 80, "HTTPS": 443, "HTTPS_STR_MATCH": 443}


def _target(raw: Mapping[str, Any], where: str, problems: list[str]) -> Optional[Target]:
    try:
        name = canonical(raw["dns_name"])
    except InvalidDeclaration as error:
        problems.append(f"{where}: {error.message}")
        return None
    zone_id = short_id(raw["zone_id"])
    evaluate = raw.get("evaluate_target_health")
    if zone_id == CLOUDFRONT_ZONE and evaluate:
        problems.append(f"{where}: an alias to CloudFront ({name}) cannot evaluate the target's health")
    if evaluate is None:
        evaluate = zone_id != CLOUDFRONT_ZONE
    return Target(name, zone_id, evaluate, ipv6=zone_id == CLOUDFRONT_ZONE or name.startswith("dualstack."))


def _endpoint(raw: Mapping[str, Any], position: int, known_regions: Collection[str], problems: list[str]) -> Optional[Endpoint]:
    region = raw["region"]
    where = f"endpoint {position} ({region})"
    before = len(problems)
    if region not in known_regions:
        problems.append(f"{where}: {region!r} is not an AWS region that Route 53 has latency records for")
    label = raw.get("label") or region
    try:
        label = canonical(label)
    except InvalidDeclaration as error:
        problems.append(f"{where}: {error.message}")
    if "." in label or "*" in label or "\\" in label:
        problems.append(f"{where}: the label {label!r} has to be one label of a domain name")
    addresses = []
    for text in raw.get("addresses") or ():
        try:
            address = str(ipaddress.ip_address(text.strip()))
        except ValueError:
            problems.append(f"{where}: {text!r} is not an IPv4 or IPv6 address")
            continue
        if "%" in address:
            problems.append(f"{where}: {text!r} is a link-local address with a zone, which DNS cannot carry")
        elif address in addresses:
            problems.append(f"{where}: {address} is listed twice")
        else:
            addresses.append(address)
    target = _target(raw["target"], where, problems) if raw.get("target") else None
    if bool(raw.get("addresses")) == bool(raw.get("target")):
        problems.append(f"{where}: give either addresses or a target")
    if len(problems) > before:
        return None
    return Endpoint(label, region, tuple(sorted(addresses)), target)


def _check(raw: Mapping[str, Any], known_regions: Collection[str], problems: list[str]) -> CheckTemplate:
    kind = raw.get("type") or "HTTPS"
    search = raw.get("search_string") or None
    if search and kind in ("HTTP", "HTTPS"):
        kind += "_STR_MATCH"
    if kind.endswith("_STR_MATCH") and not search:
        problems.append(f"health_check: {kind} needs a search_string")
    http = kind != "TCP"
    if not http and (raw.get("path") or raw.get("host") or search):
        problems.append("health_check: a TCP check has no path, host or search_string")
    host = None
    if raw.get("host") and http:
        try:
            host = canonical(raw["host"])
        except InvalidDeclaration as error:
            problems.append(f"health_check: {error.message}")
        if "*" in raw["host"]:
            problems.append(f"health_check: {raw['host']!r} cannot be asked for, it is a wildcard")
    interval, threshold = raw.get("interval") or 30, raw.get("failure_threshold")
    threshold = 3 if threshold is None else threshold
    if not 1 <= threshold <= 10:
        problems.append(f"health_check: failure_threshold is between 1 and 10, not {threshold}")
    port = raw.get("port") or DEFAULT_PORTS[kind]
    if not 1 <= port <= 65535:
        problems.append(f"health_check: {port} is not a port")
    for text, what in ((search, "search_string"), (raw.get("path"), "path")):
        if text and len(text) > 255:
            problems.append(f"health_check: {what} is longer than 255 characters")
    regions = tuple(sorted(set(raw.get("regions") or ())))
    if regions and len(regions) < 3:
        problems.append("health_check: Route 53 checks from at least three regions")
    for region in regions:
        if region not in known_regions:
            problems.append(f"health_check: Route 53 has no checkers in {region!r}, only in {', '.join(sorted(known_regions))}")
    path = raw.get("path") or "/"
    sni = raw.get("enable_sni")
    return CheckTemplate(
        type=kind,
        port=port,
        path=(path if path.startswith("/") else "/" + path) if http else None,
        host=host,
        interval=interval,
        measure_latency=bool(raw.get("measure_latency")),
        failure_threshold=threshold,
        search_string=search,
        # Without a host there is no name to indicate.
        sni=kind.startswith("HTTPS") and (host is not None if sni is None else bool(sni)),
        regions=regions,
    )


def _families(endpoints: Collection[Endpoint]) -> list[str]:
    warnings = []
    if any(endpoint.serves("A") for endpoint in endpoints):
        lacking = [endpoint.label for endpoint in endpoints if not endpoint.serves("A")]
        if lacking:
            warnings.append(f"no IPv4 address in {', '.join(lacking)}: users there who have only IPv4 are sent to another region")
    if any(endpoint.serves("AAAA") for endpoint in endpoints):
        lacking = [endpoint.label for endpoint in endpoints if not endpoint.serves("AAAA")]
        if lacking and any(endpoint.serves("A") for endpoint in endpoints):
            warnings.append(
                f"AAAA is left out, because {', '.join(lacking)} has no IPv6 address: users with IPv6 there would be sent to another region"
            )
    return warnings


def declare(params: Mapping[str, Any], zone: Zone, known_regions: Collection[str], checker_regions: Collection[str]) -> Declaration:
    """Raises InvalidDeclaration with every problem there is."""
    problems: list[str] = []
    names = []
    for text in params["names"]:
        try:
            name = canonical(text)
        except InvalidDeclaration as error:
            problems.append(error.message)
            continue
        if not is_within(name, zone.name):
            problems.append(f"{text!r} is not within the zone {zone.name}")
        elif "*" in name and (not name.startswith("*.") or name.count("*") > 1):
            problems.append(f"{text!r}: only the whole first label can be a wildcard")
        elif name not in names:
            names.append(name)
    present = params["state"] == "present"
    if not params["names"]:
        problems.append("names is empty")
    endpoints = []
    for position, raw in enumerate(params.get("endpoints") or (), start=1):
        endpoint = _endpoint(raw, position, known_regions, problems)
        if endpoint is not None:
            endpoints.append(endpoint)
    for region, count in Counter(raw["region"] for raw in params.get("endpoints") or ()).items():
        if count > 1:
            problems.append(f"the region {region!r} has {count} endpoints; a region has one, with all its addresses")
    labels: dict[str, set[str]] = {}
    for endpoint in endpoints:
        labels.setdefault(endpoint.label, set()).add(endpoint.region)
    for label, regions in labels.items():
        if len(regions) > 1:
            problems.append(f"the label {label!r} has {len(regions)} endpoints ({', '.join(sorted(regions))}); each needs its own")
    if present and not params.get("endpoints"):
        problems.append("endpoints is empty: the last endpoint of a name is removed only with state=absent")
    if params.get("only_remove") and not (present and params["purge"]):
        problems.append("only_remove needs state=present and purge=true: what is not listed leaves, and nothing else is done")
    regional_names = bool(params["regional_names"])
    if not regional_names:
        for endpoint in endpoints:
            for family in ("A", "AAAA"):
                if len(endpoint.of_family(family)) > 1:
                    problems.append(
                        f"{endpoint.label}: a latency record holds one address per family; for {len(endpoint.of_family(family))} set regional_names=true"
                    )
    if regional_names and not problems:
        for name in names:
            for endpoint in endpoints:
                try:
                    if canonical(regional(endpoint.label, name)) in names:
                        problems.append(f"{regional(endpoint.label, name)!r} is one of the names and the regional name of {name!r}")
                except InvalidDeclaration as error:
                    problems.append(error.message)
    ttl = params["ttl"]
    if not 0 <= ttl <= 2147483647:
        problems.append(f"ttl: {ttl} is not between 0 and 2147483647 seconds")
    check = _check(params["health_check"], checker_regions, problems) if params.get("health_check") else None
    if problems:
        raise InvalidDeclaration("; ".join(problems), problems=problems)
    return Declaration(
        zone=zone,
        names=tuple(names),
        endpoints=tuple(sorted(endpoints, key=lambda endpoint: endpoint.label)),
        ttl=ttl,
        regional_names=regional_names,
        check=check,
        purge=bool(params["purge"]),
        only_remove=bool(params.get("only_remove")),
        replace_policy=bool(params["replace_policy"]),
        present=present,
        warnings=tuple(_families(endpoints)) if present else (),
    )
