# Copyright (c) 2026, multiregion.paas contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A person at the page: Chromium, driven through what the TodoMVC specification says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

SIZES = {"desktop": (1200, 900), "phone": (390, 844)}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1",
)
SECONDS = 20


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)


@contextmanager
def browser(size: str, *flags: str) -> Iterator[WebDriver]:
    options = webdriver.ChromeOptions()
    options.binary_location = chromium() or ""
    for flag in (*FLAGS, *flags):
        options.add_argument(flag)
    # Chromium's window has a minimal width; emulation gives a phone's own width and touch.
    width, height = SIZES[size]
    if size == "phone":
        metrics = {"width": width, "height": height, "pixelRatio": 1.0, "mobile": True, "touch": False}
        options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.set_window_size(width, height)
        driver.set_page_load_timeout(SECONDS)
        yield driver
    finally:
        driver.quit()


class Page:
    def __init__(self, driver: WebDriver, url: str) -> None:
        self.driver = driver
        driver.get(url)

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def titles(self) -> list[str]:
        return [label.text for label in self.driver.find_elements(By.CSS_SELECTOR, ".todo-list label")]

    def completed(self) -> list[str]:
        return [label.text for label in self.driver.find_elements(By.CSS_SELECTOR, ".todo-list .completed label")]

    def item(self, title: str):
        for item in self.driver.find_elements(By.CSS_SELECTOR, ".todo-list li"):
            if item.text.startswith(title):
                return item
        raise AssertionError(f"no todo {title!r} among {self.titles()}")

    def until(self, question) -> None:
        WebDriverWait(self.driver, SECONDS, 0.05).until(lambda _driver: question())

    def saved(self) -> None:
        """Every change has reached the server."""
        self.until(lambda: self.driver.execute_script("return pending === 0"))

    def add(self, *titles: str) -> None:
        for title in titles:
            self.one(".new-todo").send_keys(title, Keys.ENTER)

    def edit(self, title: str, *keys: str):
        label = self.item(title).find_element(By.CSS_SELECTOR, "label")
        ActionChains(self.driver).double_click(label).perform()
        field = self.one(".editing .edit")
        assert field == self.driver.switch_to.active_element
        field.send_keys(*keys)
        return field

    def click(self, title: str, selector: str) -> None:
        item = self.item(title)
        ActionChains(self.driver).move_to_element(item).perform()
        item.find_element(By.CSS_SELECTOR, selector).click()

    def filter(self, name: str) -> None:
        self.driver.find_element(By.LINK_TEXT, name).click()

    def count(self) -> str:
        return self.one(".todo-count").text

    def reload(self) -> None:
        self.saved()
        self.driver.refresh()


def walk(driver: WebDriver, url: str, shots: Path, name: str) -> None:
    """Add, complete, edit, filter, clear; every step also after a reload, from what the server kept."""
    shots.mkdir(parents=True, exist_ok=True)
    page = Page(driver, url)

    def shot(step: str) -> None:
        driver.save_screenshot(str(shots / f"{name}-{step}.png"))

    assert driver.switch_to.active_element == page.one(".new-todo")
    assert not page.one(".main").is_displayed() and not page.one(".footer").is_displayed()
    shot("0-empty")

    page.add("   ", )
    assert page.titles() == []
    page.one(".new-todo").clear()
    page.add("  Follow the primary ")
    assert page.titles() == ["Follow the primary"] and page.one(".new-todo").get_attribute("value") == ""
    assert page.count() == "1 item left"
    page.add("Read from the nearest follower", "Drain a region")
    assert page.count() == "3 items left"
    page.reload()
    assert page.titles() == ["Follow the primary", "Read from the nearest follower", "Drain a region"]
    assert not page.one(".clear-completed").is_displayed()

    page.click("Follow the primary", ".toggle")
    assert page.completed() == ["Follow the primary"] and page.count() == "2 items left"
    shot("1-list")

    page.edit("Drain a region", " at night", Keys.ENTER)
    assert page.titles()[2] == "Drain a region at night"
    page.edit("Drain a region at night", " never", Keys.ESCAPE)
    assert page.titles()[2] == "Drain a region at night"
    field = page.edit("Drain a region at night", Keys.END, "!")
    shot("2-editing")
    assert not page.item("").find_elements(By.CSS_SELECTOR, ".editing .view") and field.is_displayed()
    page.one("h1").click()
    page.until(lambda: page.titles()[2] == "Drain a region at night!")
    page.reload()
    assert page.titles()[2] == "Drain a region at night!" and page.completed() == ["Follow the primary"]

    page.filter("Active")
    assert page.titles() == ["Read from the nearest follower", "Drain a region at night!"]
    assert driver.current_url.endswith("/active") and page.one(".filters .selected").text == "Active"
    page.filter("Completed")
    assert page.titles() == ["Follow the primary"]
    shot("3-completed")
    page.reload()
    assert page.titles() == ["Follow the primary"]
    driver.back()
    page.until(lambda: page.one(".filters .selected").text == "Active")
    page.filter("All")

    page.one(".toggle-all-label").click()
    assert len(page.completed()) == 3 and page.count() == "0 items left"
    page.one(".toggle-all-label").click()
    assert page.completed() == []
    page.click("Read from", ".toggle")
    page.one(".clear-completed").click()
    assert page.titles() == ["Follow the primary", "Drain a region at night!"]
    page.click("Drain", ".destroy")
    assert page.titles() == ["Follow the primary"]
    page.reload()
    assert page.titles() == ["Follow the primary"]
    page.edit("Follow", Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE, Keys.ENTER)
    assert page.titles() == [] and not page.one(".footer").is_displayed()
    page.reload()
    assert page.titles() == []

    wide = driver.execute_script("return document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, "the page is wider than the window"
    # Chromium ends what is under way when any interface of this machine comes or goes; the page asks again.
    messages = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    errors = [message for message in messages if "ERR_NETWORK_CHANGED" not in message]
    assert not errors, errors
