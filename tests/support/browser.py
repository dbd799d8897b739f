"""A real browser for tests of the page: Debian's Chromium, driven by Playwright.

``tests/explore/conftest.py`` makes the fixtures known to the tests of that folder.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

__all__ = ["browser", "expected_errors", "open_modules", "page"]

_MODULES = "http://modules.test"
_TYPES = {".js": "text/javascript", ".html": "text/html", ".css": "text/css"}


# Playwright keeps an event loop running in the thread until it is stopped, and asyncio.run fails in this thread
# meanwhile. It is stopped after the last test of the folder, and not only after the last one of the session.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window. Skip the test if it or Playwright is missing.

    ``MGDALI_CHROMIUM`` is the path of another Chromium. With ``MGDALI_REQUIRE_BROWSER``, the test fails instead.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _unavailable("Playwright is missing: install the extra browser-tests")
    program = os.environ.get("MGDALI_CHROMIUM") or shutil.which("chromium")
    if program is None or shutil.which(program) is None:
        _unavailable(f"{program or 'chromium'} is missing: install the package chromium, or set MGDALI_CHROMIUM")
    # Chromium's sandbox does not work for the user root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def expected_errors() -> list[str]:
    """Parts of the errors that a test causes on purpose. The test adds them before it causes the errors."""
    return []


@pytest.fixture
def page(browser: Browser, expected_errors: list[str]) -> Iterator[Page]:
    """A page with its own storage. After the test, it may have reported no errors but the expected ones.

    They are compared after the page is closed, because the browser reports an error at any time after its cause.
    """
    errors: list[str] = []
    context = browser.new_context()
    opened = context.new_page()
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert [error for error in errors if not any(part in error for part in expected_errors)] == []


def open_modules(page: Page, folder: Path) -> None:
    """Open an empty page that can import the JavaScript modules of a folder, such as ``import("/sampling.js")``.

    Args:
        page: The page.
        folder: The folder of the modules. Modules cannot be imported from ``file://``.
    """

    def answer(route: Route) -> None:
        name = urlsplit(route.request.url).path.lstrip("/")
        if name == "":
            route.fulfill(content_type="text/html", body="<!doctype html><link rel='icon' href='data:,'>")
        else:
            path = folder / name
            route.fulfill(content_type=_TYPES[path.suffix], body=path.read_text())

    page.route(f"{_MODULES}/**", answer)
    page.goto(f"{_MODULES}/")


def _unavailable(reason: str) -> NoReturn:
    if os.environ.get("MGDALI_REQUIRE_BROWSER"):
        pytest.fail(f"{reason} (MGDALI_REQUIRE_BROWSER is set)")
    pytest.skip(reason)
