"""Fixtures for tests of the page."""

from __future__ import annotations

from tests.support.browser import browser, page, page_errors
from tests.support.explore_page import folder, link
from tests.support.page_modules import modules

__all__ = ["browser", "folder", "link", "modules", "page", "page_errors"]
