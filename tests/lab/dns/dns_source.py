# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads hosted zones, records and health checks through the Route 53 API."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.config
import dns_zones
from dns_checks import CheckConfig


class Route53Source:
    """Blocking; call it in a thread. Parses only what changed since the reading before."""

    def __init__(self, endpoint_url: str | None, access_key: str | None = None, secret_key: str | None = None) -> None:
        self._client: Any = boto3.client(
            "route53",
            endpoint_url=endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            config=botocore.config.Config(
                connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}, parameter_validation=False
            ),
        )
        self._raw: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self._zones: dict[str, dns_zones.Zone] = {}
        self.problems: list[str] = []

    def _pages(self, operation: str, key: str, **parameters: Any) -> list[dict[str, Any]]:
        return [item for page in self._client.get_paginator(operation).paginate(**parameters) for item in page.get(key) or []]

    def read(self) -> tuple[dns_zones.Zones | None, dict[str, CheckConfig]]:
        """Zones (None: as before) and health checks."""
        changed = False
        current: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        for zone in self._pages("list_hosted_zones", "HostedZones"):
            if (zone.get("Config") or {}).get("PrivateZone"):
                continue
            current[zone["Id"]] = (zone["Name"], self._pages("list_resource_record_sets", "ResourceRecordSets", HostedZoneId=zone["Id"]))
        if list(current) != list(self._raw):
            changed = True
        problems: list[str] = []
        for zone_id, raw in current.items():
            if raw != self._raw.get(zone_id):
                self._zones[zone_id] = dns_zones.parse_zone(zone_id, raw[0], raw[1], problems)
                changed = True
        checks = {
            check["Id"]: CheckConfig.from_api(check["HealthCheckConfig"]) for check in self._pages("list_health_checks", "HealthChecks")
        }
        if not changed:
            return None, checks
        self.problems = problems
        self._raw = current
        return dns_zones.build(self._zones[zone_id] for zone_id in current), checks
