"""Fixtures for tests of the page."""

from __future__ import annotations

from tests.support.browser import browser, page, page_errors
from tests.support.page_modules import modules

__all__ = ["browser", "modules", "page", "page_errors"]
