"""The page of ``mgdali explore`` in a real browser: picks that follow the controls."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mgdali import MotionGuided, Segment, TopMotion, pick_frames
from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.explore_page import drag, list_rows, open_page, picks_of, setting, wait_until_confirmed
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_it_shows_the_picks_of_pick_frames_with_their_images(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    path = folder / "run" / "a.mp4"
    assert picks_of(page, "A") == pick_frames(path, 8).indices.tolist()
    assert picks_of(page, "B") == pick_frames(path, sampler=Segment(8)).indices.tolist()
    page.wait_for_function("() => [...document.querySelectorAll('.cell img')].every((image) => image.naturalWidth > 0)")
    assert page.locator(".facts").inner_text().startswith("60 frames · ")
    assert page.locator(".cell.waiting").count() == 0


def test_picks_follow_mu_while_it_is_dragged(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    slider = setting(page, "mu, slider")
    for mu in (1.0, 1.6, 2.0, 0.0):
        drag(page, slider, mu)
        expected = pick_frames(folder / "run" / "a.mp4", sampler=MotionGuided(8, mu=mu)).indices.tolist()
        assert picks_of(page, "A") == expected
    measured = page.evaluate("() => performance.getEntriesByName('mgdali:drag').map(({duration}) => duration)")
    assert len(measured) == 4
    print(f"picks follow a drag after {max(measured):.1f} ms")
    wait_until_confirmed(page)
    assert "mu:0" in page.url


def test_a_thousand_frames_are_picked_during_a_drag(page: Page, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving_square(1000, 32, 48), options={"preset": "ultrafast"})
    with contextlib.closing(open_collection([str(tmp_path)])) as collection, running(collection) as url:
        open_page(page, url, "long.mp4")
        # With the mouse: an event of a script would wait for the next picture of the screen, that of a mouse does not.
        box = setting(page, "mu, slider").bounding_box()
        assert box is not None
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] / 4, middle)
        page.mouse.down()
        for step in range(200):
            page.mouse.move(box["x"] + box["width"] * (0.1 + 0.8 * (step * 7 % 200) / 200), middle)
        page.mouse.up()
        names = {"drag": "from the event to the changed page", "picks": "computing and drawing"}
        for name, meaning in names.items():
            durations = page.evaluate(
                "(name) => performance.getEntriesByName(name).map(({duration}) => duration)", f"mgdali:{name}"
            )
            # The browser may join movements on a slow machine.
            assert len(durations) >= 20
            late = np.percentile(durations, 95)
            print(f"1,000 frames, {meaning}: median {np.median(durations):.1f} ms, 95 % within {late:.1f} ms")
        wait_until_confirmed(page)


def test_the_number_of_frames_changes_in_all_rows_or_in_one(page: Page, link: str) -> None:
    open_page(page, link)
    setting(page, "Frames N").fill("5")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 10")
    setting(page, "in all rows").uncheck()
    setting(page, "Frames N").fill("3")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 8")
    wait_until_confirmed(page)


def test_an_invalid_number_is_explained_and_changes_nothing(page: Page, link: str) -> None:
    open_page(page, link)
    before = picks_of(page, "A")
    setting(page, "Frames N").fill("0")
    page.locator("#controls .problem").wait_for()
    assert "num_frames must be an integer in [1, 512], got 0" in page.locator("#controls .problem").inner_text()
    assert picks_of(page, "A") == before


def test_a_row_changes_its_strategy_and_its_controls(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    page.locator("#tabs").get_by_role("button", name="B Segments").click()
    assert not setting(page, "mu").is_visible()
    setting(page, "Strategy").select_option("top")
    wait_until_confirmed(page)
    assert picks_of(page, "B") == pick_frames(folder / "run" / "a.mp4", sampler=TopMotion(8)).indices.tolist()
    assert "does not use the running sum" in page.locator(".curves .note").inner_text()
    setting(page, "Strategy").select_option("stride")
    assert setting(page, "Stride").is_visible()
    assert setting(page, "Past the end").is_visible()
    wait_until_confirmed(page)


def test_motion_at_the_feature_level_is_measured_when_asked_for(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    setting(page, "Motion").select_option("feature")
    page.locator(".strip[data-letter=A]", has_text="feature level").wait_for()
    wait_until_confirmed(page)
    expected = pick_frames(folder / "run" / "a.mp4", sampler=MotionGuided(8, motion="feature")).indices.tolist()
    assert picks_of(page, "A") == expected


def test_rows_are_added_and_removed(page: Page, link: str) -> None:
    open_page(page, link)
    page.get_by_role("button", name="+ Add row").click()
    page.locator(".strip[data-letter=C]").wait_for()
    wait_until_confirmed(page)
    page.get_by_role("button", name="Remove row A").click()
    assert page.locator(".strip").count() == 2
    assert page.locator(".strip[data-letter=A]").count() == 0
    page.go_back()
    page.locator(".strip[data-letter=A]").wait_for()
    assert page.locator(".strip").count() == 3


def test_a_training_draw_is_that_of_the_seed(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    setting(page, "Offsets").select_option("train")
    page.get_by_role("button", name="Next draw").click()
    page.locator(".strip[data-letter=A]", has_text="draw 1").wait_for()
    wait_until_confirmed(page)
    assert picks_of(page, "A") == pick_frames(folder / "run" / "a.mp4", 8, seed=1).indices.tolist()


def test_two_videos_are_compared_with_the_same_settings(page: Page, link: str, folder: Path) -> None:
    open_page(page, link)
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Choose a video in the list to compare.").wait_for()
    list_rows(page).filter(has_text="b.mp4").click()
    page.locator("article h2").nth(1).filter(has_text="b.mp4").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length === 4")
    assert picks_of(page, "A", 0) == pick_frames(folder / "run" / "a.mp4", 8).indices.tolist()
    assert picks_of(page, "A", 1) == pick_frames(folder / "run" / "b.mp4", 8).indices.tolist()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("article").count() == 1


@pytest.mark.parametrize(("video", "total"), [("one.mp4", 1), ("still.mp4", 30)])
def test_videos_without_motion_are_shown(page: Page, link: str, video: str, total: int) -> None:
    open_page(page, link, video)
    assert "nothing moves" in page.locator(".curves").inner_text()
    assert all(0 <= frame < total for frame in picks_of(page, "A"))


def test_many_picks_are_shown(page: Page, link: str) -> None:
    open_page(page, link, view="A=strategy:motion,num_frames:512")
    assert len(picks_of(page, "A")) == 512
    page.wait_for_function("() => document.querySelector('.cell img').naturalWidth > 0")
