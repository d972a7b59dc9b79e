# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check a whole estate's inventory at once."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping

from ansible.errors import AnsibleFilterError
from ansible.utils.path import unfrackpath
from ansible_collections.multiregion.paas.plugins.filter.estate_secrets import CONSUL_TOKENS, DATABASE_ROLES

DOCUMENTATION = r"""
name: estate_problems
short_description: List everything that is wrong with an estate's inventory
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Reads the variables and facts of all hosts of an estate and returns one sentence for each thing that is wrong with them,
    so that a person can mend all of it before the first machine is touched.
  - An empty list means that the estate can be built.
positional: _input
options:
  _input:
    description: The variables of every host, by host name, as C(hostvars) holds them.
    type: dict
    required: true
  groups:
    description: The inventory's groups, as the variable C(groups) holds them.
    type: dict
    required: true
  secrets:
    description:
      - Names of the variables that must hold a secret. C(paas_consul_tokens) needs every token that P(multiregion.paas.estate_secrets#filter) makes.
      - What that filter makes for each app and its database is always asked for.
    type: list
    elements: str
    default: []
  absent_regions:
    description: Regions that are left out of this run. Their hosts need not answer.
    type: list
    elements: str
    default: []
  archive_folder:
    description:
      - The folder, on the controller, in which a relative C(image_archive) of an app lies, as the variable C(playbook_dir) holds it.
        With it, every app's archive must be there. Without it, they are not looked for, as only a run that pushes images needs them.
    type: path
  known_regions:
    description: The AWS regions that Route 53 knows, instead of those that the installed botocore lists for it.
    type: list
    elements: str
requirements:
  - botocore, unless O(known_regions) is given
notes:
  - A host counts as unreachable when it has no facts, so gather them first, with C(ignore_unreachable).
"""

EXAMPLES = r"""
- name: Check the whole inventory
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    problems: "{{ hostvars | multiregion.paas.estate_problems(groups, absent_regions=paas_absent_regions | default([])) }}"
"""

RETURN = r"""
_value:
  description: One sentence a problem, each with the host, region or app it is about and what to do.
  type: list
  elements: str
"""

ESTATE_GROUPS = ("paas_dokku", "paas_postgres", "paas_admin", "paas_consul_servers", "paas_edge")
PUBLIC_GROUPS = ("paas_dokku", "paas_edge")
SUPPORTED = {"Debian": ("12", "13"), "Ubuntu": ("24.04",)}


def _regions_of_route53() -> frozenset[str]:
    """The regions that a latency record may name, from botocore's own model of the API."""
    try:
        from botocore.session import Session
    except ImportError as error:
        raise AnsibleFilterError("estate_problems needs the Python package boto3 on the controller") from error
    return frozenset(Session().get_service_model("route53").shape_for("ResourceRecordSetRegion").enum)


def _hosts(groups: Mapping) -> list[str]:
    found: dict[str, None] = {}
    for group in ESTATE_GROUPS:
        found.update(dict.fromkeys(groups.get(group, ())))
    return list(found)


def _value(variables: Mapping, name: str):
    """A variable's value, or None where it is not defined or cannot be templated."""
    try:
        return variables.get(name)
    except Exception:  # an undefined variable inside the value: the same as a missing one
        return None


def _region_problems(hostvars: Mapping, groups: Mapping, hosts: list[str], absent, known_regions) -> Iterator[str]:
    regions: dict[str, list[str]] = {}
    for host in hosts:
        region = _value(hostvars[host], "paas_region")
        if not region:
            yield f"{host} has no region: put it into its region's file, whose group sets paas_region."
            continue
        regions.setdefault(region, []).append(host)
        group = f"paas_region_{region.replace('-', '_')}"
        if host not in groups.get(group, ()):
            yield f"{host} has paas_region {region}, but is not in the group {group}: put it into the file of the region that it is in."
    for region, members in regions.items():
        if not any(host in groups.get("paas_postgres", ()) for host in members):
            yield f"Region {region} has no Postgres host: add one to its group paas_postgres."
        aws_regions = {_value(hostvars[host], "paas_aws_region") or region for host in members}
        for aws_region in sorted(aws_regions):
            if aws_region not in known_regions:
                yield (
                    f"Region {region}: Route 53 knows no AWS region {aws_region}. "
                    "Set paas_aws_region to the AWS region nearest to these hosts."
                )
    for region in absent:
        if region not in regions:
            yield f"paas_absent_regions names {region}, which no host of the inventory belongs to."
    primary_regions = {_value(hostvars[host], "paas_primary_region") for host in hosts} - {None}
    if hosts and not primary_regions:
        yield "paas_primary_region is not set: name the region in which the first primary is created."
    for region in sorted(primary_regions):
        if region not in regions:
            yield f"paas_primary_region is {region}, which no host of the inventory belongs to."


def _address_problems(hostvars: Mapping, groups: Mapping, hosts: list[str]) -> Iterator[str]:
    owners: dict[tuple[str, str], str] = {}
    for host in hosts:
        named = []
        private = _value(hostvars[host], "paas_private_address")
        if not private:
            yield f"{host} has no paas_private_address: the address that the estate's other hosts reach it by."
        else:
            named.append(("paas_private_address", private))
        if any(host in groups.get(group, ()) for group in PUBLIC_GROUPS):
            public = _value(hostvars[host], "paas_public_addresses") or []
            if not public:
                yield f"{host} has no paas_public_addresses: the list of addresses that DNS gives to users."
            named.extend(("paas_public_addresses", address) for address in public)
        for variable, text in named:
            try:
                address = ipaddress.ip_address(str(text))
            except ValueError:
                yield f"{host}: {variable} holds {text!r}, which is no IP address."
                continue
            owner = owners.setdefault((variable, str(address)), host)
            if owner != host:
                yield f"{owner} and {host} have the same address {address} in {variable}."


def _machine_problems(hostvars: Mapping, hosts: list[str], absent) -> Iterator[str]:
    for host in hosts:
        region = _value(hostvars[host], "paas_region")
        if region in absent:
            continue
        facts = _value(hostvars[host], "ansible_facts") or {}
        if "distribution" not in facts:
            yield (
                f"{host} cannot be reached. When its region is down, leave the region out and go on safely: "
                f"-e '{{\"paas_absent_regions\": [\"{region or 'REGION'}\"]}}'"
            )
            continue
        distribution, version = facts["distribution"], str(facts.get("distribution_version", ""))
        if not any(version == known or version.startswith(f"{known}.") for known in SUPPORTED.get(distribution, ())):
            yield f"{host} runs {distribution} {version}: Debian 12, Debian 13 and Ubuntu 24.04 are supported."
        if facts.get("effective_user_id", 0) != 0:
            yield (
                f"{host}: Ansible works there as {facts.get('user_id', 'another user')}, not as root. Set ansible_user to root, or "
                "ansible_become to true for a user who may use sudo, among the vars of its region's group."
            )


def _consul_problems(hostvars: Mapping, groups: Mapping, hosts: list[str]) -> Iterator[str]:
    """Only where the estate has Consul: an estate without the group goes on without it."""
    servers: dict[str, list[str]] = {}
    for host in groups.get("paas_consul_servers", ()):
        servers.setdefault(str(_value(hostvars[host], "paas_region") or ""), []).append(host)
    if not servers:
        return
    regions = dict.fromkeys(str(_value(hostvars[host], "paas_region") or "") for host in hosts)
    for region in regions:
        count = len(servers.get(region, ()))
        if region and count not in (1, 3, 5):
            yield (
                f"Region {region} has {count} Consul servers: put one or three of its hosts into paas_consul_servers. "
                "An even number survives no more failures than one less."
            )
    primary = _value(hostvars[hosts[0]], "paas_consul_primary_datacenter")
    if not primary:
        yield "paas_consul_primary_datacenter is not set: name the region that keeps Consul's access lists. It never changes."
    elif primary not in servers:
        yield f"paas_consul_primary_datacenter is {primary}, a region without a Consul server."


def _app_problems(apps) -> Iterator[str]:
    if not isinstance(apps, Mapping):
        yield "paas_apps is not a dictionary of apps by name."
        return
    for name, app in apps.items():
        if not isinstance(app, Mapping):
            yield f"App {name} is not a dictionary."
            continue
        if not app.get("database"):
            yield f"App {name} has no database: name it, or say `database: none` for an app without one."
        if not app.get("image"):
            yield f"App {name} has no image."
        if not app.get("domains"):
            yield f"App {name} has no domains."


def _archive_problems(apps, folder: str) -> Iterator[str]:
    for name, app in apps.items() if isinstance(apps, Mapping) else ():
        if not isinstance(app, Mapping) or "image_archive" not in app:
            continue
        archive = _value(app, "image_archive")
        if not isinstance(archive, str):
            yield f"App {name}: image_archive is no path of a file on this computer."
            continue
        # Where the role admin looks for it.
        places = [unfrackpath(archive, basedir=base) for base in (folder, os.path.join(folder, "files"))]
        if not any(os.path.isfile(place) for place in places):
            yield (
                f"App {name}: its image_archive {places[0]} is not on this computer. Make it with `docker save --output`, "
                "or take image_archive out where the registry has the image already."
            )


def _secret_problems(variables: Mapping, secrets, apps) -> Iterator[str]:
    """What estate_secrets would add, and what is there but empty, which it leaves alone."""
    wanted: dict[tuple[str, ...], None] = {}
    for name in secrets:
        parts = CONSUL_TOKENS if name == "paas_consul_tokens" else ()
        wanted.update(dict.fromkeys([(name, part) for part in parts] or [(name,)]))
    for app_name, app in apps.items() if isinstance(apps, Mapping) else ():
        if not isinstance(app, Mapping):
            continue
        # An estate whose apps keep no sessions of their own may have none at all; where one has a secret, a new app needs its own.
        if _value(variables, "paas_app_secrets"):
            wanted["paas_app_secrets", app_name, "SESSION_SECRET"] = None
        database = app.get("database")
        if database and database != "none":
            wanted.update(dict.fromkeys(("paas_database_passwords", database, role) for role in DATABASE_ROLES))
    for path in wanted:
        value = variables
        for name in path:
            value = _value(value, name) if isinstance(value, Mapping) else None
        if not value:
            yield f"The secret {'.'.join(path)} is missing or empty: run playbooks/init_secrets.yml, which adds what is missing."


def estate_problems(
    hostvars: Mapping, groups: Mapping, secrets=(), absent_regions=(), known_regions=None, archive_folder=None
) -> list[str]:
    """All that is wrong with an estate; see DOCUMENTATION.

    Raises AnsibleFilterError when the input is not the two mappings it needs.
    """
    if not isinstance(hostvars, Mapping) or not isinstance(groups, Mapping):
        raise AnsibleFilterError("estate_problems: needs hostvars and groups")
    hosts = _hosts(groups)
    if not hosts:
        return ["The inventory has no host in any of the groups " + ", ".join(ESTATE_GROUPS) + "."]
    problems = [
        f"The group {group} is empty." for group in ("paas_dokku", "paas_postgres", "paas_admin") if not groups.get(group)
    ]
    problems += _region_problems(hostvars, groups, hosts, absent_regions, known_regions or _regions_of_route53())
    problems += _address_problems(hostvars, groups, hosts)
    problems += _consul_problems(hostvars, groups, hosts)
    estate = hostvars[hosts[0]]
    apps = _value(estate, "paas_apps") or {}
    problems += _app_problems(apps)
    problems += _secret_problems(estate, secrets, apps)
    if archive_folder:
        problems += _archive_problems(apps, archive_folder)
    problems += _machine_problems(hostvars, hosts, absent_regions)
    return problems


class FilterModule:
    """Ansible's entry point."""

    def filters(self) -> dict:
        return {"estate_problems": estate_problems}
