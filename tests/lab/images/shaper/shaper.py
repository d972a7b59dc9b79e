# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the traffic between the lab's regions its latency.

Runs in a container with the host's network. /etc/paas-lab/shaper.json, put there by lab.py, holds the rules as text for
iptables-restore, the jumps to our chains, and the queues with their delays in seconds:

    shaper serve      put the rules in place and hold every queued packet for its queue's delay, until a signal
    shaper apply      only put the rules in place
    shaper restore    feed standard input to iptables-restore
    shaper remove     take the rules away
"""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
from collections import deque

SETTINGS = "/etc/paas-lab/shaper.json"


def variant() -> str:
    """The iptables (nft or legacy) that Docker itself uses: the one that knows DOCKER-USER."""
    for name in ("iptables-nft", "iptables-legacy"):
        if subprocess.run([name, "-w", "-S", "DOCKER-USER"], capture_output=True, check=False).returncode == 0:
            return name
    sys.exit("Docker's chain DOCKER-USER is missing: Docker runs without its packet filter rules, which the lab needs.")


def iptables(name: str, *arguments: str) -> bool:
    return subprocess.run([name, "-w", *arguments], capture_output=True, check=False).returncode == 0


def restore(name: str, text: str) -> None:
    done = subprocess.run(
        [f"{name}-restore", "-w", "--noflush"], input=text, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{name}-restore refused the lab's rules: {done.stderr.strip()}")


def apply(settings: dict, name: str) -> None:
    iptables(name, "-N", "PAAS-LAB-CUT")
    restore(name, settings["restore"])
    for table, parent, chain in settings["jumps"]:
        while iptables(name, "-t", table, "-D", parent, "-j", chain):
            pass
        if not iptables(name, "-t", table, "-I", parent, "-j", chain):
            sys.exit(f"{name} cannot call {chain} from {parent}")


def remove(settings: dict, name: str) -> None:
    for table, parent, chain in settings["jumps"]:
        while iptables(name, "-t", table, "-D", parent, "-j", chain):
            pass
        iptables(name, "-t", table, "-F", chain)
        iptables(name, "-t", table, "-X", chain)
    iptables(name, "-F", "PAAS-LAB-CUT")
    iptables(name, "-X", "PAAS-LAB-CUT")


class Line:
    """One queue: packets leave in the order in which they came, each after the same delay."""

    def __init__(self, number: int, delay: float, netfilter) -> None:
        self.delay = delay
        self.waiting: deque = deque()
        self.queue = netfilter.NetfilterQueue()
        # Only the packet's description comes up here, never its content.
        self.queue.bind(number, self.hold, max_len=65536, mode=netfilter.COPY_META, sock_len=8 * 1024 * 1024)
        self.descriptor = self.queue.get_fd()

    def hold(self, packet) -> None:
        self.waiting.append((time.monotonic() + self.delay, packet))

    def release(self, now: float) -> float | None:
        """Let go what is due; return when the next is."""
        waiting = self.waiting
        while waiting:
            if waiting[0][0] > now:
                return waiting[0][0]
            waiting.popleft()[1].accept()
        return None


def serve(settings: dict) -> None:
    import netfilterqueue

    running = [True]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_unused: running.clear())
    lines = {}
    poll = select.epoll()
    for number, delay in sorted({(q["number"], q["delay"]) for q in settings["queues"]}):
        line = Line(number, delay, netfilterqueue)
        lines[line.descriptor] = line
        poll.register(line.descriptor, select.EPOLLIN)
    print(f"holding packets of {len(lines)} queues", flush=True)
    timeout = None
    while running:
        try:
            ready = poll.poll(timeout)
        except InterruptedError:
            continue
        for descriptor, _event in ready:
            lines[descriptor].queue.run(block=False)
        now = time.monotonic()
        due = [d for d in (line.release(now) for line in lines.values()) if d is not None]
        # epoll rounds up to whole milliseconds, which also gathers packets and saves wake-ups.
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
    for line in lines.values():
        while line.waiting:
            line.waiting.popleft()[1].accept()
        line.queue.unbind()


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "serve"
    with open(SETTINGS, encoding="utf-8") as file:
        settings = json.load(file)
    name = variant()
    if what == "serve":
        apply(settings, name)
        serve(settings)
    elif what == "apply":
        apply(settings, name)
    elif what == "restore":
        restore(name, sys.stdin.read())
    elif what == "remove":
        remove(settings, name)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
