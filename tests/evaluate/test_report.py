"""The report: its numbers, its sentences, and that it names no good video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra evaluate")

from mgdali.evaluate.comparison import Comparison
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.report import report_of
from mgdali.evaluate.run import Evaluation

GUIDED = "motion-guided, image, mu 0.5"
VIDEOS = 400


def evaluation(segment: float, guided: dict[int, tuple[int, int]], videos: int = VIDEOS, **changed: Any) -> Evaluation:
    """Return an evaluation in which a share of videos is right with segment sampling.

    Args:
        segment: The share.
        guided: Numbers of videos that motion-guided sampling wins and loses, by number of frames.
        videos: Number of videos.
        changed: Other options.
    """
    right = {}
    base = np.arange(videos) < round(segment * videos)
    for count, (won, lost) in guided.items():
        other = base.copy()
        other[np.flatnonzero(~base)[:won]] = True
        other[np.flatnonzero(base)[:lost]] = False
        right["segment", count] = base[None]
        right[GUIDED, count] = other[None]
    options = EvaluateOptions(data="/private/videos", num_frames=tuple(guided), motion="image", seeds=1, **changed)
    return Evaluation(
        options=options,
        comparison=Comparison(
            strategies=["segment", GUIDED],
            guided=[GUIDED],
            right={(name, count): right[name, count] for name in ("segment", GUIDED) for count in guided},
            heads=10,
            not_converged=0,
        ),
        labels=np.arange(videos) % 2,
        classes=["run", "jump"],
        frames=np.full(videos, 30),
        found=videos,
        failed={},
        computed=0,
    )


def test_the_numbers_of_a_row_are_those_of_the_answers() -> None:
    report = report_of(evaluation(0.75, {2: (20, 4)}))
    segment, guided = report["rows"]
    assert (segment["accuracy"], segment["difference"], segment["accuracy_of_seeds"]) == (75.0, None, [75.0])
    assert guided["accuracy"] == 79.0
    difference = guided["difference"]
    assert (difference["mean"], difference["won"], difference["lost"], difference["clear"]) == (4.0, 20, 4, True)
    each = np.repeat([1, -1, 0], [20, 4, 376])
    assert difference["error"] == pytest.approx(100 * each.std(ddof=1) / 20, abs=1e-3)
    assert report["data"]["classes"] == {"run": 200, "jump": 200}
    assert report["largest_class"] == 50.0


def test_the_report_is_json_and_contains_no_path() -> None:
    text = json.dumps(report_of(evaluation(0.75, {2: (20, 4)})), allow_nan=False)
    assert "private" not in text
    assert json.loads(text)["data"]["data"] == "videos"


@pytest.mark.parametrize(
    ("guided", "verdict"),
    [
        ({2: (40, 4), 8: (40, 5)}, "In 2 of 2 comparisons, motion-guided sampling is more accurate"),
        ({2: (4, 40), 8: (5, 5)}, "In 1 of 2 comparisons, motion-guided sampling is less accurate"),
        ({2: (4, 40), 8: (40, 5)}, "The result is mixed"),
        ({2: (6, 5), 8: (5, 5)}, "No gain of motion-guided sampling over segment sampling is shown"),
    ],
)
def test_the_verdict_follows_from_the_clear_differences(guided: dict[int, tuple[int, int]], verdict: str) -> None:
    assert report_of(evaluation(0.75, guided))["conclusions"][0].startswith(verdict)


@pytest.mark.parametrize("guided", [{2: (40, 4), 8: (5, 5)}, {2: (4, 40), 8: (5, 5)}])
def test_a_single_clear_difference_can_be_chance(guided: dict[int, tuple[int, int]]) -> None:
    verdict = report_of(evaluation(0.75, guided))["conclusions"][0]
    assert verdict.startswith("In 1 of 2 comparisons")
    assert verdict.endswith("A single one can be chance.")


def test_a_strategys_sentence_has_all_of_its_differences() -> None:
    line = report_of(evaluation(0.75, {2: (40, 4), 4: (4, 40), 8: (6, 6)}))["conclusions"][1]
    assert line == (
        f"{GUIDED}: more accurate than segment sampling with frames per video of 2 (+9.0 ± 1.6); less accurate with "
        "frames per video of 4 (-9.0 ± 1.6); within the error with frames per video of 8 (+0.0 ± 0.9)."
    )


@pytest.mark.parametrize(
    ("segment", "videos", "changed", "text"),
    [
        (0.51, VIDEOS, {}, "The features hardly show the classes"),
        (0.97, VIDEOS, {}, "which leaves little to gain"),
        (0.75, 40, {}, "There are 40 videos. A difference can be told from chance here if it is larger than"),
        (0.75, VIDEOS, {"random_folds": True}, "Folds are random"),
        (0.75, VIDEOS, {}, "A linear head on frozen features is not a trained video model"),
    ],
)
def test_limits_are_named_if_they_apply(segment: float, videos: int, changed: dict[str, Any], text: str) -> None:
    assert text in " ".join(report_of(evaluation(segment, {2: (3, 1)}, videos, **changed))["conclusions"])


def test_limits_that_do_not_apply_are_not_named() -> None:
    text = " ".join(report_of(evaluation(0.75, {2: (3, 1)}))["conclusions"])
    for limit in ("hardly show", "little to gain", "There are", "Folds are random", "did not reach"):
        assert limit not in text


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_plot_is_a_picture(ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plot")
    from mgdali.evaluate.plot import save_plot

    path = tmp_path / "plots" / f"evaluate.{ending}"
    save_plot(report_of(evaluation(0.75, {2: (20, 4), 8: (3, 4)})), path)
    assert path.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")
