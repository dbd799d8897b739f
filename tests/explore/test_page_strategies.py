"""Strategies of the page: their addresses and their lines of Python."""

from __future__ import annotations

import ast
import contextlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mgdali import MotionClip, MotionGuided, Segment, Stride, TopMotion, pick_frames
from mgdali.choices import draw
from mgdali.one_video.explanation import explain_clip
from tests.support.page_modules import EXACT, call, random_strategy, sampler_of
from tests.support.videos import moving_square, write_video

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def test_numbers_and_strings_are_written_as_in_python(modules: Page) -> None:
    rng = np.random.default_rng(3)
    numbers = [0.0, -0.0, 1.0, 1e15, 1e16, 1e22, 1e-4, 1e-5, 5e-324, 1.7e308, 0.1, 123456.5, 1234565.0, 0.03125, -2.5]
    numbers += (rng.random(500) * 10.0 ** rng.integers(-8, 9, 500)).tolist() + (np.arange(500) / 64).tolist()
    body = "return given.map((value) => [P.pythonFloat(value), P.general(value), P.general(value, 3)]);"
    assert call(modules, body, numbers) == [[repr(each), f"{each:g}", f"{each:.3g}"] for each in numbers]
    texts = ["", "a \"b\" 'c'", "\\n\\", "\n\r\t\0\x7f\x85", "é 漢 😀", "\udcff", "a\u202eb\u2028\u00a0", "\U000e0001"]
    written = call(modules, "return given.map(P.pythonString);", texts)
    assert [ast.literal_eval(each) for each in written] == texts
    assert all(each.isprintable() for each in written)


@pytest.mark.parametrize("name", ["plain.mp4", 'odd "name" \\ it\'s\n漢.mp4', os.fsdecode(b"not-utf8-\xff.mp4")])
def test_python_lines_print_the_page_s_picks(modules: Page, tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / "short.mp4", moving_square(40, 48, 64)).rename(tmp_path / name)
    rng = np.random.default_rng(4)
    cases = []
    for number in range(25):
        strategy = random_strategy(rng)
        strategy["mu"] = EXACT[number % 4]
        start, end = [(None, None), (0.4, None), (0.25, 1.0), (0.0, 0.5)][rng.integers(4)]
        clip = pick_frames(str(path), sampler=MotionGuided(motion=strategy["level"]), start=start, end=end)
        offsets = draw(strategy["seed"] or 0, 0, 0, strategy["numFrames"], training=strategy["seed"] is not None)
        video = {
            "path": str(path),
            "name": name,
            "start": start,
            "end": end,
            "motion": clip.motion.tolist(),
            "first_frame": clip.first_frame,
            "seconds": None,
        }
        cases.append({"strategy": strategy, "video": video, "offsets": offsets.offsets.tolist()})
    body = """return given.map(({strategy, video, offsets}) => {
        const explanation = E.explain(strategy, video, offsets);
        const picks = explanation.rows[0].frames;
        return {picks, title: explanation.title, lines: T.pythonLines(video, strategy, picks)};
    });"""
    for found in call(modules, body, cases):
        printed = io.StringIO()
        names: dict[str, Any] = {}
        with contextlib.redirect_stdout(printed):
            exec(found["lines"], names)
        assert ast.literal_eval(printed.getvalue()) == found["picks"]
        assert found["lines"].endswith(f"# {found['picks']}")
        assert found["title"] == explain_clip(names["clip"]).title.replace(str(path), name)


def test_python_lines_leave_out_defaults(modules: Page) -> None:
    body = """const video = {path: "a.mp4", start: null, end: null};
        return T.STRATEGIES.map(({id}) => T.pythonLines(video, T.makeStrategy(id)).split("\\n")[2]);"""
    classes = [MotionGuided, TopMotion, Segment, Stride, MotionClip]
    expected_lines = [f'clip = pick_frames("a.mp4", sampler={each.__name__}(8))' for each in classes]
    assert call(modules, body) == expected_lines
    body = "return T.STRATEGIES.map(({defaults}) => defaults);"
    assert [sampler_of(defaults) for defaults in call(modules, body)] == [each(8) for each in classes]


def test_addresses_keep_all_parameters_that_change_the_picks(modules: Page) -> None:
    rng = np.random.default_rng(5)
    strategies = [random_strategy(rng) for _ in range(300)]
    body = """return given.map((each) => {
        const query = String(T.toQuery(each));
        const read = T.fromQuery(new URLSearchParams(query));
        return [query, read, String(T.toQuery(read))];
    });"""
    for strategy, (query, read, again) in zip(strategies, call(modules, body, strategies), strict=True):
        assert query == again
        assert sampler_of(read) == sampler_of(strategy)
        assert read["seed"] == (None if strategy["strategy"] == "top" else strategy["seed"])
        names = dict(part.split("=") for part in query.split("&"))
        assert ("past_end" in names) == (strategy["strategy"] in ("stride", "run"))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("strategy=best", "strategy must be one of ('motion', 'top', 'segment', 'stride', 'run'), got 'best'"),
        ("num_frames=0", "num_frames must be an integer in [1, 512], got 0"),
        ("num_frames=513", "num_frames must be an integer in [1, 512], got 513"),
        ("num_frames=0x10", "num_frames must be an integer in [1, 512], got '0x10'"),
        ("mu=-0.5", "mu must be a finite number >= 0, got -0.5"),
        ("mu=1e999", "mu must be a finite number >= 0, got inf"),
        ("even=1.01", "even must be a number in [0, 1], got 1.01"),
        ("level=pixel", "level must be one of ('image', 'feature'), got 'pixel'"),
        ("strategy=run&stride=1.5", "stride must be an integer >= 1, got 1.5"),
        ("seed=-1", "seed must be an integer >= 0, got -1"),
    ],
)
def test_an_address_with_a_bad_parameter_names_it(modules: Page, query: str, message: str) -> None:
    body = "return attempt(() => T.fromQuery(new URLSearchParams(given)));"
    assert call(modules, body, query) == {"error": message}


def test_an_address_without_parameters_is_the_default_strategy(modules: Page) -> None:
    body = """const empty = T.fromQuery(new URLSearchParams("num_frames=&seed=&mu="));
        return [T.fromQuery(new URLSearchParams()), empty, T.makeStrategy("motion")];"""
    first, second, default = call(modules, body)
    assert first == second == default
