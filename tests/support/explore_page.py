"""Real videos behind a real server for tests of the page, and what a user does on the page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

__all__ = [
    "LONG_NAME",
    "choose",
    "drag",
    "folder",
    "link",
    "list_rows",
    "open_page",
    "picks_of",
    "setting",
    "wait_until_confirmed",
]

LONG_NAME = "a very long name " * 8 + "<b>end</b>".replace("/", "\N{DIVISION SLASH}") + ".mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of two classes, a still one, one of one frame, a file without a video, and one with a long name."""
    root = tmp_path_factory.mktemp("videos")
    for name in ("run", "walk", "odd"):
        (root / name).mkdir()
    write_video(root / "run" / "a.mp4", moving_square(60, 48, 64))
    write_video(root / "run" / "b.mp4", moving_square(90, 48, 64, seed=1))
    write_video(root / "walk" / "c.mp4", moving_square(40, 64, 48, seed=2))
    write_video(root / "odd" / "one.mp4", moving_square(1, 48, 64))
    write_video(root / "odd" / "still.mp4", np.repeat(moving_square(1, 48, 64), 30, axis=0))
    write_video(root / "odd" / LONG_NAME, moving_square(20, 48, 64))
    (root / "odd" / "broken.mp4").write_bytes(b"no video" * 100)
    return root


@pytest.fixture(scope="module")
def link(folder: Path) -> Iterator[str]:
    """The address of the page."""
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        yield url


def open_page(page: Page, link: str, video: str = "a.mp4", view: str = "") -> None:
    """Open the page, and choose a video in the list; wait until its picks are confirmed."""
    page.goto(f"{link}#{view}")
    choose(page, video)
    wait_until_confirmed(page)


def choose(page: Page, video: str) -> None:
    list_rows(page).filter(has_text=video).click()
    page.locator("article h2").filter(has_text=video).wait_for()


def wait_until_confirmed(page: Page) -> None:
    """Wait until each row of picks is said to be equal to those of the package."""
    page.wait_for_function(
        """() => {
            const signs = [...document.querySelectorAll(".sign")];
            return signs.length > 0 && signs.every((sign) => sign.dataset.kind === "equal");
        }"""
    )


def list_rows(page: Page) -> Locator:
    """The rows of the list that exist as elements."""
    return page.locator("#list").get_by_role("option")


def picks_of(page: Page, letter: str, panel: int = 0) -> list[int]:
    cells = page.locator("article").nth(panel).locator(f".strip[data-letter={letter}] .cell")
    return [int(frame) for frame in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.frame)")]


def setting(page: Page, label: str) -> Locator:
    return page.locator("#controls").get_by_label(label, exact=True)


def drag(page: Page, slider: Locator, value: float) -> None:
    slider.evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )
    page.evaluate("() => new Promise(requestAnimationFrame)")
