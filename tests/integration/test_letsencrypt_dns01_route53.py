# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against moto's Route 53 with the lab's DNS server over it, and a real Pebble that validates through that."""

from __future__ import annotations

import datetime
import http.server
import os
import shutil
import threading

import josepy
import pytest
from acme import challenges, client, errors, messages
from ansible_collections.multiregion.paas.plugins.module_utils._acme.crypto import make_csr
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

import acme_servers
from acme_servers import ADDRESS, GATEWAY, ROUTE53_DNS_PORT, run

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="needs Docker")
HTTP_PORT = 15002
DNS = "%s:%d" % (GATEWAY, ROUTE53_DNS_PORT)


@pytest.fixture(scope="module")
def servers():
    started = acme_servers.Servers()
    try:
        started.start()
        started.client = started.route53()
        started.directory = started.pebble("route53", 14100, dns=DNS, config={"httpPort": HTTP_PORT})
        started.zones = {}
        for name in ("alpha.test", "deep.alpha.test", "beta.test"):
            started.zones[name] = started.client.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"]
            acme_servers.wait_for("the zone %s" % name, lambda zone=name: acme_servers.has_zone(zone, GATEWAY, ROUTE53_DNS_PORT))
        yield started
    finally:
        started.close()


@pytest.fixture
def base(servers, tmp_path):
    return {
        "names": ["www.alpha.test"],
        "directory": servers.directory,
        "ca_certificates": servers.ca_file,
        "account_key_path": str(tmp_path / "account.pem"),
        "terms_agreed": True,
        "dest": str(tmp_path / "www"),
        "dns_provider": "route53",
        "endpoint_url": servers.moto_url,
        "access_key": "x",
        "secret_key": "x",
        "region": "us-east-1",
        "nameservers": [DNS],
        "propagation_timeout": 30,
    }


def records(servers, zone):
    sets = servers.client.list_resource_record_sets(HostedZoneId=servers.zones[zone])["ResourceRecordSets"]
    return [one for one in sets if one["Type"] == "TXT"]


def test_names_in_three_zones_of_which_one_is_in_another(base, servers):
    base["names"] = ["alpha.test", "*.alpha.test", "a.deep.alpha.test", "us-east-1.www.beta.test"]
    result = run(base)
    assert result["changed"], result
    for zone in servers.zones:
        assert records(servers, zone) == []
    with open(os.path.join(base["dest"], "cert.pem"), "rb") as handle:
        certificate = x509.load_pem_x509_certificate(handle.read())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
    assert sorted(names) == sorted(base["names"])
    assert not run(base)["changed"]


def test_values_and_time_to_live_of_others_stay(base, servers):
    before = {"Name": "_acme-challenge.www.alpha.test.", "Type": "TXT", "TTL": 321, "ResourceRecords": [{"Value": '"theirs"'}, {"Value": '"more" "of theirs"'}]}
    servers.client.change_resource_record_sets(
        HostedZoneId=servers.zones["alpha.test"], ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": before}]}
    )
    try:
        assert run(base)["changed"]
        assert records(servers, "alpha.test") == [before]
    finally:
        servers.client.change_resource_record_sets(
            HostedZoneId=servers.zones["alpha.test"], ChangeBatch={"Changes": [{"Action": "DELETE", "ResourceRecordSet": before}]}
        )


def test_one_change_per_zone_whatever_the_number_of_names(base, servers):
    base["names"] = ["n%d.%s" % (number, zone) for number in range(10) for zone in ("alpha.test", "beta.test")]
    before = changes(servers)
    assert run(base)["changed"]
    # Two zones, each one change to add and one to take away.
    assert changes(servers) - before == 4
    assert records(servers, "alpha.test") == records(servers, "beta.test") == []


def changes(servers):
    """How many changes the API got, by the server's own log."""
    return len([line for line in (servers.folder / "moto.log").read_text().splitlines() if '"POST /2013-04-01/hostedzone/' in line])


def test_zone_id(base, servers):
    assert run(dict(base, zone_id=servers.zones["alpha.test"]))["changed"]
    wrong = run(dict(base, names=["www.beta.test"], zone_id=servers.zones["alpha.test"]))
    assert wrong.get("failed") and "is not in the zone alpha.test" in wrong["msg"]
    unknown = run(dict(base, names=["www.beta.test"], zone_id="Z0000000000"))
    assert unknown.get("failed") and "no such zone" in unknown["msg"], unknown


def test_a_name_that_no_zone_of_ours_holds(base, servers):
    result = run(dict(base, names=["www.alpha.test", "www.nobodys.test"]))
    assert result.get("failed") and "www.nobodys.test" in result["msg"], result
    assert records(servers, "alpha.test") == []


def test_two_zones_of_one_name_need_zone_id(base, servers):
    second = servers.client.create_hosted_zone(Name="beta.test", CallerReference="again")["HostedZone"]["Id"]
    try:
        result = run(dict(base, names=["www.beta.test"]))
        assert result.get("failed") and "several public hosted zones beta.test" in result["msg"], result
    finally:
        servers.client.delete_hosted_zone(Id=second)


def test_credentials_stay_out_of_the_result(base, servers):
    result = run(dict(base, access_key="AKIDEXAMPLE", secret_key="wJalrXUtnFEMI"))
    assert "wJalrXUtnFEMI" not in str(result)


def test_no_api_is_told(base, servers):
    result = run(dict(base, endpoint_url="http://127.0.0.1:1"))
    assert result.get("failed") and "Route 53 cannot be reached" in result["msg"], result


def test_http01_fails_for_a_far_region_and_this_does_not(base, servers, tmp_path):
    """The reason for all this: the CA is sent to the nearest region, not to the one that asked."""
    name = "near.alpha.test"
    # A host in Sydney (this machine) asks for a certificate. The CA is in Virginia, as is another host.
    sydney, virginia = (
        {"Name": name, "Type": "A", "TTL": 1, "SetIdentifier": region, "Region": region, "ResourceRecords": [{"Value": address}]}
        for region, address in (("ap-southeast-2", GATEWAY), ("us-east-1", ADDRESS))
    )
    # The control: while Sydney is the only answer the CA gets there, so nothing but the answer makes the other proof fail.
    answer_with(servers, sydney)
    assert _http01(servers, name) == ""
    answer_with(servers, virginia)
    problem = _http01(servers, name)
    assert "connection" in problem, problem
    assert run(dict(base, names=[name]))["changed"]


def answer_with(servers, record):
    """One more record, that the CA is answered with from here on."""
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    servers.client.change_resource_record_sets(HostedZoneId=servers.zones["alpha.test"], ChangeBatch=batch)
    expected = [one["Value"] for one in record["ResourceRecords"]]
    # This machine is to the DNS server where the CA is: in no region, so in the first.
    acme_servers.wait_for("the record", lambda: acme_servers.addresses(record["Name"], GATEWAY, ROUTE53_DNS_PORT) == expected)


def _http01(servers, name):
    """Try to prove a name by HTTP from this machine. -> the type of the CA's problem, or nothing."""
    key = josepy.JWKRSA(key=josepy.ComparableRSAKey(rsa.generate_private_key(65537, 2048)))
    network = client.ClientNetwork(key, verify_ssl=servers.ca_file)
    ca = client.ClientV2(client.ClientV2.get_directory(servers.directory, network), network)
    patiently(lambda: ca.new_account(messages.NewRegistration.from_data(terms_of_service_agreed=True)))
    order = patiently(lambda: ca.new_order(make_csr(ec.generate_private_key(ec.SECP256R1()), [name])))
    challenge = next(one for one in order.authorizations[0].body.challenges if isinstance(one.chall, challenges.HTTP01))
    answer = challenge.chall.validation(key).encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            """Not here."""

    server = http.server.ThreadingHTTPServer((GATEWAY, HTTP_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        patiently(lambda: ca.answer_challenge(challenge, challenge.chall.response(key)))
        deadline = datetime.datetime.now() + datetime.timedelta(seconds=20)
        patiently(lambda: ca.poll_authorizations(order, deadline))
    except errors.ValidationError as error:
        return next(str(one.error.typ) for one in error.failed_authzrs[0].body.challenges if one.error is not None)
    finally:
        server.shutdown()
        server.server_close()
    return ""


def patiently(call):
    """The library repeats a refused nonce only once, and Pebble refuses some."""
    for _unused in range(10):
        try:
            return call()
        except messages.Error as error:
            if error.code != "badNonce":
                raise
    raise AssertionError("ten nonces were refused")
