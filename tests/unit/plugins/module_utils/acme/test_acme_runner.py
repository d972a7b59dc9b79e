# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import datetime
import signal
from types import SimpleNamespace

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme import crypto
from ansible_collections.multiregion.paas.plugins.module_utils._acme.bundle import Ownership, Store, encode_state
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import CaError, Stopped
from ansible_collections.multiregion.paas.plugins.module_utils._acme.plan import Desired, Plan
from ansible_collections.multiregion.paas.plugins.module_utils._acme.resolve import Record
from ansible_collections.multiregion.paas.plugins.module_utils._acme.runner import Runner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

DIRECTORY = "https://ca.test/dir"
OPTIONS = {"order_timeout": 5, "propagation_timeout": 5, "email": None, "terms_agreed": True, "external_account_binding": None, "new_key": True}


class Provider:
    name = "rfc2136"

    def __init__(self):
        self.removed = []

    def add(self, zone, sets):
        """In force at once."""

    def wait(self, changes, timeout):
        """Nothing to wait for."""

    def remove(self, zone, sets):
        self.removed.append((zone, sets))


def runner(tmp_path, ca=None):
    store, provider = Store(str(tmp_path / "www"), Ownership()), Provider()
    desired = Desired(names=("a.test",), directory=DIRECTORY, key_type="ec256", renew_days=1)
    view = SimpleNamespace(wait=lambda *given: None, look=lambda records: {})
    ca = ca or SimpleNamespace(network=SimpleNamespace(requests=0))
    return Runner(store, desired, ca, lambda: provider, lambda: view, OPTIONS, pytest.fail), provider


def put(store):
    key, now = crypto.generate_key("ec256"), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=9))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("a.test")]), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    files = {"cert.pem": pem, "chain.pem": b"", "fullchain.pem": pem, "privkey.pem": crypto.key_pem(key), "state.json": encode_state({"directory": DIRECTORY})}
    store.switch(files, "07")


def test_what_a_killed_run_left_goes_and_is_a_change(tmp_path):
    one, provider = runner(tmp_path)
    put(one.store)
    assert not one.present()["changed"]
    zones = {"a.test": {"_acme-challenge.a.test": ["v"]}}
    one.store.write_json("journal.json", {"provider": "rfc2136", "zones": zones})
    result = one.present()
    assert result["changed"] and result["reasons"] == ["left: TXT values of a run that was killed"]
    assert provider.removed == list(zones.items())
    assert not one.present()["changed"]


def test_the_values_of_a_run_at_work_are_not_those_of_a_killed_one(tmp_path, monkeypatch):
    one, provider = runner(tmp_path)
    put(one.store)
    one.store.write_json("journal.json", {"provider": "rfc2136", "zones": {"a.test": {"_acme-challenge.a.test": ["v"]}}})

    @contextlib.contextmanager
    def lock(timeout):
        # The other run ends, and only then have we the lock.
        one.store.write_json("journal.json", {})
        yield

    monkeypatch.setattr(one.store, "lock", lock)
    result = one.present()
    assert not result["changed"] and result["reasons"] == [] and provider.removed == []


def test_a_signal_in_the_moment_of_a_failure_does_not_keep_the_values(tmp_path):
    def fail():
        raise CaError("no")

    ca = SimpleNamespace(
        network=SimpleNamespace(requests=0), register=lambda *given: True, order=lambda *given: [("a.test", "v")], validate=fail,
        resume=lambda: None, abandon=lambda: None,
    )  # fmt: skip
    one, provider = runner(tmp_path, ca)
    one.store._make_folders()

    def ignore():
        raise Stopped(signal.SIGTERM.name)

    located = {"_acme-challenge.a.test": Record("_acme-challenge.a.test", "_acme-challenge.a.test", "a.test")}
    with pytest.raises(Stopped):
        one._issue_with(None, Plan(("missing: x",)), provider, located, ca, SimpleNamespace(ignore=ignore))
    assert provider.removed == [("a.test", {"_acme-challenge.a.test": ["v"]})]
    assert one.store.read_json("journal.json") == {}
