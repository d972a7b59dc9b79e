# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet filter rules of the lab, as text for iptables-restore. Pure.

Docker keeps its networks apart; the chain PAAS-LAB, called from DOCKER-USER, lets the lab's networks talk, sends what goes
from one region to another through a queue (the shaper holds it for half the round-trip time; without a shaper it passes
unheld), and drops what would leave this machine for an address of the lab's range that nobody has.
"""

from __future__ import annotations

from dataclasses import dataclass

from .model import Lab

FIRST_QUEUE = 1980
BRIDGES = "paaslab+"


@dataclass(frozen=True)
class Queue:
    number: int
    source: str
    destination: str
    delay: float
    """Seconds that a packet of this direction waits: half the round-trip time."""


def queues(lab: Lab) -> tuple[Queue, ...]:
    """One queue for each different delay would do; one for each pair keeps a busy pair from holding up another."""
    found: list[Queue] = []
    for index, trip in enumerate(lab.round_trips):
        one, other = lab.networks[trip.one].subnet, lab.networks[trip.other].subnet
        delay = trip.milliseconds / 2000
        found.append(Queue(FIRST_QUEUE + index, one, other, delay))
        found.append(Queue(FIRST_QUEUE + index, other, one, delay))
    return tuple(found)


# Where each of our chains is called from: table, chain of the kernel's or Docker's, ours.
JUMPS = (
    ("filter", "DOCKER-USER", "PAAS-LAB"),
    ("filter", "OUTPUT", "PAAS-LAB-OUT"),
    ("nat", "POSTROUTING", "PAAS-LAB-NAT"),
)
# Docker 28 and later drops in `raw` what comes to a container from another bridge; ours are let past.
RAW_JUMP = ("raw", "PREROUTING", "PAAS-LAB-RAW")


def restore(lab: Lab, with_raw: bool = False) -> str:
    """Input for `iptables-restore --noflush`: replaces the content of our chains at once, touches no other."""
    lines = ["*filter", ":PAAS-LAB - [0:0]", ":PAAS-LAB-OUT - [0:0]"]
    lines.append("-A PAAS-LAB -j PAAS-LAB-CUT")
    lines += [
        f"-A PAAS-LAB -s {q.source} -d {q.destination} -j NFQUEUE --queue-num {q.number} --queue-bypass" for q in queues(lab)
    ]
    lines += [
        f"-A PAAS-LAB -i {BRIDGES} -o {BRIDGES} -j ACCEPT",
        f"-A PAAS-LAB -d {lab.range} -o {BRIDGES} -j RETURN",
        # Other Docker networks of this machine that somebody made within the range.
        f"-A PAAS-LAB -d {lab.range} -o br-+ -j RETURN",
        f"-A PAAS-LAB -d {lab.range} -j DROP",
        # A dead host is silent: no "host unreachable" from this machine in its place.
        f"-A PAAS-LAB-OUT -d {lab.range} -o {BRIDGES} -p icmp --icmp-type host-unreachable -j DROP",
        f"-A PAAS-LAB-OUT -d {lab.range} -o {BRIDGES} -j RETURN",
        f"-A PAAS-LAB-OUT -d {lab.range} -o br-+ -j RETURN",
        f"-A PAAS-LAB-OUT -d {lab.range} -o lo -j RETURN",
        f"-A PAAS-LAB-OUT -d {lab.range} -j DROP",
        "COMMIT",
        "*nat",
        ":PAAS-LAB-NAT - [0:0]",
    ]
    lines += [f"-A PAAS-LAB-NAT -s {n.subnet} ! -d {lab.range} -j MASQUERADE" for n in lab.networks.values()]
    lines.append("COMMIT")
    if with_raw:
        lines += ["*raw", ":PAAS-LAB-RAW - [0:0]", f"-A PAAS-LAB-RAW -i {BRIDGES} -d {lab.range} -j ACCEPT", "COMMIT"]
    return "\n".join(lines) + "\n"


def cut(lab: Lab, regions: list[str]) -> str:
    """The chain that drops everything between these regions and the rest of the lab; none: an empty chain.

    A region's client machines stay connected: they stand for people, who are not in the data centre.
    """
    lines = ["*filter", ":PAAS-LAB-CUT - [0:0]"]
    for region in regions:
        for machine in lab.in_region(region):
            if machine.is_client:
                lines.append(f"-A PAAS-LAB-CUT -s {machine.address}/32 ! -d {lab.networks[region].subnet} -j RETURN")
                lines.append(f"-A PAAS-LAB-CUT -d {machine.address}/32 ! -s {lab.networks[region].subnet} -j RETURN")
    for region in regions:
        subnet = lab.networks[region].subnet
        lines.append(f"-A PAAS-LAB-CUT -s {subnet} -j DROP")
        lines.append(f"-A PAAS-LAB-CUT -d {subnet} -j DROP")
    return "\n".join([*lines, "COMMIT"]) + "\n"
