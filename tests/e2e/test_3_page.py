# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser, at two widths, from the far region; its screenshots stay in build/screenshots."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import ssl
import sys
import tempfile

import pytest

import estate

sys.path.insert(0, str(estate.REPOSITORY / "examples" / "todomvc" / "tests"))
browser = pytest.importorskip("browser")

REGION = "ap-southeast-2"
SHOTS = estate.BUILD / "screenshots"


def fingerprint(address: str) -> str:
    """The key of the certificate that ``address`` shows, verified against the CA's root: Chromium trusts this one only."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    context = ssl.create_default_context(cafile=str(estate.PEBBLE_ROOT))
    with socket.create_connection((address, 443), 10) as plain, context.wrap_socket(plain, server_hostname=estate.NAME) as secure:
        certificate = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@contextlib.contextmanager
def opened(inventory, size):
    """Chromium as a user of the far region has it."""
    assert browser.chromium(), "Chromium is missing; install it: apt-get install chromium chromium-driver"
    (address,) = sorted(inventory.addresses(REGION))[:1]
    SHOTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        flags = (
            f"--host-resolver-rules=MAP {estate.NAME} {address}",
            f"--ignore-certificate-errors-spki-list={fingerprint(address)}",
            f"--user-data-dir={profile}",
            "--no-proxy-server",
        )
        with browser.browser(size, *flags) as driver:
            yield driver


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page(inventory, size):
    with opened(inventory, size) as driver:
        browser.walk(driver, f"https://{estate.NAME}/", SHOTS, f"estate-{size}")
        assert f"Served from {REGION}" in driver.page_source
        protocol = driver.execute_script("return performance.getEntriesByType('navigation')[0].nextHopProtocol")
        assert protocol == "h2"
    assert (SHOTS / f"estate-{size}-1-list.png").stat().st_size > 5000


def test_without_a_primary_the_page_says_so_and_serves_on(inventory):
    primary = estate.primary(inventory).name
    with opened(inventory, "phone") as driver:
        page = browser.Page(driver, f"https://{estate.NAME}/")
        page.add("Written before")
        page.saved()
        try:
            estate.on(primary, "systemctl", "stop", "postgresql@17-main")
            page.add("Refused")
            estate.wait(lambda: page.one("#notice").is_displayed() and page.titles() == ["Written before"], 60, "the page says that it is read-only")

            def told_again():
                """The app itself learns of it when it asks the primary next, which may be a moment after a write was refused."""
                driver.refresh()
                return page.titles() == ["Written before"] and page.one("#notice").is_displayed()

            estate.wait(told_again, 60, "reads go on, and a new page says why")
            assert page.one("#notice").text.startswith("Read-only for now")
            driver.save_screenshot(str(SHOTS / "estate-phone-4-read-only.png"))
        finally:
            estate.on(primary, "systemctl", "start", "postgresql@17-main")
        estate.wait(lambda: not page.one("#notice").is_displayed(), 120, "the page takes changes again")
        page.add("Written after")
        page.reload()
        assert page.titles() == ["Written before", "Written after"]
