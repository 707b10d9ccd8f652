"""A browser without a screen."""

import os
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


@contextmanager
def headless_chromium(profile, *arguments):
    """
    A Chromium under selenium, with a fresh *profile* directory; the test is skipped where there is none.

    With ``KAMELEOON_REQUIRE_BROWSER=1`` it fails instead.
    """
    if CHROMIUM is None or CHROMEDRIVER is None:
        if os.environ.get("KAMELEOON_REQUIRE_BROWSER") == "1":
            pytest.fail("KAMELEOON_REQUIRE_BROWSER=1, and chromium or chromedriver is not installed")
        pytest.skip("no browser: chromium and chromedriver are not installed")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        *arguments,
    ):
        options.add_argument(argument)
    driver = Chrome(options=options, service=Service(CHROMEDRIVER))
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()
