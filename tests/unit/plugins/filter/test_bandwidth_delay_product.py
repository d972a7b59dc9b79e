# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.multiregion.paas.plugins.filter.bandwidth_delay_product import bandwidth_delay_product


@pytest.mark.parametrize(
    ("bandwidth", "rtt", "bits"),
    [
        ("1 Gbit/s", "200 ms", 200_000_000),
        (1_000_000_000, 200, 200_000_000),
        ("100Mbps", "0.2s", 20_000_000),
        ("100 Mb/s", 75, 7_500_000),
        ("12.5 MB/s", "75ms", 7_500_000),
        ("1 Kbit/s", "800us", 1),
        (0, 10, 0),
        ("10 Gbit/s", "0.1 ms", 1_000_000),
    ],
)
def test_bits(bandwidth, rtt, bits):
    result = bandwidth_delay_product(bandwidth, rtt)
    assert result["bits"] == bits
    assert result["bytes"] == -(-bits // 8)
    assert result["buffer"] >= 2 * result["bytes"]
    assert result["buffer"] & (result["buffer"] - 1) == 0


def test_what_a_window_lets_through():
    assert bandwidth_delay_product("100 Mbit/s", 250, window=65536)["throughput"] == 2_097_152
    assert bandwidth_delay_product("100 Mbit/s", 1, window=65536)["throughput"] == 100_000_000
    assert "throughput" not in bandwidth_delay_product("100 Mbit/s", 1)


@pytest.mark.parametrize(("bandwidth", "rtt"), [("fast", 1), ("1 Mparsec", 1), (True, 1), (1, "long"), (1, "1 h"), (-1, 1), (None, 1)])
def test_bad_input(bandwidth, rtt):
    with pytest.raises(AnsibleFilterError, match="bandwidth_delay_product: "):
        bandwidth_delay_product(bandwidth, rtt)


def test_bad_window():
    with pytest.raises(AnsibleFilterError, match="window"):
        bandwidth_delay_product(1, 1, window=0)
