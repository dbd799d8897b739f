"""The page of ``mgdali explore`` in a real browser: what is in view, on wide and narrow screens."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def link(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page for 220 videos: the list shows some of them and loads them by hundreds."""
    folder = tmp_path_factory.mktemp("videos")
    first = write_video(folder / "000.mp4", moving_square(12, 48, 64))
    for number in range(1, 220):
        shutil.copy(first, folder / f"{number:03d}.mp4")
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        yield url


_SELECTED_IS_IN_VIEW = """() => {
    const list = document.getElementById("list").getBoundingClientRect();
    const row = document.querySelector("#list [aria-selected=true]")?.getBoundingClientRect();
    return row !== undefined && row.top >= list.top && row.bottom <= list.bottom;
}"""


def _show(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length > 0")


@pytest.mark.parametrize(
    ("address", "following"),
    [
        ("video=50", "051.mp4"),
        # The first request for the list returns 100 rows.
        ("video=210", "211.mp4"),
        ("video=10&descending=1", "009.mp4"),
        ("video=,210&active=1", "211.mp4"),
    ],
)
def test_the_video_of_a_link_is_scrolled_into_view_and_the_keys_go_on_from_there(
    page: Page, link: str, address: str, following: str
) -> None:
    page.goto(f"{link}#{address}")
    page.wait_for_function(_SELECTED_IS_IN_VIEW)
    page.keyboard.press("j")
    page.locator("article h2", has_text=following).wait_for()


def test_a_link_to_a_video_that_the_filters_hide_leaves_the_list_at_its_beginning(page: Page, link: str) -> None:
    _show(page, f"{link}#video=210&search=00")
    page.wait_for_timeout(200)
    assert page.locator("#list").evaluate("(list) => list.scrollTop") == 0


def test_the_list_stays_where_the_user_has_scrolled_it(page: Page, link: str) -> None:
    _show(page, f"{link}#video=50")
    page.locator("#list").evaluate("(list) => { list.scrollTop = 0; }")
    page.keyboard.press("]")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 18")
    assert page.locator("#list").evaluate("(list) => list.scrollTop") == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_six_rows_fit_a_narrow_screen(page: Page, link: str, theme: str, tmp_path: Path) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 390, "height": 844})
    _show(page, f"{link}#video=3&" + "&".join(f"{letter}=strategy:motion" for letter in "ABCDEF"))
    page.screenshot(path=tmp_path / "narrow.png")
    widths = page.evaluate(
        "() => ['html', '#rows'].map((name) => document.querySelector(name)).map((e) => [e.scrollWidth, e.clientWidth])"
    )
    assert [(needed, given) for needed, given in widths if needed > given] == []
