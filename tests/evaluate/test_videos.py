"""The videos of an evaluation: their labels, and their motion from an index that is given or built."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mgdali import pack
from mgdali.errors import DatasetError
from mgdali.evaluate.options import EvaluateOptions
from mgdali.evaluate.videos import cache_of, find_videos, measure_videos
from mgdali.index.build import build_index
from mgdali.index.reader import MotionIndex
from mgdali.samplers import Representation
from tests.support.bursts import Bursts
from tests.support.videos import moving_square, write_video


def ignore(text: str, done: int, total: int) -> None:
    pass


def table(folder: Path, rows: list[dict[str, object]]) -> Path:
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "table.csv"


def test_labels_and_motion_are_those_of_the_data_and_the_index(bursts: Bursts, tmp_path: Path) -> None:
    options = bursts.options(tmp_path)
    dataset, found = find_videos(options)
    measured, failed = measure_videos(dataset, options, 1, ignore)
    assert (found, len(measured), failed) == (18, 18, {})
    assert [each.video.label for each in measured] == [0] * 9 + [1] * 9
    record = MotionIndex(bursts.index).find(measured[3].video.path)
    assert record is not None
    for level in ("image", "feature"):
        expected = record.motion_of(Representation(motion=level))  # type: ignore[arg-type]
        assert np.array_equal(measured[3].motion[level], expected)  # type: ignore[index, arg-type]
    assert measured[3].num_frames == 40


def test_of_many_videos_a_sample_is_used_which_is_always_the_same(bursts: Bursts, tmp_path: Path) -> None:
    options = bursts.options(tmp_path, max_videos=7)
    first, found = find_videos(options)
    assert (len(first), found) == (7, 18)
    assert list(first.paths) == list(find_videos(options)[0].paths)


def test_a_table_has_groups_and_segments(bursts: Bursts, tmp_path: Path) -> None:
    path = bursts.folder / "left" / "clip_0.mp4"
    rows: list[dict[str, object]] = [
        {"path": path, "label": "a", "person": "x", "start": 0.0, "end": 0.5},
        {"path": path, "label": "b", "person": "y", "start": 0.5, "end": 1.0},
    ]
    options = bursts.options(tmp_path, data=str(table(tmp_path, rows)), fold_column="person")
    dataset = find_videos(options)[0]
    measured, failed = measure_videos(dataset, options, 1, ignore)
    assert not failed
    assert [(each.group, each.num_frames) for each in measured] == [("x", 15), ("y", 15)]
    assert [each.motion["image"][0] for each in measured] == [0.0, 0.0]


def test_a_missing_column_is_named(bursts: Bursts, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no column 'person': it has no further columns"):
        find_videos(bursts.options(tmp_path, fold_column="person"))


def test_videos_without_classes_are_an_error(bursts: Bursts, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no classes to tell apart: give videos of at least two classes"):
        find_videos(EvaluateOptions(data=str(bursts.folder / "left")))
    rows: list[dict[str, object]] = [{"path": "a.mp4", "label": 0.5}, {"path": "b.mp4", "label": 1.5}]
    with pytest.raises(DatasetError, match="has no classes to tell apart"):
        find_videos(EvaluateOptions(data=str(table(tmp_path, rows))))


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"path": f"{name}.mp4", "label": label} for name, label in zip("abc", ("x", "y", ""), strict=True)
    ]
    with pytest.raises(DatasetError, match=r"1 videos have no label, for example .*c\.mp4: label them, or remove them"):
        find_videos(EvaluateOptions(data=str(table(tmp_path, rows))))


def test_videos_that_the_index_does_not_know_or_that_have_changed_are_left_out(bursts: Bursts, tmp_path: Path) -> None:
    videos = shutil.copytree(bursts.folder, tmp_path / "videos")
    write_video(videos / "left" / "clip_1.mp4", moving_square(9, 32, 48))
    index = tmp_path / "index.parquet"
    build_index([videos / "left" / f"clip_{i}.mp4" for i in range(3)], index, num_workers=0)
    write_video(videos / "left" / "clip_2.mp4", moving_square(12, 32, 48))
    options = bursts.options(tmp_path, data=str(videos), index=str(index), motion="image")
    measured, failed = measure_videos(find_videos(options)[0], options, 1, ignore)
    assert [Path(each.video.path).name for each in measured] == ["clip_0.mp4", "clip_1.mp4"]
    assert failed[str(videos / "left" / "clip_2.mp4")] == "it has changed since it was measured"
    assert failed[str(videos / "right" / "clip_0.mp4")] == "the index does not contain it"
    with pytest.raises(
        DatasetError, match="its motion at the feature level; mgdali index build --motion both adds them"
    ):
        measure_videos(find_videos(options)[0], bursts.options(tmp_path, data=str(videos), index=str(index)), 1, ignore)


def test_a_cache_that_cannot_be_made_is_named(bursts: Bursts, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    options = bursts.options(tmp_path / "file")
    with pytest.raises(DatasetError, match=r"the cache folder .*file cannot be made .*: give another one with --cache"):
        cache_of(options)


@pytest.mark.slow
def test_a_packed_data_set_has_the_motion_of_its_originals(bursts: Bursts, tmp_path: Path) -> None:
    pack(bursts.folder, tmp_path / "pack", num_workers=0)
    options = bursts.options(tmp_path, data=str(tmp_path / "pack"), index=None, motion="image")
    measured, failed = measure_videos(find_videos(options)[0], options, 1, ignore)
    originals = bursts.options(tmp_path, motion="image")
    expected = measure_videos(find_videos(originals)[0], originals, 1, ignore)[0]
    assert not failed
    assert all(np.array_equal(a.motion["image"], b.motion["image"]) for a, b in zip(measured, expected, strict=True))
    with pytest.raises(DatasetError, match="contains no motion 'feature'.*--motion image or --motion feature chooses"):
        measure_videos(find_videos(options)[0], replace(options, motion="both"), 1, ignore)
    with pytest.raises(DatasetError, match="has its own index: leave out --index"):
        measure_videos(find_videos(options)[0], replace(options, index=str(bursts.index)), 1, ignore)


@pytest.mark.slow
def test_without_an_index_one_is_built_in_the_cache_and_kept(bursts: Bursts, tmp_path: Path) -> None:
    videos = shutil.copytree(bursts.folder, tmp_path / "videos")
    (videos / "left" / "bad.mp4").write_bytes(b"no video" * 100)
    options = bursts.options(tmp_path / "cache", data=str(videos), index=None)
    steps: list[tuple[int, int]] = []
    for measured_before in (0, 18):
        steps.clear()
        dataset = find_videos(options)[0]
        measured, failed = measure_videos(dataset, options, 2, lambda text, done, total: steps.append((done, total)))
        assert len(measured) == 18
        assert list(failed) == [str(videos / "left" / "bad.mp4")]
        # The bad video is tried again.
        assert steps[-1] == (19 - measured_before, 19 - measured_before)
    assert len(list((tmp_path / "cache" / "indexes").glob("*.parquet"))) == 1
