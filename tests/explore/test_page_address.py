"""The page of ``mgdali explore`` in a real browser: links and the back button."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.explore_page import choose, list_rows, open_page, picks_of, setting, wait_until_confirmed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_a_link_reproduces_the_view(page: Page, link: str) -> None:
    open_page(page, link)
    setting(page, "Frames N").fill("5")
    setting(page, "even").fill("0.25")
    page.locator("#sort").select_option("frames")
    page.locator("#direction").click()
    page.locator("#search").fill("mp4")
    page.wait_for_function("() => /num_frames:5.*even:0.25.*search=mp4.*sort=frames.*descending=1/.test(location.hash)")
    wait_until_confirmed(page)
    picks, names = picks_of(page, "A"), list_rows(page).all_inner_texts()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    wait_until_confirmed(page)
    assert picks_of(page, "A") == picks
    assert page.locator("#search").input_value() == "mp4"
    page.wait_for_function("(count) => document.querySelectorAll('[role=option]').length === count", arg=len(names))


def test_back_returns_to_the_video_before(page: Page, link: str) -> None:
    open_page(page, link)
    choose(page, "b.mp4")
    page.go_back()
    page.locator("article h2").filter(has_text="a.mp4").wait_for()
    page.go_forward()
    page.locator("article h2").filter(has_text="b.mp4").wait_for()


@pytest.mark.parametrize("hash_", ["video=99999", "video=x&A=strategy:nothing&selected=Q", "A=&video=,,,&sort=x", "%"])
def test_a_wrong_address_does_not_break_the_page(page: Page, link: str, expected_errors: list[str], hash_: str) -> None:
    expected_errors.append("404")
    page.goto(f"{link}#{hash_}")
    list_rows(page).filter(has_text="a.mp4").wait_for()
    choose(page, "a.mp4")
    wait_until_confirmed(page)


def test_a_link_names_its_two_videos_and_the_active_one(page: Page, link: str) -> None:
    page.goto(f"{link}#video=4,5&active=1")
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length === 4")
    assert "active" in (page.locator("article").nth(1).get_attribute("class") or "").split()
    assert list_rows(page).and_(page.locator("[aria-selected=true]")).count() == 1
