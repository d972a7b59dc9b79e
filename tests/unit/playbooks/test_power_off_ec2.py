# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The right machine is powered off and no other one, against moto's EC2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

SCRIPT = Path(__file__).resolve().parents[3] / "playbooks" / "files" / "power_off_ec2.py"
ADDRESS = "10.0.1.21"


@pytest.fixture
def ec2(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        yield boto3.client("ec2", region_name="eu-west-1")


@pytest.fixture
def instance(ec2):
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    return ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnet, PrivateIpAddress=ADDRESS)["Instances"][0]["InstanceId"]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("power_off_ec2", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def state(ec2, name):
    return ec2.describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"][0]["State"]["Name"]


def test_it_is_stopped(script, ec2, instance):
    assert script.power_off(ec2, instance, ADDRESS, 5) == ""
    assert state(ec2, instance) == "stopped"


def test_another_machine_is_left_alone(script, ec2, instance):
    told = script.power_off(ec2, instance, "10.0.9.9", 5)
    assert "not 10.0.9.9: it is another machine" in told and ADDRESS in told
    assert state(ec2, instance) == "running"


def test_one_that_is_not_there(script, ec2):
    assert "cannot be stopped" in script.power_off(ec2, "i-0123456789abcdef0", ADDRESS, 5)
