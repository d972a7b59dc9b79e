# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every user reaches their own region, over HTTP/2, with a certificate that verifies."""

from __future__ import annotations

import itertools
import re

import estate
import yaml


def test_the_regions_are_as_far_apart_as_they_should_be(clients):
    """Without the delays everything else would pass, and prove nothing."""
    times = yaml.safe_load((estate.REPOSITORY / "tests" / "lab" / "lab.yml").read_text(encoding="utf-8"))["round_trip_times"]
    asked = {frozenset(entry["between"]): entry["ms"] for entry in times}
    pairs = {frozenset(pair) for pair in itertools.combinations(clients, 2)}

    def far_apart():
        found = re.findall(r"round trip (\S+) - (\S+): ([0-9.]+) ms", estate.lab("ping"))
        measured = {frozenset(pair): float(milliseconds) for *pair, milliseconds in found}
        wrong = {
            " - ".join(sorted(pair)): measured.get(pair)
            for pair in pairs
            if not asked[pair] * 0.95 <= measured.get(pair, 0.0) <= asked[pair] * 1.3 + 5
        }
        assert not wrong, f"in ms: {wrong}"
        return True

    # A computer that is busy delays for a moment; nothing shortens a way.
    estate.wait(far_apart, 60, "the regions are as far apart as lab.yml says", pause=2)


def test_the_name_resolves_to_the_own_region(clients, inventory):
    for region, client in clients.items():
        client.forget()
        expected = inventory.addresses(region)
        estate.wait(lambda c=client, e=expected: c.addresses() == e, 60, f"{estate.NAME} resolves to {region} there")


def test_the_page_comes_over_http2_from_the_own_region(clients, inventory):
    for region, client in clients.items():
        fields = "%{http_version} %{response_code} %{ssl_verify_result} %{remote_ip}"
        answer = client.curl("--dump-header", "/tmp/headers", f"https://{estate.NAME}/", write_out=fields)
        version, status, verified, address = answer.split()
        assert (version, status, verified) == ("2", "200", "0"), answer
        assert address in inventory.addresses(region)
        headers = client.run("cat", "/tmp/headers").lower()
        assert f"x-region: {region}" in headers
        assert "cache-control: no-cache" in headers


def test_the_certificate_covers_the_name_and_the_regional_names(clients, inventory):
    wanted = {estate.NAME, *(f"{region}.{estate.NAME}" for region in inventory.regions)}
    for region, client in clients.items():
        text = client.run(
            "sh", "-c",
            f"openssl s_client -connect {estate.NAME}:443 -servername {estate.NAME} -CAfile {client.CA} -verify_return_error </dev/null"
            " 2>/dev/null | openssl x509 -noout -ext subjectAltName",
        )
        names = {part.strip().removeprefix("DNS:") for line in text.splitlines()[1:] for part in line.split(",")}
        assert wanted <= names, f"{region}: {wanted - names} missing in {names}"


def test_the_regional_names_answer_from_their_region(clients, inventory):
    for client in clients.values():
        for region in inventory.regions:
            answer = client.curl(f"https://{region}.{estate.NAME}/healthz", write_out="%{http_version} %{response_code} %{remote_ip}")
            version, status, address = answer.split()
            assert (version, status) == ("2", "200") and address in inventory.addresses(region), f"{region}: {answer}"


def test_plain_http_is_sent_to_https(clients):
    for client in clients.values():
        answer = client.curl(f"http://{estate.NAME}/", write_out="%{response_code} %{redirect_url}")
        # Dokku's template names the port.
        assert answer.replace(":443/", "/").split() == ["301", f"https://{estate.NAME}/"]


def test_the_app_is_ready_everywhere(clients, inventory):
    for client in clients.values():
        for region in inventory.regions:
            for path in ("/readyz", "/.well-known/region-health"):
                answer = client.curl(f"https://{region}.{estate.NAME}{path}", write_out="%{response_code}")
                assert answer == "200", f"{region}{path}: {answer}"
