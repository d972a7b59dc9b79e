# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real Pebble and a real knot: what it makes, leaves alone and cleans up."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import stat
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from dns.resolver import Resolver

import acme_servers
from acme_servers import ADDRESS, TSIG_NAME, TSIG_SECRET, finish, run, spawn, txt, update

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="needs Docker")


@pytest.fixture(scope="module")
def servers():
    started = acme_servers.Servers()
    try:
        yield started.start()
    finally:
        started.close()


@pytest.fixture
def base(servers, tmp_path):
    servers.ensure_pebble()
    return {
        "names": ["www.one.test"],
        "directory": "https://%s:14000/dir" % ADDRESS,
        "ca_certificates": servers.ca_file,
        "account_key_path": str(tmp_path / "account" / "key.pem"),
        "terms_agreed": True,
        "dest": str(tmp_path / "live" / "www"),
        "dns_provider": "rfc2136",
        "server": ADDRESS,
        "key_name": TSIG_NAME,
        "key_secret": TSIG_SECRET,
        "nameservers": [ADDRESS],
        "propagation_timeout": 15,
        "order_timeout": 60,
    }


def load(base, name="fullchain.pem"):
    with open(os.path.join(base["dest"], name), "rb") as handle:
        return x509.load_pem_x509_certificates(handle.read())


def matches(folder):
    with open(os.path.join(folder, "fullchain.pem"), "rb") as handle:
        certificate = x509.load_pem_x509_certificate(handle.read())
    with open(os.path.join(folder, "privkey.pem"), "rb") as handle:
        key = serialization.load_pem_private_key(handle.read(), None)
    return certificate.public_key() == key.public_key()


def names_of(certificate):
    return sorted(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName))


def tree(path):
    """Everything under a folder, to prove that nothing was changed."""
    return sorted((root, tuple(sorted(files))) for root, folders, files in os.walk(path))


def test_issues_one_certificate_for_names_in_two_zones_with_apex_and_wildcard(base, servers, tmp_path):
    base["names"] = ["one.test", "*.one.test", "a.b.one.test", "two.test"]
    result = run(base)
    assert result["changed"] and result["reasons"] == ["missing: there is no certificate yet"], result
    leaf, *others = load(base)
    assert names_of(leaf) == ["*.one.test", "a.b.one.test", "one.test", "two.test"]
    assert others and load(base, "chain.pem") == others and load(base, "cert.pem") == [leaf]
    assert matches(base["dest"])
    leaf.verify_directly_issued_by(others[0])
    assert int(result["serial"], 16) == leaf.serial_number
    assert sorted(result["names"]) == names_of(leaf)
    for name in ("one.test", "a.b.one.test", "two.test"):
        assert txt("_acme-challenge." + name) == []
    for phase in ("account", "order", "txt", "propagation", "validation", "finalize", "switch", "cleanup", "total"):
        assert phase in result["timings"]
    text = json.dumps(result)
    assert "PRIVATE KEY" not in text and TSIG_SECRET not in text


def test_second_run_is_a_no_op_without_the_dns_and_with_one_question_to_the_ca_at_most(base, servers):
    first = run(base)
    before = tree(os.path.dirname(base["dest"]))
    base["server"] = "198.18.202.250"  # nobody
    second = run(base)
    assert not second["changed"] and second["reasons"] == [] and second["serial"] == first["serial"]
    # The CA's advice was read when it was issued, and it said when to ask again.
    assert second["acme_requests"] == 0
    assert second["renew_at"] == first["renew_at"]
    assert run(base, check=True)["renew_at"] == first["renew_at"]
    assert tree(os.path.dirname(base["dest"])) == before
    assert second["diff"]["before"] == second["diff"]["after"]


def test_files_are_private_and_versioned(base, servers):
    run(dict(base, mode="0640", group="daemon"))
    link = base["dest"]
    assert os.path.islink(link)
    key = os.stat(os.path.join(link, "privkey.pem"))
    import grp

    assert stat.S_IMODE(key.st_mode) == 0o640 and key.st_gid == grp.getgrnam("daemon").gr_gid
    assert stat.S_IMODE(os.stat(os.path.join(link, "fullchain.pem")).st_mode) == 0o644
    assert stat.S_IMODE(os.stat(base["account_key_path"]).st_mode) == 0o600
    result = run(dict(base, mode="0600"))
    assert result["changed"] and result["reasons"][0].startswith("permissions:"), result
    assert stat.S_IMODE(os.stat(os.path.join(link, "privkey.pem")).st_mode) == 0o600
    assert not run(dict(base, mode="0600"))["changed"]
    for _unused in range(4):
        assert run(dict(base, force=True))["changed"]
    versions = os.path.join(os.path.dirname(link), ".www.versions")
    assert len([name for name in os.listdir(versions) if os.path.isdir(os.path.join(versions, name))]) == 3


def test_check_mode_says_why_and_changes_nothing_anywhere(base, servers, tmp_path):
    accounts = servers.pebble_log().count("new-account") + servers.pebble_log().count("There are now")
    result = run(base, check=True)
    assert result["changed"] and result["reasons"] == ["missing: there is no certificate yet"]
    assert list(tmp_path.iterdir()) == []
    assert servers.pebble_log().count("new-account") + servers.pebble_log().count("There are now") == accounts


def grow_old(base):
    """In place of the certificate one of the same names whose end is near; for that a CA would have to be waited for."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([])).public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now - datetime.timedelta(days=70)).not_valid_after(now + datetime.timedelta(days=20))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in base["names"]]), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for name, content in {"cert.pem": pem, "fullchain.pem": pem, "privkey.pem": private}.items():
        with open(os.path.join(base["dest"], name), "wb") as handle:
            handle.write(content)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"names": ["www.one.test", "more.one.test"]}, "names: the certificate is without more.one.test"),
        ({"key_type": "ec384"}, "key_type: it is ec256, asked for is ec384"),
        ({"key_type": "rsa2048"}, "key_type: it is ec256, asked for is rsa2048"),
        ({"force": True}, "forced: force is set"),
        ({"renew": "30"}, "due: its renewal time was"),
    ],
)
def test_reissues_when_something_else_is_asked_and_says_so(base, servers, change, reason):
    first = run(base)
    if "renew" in change:
        grow_old(base)
    asked = dict(base, **change)
    predicted = run(asked, check=True)
    result = run(asked)
    assert result["changed"] and result["reasons"] == predicted["reasons"] and result["reasons"][0].startswith(reason), result
    assert result["serial"] != first["serial"] and matches(base["dest"])
    again = run(dict(asked, force=False, renew="auto"))
    assert not again["changed"], again


def test_days_beyond_the_life_do_not_issue_at_every_run(base, servers):
    first = run(dict(base, renew="9999"))
    assert first["changed"], first
    again = run(dict(base, renew="9999"))
    assert not again["changed"] and again["serial"] == first["serial"], again
    assert "renew is 9999 days" in json.dumps(again["warnings"])


def test_reissues_when_key_and_certificate_do_not_match(base, servers):
    run(base)
    path = os.path.realpath(os.path.join(base["dest"], "privkey.pem"))
    other = ec.generate_private_key(ec.SECP256R1())
    with open(path, "wb") as handle:
        handle.write(other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    result = run(base)
    assert result["reasons"] == ["key: key and certificate do not belong together"]
    assert matches(base["dest"])


def test_key_is_kept_on_request(base, servers):
    run(base)
    key = open(os.path.join(base["dest"], "privkey.pem"), "rb").read()
    run(dict(base, force=True, new_key=False))
    assert open(os.path.join(base["dest"], "privkey.pem"), "rb").read() == key
    run(dict(base, force=True))
    assert open(os.path.join(base["dest"], "privkey.pem"), "rb").read() != key


def test_values_of_others_stay(base, servers):
    name = "_acme-challenge.shared.one.test"
    update("one.test", name, "somebody else's")
    try:
        assert run(dict(base, names=["shared.one.test", "*.shared.one.test"]))["changed"]
        assert txt(name) == ["somebody else's"]
    finally:
        update("one.test", name, "somebody else's", add=False)


def test_follows_delegation_by_cname_into_another_zone(base, servers):
    result = run(dict(base, names=["alias.one.test", "away.one.test"]))
    assert result["changed"], result
    assert txt("target.delegated.one.test") == [] and txt("elsewhere.two.test") == []


@pytest.mark.parametrize(
    "change",
    [{"transport": "udp"}, {"zone": "one.test."}, {"key_name": TSIG_NAME + "-sha512", "key_algorithm": "hmac-sha512"}],
    ids=["datagrams", "named zone", "another HMAC"],
)
def test_ways_to_the_server(base, servers, change):
    result = run(dict(base, **change))
    assert result["changed"], result
    assert txt("_acme-challenge.www.one.test") == []


@pytest.fixture
def delegated(base, monkeypatch):
    """Nothing is told but where the updates go: the resolver of the machine and the delegation say the rest."""

    def resolver():
        made = Resolver(configure=False)
        made.nameservers, made.port = [ADDRESS], acme_servers.RESOLVER_PORT
        return made

    monkeypatch.setattr("dns.resolver.Resolver", resolver)
    del base["nameservers"]
    return dict(base, names=["www.child.one.test", "handed.one.test"], server=acme_servers.CHILD_SERVERS["paas-test-acme-ns1"])


def test_a_server_by_its_name(delegated):
    """The machine's own resolver knows it."""
    result = run(dict(delegated, names=["www.one.test"], server="ns1.one.test"))
    assert result["changed"], result


def test_finds_the_name_servers_by_delegation_also_behind_a_cname(delegated, servers):
    result = run(delegated)
    assert result["changed"], result
    assert sorted(result["names"]) == ["handed.one.test", "www.child.one.test"]
    first, second = acme_servers.CHILD_SERVERS.values()
    for name in ("_acme-challenge.www.child.one.test", "handed.child.one.test"):
        assert txt(name, first) == []
        acme_servers.wait_for("the second server", lambda name=name: txt(name, second) == [])


def test_every_delegated_name_server_has_to_have_the_values(delegated, servers):
    acme_servers.docker("pause", "paas-test-acme-ns2")
    try:
        result = run(dict(delegated, propagation_timeout=3))
    finally:
        acme_servers.docker("unpause", "paas-test-acme-ns2")
    assert result.get("failed") and "ns2.child.one.test (198.18.202.12)" in result["msg"], result
    assert "ns1.child.one.test" not in result["msg"]
    assert txt("_acme-challenge.www.child.one.test", acme_servers.CHILD_SERVERS["paas-test-acme-ns1"]) == []


def test_idn(base, servers):
    result = run(dict(base, names=["b\u00fccher.one.test"]))
    assert result["changed"] and result["names"] == ["xn--bcher-kva.one.test"]
    assert not run(dict(base, names=["B\u00dcCHER.one.test."]))["changed"]


def test_a_hundred_names(base, servers):
    base["names"] = ["n%02d.%s.test" % (number, zone) for number in range(50) for zone in ("one", "two")]
    result = run(base)
    assert result["changed"] and len(names_of(load(base)[0])) == 100, result
    assert txt("_acme-challenge.n07.two.test") == []


BAD = [
    ({"names": []}, "names is empty"),
    ({"names": ["n%d.one.test" % number for number in range(101)]}, "names has 101 entries"),
    ({"names": ["not a name"]}, "no DNS name"),
    ({"names": ["198.18.0.1"]}, "proves names, not addresses"),
    ({"names": ["*.one.test", "a.one.test"]}, "covers it"),
    ({"terms_agreed": False}, "terms_agreed is not true"),
    ({"key_type": "ec521"}, "key_type must be one of"),
    ({"directory": "http://example.test/dir"}, "directory is"),
    ({"dest": "/etc/hostname/www"}, "cannot be written"),
    ({"dest": "relative"}, "absolute path"),
    ({"mode": "0644"}, "mode is '0644'"),
    ({"owner": "nobody-of-that-name"}, "no such user"),
    ({"renew": "soon"}, "renew is 'soon'"),
    ({"names": ["www.elsewhere.example"]}, "holds no zone for _acme-challenge.www.elsewhere.example"),
    ({"key_secret": "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I="}, "BADSIG"),
    ({"key_name": "stranger"}, "NOTAUTH"),
    ({"key_secret": "%%%"}, "not base64"),
    ({"zone": "two.test"}, "not in the zone two.test"),
    ({"zone": "three.test"}, "does not hold the zone three.test"),
    ({"names": ["loop.one.test"]}, "end nowhere"),
    ({"certificate_profile": "shortlived"}, "certificate_profile is shortlived"),
    ({"ca_certificates": "/nonexistent.pem"}, "does not exist"),
    ({"nameservers": ["198.18.202.10:x"]}, "no server"),
    ({"csr_path": "/etc/hostname"}, "no certificate signing request"),
]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("change, message", BAD, ids=[str(index) for index in range(len(BAD))])
def test_bad_input_is_told_before_any_change(base, servers, tmp_path, change, message, check):
    result = run(dict(base, **change), check=check)
    assert result.get("failed") and message in result["msg"], result
    assert list(tmp_path.iterdir()) == [], tree(tmp_path)
    assert TSIG_SECRET not in json.dumps(result["msg"])


@pytest.mark.parametrize("name", ["fullchain.pem", "cert.pem", "privkey.pem"])
def test_a_certificate_file_that_is_none_is_told(base, servers, name):
    run(base)
    with open(os.path.join(base["dest"], name), "w", encoding="ascii") as handle:
        handle.write("-----BEGIN CERTIFICATE-----\nnonsense\n")
    result = run(base)
    assert result.get("failed") and os.path.join(base["dest"], name) in result["msg"], result


def test_a_folder_with_other_things_is_not_taken(base, servers, tmp_path):
    os.makedirs(base["dest"])
    with open(os.path.join(base["dest"], "index.html"), "w", encoding="ascii") as handle:
        handle.write("mine")
    result = run(base)
    assert result.get("failed") and "index.html" in result["msg"]
    os.rename(os.path.join(base["dest"], "index.html"), os.path.join(base["dest"], "chain.pem"))
    assert run(base)["changed"]
    assert os.path.islink(base["dest"]) and matches(base["dest"])


def test_untrusted_ca_is_told(base, servers):
    del base["ca_certificates"]
    result = run(base)
    assert result.get("failed") and "cannot be trusted" in result["msg"], result


def test_csr_with_a_key_kept_elsewhere(base, servers, tmp_path):
    key = rsa.generate_private_key(65537, 2048)
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("kept.one.test")]), critical=False)
    path = tmp_path / "request.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    del base["names"]
    base["csr_path"] = str(path)
    result = run(base)
    assert result["changed"] and result["names"] == ["kept.one.test"], result
    assert load(base)[0].public_key() == key.public_key()
    assert not os.path.exists(os.path.join(base["dest"], "privkey.pem"))
    assert not run(base)["changed"]
    refused = run(dict(base, names=["other.one.test"]))
    assert refused.get("failed") and "are not those of csr_path" in refused["msg"]


def test_revoked_then_absent(base, servers):
    run(base)
    predicted = run(dict(base, state="revoked"), check=True)
    assert predicted["changed"]
    done = run(dict(base, state="revoked", reason="superseded"))
    assert done["changed"] and done["diff"] == predicted["diff"] and done["diff"]["before"] != done["diff"]["after"], done
    assert not run(dict(base, state="revoked"))["changed"]
    renewed = run(base)
    assert renewed["reasons"] == ["revoked: the certificate was revoked"]
    minimal = {"state": "absent", "dest": base["dest"]}
    assert run(minimal, check=True)["changed"]
    assert os.path.exists(base["dest"])
    assert run(minimal)["changed"]
    assert os.listdir(os.path.dirname(base["dest"])) == []
    assert not run(minimal)["changed"]
    assert os.path.exists(base["account_key_path"])


def test_nothing_to_revoke_is_told(base, servers):
    result = run(dict(base, state="revoked"))
    assert result.get("failed") and "There is no certificate in %s" % base["dest"] in result["msg"], result


def test_the_account_is_made_once(base, servers):
    made = servers.pebble_log().count("accounts in memory")
    assert run(base)["changed"] and run(dict(base, force=True))["changed"]
    assert servers.pebble_log().count("accounts in memory") == made + 1


def test_revoked_by_account_where_the_key_is_elsewhere(base, servers):
    run(base)
    os.unlink(os.path.join(base["dest"], "privkey.pem"))
    for check in (True, False):
        refused = run(dict(base, state="revoked", account_key_path=base["account_key_path"] + ".none"), check=check)
        assert refused.get("failed") and "does not exist" in refused["msg"], refused
    assert run(dict(base, state="revoked"))["changed"]


def test_a_validation_that_fails_shows_the_problem_and_every_dns_answer_and_cleans_up(base, servers):
    # This CA asks a DNS server that knows nothing of our zones.
    url = servers.pebble("blind", 14010, dns="127.0.0.1:5399")
    before = tree(os.path.dirname(base["dest"]))
    result = run(dict(base, directory=url, names=["www.one.test", "two.test"]))
    assert result.get("failed"), result
    assert result["problems"][0]["name"] in ("www.one.test", "two.test") and "type" in result["problems"][0]["problem"]
    answers = result["dns_answers"]["_acme-challenge.www.one.test"]
    assert list(answers) == [ADDRESS] and len(answers[ADDRESS]) == 1 and len(answers[ADDRESS][0]) == 43
    assert txt("_acme-challenge.www.one.test") == [] and txt("_acme-challenge.two.test") == []
    assert not os.path.exists(base["dest"]) and before == []


def test_propagation_that_does_not_come_is_told_with_the_server(base, servers):
    result = run(dict(base, nameservers=[ADDRESS, "198.18.202.99"], propagation_timeout=2))
    assert result.get("failed") and "_acme-challenge.www.one.test on 198.18.202.99" in result["msg"], result
    assert txt("_acme-challenge.www.one.test") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_no_value_behind(base, servers, number):
    process = spawn(dict(base, nameservers=[ADDRESS, "198.18.202.99"], propagation_timeout=60))
    deadline = time.monotonic() + 20
    while not txt("_acme-challenge.www.one.test"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    result = finish(process, 30)
    assert result.get("failed") and signal.Signals(number).name in result["msg"], result
    assert txt("_acme-challenge.www.one.test") == []
    assert run(base)["changed"]


def test_a_signal_at_any_moment_leaves_no_value_behind(base, servers):
    """The moments are spread over a run; what must hold does not depend on which one is hit. Some come before anything is placed or after all is done."""
    run(base)
    process = spawn(dict(base, force=True))
    assert process.stderr.readline() == "begun\n"
    begun = time.monotonic()
    assert finish(process)["changed"]
    whole, said = time.monotonic() - begun, []
    for moment in range(16):
        process = spawn(dict(base, force=True))
        assert process.stderr.readline() == "begun\n"
        time.sleep(whole * moment / 16)
        process.send_signal(signal.SIGTERM)
        said.append(process.communicate(timeout=60)[0])
        assert txt("_acme-challenge.www.one.test") == [], (moment, said[-1])
        assert matches(base["dest"]), (moment, said[-1])
    print("stopped by the signal:", sum("SIGTERM" in text for text in said), "of", len(said))
    assert not run(base).get("failed")


def test_the_next_run_cleans_up_after_a_kill(base, servers):
    process = spawn(dict(base, nameservers=[ADDRESS, "198.18.202.99"], propagation_timeout=60))
    deadline = time.monotonic() + 20
    while not txt("_acme-challenge.www.one.test"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    left = txt("_acme-challenge.www.one.test")
    process.kill()
    process.communicate()
    assert txt("_acme-challenge.www.one.test") == left
    assert run(base)["changed"]
    assert txt("_acme-challenge.www.one.test") == []


def test_what_a_killed_renewal_left_is_removed_though_nothing_is_to_be_issued(base, servers):
    first = run(base)
    process = spawn(dict(base, force=True, nameservers=[ADDRESS, "198.18.202.99"], propagation_timeout=60))
    acme_servers.wait_for("the value", lambda: txt("_acme-challenge.www.one.test"))
    process.kill()
    process.communicate()
    assert run(base, check=True)["reasons"] == ["left: TXT values of a run that was killed"]
    result = run(base)
    assert result["changed"] and result["reasons"] == ["left: TXT values of a run that was killed"] and result["serial"] == first["serial"], result
    assert txt("_acme-challenge.www.one.test") == []
    assert not run(base)["changed"]


def test_what_is_left_in_the_dns_is_not_forgotten_by_absent(base, servers):
    process = spawn(dict(base, nameservers=[ADDRESS, "198.18.202.99"], propagation_timeout=60))
    acme_servers.wait_for("the value", lambda: txt("_acme-challenge.www.one.test"))
    (left,) = txt("_acme-challenge.www.one.test")
    process.kill()
    process.communicate()
    for check in (True, False):
        refused = run({"state": "absent", "dest": base["dest"]}, check=check)
        assert refused.get("failed") and left in refused["msg"], refused
    assert run(dict(base, state="absent"))["changed"]
    assert txt("_acme-challenge.www.one.test") == [] and os.listdir(os.path.dirname(base["dest"])) == []


def test_two_runs_at_once_on_one_dest_issue_once(base, servers):
    processes = [spawn(base) for _unused in range(3)]
    results = [finish(process) for process in processes]
    assert sorted(result["changed"] for result in results) == [False, False, True], results
    assert len({result["serial"] for result in results}) == 1
    assert matches(base["dest"])


def test_no_reader_sees_a_mismatched_pair(base, servers):
    run(base)
    stop, seen, wrong = threading.Event(), set(), []

    def read():
        while not stop.is_set():
            folder = os.path.realpath(base["dest"])
            try:
                seen.add(folder)
                if not matches(folder):
                    wrong.append(folder)
            except OSError as error:
                wrong.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _unused in range(4):
            assert run(dict(base, force=True))["changed"]
    finally:
        stop.set()
        reader.join()
    assert not wrong and len(seen) >= 4


def test_external_account_binding(base, servers):
    secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    url = servers.pebble("eab", 14020, config={"externalAccountBindingRequired": True, "externalAccountMACKeys": {"kid-1": secret}})
    refused = run(dict(base, directory=url))
    assert refused.get("failed") and "external_account_binding" in refused["msg"]
    wrong = run(dict(base, directory=url, external_account_binding={"key_id": "kid-2", "key": secret}))
    assert wrong.get("failed") and "problem" in wrong, wrong
    result = run(dict(base, directory=url, external_account_binding={"key_id": "kid-1", "key": secret}))
    assert result["changed"], result
    assert secret not in json.dumps(result)


def test_preferred_chain(base, servers):
    url = servers.pebble("chains", 14030, PEBBLE_ALTERNATE_ROOTS="2", PEBBLE_CHAIN_LENGTH="2")
    first = run(dict(base, directory=url))
    assert first["changed"], first
    default = load(base)[-1].issuer
    roots = [_root(servers, 14031, index) for index in range(3)]
    wanted = next(root for root in roots if root != default)
    name = wanted.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    second = run(dict(base, directory=url, preferred_chain=name))
    assert second["changed"] and second["reasons"][0].startswith("preferred_chain:"), second
    assert load(base)[-1].issuer == wanted
    assert not run(dict(base, directory=url, preferred_chain=name))["changed"]


def _root(servers, port, index):
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=servers.ca_file)
    with urllib.request.urlopen("https://%s:%d/roots/%d" % (ADDRESS, port, index), context=context) as answer:
        return x509.load_pem_x509_certificate(answer.read()).subject


def test_another_directory_is_a_reason(base, servers):
    run(base)
    url = servers.pebble("other", 14040)
    result = run(dict(base, directory=url))
    assert result["changed"] and result["reasons"][0].startswith("directory:"), result


def test_a_ca_that_refuses_most_nonces(base, servers):
    url = servers.pebble("picky", 14050, PEBBLE_WFE_NONCEREJECT="60")
    result = run(dict(base, directory=url, names=["a.one.test", "b.one.test", "c.two.test"]))
    assert result["changed"], result


def test_authorizations_that_are_valid_already_need_no_value(base, servers):
    url = servers.pebble("reuse", 14060, PEBBLE_AUTHZREUSE="100")
    assert run(dict(base, directory=url))["changed"]
    again = run(dict(base, directory=url, force=True, server=ADDRESS))
    assert again["changed"] and "txt" not in again["timings"], again


def test_openssl_agrees(base, servers, tmp_path):
    run(base)
    root = tmp_path / "root.pem"
    root.write_bytes(servers.root())
    command = ["openssl", "verify", "-CAfile", str(root), "-untrusted", os.path.join(base["dest"], "chain.pem"), os.path.join(base["dest"], "cert.pem")]
    assert "OK" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
