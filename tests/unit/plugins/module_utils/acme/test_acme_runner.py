# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import signal
from types import SimpleNamespace

import pytest
from ansible_collections.multiregion.paas.plugins.module_utils._acme import crypto, journal
from ansible_collections.multiregion.paas.plugins.module_utils._acme.bundle import Ownership, Store, encode_state
from ansible_collections.multiregion.paas.plugins.module_utils._acme.errors import AcmeError, CaError, DnsError, InputError, Stopped
from ansible_collections.multiregion.paas.plugins.module_utils._acme.plan import Desired, Plan, Window
from ansible_collections.multiregion.paas.plugins.module_utils._acme.resolve import Record
from ansible_collections.multiregion.paas.plugins.module_utils._acme.runner import Runner, load_account_key, read_current
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

DIRECTORY = "https://ca.test/dir"
OPTIONS = {
    "order_timeout": 5, "propagation_timeout": 5, "email": None, "terms_agreed": True, "external_account_binding": None, "new_key": True,
    "dns_provider": "rfc2136",
}  # fmt: skip
LEFT = {"a.test": {"_acme-challenge.a.test": ["v"]}}


class Provider:
    name = "rfc2136"

    def __init__(self):
        self.removed, self.refuses = [], ()

    def add(self, zone, sets, timeout, stopped):
        """In force at once."""

    def wait(self, changes, timeout):
        """Nothing to wait for."""

    def remove(self, zone, sets, timeout):
        if zone in self.refuses:
            raise DnsError("%s is refused" % zone)
        self.removed.append((zone, sets))


def runner(tmp_path, ca=None, warn=pytest.fail, check_mode=False, **options):
    store, provider = Store(str(tmp_path / "www"), Ownership()), Provider()
    desired = Desired(names=("a.test",), directory=DIRECTORY, key_type="ec256", renew_days=1)
    view = SimpleNamespace(wait=lambda *given: None, look=lambda records: {})
    ca = ca or SimpleNamespace(network=SimpleNamespace(requests=0))
    return Runner(store, desired, ca, lambda: provider, lambda: view, dict(OPTIONS, **options), warn, check_mode), provider


def owed(one):
    return journal.read(one.store.read_json("journal.json"))


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
    one.store.write_json("journal.json", {"provider": "rfc2136", "zones": LEFT})
    result = one.present()
    assert result["changed"] and result["reasons"] == ["left: TXT values of a run that was killed"]
    assert provider.removed == list(LEFT.items())
    assert not one.present()["changed"]


def test_the_values_of_a_run_at_work_are_not_those_of_a_killed_one(tmp_path, monkeypatch):
    one, provider = runner(tmp_path)
    put(one.store)
    one.store.write_json("journal.json", {"provider": "rfc2136", "zones": LEFT})

    @contextlib.contextmanager
    def lock(timeout):
        # The other run ends, and only then have we the lock.
        one.store.write_json("journal.json", {})
        yield

    monkeypatch.setattr(one.store, "lock", lock)
    result = one.present()
    assert not result["changed"] and result["reasons"] == [] and provider.removed == []


def failing():
    """A CA that gives an order and does not validate it."""

    def fail():
        raise CaError("no")

    return SimpleNamespace(
        network=SimpleNamespace(requests=0), register=lambda *given: True, order=lambda *given: [("a.test", "new")], validate=fail,
        resume=lambda: None, abandon=lambda: None,
    )  # fmt: skip


def issue(one, provider, ca):
    one.store._make_folders()
    located = {"_acme-challenge.a.test": Record("_acme-challenge.a.test", "_acme-challenge.a.test", "a.test")}
    one._issue_with(None, Plan(("missing: x",)), provider, located, ca, SimpleNamespace(ignore=lambda: None))


def test_a_signal_in_the_moment_of_a_failure_does_not_keep_the_values(tmp_path):
    ca = failing()
    one, provider = runner(tmp_path, ca)
    one.store._make_folders()

    def ignore():
        raise Stopped(signal.SIGTERM.name)

    located = {"_acme-challenge.a.test": Record("_acme-challenge.a.test", "_acme-challenge.a.test", "a.test")}
    with pytest.raises(Stopped):
        one._issue_with(None, Plan(("missing: x",)), provider, located, ca, SimpleNamespace(ignore=ignore))
    assert provider.removed == [("a.test", {"_acme-challenge.a.test": ["new"]})]
    assert one.store.read_json("journal.json") == {}


def test_what_could_not_be_removed_stays_owed_through_later_runs(tmp_path):
    told = []
    one, provider = runner(tmp_path, ca := failing(), told.append)
    put(one.store)
    one.store.write_json("journal.json", {"provider": "rfc2136", "zones": {**LEFT, "b.test": {"x.b.test": ["w"]}}})
    provider.refuses = ("a.test",)
    assert one.present()["changed"]  # of b.test
    assert owed(one) == {"rfc2136": LEFT} and "_acme-challenge.a.test by rfc2136: v" in told[-1]
    # Another run adds what it cannot remove either, and forgets nothing.
    with pytest.raises(CaError):
        issue(one, provider, ca)
    assert owed(one) == {"rfc2136": {"a.test": {"_acme-challenge.a.test": ["v", "new"]}}}
    assert "new" in one.told_of_the_dns() and "taken back" not in one.told_of_the_dns()
    # One that can takes away its own values only.
    provider.refuses = ()
    with pytest.raises(CaError):
        issue(one, provider, ca)
    assert owed(one) == {"rfc2136": LEFT}
    assert one.present()["changed"] and owed(one) == {}


def test_a_run_that_cleaned_up_says_so(tmp_path):
    one, provider = runner(tmp_path, ca := failing())
    with pytest.raises(CaError):
        issue(one, provider, ca)
    assert one.told_of_the_dns() == "what was begun in the DNS was taken back" and not (tmp_path / ".www.versions" / "journal.json").exists()


@pytest.mark.parametrize("debtor, refuses", [("rfc2136", ("a.test",)), ("route53", ())])
def test_a_debt_that_cannot_be_paid_is_told_and_no_change(tmp_path, debtor, refuses):
    told = []
    one, provider = runner(tmp_path, warn=told.append)
    put(one.store)
    one.store.write_json("journal.json", journal.write({debtor: LEFT}))
    provider.refuses = refuses
    for count in (1, 2):
        result = one.present()
        assert not result["changed"] and result["reasons"] == [] and len(told) == count
    assert owed(one) == {debtor: LEFT}
    one.check_mode = True
    assert one.present()["changed"] is (debtor == "rfc2136")


@pytest.mark.parametrize(
    "options, refuses", [({"dns_provider": None}, ()), ({"dns_provider": "route53"}, ()), ({}, ("a.test",))], ids=["none", "another", "refuses"]
)
def test_absent_does_not_forget_what_is_left_in_the_dns(tmp_path, options, refuses):
    told = []
    one, provider = runner(tmp_path, warn=told.append, **options)
    put(one.store)
    one.store.write_json("journal.json", journal.write({"rfc2136": LEFT}))
    provider.refuses = refuses
    one.check_mode = not refuses
    with pytest.raises(AcmeError, match="_acme-challenge.a.test by rfc2136: v"):
        one.absent()
    one.check_mode = False
    with pytest.raises(AcmeError, match="_acme-challenge.a.test by rfc2136: v"):
        one.absent()
    assert owed(one) == {"rfc2136": LEFT} and read_current(one.store) is not None


def test_absent_removes_what_is_left_in_the_dns_first(tmp_path):
    one, provider = runner(tmp_path)
    put(one.store)
    one.store.write_json("journal.json", journal.write({"rfc2136": LEFT}))
    assert one.absent()["changed"] and not one.store.exists()
    assert provider.removed == list(LEFT.items())


def test_a_number_of_days_beyond_the_life_is_told(tmp_path):
    told = []
    one, _provider = runner(tmp_path, warn=told.append)
    put(one.store)
    one.desired = dataclasses.replace(one.desired, renew_days=3650)
    assert not one.present()["changed"]
    assert len(told) == 1 and "renew is 3650 days" in told[0]


NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
WINDOW = Window(start=NOW + HOUR, end=NOW + 2 * HOUR, ask_again=NOW - HOUR, url="https://ca.test/ari")


def refuse(**details):
    def renewal_window(*given, timeout):
        raise CaError("The CA is away", **details)

    return renewal_window


@pytest.mark.parametrize(
    "answer, hours",
    [(lambda *given, timeout: None, 6), (refuse(), 6), (refuse(retry_after=7200), 2), (refuse(retry_after=10**9), 24)],
    ids=["no ARI", "failure", "failure with a time", "failure with a time beyond reason"],
)
@pytest.mark.parametrize("former", [None, WINDOW], ids=["first", "again"])
def test_a_ca_without_an_answer_is_not_asked_at_every_run(tmp_path, monkeypatch, answer, hours, former):
    asked = []

    def renewal_window(*given, timeout):
        asked.append(timeout)
        return answer(*given, timeout=timeout)

    one, _provider = runner(tmp_path, SimpleNamespace(network=SimpleNamespace(requests=0), renewal_window=renewal_window), lambda text: None)
    one.desired = dataclasses.replace(one.desired, renew_days=None)
    real = crypto.describe
    monkeypatch.setattr(crypto, "describe", lambda certificate: dict(real(certificate), cert_id="aki.serial"))
    put(one.store)
    if former:
        times = {name: getattr(former, name).isoformat() for name in ("start", "end", "ask_again")}
        one.store.write_json("renewal.json", dict(times, cert_id="aki.serial", url=former.url))
    one.now = lambda: NOW
    for _unused in range(3):
        assert not one.present()["changed"]
    assert len(asked) == 1
    one.now = lambda: NOW + hours * HOUR - datetime.timedelta(seconds=1)
    one._decide()
    assert len(asked) == 1
    one.now = lambda: NOW + hours * HOUR
    one._decide()
    assert len(asked) == 2


def test_a_failed_question_keeps_the_window_that_is_known(tmp_path, monkeypatch):
    one, _provider = runner(tmp_path, SimpleNamespace(network=SimpleNamespace(requests=0), renewal_window=refuse()), lambda text: None)
    put(one.store)
    current = dataclasses.replace(read_current(one.store), cert_id="aki.serial", window=WINDOW)
    kept = one._ask_ari(current, NOW).window
    assert (kept.start, kept.end, kept.url, kept.ask_again) == (WINDOW.start, WINDOW.end, WINDOW.url, NOW + 6 * HOUR)


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_revocation_shows_what_it_changes(tmp_path, check_mode):
    ca = SimpleNamespace(network=SimpleNamespace(requests=0), use_key=lambda pem, path: None, revoke=lambda certificate, reason: True)
    one, _provider = runner(tmp_path, ca, check_mode=check_mode)
    put(one.store)
    result, diff = one.run("revoked", "superseded")
    assert result["changed"] and read_current(one.store).revoked is not check_mode
    assert "revoked: False" in diff["before"] and diff["after"] == diff["before"].replace("revoked: False", "revoked: True")


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_revocation_that_lacks_the_accounts_key_fails_in_check_mode_too(tmp_path, check_mode):
    path = str(tmp_path / "account.pem")
    ca = SimpleNamespace(network=SimpleNamespace(requests=0), use_key=lambda pem, path: None)
    one, _provider = runner(tmp_path, ca, check_mode=check_mode, account_key=lambda create: load_account_key(path, create))
    put(one.store)
    os.unlink(os.path.join(one.store.dest, "privkey.pem"))
    with pytest.raises(InputError, match="account.pem does not exist"):
        one.revoked(0)
