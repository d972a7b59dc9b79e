# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in a real browser, served by gunicorn from a real primary and follower."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from cluster import free_port, wait
from conftest import SECRET

browser = pytest.importorskip("browser")
pytestmark = pytest.mark.skipif(browser.chromium() is None, reason="Chromium is not installed")

HERE = Path(__file__).resolve().parent
SHOTS = Path(os.environ.get("SCREENSHOTS", HERE.parents[2] / "build" / "screenshots"))


@pytest.fixture
def url(cluster):
    port = free_port()
    environment = {
        **os.environ,
        "PORT": str(port),
        "MASTER_DATABASE_URL": cluster.master_url,
        "READ_DATABASE_URL": cluster.read_url,
        "SESSION_SECRET": SECRET,
        "PAAS_REGION": "ap-southeast-2",
        "PAAS_HOST": "ap-southeast-2-dokku-1",
        "PROBE_INTERVAL": "0.3",
        "RETRY_AFTER": "1",
        "WEB_ACCESS_LOG": "0",
    }
    command = [sys.executable, "-m", "gunicorn", "--config", "gunicorn.conf.py", "todomvc:create_app()"]
    process = subprocess.Popen(command, cwd=HERE.parent, env=environment)
    try:
        found = f"http://127.0.0.1:{port}/"
        wait(lambda: urllib.request.urlopen(found, timeout=3).status == 200)
        yield found
    finally:
        process.terminate()
        begin = time.monotonic()
        process.wait(20)
        assert time.monotonic() - begin < 15


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_the_page(url, size):
    with browser.browser(size) as driver:
        browser.walk(driver, url, SHOTS, f"app-{size}")


def test_without_a_primary_the_page_says_so_and_takes_the_change_back(url, cluster):
    with browser.browser("phone") as driver:
        page = browser.Page(driver, url)
        page.add("A todo that stays here whatever happens to the primary", "x" * 80)
        page.saved()
        cluster.wait_for_follower()
        cluster.primary.stop()
        page.add("Refused")
        page.until(lambda: page.one("#notice").is_displayed())
        page.until(lambda: len(page.titles()) == 2)
        driver.save_screenshot(str(SHOTS / "app-phone-4-read-only.png"))
        driver.refresh()
        page.until(lambda: page.one("#notice").is_displayed())
        assert "Read-only for now" in page.one("#notice").text and len(page.titles()) == 2
        cluster.primary.start()
        page.until(lambda: not page.one("#notice").is_displayed())
        page.add("Works again")
        page.reload()
        assert page.titles()[-1] == "Works again"
