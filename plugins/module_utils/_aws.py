# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only file that imports what amazon.aws shares; its interface is theirs to change, so the rest stays away from it."""

from __future__ import annotations

import traceback
from typing import Any

try:
    import boto3  # pylint: disable=unused-import
    import botocore.exceptions
except ImportError:
    BOTO3_IMPORT_ERROR = traceback.format_exc()
else:
    BOTO3_IMPORT_ERROR = None

from ansible_collections.amazon.aws.plugins.module_utils.botocore import boto3_conn, get_aws_connection_info
from ansible_collections.amazon.aws.plugins.module_utils.modules import AnsibleAWSModule, aws_argument_spec


def argument_spec() -> dict[str, Any]:
    """The connection options, with their environment fallbacks."""
    return aws_argument_spec()


def aws_module(**arguments: Any) -> Any:
    """AnsibleAWSModule: connection options and the check for boto3. For a module that always talks to AWS."""
    return AnsibleAWSModule(**arguments)


def warn(module: Any, text: str) -> None:
    """AnsibleAWSModule's own warn() also returns the warning as a result, which ansible-core deprecates."""
    module._module.warn(text)


def client(module: Any, service: str, **more: Any) -> Any:
    """A boto3 client from the connection options; ends the module where they are wrong. `config` in `more` is what the options'
    aws_config may change, `aws_config` is what it may not."""
    region, endpoint_url, parameters = get_aws_connection_info(module)
    parameters.update(more)
    # Route 53 is global; botocore wants a region for signing all the same.
    return boto3_conn(module, conn_type="client", resource=service, region=region or "us-east-1", endpoint=endpoint_url, **parameters)


def other_botocore_errors() -> tuple[type[BaseException], ...]:
    """Missing credentials, invalid parameters and the like."""
    return () if BOTO3_IMPORT_ERROR else (botocore.exceptions.BotoCoreError,)
