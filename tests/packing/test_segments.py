"""Packing segments of files: a copy for each segment, which the loader samples like the segment of the original."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mgdali import DatasetError, MotionIndex, TimeRange, VideoDataset, pack
from mgdali.datasets.pack_format import INDEX, read_manifest
from mgdali.packing import plan as plan_module
from mgdali.packing.report import summarize_pack
from mgdali.packing.verify import check_pack
from mgdali.samplers import Representation
from mgdali.video.meters import measure_motion
from mgdali.video.record import VideoRecord
from tests.support.loading import load
from tests.support.packs import contents, encode_once, table
from tests.support.videos import moving_square, write_video

# The files have 30 frames per second. The segments of a file are not next to each other.
SEGMENTS = [
    ("a.mp4", TimeRange(0.0, 0.5)),
    ("b.avi", TimeRange(10, 30, "frames")),
    ("a.mp4", TimeRange(0.25, 1.0)),
    ("a.mp4", None),
    ("b.avi", TimeRange(0.5, 1.2)),
    ("a.mp4", TimeRange(1.1)),
    ("b.avi", TimeRange(3, None, "frames")),
    ("a.mp4", TimeRange(0.0, 0.5)),
]
FRAMES = [(0, 15), (10, 30), (8, 30), (0, 50), (15, 36), (33, 50), (3, 40), (0, 15)]
KEYS = [
    *("a_0ms-500ms", "b_10-30", "a_250ms-1000ms", "a", "b_500ms-1200ms", "a_1100ms-end", "b_3-end"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two files, each with several segments."""
    folder = tmp_path_factory.mktemp("segments") / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", moving_square(50, 48, 64), options={"crf": "18", "g": "12", "bf": "2"})
    write_video(folder / "b.avi", moving_square(40, 48, 64, seed=1), codec="mpeg4")
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> VideoDataset:
    return segments(folder, SEGMENTS)


@pytest.fixture(scope="module")
def packed(data: VideoDataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of the segments; not to be changed."""
    out = tmp_path_factory.mktemp("segments") / "pack"
    with pytest.MonkeyPatch.context() as patch:
        encode_once(patch)
        pack(data, out, num_workers=0)
    return out


@pytest.fixture(autouse=True)
def _copies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    encode_once(monkeypatch)


def segments(folder: Path, entries: list[tuple[str, TimeRange | None]]) -> VideoDataset:
    names, parts = zip(*entries, strict=True)
    numbers = [f"number {i}" for i in range(len(parts))]
    labels = [i % 3 for i in range(len(parts))]
    return VideoDataset([folder / name for name in names], labels, columns={"id": numbers}, time_ranges=parts)


def written(out: Path) -> dict[str, bytes]:
    """The files that packing wrote: without the mapped copy of the index, which a loader makes."""
    return {name: content for name, content in contents(out).items() if not name.startswith(f"{INDEX}.")}


def test_each_segment_has_a_row_a_key_and_its_part_of_the_original(data: VideoDataset, packed: Path) -> None:
    rows = table(packed)
    assert [row["key"] for row in rows[:-1]] == KEYS
    assert rows[-1]["key"].startswith("a_0ms-500ms-")
    assert [row["origin"] for row in rows] == list(data.paths)
    assert [(row["start"], row["end"], row["unit"]) for row in rows[1:4]] == [
        (10, 30, "frames"),
        (0.25, 1.0, "seconds"),
        (None, None, None),
    ]
    manifest = read_manifest(packed)
    assert (manifest.format, manifest.videos, manifest.frames) == (2, 8, sum(end - first for first, end in FRAMES))
    # Each file counts once as the original of its segments, and once as that of the whole file.
    sizes = {path: Path(path).stat().st_size for path in data.paths}
    assert manifest.origin_bytes == sum(sizes.values()) + sizes[data.paths[3]]
    shard = (packed / "shard-000000.tar").read_bytes()
    start = shard.index(b'{"id": "number 1"')
    assert json.loads(shard[start : shard.index(b"}", start) + 1]) == {
        "id": "number 1",
        "label": 1,
        "class": "1",
        "path": data.paths[1],
        "start": 10.0,
        "end": 30.0,
        "unit": "frames",
    }


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_seed_gives_the_order_and_picks_of_the_segments(data: VideoDataset, packed: Path, num_workers: int) -> None:
    def picks(dataset: VideoDataset, firsts: list[int], **options: Any) -> list[tuple[str, int, list[int]]]:
        arguments: dict[str, Any] = {"training": True, "shuffle": True, "batch_size": 3, "return_meta": True, **options}
        found = []
        with load(dataset, **arguments) as loader:
            for _, _, meta in loader:
                for name, total, frames in zip(meta["id"], meta["num_frames"], meta["frames"], strict=True):
                    first = firsts[int(name.removeprefix("number "))]
                    found.append((name, int(total), (frames - first).tolist()))
        return found

    expected = picks(data, [first for first, _ in FRAMES], num_workers=0)
    assert picks(VideoDataset.from_pack(packed), [0] * 8, num_workers=num_workers) == expected


def test_motion_is_that_of_the_original_with_zero_for_the_first_frame(data: VideoDataset, packed: Path) -> None:
    dataset = VideoDataset.from_pack(packed)
    index = MotionIndex(packed / INDEX, root=packed)
    for video, copy, (first, end) in zip(data, dataset, FRAMES, strict=True):
        expected = measure_motion(video.media, Representation())[first:end].astype(np.float32)
        expected[0] = 0
        record = index.find(copy.path)
        assert record is not None
        np.testing.assert_array_equal(record.motion["image"], expected)


def test_the_data_set_of_the_pack_has_whole_videos_and_says_what_they_were(data: VideoDataset, packed: Path) -> None:
    dataset = VideoDataset.from_pack(packed)
    assert not dataset.has_segments
    assert list(dataset.labels) == list(data.labels)
    assert list(dataset.columns) == ["start", "end", "unit", "id"]
    assert dataset.columns["start"][:4] == [0.0, 10.0, 0.25, None]
    assert dataset.columns["unit"][:4] == ["seconds", "frames", "seconds", None]


def test_columns_named_like_the_bounds_of_segments_keep_their_values(folder: Path, tmp_path: Path) -> None:
    data = VideoDataset([folder / "a.mp4"], [0], columns={"start": ["0:00"]}, time_ranges=[TimeRange(0.0, 0.5)])
    pack(data, tmp_path, num_workers=0)
    assert VideoDataset.from_pack(tmp_path).columns == {"start": ["0:00"], "end": [0.5], "unit": ["seconds"]}


def test_missing_values_of_a_table_are_the_same_in_its_pack(folder: Path, tmp_path: Path) -> None:
    values = {"score": [0.5, None], "count": [1, None], "who": [None, "p1"]}
    data = VideoDataset.from_table(
        {"path": ["a.mp4", "a.mp4"], "label": [0, 1], "start": [0, 3], "end": [3, 6], **values},
        root=folder,
        unit="frames",
    )
    pack(data, tmp_path, num_workers=0)
    for dataset in (data, VideoDataset.from_pack(tmp_path)):
        assert [math.isnan(value) for value in dataset.columns["score"]] == [False, True]
        assert [list(dataset.columns[name]) for name in ("count", "who")] == [values["count"], values["who"]]


def test_a_pack_without_videos_says_how_to_see_the_reasons(folder: Path, tmp_path: Path) -> None:
    pack(segments(folder, [("a.mp4", TimeRange(9.0, 10.0))]), tmp_path, num_workers=0)
    with pytest.raises(DatasetError, match="contains no video, and 1 originals were left out: `mgdali pack show .*--f"):
        VideoDataset.from_pack(tmp_path)


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_an_interrupted_run_is_resumed_to_the_same_bytes(
    data: VideoDataset, packed: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Segments of a file are divided between several jobs, and a run ends between those of one job.
    monkeypatch.setattr(plan_module, "_PARTS_PER_JOB", 2)
    records: list[VideoRecord] = []

    def interrupt(record: VideoRecord) -> None:
        records.append(record)
        if len(records) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(data, tmp_path, num_workers=0, on_record=interrupt)
    report = pack(data, tmp_path, num_workers=0)
    assert (report.packed, report.kept) == (8 - stop, stop)
    assert written(tmp_path) == written(packed)


@pytest.mark.slow
def test_a_worker_gives_the_same_bytes(data: VideoDataset, packed: Path, tmp_path: Path) -> None:
    pack(data, tmp_path, num_workers=1)
    assert written(tmp_path) == written(packed)


def test_only_new_and_changed_segments_are_packed_again(folder: Path, tmp_path: Path) -> None:
    first = [("a.mp4", TimeRange(0.0, 0.5)), ("a.mp4", TimeRange(10, 20, "frames"))]
    pack(segments(folder, first), tmp_path, num_workers=0)
    shard = (tmp_path / "shard-000000.tar").read_bytes()
    assert pack(segments(folder, first), tmp_path, num_workers=0).packed == 0
    second = [("a.mp4", None), ("a.mp4", TimeRange(0.0, 0.6)), ("a.mp4", TimeRange(10, 20, "frames"))]
    report = pack(segments(folder, second), tmp_path, num_workers=0)
    assert (report.packed, report.kept, report.videos) == (2, 1, 4)
    assert (tmp_path / "shard-000000.tar").read_bytes() == shard
    # The segment that the data set no longer has comes first.
    assert [row["key"] for row in table(tmp_path)] == ["a_0ms-500ms", "a", "a_0ms-600ms", "a_10-20"]


def test_segments_without_frames_are_left_out_by_name(folder: Path, tmp_path: Path) -> None:
    data = segments(folder, [("a.mp4", TimeRange(9.0, 10.0)), ("a.mp4", TimeRange(0.0, 0.5))])
    report = pack(data, tmp_path, num_workers=0)
    name = f"{folder}/a.mp4 (seconds 9 to 10)"
    assert list(report.failed) == [name]
    (left_out,) = read_manifest(tmp_path).left_out
    assert (left_out.path, left_out.part) == (f"{folder}/a.mp4", TimeRange(9.0, 10.0))
    again = pack(data, tmp_path, num_workers=0)
    assert (again.packed, again.kept, list(again.failed)) == (0, 2, [name])


def test_show_and_check_know_segments(packed: Path) -> None:
    check = check_pack(packed)
    assert (check.complete, check.videos, check.segments) == (True, 8, 7)
    summary = summarize_pack(packed)
    assert (summary.videos, summary.segments) == (8, 7)
    assert summary.quality is not None
    assert (summary.quality.videos, summary.quality.missing) == (8, 0)
    assert summary.quality.worst is not None
    assert summary.quality.worst > 25
