# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""power_off_ec2.py INSTANCE REGION: power an EC2 instance off without asking its system, and end when it is stopped.

failover.yml runs it on the controller; credentials come from where boto3 finds them.
"""

from __future__ import annotations

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TIMEOUT = 120.0


def main() -> str:
    instance, region = sys.argv[1:]
    ec2 = boto3.client("ec2", region_name=region, config=Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 4}))
    deadline = time.monotonic() + TIMEOUT
    try:
        # By force: a system that hangs would take minutes to be stopped, and what it still writes is of no use.
        ec2.stop_instances(InstanceIds=[instance], Force=True)
        while time.monotonic() < deadline:
            state = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]["State"]["Name"]
            if state == "stopped":
                return ""
            time.sleep(0.5)
    except (BotoCoreError, ClientError) as error:
        return f"{instance} in {region} cannot be stopped: {error}"
    return f"{instance} in {region} is not stopped after {TIMEOUT:.0f} s, but {state}"


if __name__ == "__main__":
    # A text is printed as an error and ends with status 1; none ends with 0.
    sys.exit(main() or 0)
