"""The page of ``mgdali explore`` in a real browser, with the real server and real videos."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from mgdali import MotionGuided, Segment, TopMotion, pick_frames
from mgdali.explore.collection import open_collection
from mgdali.explore.server import running
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.slow

_LONG_NAME = "a very long name " * 8 + "<b>end</b>".replace("/", "\N{DIVISION SLASH}") + ".mp4"


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
    write_video(root / "odd" / _LONG_NAME, moving_square(20, 48, 64))
    (root / "odd" / "broken.mp4").write_bytes(b"no video" * 100)
    return root


@pytest.fixture(scope="module")
def link(folder: Path) -> Iterator[str]:
    """The address of the page."""
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        yield url


def _open(page: Page, link: str, video: str = "a.mp4", view: str = "") -> None:
    """Open the page, and choose a video in the list; wait until its picks are confirmed."""
    page.goto(f"{link}#{view}")
    _choose(page, video)
    _confirmed(page)


def _choose(page: Page, video: str) -> None:
    _rows(page).filter(has_text=video).click()
    page.locator("article h2").filter(has_text=video).wait_for()


def _confirmed(page: Page) -> None:
    """Wait until each row of picks is said to be equal to those of the package."""
    page.wait_for_function(
        """() => {
            const signs = [...document.querySelectorAll(".sign")];
            return signs.length > 0 && signs.every((sign) => sign.dataset.kind === "equal");
        }"""
    )


def _rows(page: Page) -> Locator:
    """The rows of the list that exist as elements."""
    return page.locator("#list").get_by_role("option")


def _picks(page: Page, letter: str, panel: int = 0) -> list[int]:
    cells = page.locator("article").nth(panel).locator(f".strip[data-letter={letter}] .cell")
    return [int(frame) for frame in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.frame)")]


def _setting(page: Page, label: str) -> Locator:
    return page.locator("#controls").get_by_label(label, exact=True)


def _drag(page: Page, slider: Locator, value: float) -> None:
    slider.evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )
    page.evaluate("() => new Promise(requestAnimationFrame)")


def test_it_shows_the_picks_of_pick_frames_with_their_images(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    path = folder / "run" / "a.mp4"
    assert _picks(page, "A") == pick_frames(path, 8).indices.tolist()
    assert _picks(page, "B") == pick_frames(path, sampler=Segment(8)).indices.tolist()
    page.wait_for_function("() => [...document.querySelectorAll('.cell img')].every((image) => image.naturalWidth > 0)")
    assert page.locator(".facts").inner_text().startswith("60 frames · ")
    assert page.locator(".cell.waiting").count() == 0


def test_picks_follow_mu_while_it_is_dragged(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    slider = _setting(page, "mu, slider")
    for mu in (1.0, 1.6, 2.0, 0.0):
        _drag(page, slider, mu)
        expected = pick_frames(folder / "run" / "a.mp4", sampler=MotionGuided(8, mu=mu)).indices.tolist()
        assert _picks(page, "A") == expected
    measured = page.evaluate("() => performance.getEntriesByName('mgdali:drag').map(({duration}) => duration)")
    assert len(measured) == 4
    print(f"picks follow a drag after {max(measured):.1f} ms")
    _confirmed(page)
    assert "mu:0" in page.url


def test_the_first_list_is_marked(page: Page, link: str) -> None:
    _open(page, link)
    marks = page.evaluate("() => performance.getEntriesByName('mgdali:first-list').map(({startTime}) => startTime)")
    assert len(marks) == 1
    print(f"the list is painted after {marks[0]:.0f} ms")


def test_a_thousand_frames_are_picked_during_a_drag(page: Page, tmp_path: Path) -> None:
    write_video(tmp_path / "long.mp4", moving_square(1000, 32, 48), options={"preset": "ultrafast"})
    with contextlib.closing(open_collection([str(tmp_path)])) as collection, running(collection) as url:
        _open(page, url, "long.mp4")
        slider = _setting(page, "mu, slider")
        for step in range(40):
            _drag(page, slider, 0.3 + step / 50)
        names = {"drag": "from the event to the changed page", "picks": "computing and drawing"}
        for name, meaning in names.items():
            durations = page.evaluate(
                "(name) => performance.getEntriesByName(name).map(({duration}) => duration)", f"mgdali:{name}"
            )
            assert len(durations) == 40
            print(f"1,000 frames, {meaning}: median {np.median(durations):.1f} ms, most {max(durations):.1f} ms")
        _confirmed(page)


def test_the_number_of_frames_changes_in_all_rows_or_in_one(page: Page, link: str) -> None:
    _open(page, link)
    _setting(page, "Frames N").fill("5")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 10")
    _setting(page, "in all rows").uncheck()
    _setting(page, "Frames N").fill("3")
    page.wait_for_function("() => document.querySelectorAll('.cell').length === 8")
    _confirmed(page)


def test_an_invalid_number_is_explained_and_changes_nothing(page: Page, link: str) -> None:
    _open(page, link)
    before = _picks(page, "A")
    _setting(page, "Frames N").fill("0")
    page.locator("#controls .problem").wait_for()
    assert "num_frames must be an integer in [1, 512], got 0" in page.locator("#controls .problem").inner_text()
    assert _picks(page, "A") == before


def test_a_row_changes_its_strategy_and_its_controls(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    page.locator("#tabs").get_by_role("button", name="B Segments").click()
    assert not _setting(page, "mu").is_visible()
    _setting(page, "Strategy").select_option("top")
    _confirmed(page)
    assert _picks(page, "B") == pick_frames(folder / "run" / "a.mp4", sampler=TopMotion(8)).indices.tolist()
    assert "does not use the running sum" in page.locator(".curves .note").inner_text()
    _setting(page, "Strategy").select_option("stride")
    assert _setting(page, "Stride").is_visible()
    assert _setting(page, "Past the end").is_visible()
    _confirmed(page)


def test_motion_at_the_feature_level_is_measured_when_asked_for(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    _setting(page, "Motion").select_option("feature")
    page.locator(".strip[data-letter=A]", has_text="feature level").wait_for()
    _confirmed(page)
    expected = pick_frames(folder / "run" / "a.mp4", sampler=MotionGuided(8, motion="feature")).indices.tolist()
    assert _picks(page, "A") == expected


def test_rows_are_added_and_removed(page: Page, link: str) -> None:
    _open(page, link)
    page.get_by_role("button", name="+ Add row").click()
    page.locator(".strip[data-letter=C]").wait_for()
    _confirmed(page)
    page.get_by_role("button", name="Remove row A").click()
    assert page.locator(".strip").count() == 2
    assert page.locator(".strip[data-letter=A]").count() == 0
    page.go_back()
    page.locator(".strip[data-letter=A]").wait_for()
    assert page.locator(".strip").count() == 3


def test_a_training_draw_is_that_of_the_seed(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    _setting(page, "Offsets").select_option("train")
    page.get_by_role("button", name="Next draw").click()
    page.locator(".strip[data-letter=A]", has_text="draw 1").wait_for()
    _confirmed(page)
    assert _picks(page, "A") == pick_frames(folder / "run" / "a.mp4", 8, seed=1).indices.tolist()


def test_two_videos_are_compared_with_the_same_settings(page: Page, link: str, folder: Path) -> None:
    _open(page, link)
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Choose a video in the list to compare.").wait_for()
    _rows(page).filter(has_text="b.mp4").click()
    page.locator("article h2").nth(1).filter(has_text="b.mp4").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length === 4")
    assert _picks(page, "A", 0) == pick_frames(folder / "run" / "a.mp4", 8).indices.tolist()
    assert _picks(page, "A", 1) == pick_frames(folder / "run" / "b.mp4", 8).indices.tolist()
    page.get_by_role("button", name="Compare").click()
    assert page.locator("article").count() == 1


def test_a_video_that_cannot_be_decoded_shows_its_error_in_place(page: Page, link: str, page_errors: list[str]) -> None:
    page.goto(link)
    _choose(page, "broken.mp4")
    message = page.get_by_role("alert").filter(has_text="cannot decode")
    message.wait_for()
    assert "broken.mp4" in message.inner_text()
    page.locator(".video.broken", has_text="broken.mp4").wait_for()
    _choose(page, "a.mp4")
    _confirmed(page)
    # The browser itself reports the status 422.
    assert all("422" in error for error in page_errors)
    page_errors.clear()


@pytest.mark.parametrize(("video", "total"), [("one.mp4", 1), ("still.mp4", 30)])
def test_videos_without_motion_are_shown(page: Page, link: str, video: str, total: int) -> None:
    _open(page, link, video)
    assert "nothing moves" in page.locator(".curves").inner_text()
    assert all(0 <= frame < total for frame in _picks(page, "A"))


def test_a_name_is_shown_as_text_and_does_not_widen_the_page(page: Page, link: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(link)
    page.get_by_role("button", name="Videos", exact=True).click()
    _choose(page, "a very long name")
    _confirmed(page)
    assert page.locator("h2 b").count() == 0
    assert _LONG_NAME in page.locator("article h2").inner_text()
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_many_picks_are_shown(page: Page, link: str) -> None:
    _open(page, link, view="A=strategy:motion,num_frames:512")
    assert len(_picks(page, "A")) == 512
    page.wait_for_function("() => document.querySelector('.cell img').naturalWidth > 0")


def test_the_keyboard_is_enough(page: Page, link: str) -> None:
    _open(page, link)
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.id") == "search"
    page.keyboard.type("mp4")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('search=mp4')")
    before = page.locator("article h2").inner_text()
    page.keyboard.press("ArrowDown")
    page.wait_for_function("(before) => document.querySelector('article h2').innerText !== before", arg=before)
    _confirmed(page)
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
    _open(page, link)
    page.locator("#search").focus()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => { const e = document.activeElement; return e.id || e.classList[0]; }"))
    assert {"list", "strategy", "numFrames", "mu", "even", "inverse", "level", "seed", "field", "cell"} <= reached


def test_the_cursor_moves_by_frames_and_marks_the_picked_image(page: Page, link: str) -> None:
    _open(page, link)
    curves = page.get_by_role("slider", name="Frame under the cursor of the curves")
    curves.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    assert curves.get_attribute("aria-valuenow") == "11"
    assert (curves.get_attribute("aria-valuetext") or "").startswith("frame 11 · ")
    frame = _picks(page, "A")[3]
    for _ in range(abs(frame - 11)):
        page.keyboard.press("ArrowRight" if frame > 11 else "ArrowLeft")
    marked = page.locator(".cell.under-cursor").first
    assert marked.get_attribute("data-frame") == str(frame)
    page.wait_for_function("() => document.querySelector('.preview img').naturalWidth > 0")


def test_pointing_at_an_image_moves_the_cursor_of_the_curves(page: Page, link: str) -> None:
    _open(page, link)
    frame = _picks(page, "A")[2]
    page.locator(".strip[data-letter=A] .cell").nth(2).hover()
    curves = page.get_by_role("slider", name="Frame under the cursor of the curves")
    assert curves.get_attribute("aria-valuenow") == str(frame)
    assert "picked by A" in (curves.get_attribute("aria-valuetext") or "")


def test_a_narrow_screen_has_the_list_as_a_drawer(page: Page, link: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(link)
    page.locator("article h2").wait_for()
    assert not page.locator("#list").is_visible()
    page.get_by_role("button", name="Videos", exact=True).click()
    _choose(page, "b.mp4")
    page.locator("#list").wait_for(state="hidden")
    _confirmed(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390


def test_dark_follows_the_system_until_the_user_chooses(page: Page, link: str) -> None:
    page.emulate_media(color_scheme="dark")
    _open(page, link)
    theme = "() => document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.keyboard.press("d")
    assert page.evaluate(theme) == "light"
    page.reload()
    _confirmed(page)
    assert page.evaluate(theme) == "light"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_enough_contrast(page: Page, link: str, theme: str) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    _open(page, link)
    pairs = page.evaluate(
        """() => {
            const style = getComputedStyle(document.documentElement);
            const colour = (name) => style.getPropertyValue(`--${name}`).trim();
            const texts = ["ink", "soft", "accent", "row-B", "row-C", "row-D", "row-E", "row-F"];
            const backs = ["paper", "raised", "page"];
            const pairs = texts.flatMap((text) => backs.map((back) => [text, back]));
            // Errors are shown in these colours: in a row of the list, below a control, in a panel, above the page.
            for (const back of [...backs, "band", "tint", "bad-tint"]) pairs.push(["bad", back]);
            return pairs.map(([text, back]) => [text, back, colour(text), colour(back)]);
        }"""
    )
    assert [(text, back) for text, back, a, b in pairs if _contrast(a, b) < 4.5] == []


def _contrast(one: str, other: str) -> float:
    """The contrast of two colours by the rules of WCAG 2."""

    def luminance(colour: str) -> float:
        channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_picture_is_saved_as_svg_with_its_images(page: Page, link: str, tmp_path: Path) -> None:
    _open(page, link)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture as SVG").click()
    download.value.save_as(tmp_path / "picture.svg")
    assert download.value.suggested_filename == "a.mp4-picks.svg"
    content = (tmp_path / "picture.svg").read_text()
    root = ElementTree.fromstring(content)
    images = root.findall(".//{http://www.w3.org/2000/svg}image")
    assert len(images) == 16
    assert all((image.get("href") or "").startswith("data:image/jpeg;base64,") for image in images)
    # Colours of the page's style sheet would be missing in the file.
    assert "var(" not in content


def test_the_picture_is_saved_as_png_in_light_colours(page: Page, link: str, tmp_path: Path) -> None:
    from PIL import Image

    page.emulate_media(color_scheme="dark")
    _open(page, link)
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the picture as PNG").click()
    download.value.save_as(tmp_path / "picture.png")
    with Image.open(io.BytesIO((tmp_path / "picture.png").read_bytes())) as image:
        assert image.width == 2400
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert len(np.unique(np.asarray(image.convert("RGB"))[::8, ::8].reshape(-1, 3), axis=0)) > 100


def test_the_lines_of_python_give_the_same_picks(page: Page, link: str) -> None:
    _open(page, link, view="A=strategy:motion,num_frames:6,mu:1,seed:2&B=strategy:stride,num_frames:5,stride:3")
    page.get_by_role("button", name="Show the lines of Python that give these picks").click()
    lines = page.locator("#python-lines").inner_text()
    run = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split("\n")[:2] == [str(_picks(page, "A")), str(_picks(page, "B"))]
    page.get_by_role("button", name="Copy").click()
    page.wait_for_function("() => document.getElementById('copy-status').textContent !== ''")


def test_a_link_reproduces_the_view(page: Page, link: str) -> None:
    _open(page, link)
    _setting(page, "Frames N").fill("5")
    _setting(page, "even").fill("0.25")
    page.locator("#sort").select_option("frames")
    page.locator("#direction").click()
    page.locator("#search").fill("mp4")
    page.wait_for_function("() => /num_frames:5.*even:0.25.*search=mp4.*sort=frames.*descending=1/.test(location.hash)")
    _confirmed(page)
    picks, names = _picks(page, "A"), _rows(page).all_inner_texts()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    _confirmed(page)
    assert _picks(page, "A") == picks
    assert page.locator("#search").input_value() == "mp4"
    page.wait_for_function("(count) => document.querySelectorAll('[role=option]').length === count", arg=len(names))


def test_back_returns_to_the_video_before(page: Page, link: str) -> None:
    _open(page, link)
    _choose(page, "b.mp4")
    page.go_back()
    page.locator("article h2").filter(has_text="a.mp4").wait_for()
    page.go_forward()
    page.locator("article h2").filter(has_text="b.mp4").wait_for()


@pytest.mark.parametrize("hash_", ["video=99999", "video=x&A=strategy:nothing&selected=Q", "A=&video=,,,&sort=x", "%"])
def test_a_wrong_address_does_not_break_the_page(page: Page, link: str, page_errors: list[str], hash_: str) -> None:
    page.goto(f"{link}#{hash_}")
    _rows(page).filter(has_text="a.mp4").wait_for()
    _choose(page, "a.mp4")
    _confirmed(page)
    assert all("404" in error for error in page_errors)
    page_errors.clear()


def test_the_list_is_searched_filtered_and_sorted(page: Page, link: str) -> None:
    _open(page, link)
    page.locator("#class").select_option("run")
    page.get_by_text("2 videos").wait_for()
    assert [text.split("\n")[0] for text in _rows(page).all_inner_texts()] == ["a.mp4", "b.mp4"]
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
    _rows(page).filter(has_text=f"video {total - 1}").wait_for()
    page.locator("#list").evaluate("(list) => { list.scrollTop = list.scrollHeight / 2; }")
    _rows(page).filter(has_text=re.compile(r"video (499|500)\d\d\d")).first.wait_for()
    page.wait_for_timeout(300)
    shown = int(_rows(page).first.inner_text().split()[1])
    page.locator("#list").evaluate("(list) => { list.scrollTop += 54; }")
    # A small movement scrolls by its pixels: one row, not by the ratio of the heights.
    _rows(page).first.filter(has_text=f"video {shown + 1}").wait_for()
    assert _rows(page).count() < 40


def test_a_server_that_ended_is_explained(page: Page, folder: Path, page_errors: list[str]) -> None:
    with contextlib.closing(open_collection([str(folder)])) as collection, running(collection) as url:
        _open(page, url)
    _rows(page).filter(has_text="b.mp4").click()
    problem = page.locator("#server-problem", has_text="The server does not answer.")
    problem.wait_for()
    problem.get_by_role("button", name="Try again").click()
    problem.wait_for()
    assert all("ERR_" in error for error in page_errors)
    page_errors.clear()


def test_a_link_names_its_two_videos_and_the_active_one(page: Page, link: str) -> None:
    page.goto(f"{link}#video=4,5&active=1")
    page.wait_for_function("() => document.querySelectorAll('.sign[data-kind=equal]').length === 4")
    assert "active" in (page.locator("article").nth(1).get_attribute("class") or "").split()
    assert _rows(page).and_(page.locator("[aria-selected=true]")).count() == 1
