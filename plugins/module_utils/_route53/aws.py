# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that imports what amazon.aws shares; its interface is theirs to change, so the rest stays away from it."""

from __future__ import annotations

from typing import Any, Optional

try:
    import botocore.exceptions

    HAS_BOTOCORE = True
except ImportError:
    HAS_BOTOCORE = False

from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule

from .client import Api

# One try, as Api retries itself; and no hanging where no route leads to the API.
CLIENT_CONFIG = {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 30}


def aws_module(**arguments: Any) -> Any:
    """AnsibleAWSModule: connection options, their environment fallbacks and the check for boto3."""
    return AnsibleAWSModule(**arguments)


def warn(module: Any, text: str) -> None:
    """AnsibleAWSModule's own warn() also returns the warning as a result, which ansible-core deprecates."""
    module._module.warn(text)


def connect(module: Any, timeout: Optional[float]) -> tuple[Any, Api]:
    """The boto3 client and the funnel around it."""
    config = {**CLIENT_CONFIG, **(module.params.get("aws_config") or {}), "retries": CLIENT_CONFIG["retries"]}
    client = module.client("route53", region=module.params.get("region") or "us-east-1", aws_config=config)
    lost = (botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)
    return client, Api(client, timeout if timeout is not None else 300, lost, botocore.exceptions.ClientError)


def regions_of(client: Any, shape: str) -> frozenset[str]:
    """The regions that this botocore knows for latency records (ResourceRecordSetRegion) or checkers (HealthCheckRegion)."""
    return frozenset(client.meta.service_model.shape_for(shape).enum)


def other_botocore_errors() -> tuple[type[BaseException], ...]:
    """Missing credentials, invalid parameters and the like."""
    return (botocore.exceptions.BotoCoreError,) if HAS_BOTOCORE else ()


__all__ = ["aws_module", "connect", "other_botocore_errors", "regions_of", "warn"]
