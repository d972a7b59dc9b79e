# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Round-trip times by TCP handshakes: no privilege, no package, and where users come in, firewalls let them through."""

from __future__ import annotations

import ipaddress
import socket
import time
from concurrent.futures import ThreadPoolExecutor

# The shortest counts: what is longer had to wait somewhere, and a lost packet costs a second.
HANDSHAKES = 3


def handshake(address, port, timeout):
    """Milliseconds until the other side answered, be it by a refusal; None when it did not within `timeout` seconds."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        began = time.perf_counter()
        try:
            connection.connect((address, port))
        except ConnectionRefusedError:
            pass
        except OSError:
            return None
        return (time.perf_counter() - began) * 1000


def round_trip_time(address, port, timeout):
    """The shortest of some handshakes, or None; who does not answer is not asked again."""
    shortest = None
    for _again in range(HANDSHAKES):
        taken = handshake(address, port, timeout)
        if taken is None:
            break
        shortest = taken if shortest is None else min(shortest, taken)
    return shortest


def round_trip_times(targets, port, timeout):
    """From name to milliseconds or None; all targets at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(targets))) as pool:
        taken = pool.map(lambda address: round_trip_time(address, port, timeout), targets.values())
        return {name: None if ms is None else round(ms, 1) for name, ms in zip(targets, taken)}
