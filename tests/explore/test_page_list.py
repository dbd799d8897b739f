"""The page of ``mgdali explore`` in a real browser: its list of videos."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.explore_page import LONG_NAME, choose, list_rows, open_page, wait_until_confirmed

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_the_first_list_is_marked(page: Page, link: str) -> None:
    open_page(page, link)
    marks = page.evaluate("() => performance.getEntriesByName('mgdali:first-list').map(({startTime}) => startTime)")
    assert len(marks) == 1
    print(f"the list is painted after {marks[0]:.0f} ms")


def test_a_video_that_cannot_be_decoded_shows_its_error_in_place(
    page: Page, link: str, expected_errors: list[str]
) -> None:
    expected_errors.append("422")  # The browser itself reports the status.
    page.goto(link)
    choose(page, "broken.mp4")
    message = page.get_by_role("alert").filter(has_text="cannot decode")
    message.wait_for()
    assert "broken.mp4" in message.inner_text()
    page.locator(".video.broken", has_text="broken.mp4").wait_for()
    choose(page, "a.mp4")
    wait_until_confirmed(page)


def test_a_name_is_shown_as_text_and_does_not_widen_the_page(page: Page, link: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(link)
    page.get_by_role("button", name="Videos", exact=True).click()
    choose(page, "a very long name")
    wait_until_confirmed(page)
    assert page.locator("h2 b").count() == 0
    assert LONG_NAME in page.locator("article h2").inner_text()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_the_list_is_searched_filtered_and_sorted(page: Page, link: str) -> None:
    open_page(page, link)
    page.locator("#class").select_option("run")
    page.get_by_text("2 videos").wait_for()
    assert [text.split("\n")[0] for text in list_rows(page).all_inner_texts()] == ["a.mp4", "b.mp4"]
    page.locator("#search").fill("no such name")
    page.get_by_text("No video matches.").wait_for()


def test_a_million_rows_scroll_to_their_end(page: Page, link: str) -> None:
    total = 1_000_000

    def rows(route: object) -> None:
        url = route.request.url  # type: ignore[attr-defined]
        first = int(re.search(r"[?&]first=(\d+)", url).group(1))  # type: ignore[union-attr]
        facts = '"class": null, "frames": 60, "motion": 1.0, "still": 0.0, "error": null'
        content = ", ".join(
            f'{{"id": {k}, "name": "video {k}", {facts}}}' for k in range(first, min(first + 100, total))
        )
        body = f'{{"total": {total}, "first": {first}, "complete": true, "rows": [{content}]}}'
        route.fulfill(content_type="application/json", body=body)  # type: ignore[attr-defined]

    page.route("**/api/videos?*", rows)
    page.goto(link)
    page.get_by_text("1,000,000 videos").wait_for()
    page.locator("#list").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
    list_rows(page).filter(has_text=f"video {total - 1}").wait_for()
    page.locator("#list").evaluate("(list) => { list.scrollTop = list.scrollHeight / 2; }")
    list_rows(page).filter(has_text=re.compile(r"video (499|500)\d\d\d")).first.wait_for()
    page.wait_for_timeout(300)
    shown = int(list_rows(page).first.inner_text().split()[1])
    page.locator("#list").evaluate("(list) => { list.scrollTop += 54; }")
    # A small movement scrolls by its pixels: one row, not by the ratio of the heights.
    list_rows(page).first.filter(has_text=f"video {shown + 1}").wait_for()
    assert list_rows(page).count() < 40


def test_a_server_that_ended_is_explained(page: Page, folder: Path, expected_errors: list[str]) -> None:
    expected_errors.append("ERR_")
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        open_page(page, url)
    list_rows(page).filter(has_text="b.mp4").click()
    problem = page.locator("#server-problem", has_text="The server does not answer.")
    problem.wait_for()
    problem.get_by_role("button", name="Try again").click()
    problem.wait_for()
