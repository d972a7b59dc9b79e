# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is under way on a long line."""

from __future__ import annotations

import re
from fractions import Fraction

from ansible.errors import AnsibleFilterError

DOCUMENTATION = r"""
name: bandwidth_delay_product
short_description: How much is under way on a long line
version_added: 0.1.0
author:
  - multiregion.paas contributors (@multiregion)
description:
  - Multiplies a bandwidth with a round-trip time. A TCP connection needs a window of that size to fill the line.
  - With O(window) it also says how fast a connection with a smaller window can be, which is what a nearer end, such as a CDN's, gains on.
positional: _input
options:
  _input:
    description: The bandwidth, as a number of bits per second or with a unit, such as V(1 Gbit/s), V(100Mbps) or V(12.5 MB/s).
    type: raw
    required: true
  rtt:
    description: The round-trip time, as a number of milliseconds or with a unit, such as V(75 ms), V(0.2s) or V(800us).
    type: raw
    required: true
  window:
    description: A window in bytes.
    type: int
"""

EXAMPLES = r"""
- name: Size TCP's buffers for the longest line
  ansible.posix.sysctl:
    name: net.ipv4.tcp_rmem
    value: "4096 131072 {{ product.buffer }}"
  vars:
    product: "{{ '1 Gbit/s' | multiregion.paas.bandwidth_delay_product('200 ms') }}"

- name: Tell what the far users get through a window of 64 KiB
  ansible.builtin.debug:
    msg: "{{ ('100 Mbit/s' | multiregion.paas.bandwidth_delay_product(250, window=65536)).throughput }} bits per second"
"""

RETURN = r"""
_value:
  description: The product, rounded up.
  type: dict
  contains:
    bits:
      description: Bits that are under way.
      type: int
    bytes:
      description: The same in bytes.
      type: int
    buffer:
      description: A buffer in bytes that holds it twice, as Linux uses a part of it for itself, and is a power of two.
      type: int
    throughput:
      description: Bits per second that a connection with O(window) reaches at most. Only with O(window).
      type: int
  sample: {bits: 200000000, bytes: 25000000, buffer: 67108864}
"""

_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-zµ/]*)\s*")
_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BANDWIDTH = re.compile(r"([kmgt]?)(b|bit|bits|B|byte|bytes)(?:/s|ps)?", re.IGNORECASE)
_TIMES = {"": Fraction(1, 1000), "ms": Fraction(1, 1000), "s": Fraction(1), "us": Fraction(1, 10**6), "µs": Fraction(1, 10**6)}


def _split(value, what: str) -> tuple[Fraction, str]:
    match = None if isinstance(value, bool) else _QUANTITY.fullmatch(str(value))
    if not match:
        raise AnsibleFilterError(f"bandwidth_delay_product: {value!r} is not a {what}")
    return Fraction(match.group(1)), match.group(2)


def _bits_per_second(value) -> Fraction:
    number, unit = _split(value, "bandwidth, such as 100 Mbit/s")
    if not unit:
        return number
    match = _BANDWIDTH.fullmatch(unit)
    if not match:
        raise AnsibleFilterError(f"bandwidth_delay_product: {value!r} is not a bandwidth, such as 100 Mbit/s")
    # A single letter tells bits from bytes by its case: Mb/s and MB/s.
    size = 8 if match.group(2) == "B" or match.group(2).lower().startswith("byte") else 1
    return number * _PREFIXES[match.group(1).lower()] * size


def _seconds(value) -> Fraction:
    number, unit = _split(value, "round-trip time, such as 75 ms")
    if unit not in _TIMES:
        raise AnsibleFilterError(f"bandwidth_delay_product: {value!r} is not a round-trip time, such as 75 ms")
    return number * _TIMES[unit]


def bandwidth_delay_product(bandwidth, rtt, window: int | None = None) -> dict[str, int]:
    seconds = _seconds(rtt)
    rate = _bits_per_second(bandwidth)
    bits = -(-(rate * seconds) // 1)
    size = -(-bits // 8)
    result = {"bits": int(bits), "bytes": int(size), "buffer": 1 << max(12, (2 * int(size) - 1).bit_length())}
    if window is not None:
        if isinstance(window, bool) or not isinstance(window, int) or window <= 0:
            raise AnsibleFilterError(f"bandwidth_delay_product: the window {window!r} is not a number of bytes")
        result["throughput"] = int(min(rate, window * 8 / seconds)) if seconds else int(rate)
    return result


class FilterModule:
    def filters(self) -> dict:
        return {"bandwidth_delay_product": bandwidth_delay_product}
