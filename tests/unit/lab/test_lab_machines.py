# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

LAB = Path(__file__).resolve().parents[2] / "lab"
sys.path.insert(0, str(LAB))

from paaslab import docker, machines, model


@pytest.fixture(name="lab")
def _lab():
    return model.load(LAB / "lab.yml")


@pytest.fixture(name="engine")
def _engine(monkeypatch, tmp_path):
    """A Docker that answers from a script and remembers what it was asked."""
    monkeypatch.setenv("PAAS_LAB_STATE", str(tmp_path))
    engine = types.SimpleNamespace(asked=[], answers={}, inspected={})

    def run(arguments, check=True, input=None, timeout=None):
        engine.asked.append(arguments)
        code, out = engine.answers.get(arguments[0], (0, ""))
        return subprocess.CompletedProcess(arguments, code, out, "")

    monkeypatch.setattr(docker, "run", run)
    monkeypatch.setattr(docker, "inspect", lambda kind, names: {n: engine.inspected[n] for n in names if n in engine.inspected})
    monkeypatch.setattr(docker, "image_id", lambda tag: f"id of {tag}")
    monkeypatch.setattr(machines, "end_connections", lambda machine: None)
    return engine


def arguments_of(lab, name):
    machine = lab.machines[name]
    return machines.create_arguments(lab, machine, lab.images[machine.image].tag)


def test_no_machine_is_privileged(lab):
    for name in lab.machines:
        assert "--privileged" not in arguments_of(lab, name)
        assert "SYS_RESOURCE" not in arguments_of(lab, name)


def test_only_dokku_hosts_may_run_an_engine(lab):
    dokku, other = arguments_of(lab, "dokku-1"), arguments_of(lab, "valkey-1")
    assert "systempaths=unconfined" in dokku
    assert "paas-lab-dokku-1-docker:/var/lib/docker" in dokku
    assert [a for a, before in zip(other[1:], other, strict=False) if before == "--cap-add"] == ["SYS_ADMIN", "NET_ADMIN"]


def test_clients_ask_their_own_resolver_and_machines_the_labs(lab):
    assert "PAAS_LAB_RESOLVER=127.0.0.1" in arguments_of(lab, "eu-west-1-client")
    assert "PAAS_LAB_RESOLVER=198.18.0.10" in arguments_of(lab, "eu-west-1-pg-1")


def container_of(lab, name, **state):
    arguments = arguments_of(lab, name)
    return {
        "Config": {"Labels": {machines.SPEC: machines.spec_digest(arguments)}},
        "Image": f"id of {lab.images[lab.machines[name].image].tag}",
        "State": {"Status": "running", "Running": True, "Paused": False, **state},
    }


@pytest.mark.parametrize(
    ("state", "commands"),
    [
        ({}, []),
        ({"Status": "exited", "Running": False}, ["start"]),
        ({"Status": "paused", "Paused": True}, ["unpause"]),
        ({"Status": "created", "Running": False}, ["rm", "create", "cp", "start"]),
        ({"Status": "dead", "Running": False}, ["rm", "create", "cp", "start"]),
        (None, ["create", "cp", "start"]),
    ],
)
def test_up_does_only_what_is_missing(lab, engine, state, commands):
    machine = lab.machines["valkey-1"]
    machines.ensure_keys(lab, [machine])
    found = None if state is None else container_of(lab, "valkey-1", **state)
    machines._ensure_machine(lab, machine, found, lambda text: None)
    assert [asked[0] for asked in engine.asked] == commands


def test_a_machine_that_is_not_as_declared_is_made_again(lab, engine):
    machine = lab.machines["valkey-1"]
    machines.ensure_keys(lab, [machine])
    found = container_of(lab, "valkey-1")
    found["Config"]["Labels"][machines.SPEC] = "other"
    said = []
    machines._ensure_machine(lab, machine, found, said.append)
    assert [asked[0] for asked in engine.asked] == ["rm", "create", "cp", "start"]
    assert said == ["valkey-1: not as lab.yml says; made again"]


def test_keys_survive_and_every_host_key_is_known(lab, engine, tmp_path):
    machines.ensure_keys(lab, [lab.machines["valkey-1"]])
    key = (tmp_path / "ssh" / "id_ed25519").read_text()
    machines.ensure_keys(lab, [lab.machines["nginx-1"]])
    assert (tmp_path / "ssh" / "id_ed25519").read_text() == key
    known = (tmp_path / "ssh" / "known_hosts").read_text().splitlines()
    assert [line.split()[0] for line in known] == ["198.18.16.21,nginx-1", "198.18.16.51,valkey-1"]
    assert "StrictHostKeyChecking yes" in (tmp_path / "ssh" / "config").read_text()


def network_of(lab, name):
    network = lab.networks[name]
    return {
        "IPAM": {"Config": [{"Subnet": network.subnet}]},
        "Options": {
            "com.docker.network.bridge.name": network.bridge,
            "com.docker.network.bridge.enable_ip_masquerade": "false",
        },
        "Containers": {"1": {"Name": "paas-lab-stale"}},
    }


def test_a_network_that_is_right_stays(lab, engine):
    engine.inspected["paas-lab-services"] = network_of(lab, "services")
    machines.ensure_networks(lab, ["services"], lambda text: None)
    assert engine.asked == []


def test_a_network_that_is_wrong_goes_with_what_uses_it(lab, engine):
    engine.inspected["paas-lab-services"] = network_of(lab, "scenarios")
    machines.ensure_networks(lab, ["services"], lambda text: None)
    assert [asked[:2] for asked in engine.asked] == [
        ["network", "disconnect"], ["rm", "-f"], ["network", "rm"], ["network", "create"],
    ]  # fmt: skip


def test_a_network_whose_addresses_are_taken_is_explained(lab, engine):
    engine.answers["network"] = (1, "")
    with pytest.raises(model.LabError, match="Another Docker network may use these addresses"):
        machines.ensure_networks(lab, ["services"], lambda text: None)


def test_the_dns_servers_world_is_the_labs(lab):
    import yaml

    world = yaml.safe_load(machines.dns_config(lab))
    assert world["regions"]["eu-west-1"] == "198.18.2.0/24"
    assert world["rtt_ms"]["us-east-1 eu-west-1"] == 75


@pytest.fixture(name="shaper", scope="module")
def _shaper():
    spec = importlib.util.spec_from_file_location("shaper", LAB / "images" / "shaper" / "shaper.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class FakeNetfilter:
    COPY_META = 1

    class NetfilterQueue:
        def bind(self, number, callback, **_options):
            self.callback = callback

        def get_fd(self):
            return 3


class Packet:
    accepted = False

    def accept(self):
        self.accepted = True


def test_the_shaper_holds_a_packet_for_its_delay(shaper, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(shaper.time, "monotonic", lambda: now[0])
    line = shaper.Line(1980, 0.05, FakeNetfilter)
    first, second = Packet(), Packet()
    line.hold(first)
    now[0] = 100.03
    line.hold(second)
    assert line.release(100.04) == pytest.approx(100.05)
    assert not first.accepted
    assert line.release(100.05) == pytest.approx(100.08)
    assert first.accepted
    assert not second.accepted
    assert line.release(100.09) is None
    assert second.accepted


def test_the_shapers_settings_are_complete(lab):
    settings = json.loads(machines.shaper_settings(lab, with_raw=True))
    assert ["raw", "PREROUTING", "PAAS-LAB-RAW"] in settings["jumps"]
    assert {q["number"] for q in settings["queues"]} == set(range(1980, 1980 + len(lab.round_trips)))
