"""Fixtures for tests of the page."""

from __future__ import annotations

from tests.support.browser import browser, page, page_errors

__all__ = ["browser", "page", "page_errors"]
