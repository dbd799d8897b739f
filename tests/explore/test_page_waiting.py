"""The page of ``mgdali explore`` in a real browser while the server's answers are late, incomplete or different.

The server and its videos are real. Single answers are changed on their way to the page.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mgdali import pick_frames
from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos."""
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "a.mp4", moving_square(60, 48, 64))
    write_video(root / "b.mp4", moving_square(40, 48, 64, seed=1))
    return root


@pytest.fixture(scope="module")
def link(folder: Path) -> Iterator[str]:
    """The address of the page."""
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        yield url


def _wait_for_signs(page: Page, kind: str, count: int) -> None:
    """Wait until so many rows have this result of the comparison with the package."""
    page.locator(f".sign[data-kind={kind}]").nth(count - 1).wait_for()


def _picks(page: Page, letter: str) -> list[int]:
    cells = page.locator(f".strip[data-letter={letter}] .cell")
    return [int(frame) for frame in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.frame)")]


def test_the_progress_of_measuring_is_shown_and_then_the_curve(page: Page, link: str) -> None:
    measuring = True

    def answer(route: Route) -> None:
        if measuring:
            route.fulfill(status=202, json={"measuring": {"frames": 1234}})
        else:
            route.continue_()

    page.route("**/api/videos/0?*", answer)
    page.goto(f"{link}#video=0")
    page.locator(".message[data-kind=progress]", has_text="1,234 frames measured").wait_for()
    assert page.locator(".motion-curve").is_hidden()
    measuring = False
    page.locator(".motion-curve").first.wait_for()
    page.locator(".message[data-kind=progress]").wait_for(state="hidden")
    _wait_for_signs(page, "equal", 2)


def test_picks_of_the_package_replace_those_of_the_page_where_values_tie(page: Page, link: str, folder: Path) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        explanation = response.json()
        explanation["rows"][0]["frames"][3] += 1
        route.fulfill(response=response, json=explanation)

    page.route("**/explanation?*strategy=motion*", answer)
    page.goto(f"{link}#video=0")
    _wait_for_signs(page, "replaced", 1)
    _wait_for_signs(page, "equal", 1)
    expected = pick_frames(folder / "a.mp4", 8).indices.tolist()
    expected[3] += 1
    assert _picks(page, "A") == expected
    assert "two values tie" in page.locator(".strip[data-letter=A] .sign").inner_text()


def test_the_page_continues_when_the_server_is_back(page: Page, link: str, expected_errors: list[str]) -> None:
    expected_errors.append("ERR_INTERNET_DISCONNECTED")
    page.goto(f"{link}#video=0")
    _wait_for_signs(page, "equal", 2)
    page.context.set_offline(True)
    page.locator("#list").get_by_role("option").filter(has_text="b.mp4").click()
    page.locator("#server-problem", has_text="The server does not answer.").wait_for()
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    page.locator("#server-problem").wait_for(state="hidden")
    page.locator(".facts", has_text="40 frames").wait_for()
    _wait_for_signs(page, "equal", 2)


def test_the_list_asks_again_while_it_is_incomplete(page: Page, link: str) -> None:
    complete = False

    def answer(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        if not complete:
            content["complete"] = False
            for row in content["rows"]:
                row["motion"] = None
        route.fulfill(response=response, json=content)

    page.route("**/api/videos?*", answer)
    page.goto(f"{link}#video=0")
    _wait_for_signs(page, "equal", 2)
    assert page.locator("#list-incomplete").is_visible()
    assert page.locator(".video-motion").first.is_hidden()
    complete = True
    page.locator("#list-incomplete").wait_for(state="hidden")
    page.locator(".video-motion").first.wait_for()
