"""Whole evaluations of small videos: what is measured, and that the figures can be repeated."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra evaluate")

from mgdali.errors import DatasetError
from mgdali.evaluate.comparison import Comparison
from mgdali.evaluate.run import run_evaluation
from mgdali.evaluate.statistics import accuracy_of, difference_of
from tests.support.bursts import Bursts

GUIDED = ("motion-guided, image, mu 0.5", "motion-guided, feature, mu 0.5")


def same(a: Comparison, b: Comparison) -> bool:
    return a.right.keys() == b.right.keys() and all(np.array_equal(a.right[key], b.right[key]) for key in a.right)


def test_motion_guided_sampling_wins_if_only_a_burst_shows_the_class(bursts: Bursts, tmp_path: Path) -> None:
    found = run_evaluation(bursts.options(tmp_path))
    assert found.failed == {}
    assert (found.found, found.computed, found.comparison.heads) == (18, 18, 5 * 3)
    segment = found.comparison.right["segment", 2]
    # No pick of segment sampling is in a burst, so its answers are guesses.
    assert accuracy_of(segment).mean < 80
    for name in GUIDED:
        assert accuracy_of(found.comparison.right[name, 2]).mean == 100
        difference = difference_of(found.comparison.right[name, 2], segment)
        assert difference.is_clear
        assert difference.mean > 0
        assert difference.lost == 0


@pytest.mark.slow
def test_the_figures_depend_on_the_seeds_only(bursts: Bursts, tmp_path: Path) -> None:
    known = run_evaluation(bursts.options(tmp_path, seeds=2, num_workers=1)).comparison
    assert same(run_evaluation(bursts.options(tmp_path, seeds=2, num_workers=3)).comparison, known)
    assert same(run_evaluation(bursts.options(tmp_path / "new", seeds=2, num_workers=2)).comparison, known)
    # Further seeds change nothing in the first ones.
    first = run_evaluation(bursts.options(tmp_path, seeds=1)).comparison
    assert all(np.array_equal(first.right[key][0], known.right[key][0]) for key in known.right)


def test_random_folds_are_other_ones_with_each_seed(bursts: Bursts, tmp_path: Path) -> None:
    found = run_evaluation(bursts.options(tmp_path, folds=2, seeds=2, train_clips=1, random_folds=True))
    assert found.comparison.heads == 5 * 2 * 2
    assert accuracy_of(found.comparison.right[GUIDED[0], 2]).seeds == (100.0, 100.0)


def test_a_bad_video_is_left_out_for_all_strategies(bursts: Bursts, tmp_path: Path) -> None:
    videos = shutil.copytree(bursts.folder, tmp_path / "videos")
    bad = videos / "right" / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    # A row of the index is found by the size and the time of the file, which the copies keep.
    options = bursts.options(tmp_path, data=str(videos))
    with pytest.raises(DatasetError, match="none of 19 videos"):
        run_evaluation(options)
    listed = tmp_path / "list.txt"
    good = sorted(bursts.folder.rglob("*.mp4"))
    listed.write_text("".join(f"{path} {path.parent.name}\n" for path in [*good, bad]))
    found = run_evaluation(bursts.options(tmp_path, data=str(listed)))
    assert list(found.failed) == [str(bad)]
    assert {each.shape for each in found.comparison.right.values()} == {(1, 18)}


def test_too_few_videos_are_an_error(bursts: Bursts, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="18 videos cannot fill 19 folds: give more videos, or at most --folds 18"):
        run_evaluation(bursts.options(tmp_path, folds=19))
    listed = tmp_path / "list.txt"
    left = sorted((bursts.folder / "left").iterdir())
    listed.write_text("".join(f"{path} left\n" for path in left) + f"{bursts.folder}/right/clip_0.mp4 right\n")
    with pytest.raises(DatasetError, match="the class 'right' has one video"):
        run_evaluation(bursts.options(tmp_path, data=str(listed)))
    listed.write_text("".join(f"{path} left\n" for path in left) + f"{tmp_path}/missing.mp4 right\n")
    with pytest.raises(DatasetError, match="1 videos cannot be used, and the others are of one class"):
        run_evaluation(bursts.options(tmp_path, data=str(listed)))


def test_folds_can_be_made_by_a_column(bursts: Bursts, tmp_path: Path) -> None:
    rows = ["path,label,person"]
    for path in sorted(bursts.folder.rglob("*.mp4")):
        rows.append(f"{path},{path.parent.name},{int(path.stem.split('_')[1]) % 3}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(rows) + "\n")
    found = run_evaluation(bursts.options(tmp_path, data=str(table), fold_column="person"))
    assert accuracy_of(found.comparison.right[GUIDED[0], 2]).mean == 100
