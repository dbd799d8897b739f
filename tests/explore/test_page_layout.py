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
    """The address of the page for 60 videos, more than are in view."""
    folder = tmp_path_factory.mktemp("videos")
    first = write_video(folder / "00.mp4", moving_square(12, 48, 64))
    for number in range(1, 60):
        shutil.copy(first, folder / f"{number:02d}.mp4")
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        yield url


def _selected_is_in_view(page: Page) -> bool:
    visible: bool = page.evaluate(
        """() => {
            const list = document.getElementById("list").getBoundingClientRect();
            const row = document.querySelector("#list [aria-selected=true]")?.getBoundingClientRect();
            return row !== undefined && row.top >= list.top && row.bottom <= list.bottom;
        }"""
    )
    return visible


def _show(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length > 0")


def test_the_video_of_a_link_is_scrolled_into_view(page: Page, link: str) -> None:
    _show(page, f"{link}#video=50")
    assert _selected_is_in_view(page)


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
