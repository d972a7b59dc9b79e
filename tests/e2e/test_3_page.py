# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser, at two widths, from the far region; its screenshots stay in build/screenshots."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import sys
import tempfile

import pytest

import estate

sys.path.insert(0, str(estate.REPOSITORY / "examples" / "todomvc" / "tests"))
browser = pytest.importorskip("browser")


def fingerprint(address: str) -> str:
    """The key of the certificate that ``address`` shows, verified against the CA's root: Chromium trusts this one only."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    context = ssl.create_default_context(cafile=str(estate.PEBBLE_ROOT))
    with socket.create_connection((address, 443), 10) as plain, context.wrap_socket(plain, server_hostname=estate.NAME) as secure:
        certificate = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page(inventory, size):
    assert browser.chromium(), "Chromium is missing; install it: apt-get install chromium chromium-driver"
    region = "ap-southeast-2"
    (address,) = sorted(inventory.addresses(region))[:1]
    with tempfile.TemporaryDirectory() as profile:
        flags = (
            f"--host-resolver-rules=MAP {estate.NAME} {address}",
            f"--ignore-certificate-errors-spki-list={fingerprint(address)}",
            f"--user-data-dir={profile}",
            "--no-proxy-server",
        )
        with browser.browser(size, *flags) as driver:
            shots = estate.BUILD / "screenshots"
            browser.walk(driver, f"https://{estate.NAME}/", shots, f"estate-{size}")
            assert f"Served from {region}" in driver.page_source
            protocol = driver.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol")
            assert protocol == "h2"
    assert (estate.BUILD / "screenshots" / f"estate-{size}-1-list.png").stat().st_size > 5000
