# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lab.yml says, checked and in types. No I/O beyond reading that file."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class LabError(Exception):
    """Something a person can act on; lab.py prints it as one sentence and ends with 1."""


@dataclass(frozen=True)
class Network:
    name: str
    subnet: str
    bridge: str
    region: bool

    @property
    def gateway(self) -> str:
        return str(next(ipaddress.ip_network(self.subnet).hosts()))


@dataclass(frozen=True)
class Machine:
    name: str
    network: str
    address: str
    image: str
    set: str

    @property
    def is_client(self) -> bool:
        return self.image == "client"


@dataclass(frozen=True)
class Image:
    name: str
    tag: str
    folder: str
    suite: str | None
    parent: str | None


@dataclass(frozen=True)
class RoundTrip:
    one: str
    other: str
    milliseconds: float


@dataclass(frozen=True)
class Lab:
    range: str
    networks: dict[str, Network]
    round_trips: tuple[RoundTrip, ...]
    services: Machine
    machines: dict[str, Machine]
    images: dict[str, Image]

    @property
    def regions(self) -> tuple[str, ...]:
        return tuple(n.name for n in self.networks.values() if n.region)

    def select(self, names: list[str]) -> list[Machine]:
        """The machines that sets, regions and machine names stand for, in the file's order; "all" is every one.

        "services" selects none: the services run whenever anything runs.
        """
        chosen: set[str] = set()
        sets = {m.set for m in self.machines.values()}
        for name in names:
            if name == "all":
                chosen.update(self.machines)
            elif name == "services":
                continue
            elif name in self.machines:
                chosen.add(name)
            elif name in sets:
                chosen.update(m.name for m in self.machines.values() if m.set == name)
            elif name in self.regions:
                estate = [m for m in self.in_region(name) if m.set == "estate"]
                grown = [m for m in self.in_region(name) if m.set == "grow"]
                chosen.update(m.name for m in estate or grown)
            else:
                known = ", ".join(["all", "services", *sorted(sets), *self.regions])
                raise LabError(f"{name} is no machine, region or set of the lab. Sets and regions: {known}.")
        return [m for m in self.machines.values() if m.name in chosen]

    def in_region(self, region: str) -> list[Machine]:
        if region not in self.regions:
            raise LabError(f"{region} is no region of the lab: {', '.join(self.regions)}.")
        return [m for m in self.machines.values() if m.network == region]

    def image_order(self, names: set[str]) -> list[list[Image]]:
        """The images in waves: those of one wave need only those of the waves before."""
        needed: set[str] = set()
        pending = list(names)
        while pending:
            image = self.images[pending.pop()]
            if image.name not in needed:
                needed.add(image.name)
                if image.parent:
                    pending.append(image.parent)
        waves: list[list[Image]] = []
        done: set[str] = set()
        while done != needed:
            wave = [self.images[n] for n in self.images if n in needed - done and self.images[n].parent in done | {None}]
            if not wave:
                raise LabError(f"The images {', '.join(sorted(needed - done))} wait for each other in lab.yml.")
            waves.append(wave)
            done.update(i.name for i in wave)
        return waves


def load(path: Path) -> Lab:
    return parse(yaml.safe_load(path.read_text(encoding="utf-8")))


def parse(data: dict[str, Any]) -> Lab:
    networks = {
        name: Network(name, n["subnet"], n["bridge"], bool(n.get("region", False))) for name, n in data["networks"].items()
    }
    machines = {name: Machine(name, m["network"], m["address"], m["image"], m["set"]) for name, m in data["machines"].items()}
    s = data["services"]
    services = Machine(s["name"], s["network"], s["address"], s["image"], "services")
    images = {
        name: Image(name, i["tag"], i["folder"], i.get("suite"), i.get("from")) for name, i in data["images"].items()
    }
    round_trips = tuple(RoundTrip(r["between"][0], r["between"][1], float(r["ms"])) for r in data["round_trip_times"])
    lab = Lab(data["range"], networks, round_trips, services, machines, images)
    _check(lab)
    return lab


def _check(lab: Lab) -> None:
    whole = ipaddress.ip_network(lab.range)
    wrong: list[str] = []
    for network in lab.networks.values():
        if not ipaddress.ip_network(network.subnet).subnet_of(whole):
            wrong.append(f"network {network.name} is outside {lab.range}")
        if len(network.bridge) > 15:
            wrong.append(f"bridge {network.bridge} has more than 15 characters")
    seen: dict[str, str] = {}
    for machine in [lab.services, *lab.machines.values()]:
        if machine.network not in lab.networks:
            wrong.append(f"{machine.name} is in network {machine.network}, which does not exist")
        elif ipaddress.ip_address(machine.address) not in ipaddress.ip_network(lab.networks[machine.network].subnet):
            wrong.append(f"{machine.name} has an address outside its network")
        if machine.address in seen:
            wrong.append(f"{machine.name} and {seen[machine.address]} have the same address")
        seen[machine.address] = machine.name
        if machine.image not in lab.images:
            wrong.append(f"{machine.name} wants image {machine.image}, which does not exist")
    pairs = {frozenset((r.one, r.other)) for r in lab.round_trips}
    for number, one in enumerate(lab.regions):
        for other in lab.regions[number + 1 :]:
            if frozenset((one, other)) not in pairs:
                wrong.append(f"no round-trip time between {one} and {other}")
    for pair in pairs:
        for name in pair - set(lab.regions):
            wrong.append(f"a round-trip time names {name}, which is no region")
    if wrong:
        raise LabError("lab.yml is wrong: " + "; ".join(wrong) + ".")
