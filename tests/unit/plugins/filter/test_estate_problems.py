# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.multiregion.paas.plugins.filter.estate_problems import estate_problems
from ansible_collections.multiregion.paas.plugins.filter.estate_secrets import estate_secrets

REGIONS = {"us-east-1": "198.18.1", "eu-west-1": "198.18.2"}


@pytest.fixture()
def estate():
    hostvars, groups = {}, {"paas_dokku": [], "paas_postgres": [], "paas_admin": []}
    shared = {
        "paas_primary_region": "us-east-1",
        "paas_apps": {"todo": {"image": "todo:1", "domains": ["todo.test"], "database": "todo"}},
        **estate_secrets({}, apps={"todo": {"database": "todo"}}),
    }
    for region, prefix in REGIONS.items():
        for kind, last in (("dokku", 11), ("postgres", 21)):
            name = f"{region}-{kind}"
            hostvars[name] = {
                **copy.deepcopy(shared),
                "paas_region": region,
                "paas_private_address": f"{prefix}.{last}",
                "paas_public_addresses": [f"{prefix}.{last}"],
                "ansible_facts": {"distribution": "Debian", "distribution_version": "13.1", "effective_user_id": 0, "user_id": "root"},
            }
            groups.setdefault(f"paas_region_{region.replace('-', '_')}", []).append(name)
            groups[f"paas_{kind}"].append(name)
    groups["paas_admin"] = ["us-east-1-postgres"]
    return hostvars, groups


def problems(estate, **options):
    options.setdefault("secrets", ["paas_ca_key"])
    return estate_problems(*estate, **options)


def test_a_good_estate_has_none(estate):
    assert problems(estate) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hosts, groups: hosts["eu-west-1-dokku"].pop("paas_region"), "eu-west-1-dokku has no region"),
        (lambda hosts, groups: groups["paas_postgres"].remove("eu-west-1-postgres"), "Region eu-west-1 has no Postgres"),
        (lambda hosts, groups: hosts["eu-west-1-postgres"].pop("paas_private_address"), "no paas_private_address"),
        (lambda hosts, groups: hosts["eu-west-1-dokku"].update(paas_public_addresses=[]), "no paas_public_addresses"),
        (lambda hosts, groups: hosts["eu-west-1-dokku"].update(paas_private_address="198.18.1.11"), "have the same address 198.18.1.11"),
        (lambda hosts, groups: hosts["eu-west-1-dokku"].update(paas_private_address="here"), "'here', which is no IP address"),
        (lambda hosts, groups: hosts["eu-west-1-dokku"].update(paas_aws_region="mars-1"), "no AWS region mars-1"),
        (lambda hosts, groups: [h.pop("paas_ca_key") for h in hosts.values()], "The secret paas_ca_key is missing"),
        (lambda hosts, groups: [h["paas_apps"]["todo"].pop("database") for h in hosts.values()], "App todo has no database"),
        (lambda hosts, groups: [h["paas_apps"]["todo"].pop("domains") for h in hosts.values()], "App todo has no domains"),
        (lambda hosts, groups: [h["paas_apps"]["todo"].pop("image") for h in hosts.values()], "App todo has no image"),
        (lambda hosts, groups: groups["paas_region_eu_west_1"].remove("eu-west-1-dokku"), "eu-west-1-dokku has paas_region eu-west-1, but is not in"),
        (
            lambda hosts, groups: hosts["eu-west-1-dokku"]["ansible_facts"].update(effective_user_id=1000, user_id="admin"),
            "eu-west-1-dokku: Ansible works there as admin, not as root",
        ),
        (
            lambda hosts, groups: hosts["eu-west-1-dokku"]["ansible_facts"].update(distribution_version="11.4"),
            "eu-west-1-dokku runs Debian 11.4",
        ),
        (lambda hosts, groups: hosts["eu-west-1-dokku"].pop("ansible_facts"), "eu-west-1-dokku cannot be reached"),
        (lambda hosts, groups: [h.pop("paas_primary_region") for h in hosts.values()], "paas_primary_region is not set"),
        (lambda hosts, groups: [h.update(paas_primary_region="x") for h in hosts.values()], "paas_primary_region is x"),
        (lambda hosts, groups: groups.update(paas_admin=[]), "The group paas_admin is empty"),
    ],
)
def test_each_problem_is_named(estate, change, said):
    change(*estate)
    found = problems(estate)
    assert len(found) == 1, found
    assert said in found[0]


def leaves(secrets, path=()):
    for name, value in secrets.items():
        yield from leaves(value, (*path, name)) if isinstance(value, dict) else [(*path, name)]


def test_every_secret_that_would_be_made_is_asked_for(estate):
    made = estate_secrets({}, apps={"todo": {"database": "todo"}})
    found = list(leaves(made))
    assert ("paas_database_passwords", "todo", "read_only") in found and ("paas_consul_tokens", "dns") in found
    for *folders, last in found:
        changed = copy.deepcopy(estate)
        for variables in changed[0].values():
            for folder in folders:
                variables = variables[folder]
            del variables[last]
        said = problems(changed, secrets=[name for name in made if name not in ("paas_database_passwords", "paas_app_secrets")])
        assert said == [f"The secret {'.'.join([*folders, last])} is missing or empty: run playbooks/init_secrets.yml, which adds what is missing."]


def test_an_estate_may_have_no_secrets_of_apps_but_those_of_their_databases(estate):
    for variables in estate[0].values():
        del variables["paas_database_passwords"], variables["paas_app_secrets"]
    assert [said.split()[2] for said in problems(estate)] == [f"paas_database_passwords.todo.{role}" for role in ("owner", "read_write", "read_only")]


def test_an_image_archive_has_to_be_there_where_images_are_pushed(estate, tmp_path):
    (tmp_path / "todo.tar").touch()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "other.tar").touch()
    for archive, missing in (("todo.tar", 0), ("other.tar", 0), (f"{tmp_path}/todo.tar", 0), ("none.tar", 1), (f"{tmp_path}/none.tar", 1), ("", 1)):
        for variables in estate[0].values():
            variables["paas_apps"]["todo"]["image_archive"] = archive
        assert problems(estate) == []
        assert len(problems(estate, archive_folder=str(tmp_path))) == missing, archive
    assert "App todo: its image_archive" in problems(estate, archive_folder=str(tmp_path))[0]


def test_all_problems_come_at_once(estate):
    hostvars, groups = estate
    hostvars["eu-west-1-dokku"].pop("paas_public_addresses")
    hostvars["us-east-1-dokku"].pop("ansible_facts")
    groups["paas_postgres"].remove("eu-west-1-postgres")
    assert len(problems(estate)) == 3


def test_an_absent_region_need_not_answer(estate):
    hostvars, groups = estate
    for host in ("eu-west-1-dokku", "eu-west-1-postgres"):
        hostvars[host].pop("ansible_facts")
    assert problems(estate, absent_regions=["eu-west-1"]) == []
    assert "names mars-1" in problems(estate, absent_regions=["eu-west-1", "mars-1"])[0]


def test_an_app_may_say_that_it_has_no_database(estate):
    for variables in estate[0].values():
        variables["paas_apps"]["todo"]["database"] = "none"
        variables.pop("paas_database_passwords")
    assert problems(estate) == []


def test_ubuntu_24_04_is_supported_and_24_10_is_not(estate):
    facts = estate[0]["eu-west-1-dokku"]["ansible_facts"]
    facts.update(distribution="Ubuntu", distribution_version="24.04")
    assert problems(estate) == []
    facts.update(distribution_version="24.10")
    assert len(problems(estate)) == 1


def test_an_empty_inventory_is_one_problem():
    assert len(estate_problems({}, {})) == 1


def test_wrong_input_is_refused():
    with pytest.raises(AnsibleFilterError, match="needs hostvars and groups"):
        estate_problems([], {})


@pytest.fixture()
def consul_estate(estate):
    hostvars, groups = estate
    groups["paas_consul_servers"] = ["us-east-1-postgres", "eu-west-1-postgres"]
    for variables in hostvars.values():
        variables["paas_consul_primary_datacenter"] = "us-east-1"
    return hostvars, groups


def test_a_good_estate_with_consul_has_none(consul_estate):
    assert problems(consul_estate) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hosts, groups: groups["paas_consul_servers"].append("eu-west-1-dokku"), "Region eu-west-1 has 2 Consul servers"),
        (lambda hosts, groups: groups["paas_consul_servers"].remove("eu-west-1-postgres"), "Region eu-west-1 has 0 Consul servers"),
        (lambda hosts, groups: [h.pop("paas_consul_primary_datacenter") for h in hosts.values()], "paas_consul_primary_datacenter is not set"),
        (lambda hosts, groups: [h.update(paas_consul_primary_datacenter="mars") for h in hosts.values()], "a region without a Consul server"),
    ],
)
def test_consul_servers_that_cannot_work(consul_estate, change, said):
    change(*consul_estate)
    assert any(said in problem for problem in problems(consul_estate)), problems(consul_estate)
