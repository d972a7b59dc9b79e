# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the module's connection options to the funnel for its calls, and what this botocore knows of Route 53."""

from __future__ import annotations

from typing import Any

from .._aws import BOTO3_IMPORT_ERROR, client
from .client import Api

if BOTO3_IMPORT_ERROR is None:
    import botocore.exceptions

# One try, as Api retries itself; and no hanging where no route leads to the API.
CLIENT_CONFIG = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 30}


def connect(module: Any, timeout: float) -> tuple[Any, Api]:
    """The boto3 client and the funnel around it."""
    config = {**CLIENT_CONFIG, **(module.params.get("aws_config") or {}), "retries": CLIENT_CONFIG["retries"]}
    connection = client(module, "route53", aws_config=config)
    lost = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
    return connection, Api(connection, timeout, lost, botocore.exceptions.ClientError)


def regions_of(connection: Any, shape: str) -> frozenset[str]:
    """The regions that this botocore knows for latency records (ResourceRecordSetRegion) or checkers (HealthCheckRegion)."""
    return frozenset(connection.meta.service_model.shape_for(shape).enum)
