"""Fixtures for tests of the page."""

from __future__ import annotations

from tests.support.browser import browser, expected_errors, page
from tests.support.explore_page import folder, link
from tests.support.page_modules import modules

__all__ = ["browser", "expected_errors", "folder", "link", "modules", "page"]
