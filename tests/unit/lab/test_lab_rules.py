# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
sys.path.insert(0, str(LAB))

from paaslab import model, rules


@pytest.fixture(name="lab", scope="module")
def _lab():
    return model.load(LAB / "lab.yml")


def lines(text):
    return text.splitlines()


def test_each_direction_waits_for_half_the_round_trip(lab):
    found = {(q.source, q.destination): q.delay for q in rules.queues(lab)}
    assert found["198.18.1.0/24", "198.18.2.0/24"] == found["198.18.2.0/24", "198.18.1.0/24"] == 0.0375
    assert found["198.18.2.0/24", "198.18.3.0/24"] == 0.1275


def test_a_queue_number_has_one_delay(lab):
    delays = {}
    for queue in rules.queues(lab):
        assert delays.setdefault(queue.number, queue.delay) == queue.delay


def test_a_dead_shaper_does_not_cut_the_lab(lab):
    queued = [line for line in lines(rules.restore(lab)) if "NFQUEUE" in line]
    assert len(queued) == 2 * len(lab.round_trips)
    assert all(line.endswith("--queue-bypass") for line in queued)


def test_cut_comes_before_latency_and_latency_before_accept(lab):
    found = [line for line in lines(rules.restore(lab)) if line.startswith("-A PAAS-LAB ")]
    assert found[0] == "-A PAAS-LAB -j PAAS-LAB-CUT"
    kinds = [line.split(" -j ")[1].split()[0] for line in found]
    assert kinds.index("ACCEPT") > max(i for i, kind in enumerate(kinds) if kind == "NFQUEUE")
    assert kinds[-1] == "DROP"


def test_what_leaves_for_an_address_that_nobody_has_is_dropped(lab):
    text = lines(rules.restore(lab))
    assert "-A PAAS-LAB -d 198.18.0.0/15 -j DROP" in text
    assert "-A PAAS-LAB-OUT -d 198.18.0.0/15 -j DROP" in text


def test_only_traffic_that_leaves_the_lab_is_translated(lab):
    nat = [line for line in lines(rules.restore(lab)) if "MASQUERADE" in line]
    assert len(nat) == len(lab.networks)
    assert all("! -d 198.18.0.0/15" in line for line in nat)


def test_raw_rules_only_where_docker_has_them(lab):
    assert "*raw" not in rules.restore(lab)
    assert "-A PAAS-LAB-RAW -i paaslab+ -d 198.18.0.0/15 -j ACCEPT" in rules.restore(lab, with_raw=True)


def test_cut_drops_a_region_but_not_its_users(lab):
    text = lines(rules.cut(lab, ["eu-west-1"]))
    assert text.index("-A PAAS-LAB-CUT -s 198.18.2.101/32 ! -d 198.18.2.0/24 -j RETURN") < text.index(
        "-A PAAS-LAB-CUT -s 198.18.2.0/24 -j DROP"
    )
    assert "-A PAAS-LAB-CUT -d 198.18.2.0/24 -j DROP" in text
    assert not any("198.18.1." in line for line in text)


def test_a_cut_region_cannot_reach_the_users_of_another_cut_region(lab):
    text = lines(rules.cut(lab, ["eu-west-1", "us-east-1"]))
    # The users' own packets pass; what the servers answer does not, as it comes from a region that is cut.
    assert text.index("-A PAAS-LAB-CUT -s 198.18.2.0/24 -j DROP") > text.index(
        "-A PAAS-LAB-CUT -s 198.18.2.101/32 ! -d 198.18.2.0/24 -j RETURN"
    )


def test_healing_empties_the_chain(lab):
    assert rules.cut(lab, []) == "*filter\n:PAAS-LAB-CUT - [0:0]\nCOMMIT\n"


def test_cutting_an_unknown_region_is_refused(lab):
    with pytest.raises(model.LabError, match="no region of the lab"):
        rules.cut(lab, ["eu-north-1"])
