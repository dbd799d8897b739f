"""The page of ``mgdali explore`` in a real browser: the keyboard and the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.explore_page import open_page, picks_of, wait_until_confirmed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_the_keyboard_is_enough(page: Page, link: str) -> None:
    open_page(page, link)
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.id") == "search"
    page.keyboard.type("mp4")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('search=mp4')")
    before = page.locator("article h2").inner_text()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("(before) => document.querySelector('article h2').innerText !== before", arg=before)
    wait_until_confirmed(page)
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelectorAll('.strip[data-letter=A] .cell').length === 9")
    page.keyboard.press("[")
    page.wait_for_function("() => document.querySelectorAll('.strip[data-letter=A] .cell').length === 8")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.keyboard.press("c")
    assert page.locator("article").count() == 2
    page.keyboard.press("c")
    assert page.locator("article").count() == 1


def test_every_control_is_reached_by_tab(page: Page, link: str) -> None:
    open_page(page, link)
    page.locator("#search").focus()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => { const e = document.activeElement; return e.id || e.classList[0]; }"))
    assert {"list", "strategy", "numFrames", "mu", "even", "inverse", "level", "seed", "field", "cell"} <= reached


def test_the_cursor_moves_by_frames_and_marks_the_picked_image(page: Page, link: str) -> None:
    open_page(page, link)
    curves = page.get_by_role("slider", name="Frame under the cursor of the curves")
    curves.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    assert curves.get_attribute("aria-valuenow") == "11"
    assert (curves.get_attribute("aria-valuetext") or "").startswith("frame 11 · ")
    frame = picks_of(page, "A")[3]
    for _ in range(abs(frame - 11)):
        page.keyboard.press("ArrowRight" if frame > 11 else "ArrowLeft")
    marked = page.locator(".cell.under-cursor").first
    assert marked.get_attribute("data-frame") == str(frame)
    page.wait_for_function("() => document.querySelector('.preview img').naturalWidth > 0")


def test_pointing_at_an_image_moves_the_cursor_of_the_curves(page: Page, link: str) -> None:
    open_page(page, link)
    frame = picks_of(page, "A")[2]
    page.locator(".strip[data-letter=A] .cell").nth(2).hover()
    curves = page.get_by_role("slider", name="Frame under the cursor of the curves")
    assert curves.get_attribute("aria-valuenow") == str(frame)
    assert "picked by A" in (curves.get_attribute("aria-valuetext") or "")
