"""The loader with segments of files: the same clips with and without an index, for any number of workers and ranks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mgdali import Fps, MotionGuided, MotionIndex, VideoDataset, VideoDecodeError, build_index, pick_frames
from mgdali.errors import VideoCrashError
from mgdali.loading import tally
from mgdali.samplers import Representation
from mgdali.video.time_range import TimeRange
from tests.support.crashing import KILLED, Crashing
from tests.support.damaged_videos import write_damaged
from tests.support.loading import digest, load
from tests.support.videos import moving_square, write_video

SEGMENTS = [
    ("a.mp4", TimeRange(0.0, 0.5)),
    ("a.mp4", TimeRange(0.25, 1.0)),
    ("b.avi", TimeRange(10, 30, "frames")),
    ("a.mp4", TimeRange(1.0)),
    ("b.avi", TimeRange(0.5, 1.2)),
    ("a.mp4", None),
    ("b.avi", TimeRange(3, None, "frames")),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segments") / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", moving_square(50, 48, 64), options={"crf": "18", "g": "12", "bf": "2"})
    write_video(folder / "b.avi", moving_square(40, 48, 64, seed=1), codec="mpeg4")
    return folder


@pytest.fixture(scope="module")
def index(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    build_index(segments(folder), path, num_workers=0)
    return path


def segments(folder: Path) -> VideoDataset:
    names, parts = zip(*SEGMENTS, strict=True)
    ids = [f"segment {i}" for i in range(len(parts))]
    starts = [0.0 if part is None else float(part.start) for part in parts]
    return VideoDataset(
        [folder / name for name in names],
        range(len(parts)),
        columns={"id": ids, "begin": starts},
        time_ranges=parts,
    )


def batches(dataset: VideoDataset, epochs: int = 2, **arguments: Any) -> list[Any]:
    defaults = {"batch_size": 3, "shuffle": True, "training": True, "return_meta": True, "num_workers": 0}
    with load(dataset, **{**defaults, **arguments}) as loader:
        return [batch for _ in range(epochs) for batch in loader]


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_index_and_workers_do_not_change_the_clips_of_segments(
    folder: Path, index: Path, tmp_path: Path, num_workers: int
) -> None:
    expected = [digest(batch) for batch in batches(segments(folder))]
    for arguments in ({"index": index}, {"index": "auto", "cache_dir": tmp_path}):
        found = batches(segments(folder), num_workers=num_workers, **arguments)
        assert [digest(batch) for batch in found] == expected


def test_picks_follow_the_motion_of_the_segment_and_are_frames_of_the_file(folder: Path, index: Path) -> None:
    found = MotionIndex(index).find(str(folder / "a.mp4"))
    assert found is not None
    whole = found.motion_of(Representation())
    assert whole is not None
    (batch,) = batches(segments(folder), 1, batch_size=7, shuffle=False, training=False)
    part = whole[8:30].copy()
    part[0] = 0
    # 0.25 s to 1 s at 30 frames/s: frames 8 to 29.
    assert batch[2]["num_frames"][1] == 22
    assert batch[2]["frames"][1].tolist() == (MotionGuided(4).pick(part, 22, np.full(4, 0.5)) + 8).tolist()


def test_columns_come_in_the_order_of_the_batch(folder: Path) -> None:
    dataset = segments(folder)
    for clips, labels, meta in batches(dataset, 1):
        assert len(clips) == len(labels)
        assert meta["id"] == [f"segment {label}" for label in labels]
        assert torch.equal(meta["begin"], torch.tensor([dataset.columns["begin"][label] for label in labels]))


@pytest.mark.slow
def test_two_ranks_resume_to_the_same_segments(folder: Path, index: Path) -> None:
    arguments: dict[str, Any] = {
        "batch_size": 1,
        "shuffle": True,
        "training": True,
        "return_meta": True,
        "index": index,
    }
    for rank in range(2):
        with load(segments(folder), rank=rank, world_size=2, num_workers=0, **arguments) as loader:
            expected = [digest(batch) for batch in loader]
        with load(segments(folder), rank=rank, world_size=2, num_workers=0, **arguments) as loader:
            iterator = iter(loader)
            begun = [digest(next(iterator)) for _ in range(2)]
            state = loader.state_dict()
        with load(segments(folder), rank=rank, world_size=2, num_workers=1, **arguments) as loader:
            loader.load_state_dict(state)
            assert begun + [digest(batch) for batch in loader] == expected


def test_an_index_that_grows_measures_each_file_once_and_has_one_row_per_file(folder: Path, tmp_path: Path) -> None:
    # All segments are in progress at the same time.
    with load(segments(folder), batch_size=7, num_workers=1, index="auto", cache_dir=tmp_path) as loader:
        (first,) = loader
        measured = loader.frames_decoded
        list(loader)
        known = loader.frames_decoded - measured
    # Picks of the two segments that were measured with their files need no further decoding.
    assert measured <= 50 + 40 + known
    (path,) = tmp_path.glob("*.parquet")
    assert len(MotionIndex(path)) == 2
    assert sorted(first[1].tolist()) == list(range(7))


def test_an_empty_segment_is_an_error_or_replaced(folder: Path) -> None:
    dataset = VideoDataset(
        [folder / "a.mp4"] * 3, [0, 1, 2], time_ranges=[TimeRange(0.0, 1.0), TimeRange(90.0, 95.0), TimeRange(0.2, 1.1)]
    )
    with pytest.raises(VideoDecodeError, match="no frame in the part seconds 90 to 95"):
        batches(dataset, 1)
    with pytest.warns(RuntimeWarning, match="replaced"):
        found = batches(dataset, 1, on_error="replace", batch_size=3)
    assert 1 not in found[0][1].tolist()


def test_damage_after_a_segment_changes_nothing(tmp_path: Path) -> None:
    damaged, intact = write_damaged(tmp_path, "zeros")
    parts = [TimeRange(0, 10, "frames"), TimeRange(4, 12, "frames")]
    good = batches(VideoDataset([intact] * 2, [0, 1], time_ranges=parts), 1)
    for arguments in ({}, {"index": "auto", "cache_dir": tmp_path}):
        found = batches(VideoDataset([damaged] * 2, [0, 1], time_ranges=parts), 1, **arguments)
        for a, b in zip(good, found, strict=True):
            assert torch.equal(a[0], b[0])
            assert torch.equal(a[2]["frames"], b[2]["frames"])


@pytest.mark.filterwarnings("ignore:.*is replaced by another video")
@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_all_segments_that_wait_for_the_record_of_a_broken_file_get_an_outcome(
    folder: Path, tmp_path: Path, num_workers: int
) -> None:
    damaged, _ = write_damaged(tmp_path, "zeros")
    bounds = [(0, 10), (30, None), (4, 12), (35, None), (28, 38)]
    parts = [*(TimeRange(start, end, "frames") for start, end in bounds), None]
    dataset = VideoDataset([*[damaged] * 5, folder / "a.mp4"], range(6), time_ranges=parts)
    arguments: dict[str, Any] = {"batch_size": 6, "on_error": "replace"}
    grows = {"index": "auto", "cache_dir": tmp_path, "num_workers": num_workers}
    expected = batches(dataset, 1, **arguments)
    found = batches(dataset, 1, **arguments, **grows)
    assert [digest(batch) for batch in found] == [digest(batch) for batch in expected]
    assert set(found[0][1].tolist()) <= {0, 2, 5}
    with pytest.raises(VideoDecodeError, match="after 25 frames"):
        batches(dataset, 1, batch_size=6, **grows)


@pytest.mark.slow
def test_segments_wait_no_longer_if_the_worker_that_measures_their_file_dies(folder: Path, tmp_path: Path) -> None:
    parts = [TimeRange(0, 7, "frames"), *(TimeRange(i, i + 10, "frames") for i in range(4)), None]
    dataset = VideoDataset([*[folder / "a.mp4"] * 5, folder / "b.avi"], range(6), time_ranges=parts)
    sampler = Crashing({7: KILLED})
    arguments: dict[str, Any] = {"sampler": sampler, "num_workers": 1, "index": "auto", "shuffle": False}
    with pytest.warns(RuntimeWarning, match="replaced"):
        (batch,) = batches(dataset, 1, batch_size=6, on_error="replace", cache_dir=tmp_path / "replace", **arguments)
    assert batch[1].tolist()[1:] == [1, 2, 3, 4, 5]
    with pytest.raises(VideoCrashError):
        batches(dataset, 1, batch_size=6, cache_dir=tmp_path / "raise", **arguments)


def test_an_epoch_may_end_while_segments_wait_for_a_record(folder: Path, tmp_path: Path) -> None:
    parts = [TimeRange(i, i + 9, "frames") for i in range(12)]
    dataset = VideoDataset([folder / "a.mp4"] * 12, range(12), time_ranges=parts)
    found = []
    for arguments in ({}, {"index": "auto", "cache_dir": tmp_path}):
        with load(dataset, batch_size=2, shuffle=True, training=True, return_meta=True, **arguments) as loader:
            for _ in range(2):
                # The loader is left with jobs under way and segments that wait.
                next(iter(loader))
            found.append([digest(batch) for batch in loader])
    assert found[0] == found[1]


def test_decoding_a_long_way_to_a_segment_is_reported_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "_LONG_WAY", 5)
    with pytest.warns(RuntimeWarning, match="mgdali index build") as reported:
        batches(segments(folder))
    assert len(reported) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches(VideoDataset([folder / "a.mp4"], [0]))


def test_steps_of_time_are_the_same_with_an_index_and_in_segments(folder: Path, index: Path, tmp_path: Path) -> None:
    sampler = Fps(10, 4)
    expected = [digest(batch) for batch in batches(segments(folder), sampler=sampler)]
    for arguments in ({"index": index}, {"index": "auto", "cache_dir": tmp_path}):
        assert [digest(batch) for batch in batches(segments(folder), sampler=sampler, **arguments)] == expected
    (batch,) = batches(segments(folder), 1, batch_size=7, shuffle=False, training=False, sampler=sampler)
    # 0.25 s to 1 s at 30 frames/s are frames 8 to 29; a run of 9 frames is in the middle of them.
    assert batch[2]["frames"][1].tolist() == [14, 17, 20, 23]
    clip = pick_frames(folder / "a.mp4", sampler=sampler, start=0.25, end=1)
    assert clip.indices.tolist() == [14, 17, 20, 23]
