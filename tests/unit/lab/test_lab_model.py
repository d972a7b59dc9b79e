# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import ipaddress
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
LAB = REPOSITORY / "tests" / "lab"
sys.path.insert(0, str(LAB))

from paaslab import model


@pytest.fixture(name="data")
def _data():
    return yaml.safe_load((LAB / "lab.yml").read_text(encoding="utf-8"))


@pytest.fixture(name="lab")
def _lab(data):
    return model.parse(data)


def test_the_lab_keeps_to_the_benchmark_range(lab):
    whole = ipaddress.ip_network("198.18.0.0/15")
    assert all(ipaddress.ip_network(n.subnet).subnet_of(whole) for n in lab.networks.values())


def test_estate_has_app_database_and_client_in_three_regions(lab):
    estate = lab.select(["estate"])
    regions = {m.network for m in estate}
    assert regions == {"us-east-1", "eu-west-1", "ap-southeast-2"}
    for region in regions:
        names = {m.name for m in estate if m.network == region}
        assert {f"{region}-dokku-1", f"{region}-pg-1", f"{region}-client"} <= names


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["services"], []),
        (["valkey-1"], ["valkey-1"]),
        (["valkey-1", "nginx-1"], ["nginx-1", "valkey-1"]),
        (["eu-west-1"], ["eu-west-1-dokku-1", "eu-west-1-pg-1", "eu-west-1-client"]),
        (["eu-central-1"], ["eu-central-1-dokku-1", "eu-central-1-pg-1", "eu-central-1-client"]),
    ],
)
def test_select(lab, names, expected):
    assert [m.name for m in lab.select(names)] == expected


def test_select_all_is_everything(lab):
    assert [m.name for m in lab.select(["all"])] == list(lab.machines)


def test_select_says_what_there_is(lab):
    with pytest.raises(model.LabError, match=r"nowhere is no machine, region or set.*estate.*us-east-1"):
        lab.select(["nowhere"])


def test_images_come_after_what_they_are_built_from(lab):
    waves = lab.image_order({"dokku", "services"})
    assert [sorted(i.name for i in wave) for wave in waves] == [["machine"], ["dokku", "services"]]


def test_images_that_wait_for_each_other_are_refused(data):
    data["images"]["machine"]["from"] = "dokku"
    with pytest.raises(model.LabError, match="wait for each other"):
        model.parse(data).image_order({"dokku"})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["networks", "services", "subnet"], "10.0.0.0/24", "network services is outside"),
        (["networks", "services", "bridge"], "a-very-long-bridge-name", "more than 15"),
        (["machines", "valkey-1", "address"], "198.18.17.1", "valkey-1 has an address outside"),
        (["machines", "valkey-1", "address"], "198.18.16.61", "have the same address"),
        (["machines", "valkey-1", "network"], "moon", "network moon"),
        (["machines", "valkey-1", "image"], "moon", "image moon"),
        (["round_trip_times"], [], "no round-trip time between us-east-1 and eu-west-1"),
    ],
)
def test_a_wrong_file_is_refused_with_every_fault(data, path, value, message):
    broken = copy.deepcopy(data)
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(model.LabError, match=message):
        model.parse(broken)


def inventory_hosts(tree, found):
    for name, group in (tree or {}).items():
        for host, variables in ((group or {}).get("hosts") or {}).items():
            found.setdefault(host, {}).update(variables or {})
        inventory_hosts((group or {}).get("children"), found)
    return found


@pytest.mark.parametrize("path", [*sorted((REPOSITORY / "inventories" / "lab").glob("*.yml")), *sorted((LAB / "extra").glob("*.yml"))],
                         ids=lambda p: p.name)  # fmt: skip
def test_inventories_name_the_labs_machines(lab, path):
    hosts = inventory_hosts(yaml.safe_load(path.read_text(encoding="utf-8")), {})
    assert hosts
    for name, variables in hosts.items():
        machine = lab.machines[name]
        assert machine.network == path.stem
        assert variables["ansible_host"] == variables["paas_private_address"] == machine.address


def test_scenarios_name_the_labs_machines(lab):
    inventory = yaml.safe_load((REPOSITORY / "molecule" / "inventory" / "hosts.yml").read_text(encoding="utf-8"))
    for name, variables in inventory_hosts(inventory, {}).items():
        assert lab.machines[name].address == variables["paas_private_address"]
