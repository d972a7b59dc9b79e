# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power an EC2 instance off without asking its system, and end when it is stopped.

failover.yml runs it on the controller, with JSON on the standard input: `instance`, `region`, `address` (the machine's private address, by
which it is known to be the right one), and `access_key`, `secret_key`, `session_token`, empty for those that boto3 finds itself.
"""

from __future__ import annotations

import json
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TIMEOUT = 120.0


def addresses(instance: dict) -> set[str]:
    """All addresses of the instance within its networks."""
    found = {instance.get("PrivateIpAddress")}
    for interface in instance.get("NetworkInterfaces", []):
        found.update(entry.get("PrivateIpAddress") for entry in interface.get("PrivateIpAddresses", []))
        found.update(entry.get("Ipv6Address") for entry in interface.get("Ipv6Addresses", []))
    return found - {None}


def power_off(ec2, name: str, address: str, timeout: float = TIMEOUT) -> str:
    """Returns what is wrong, or nothing when the instance is stopped. One that has not the address is another machine, and left alone."""

    def described() -> dict:
        return ec2.describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"][0]

    deadline = time.monotonic() + timeout
    try:
        machine = described()
        if address not in addresses(machine):
            return f"{name} has the addresses {', '.join(sorted(addresses(machine))) or 'none'} and not {address}: it is another machine, and was left alone"
        # By force: a system that hangs would take minutes to be stopped, and what it still writes is of no use.
        ec2.stop_instances(InstanceIds=[name], Force=True)
        while time.monotonic() < deadline:
            machine = described()
            if machine["State"]["Name"] == "stopped":
                return ""
            time.sleep(0.5)
    except (BotoCoreError, ClientError) as error:
        return f"{name} cannot be stopped: {error}"
    return f"{name} is not stopped after {timeout:.0f} s, but {machine['State']['Name']}"


def main() -> str:
    wanted = json.load(sys.stdin)
    given = {f"aws_{name}": wanted[key] for name, key in (
        ("access_key_id", "access_key"), ("secret_access_key", "secret_key"), ("session_token", "session_token")) if wanted.get(key)}  # fmt: skip
    config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 4})
    return power_off(boto3.client("ec2", region_name=wanted["region"], config=config, **given), wanted["instance"], wanted["address"])


if __name__ == "__main__":
    # A text is printed as an error and ends with status 1; none ends with 0.
    sys.exit(main() or 0)
