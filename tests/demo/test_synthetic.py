"""The data set that the package makes itself."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import DatasetError, VideoDataset
from mgdali.demo.synthetic import ACTIONS, ActionVideo, plan_action_videos, write_action_videos
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.meters import measure_motion

PER_CLASS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("synthetic") / "not" / "yet"
    write_action_videos(made, videos_per_class=PER_CLASS)
    return made


def digests(folder: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.mp4")
    }


def shape_of(pixels: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Centre x, centre y and area of the shape: it is brighter than any background."""
    y, x = np.nonzero(pixels.max(axis=-1) > 200)
    return float(x.mean()), float(y.mean()), float(len(x))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    write_action_videos(tmp_path / "again", videos_per_class=PER_CLASS)
    write_action_videos(tmp_path / "other", videos_per_class=1, seed=1)
    first, again, other = digests(folder), digests(tmp_path / "again"), digests(tmp_path / "other")
    assert first == again
    assert len(set(first.values())) == len(ACTIONS) * PER_CLASS
    assert not set(first.values()) & set(other.values())


@pytest.mark.slow
def test_the_folder_is_a_data_set_of_all_classes(folder: Path) -> None:
    dataset = VideoDataset.from_folder(folder)
    planned = plan_action_videos(videos_per_class=PER_CLASS)
    assert dataset.classes == list(ACTIONS)
    assert [video.path for video in dataset] == [str(folder / video.name) for video in planned]
    assert [dataset.classes[video.label] for video in dataset] == [video.action for video in planned]
    assert sum(Path(video.path).stat().st_size for video in dataset) < 12_000 * len(dataset)


def test_lengths_are_odd_sizes_even_and_both_differ() -> None:
    planned = plan_action_videos()
    lengths, sizes = {video.num_frames for video in planned}, {(video.width, video.height) for video in planned}
    assert len(planned) == 36
    assert all(length % 2 == 1 for length in lengths)
    assert all(side % 2 == 0 for size in sizes for side in size)
    assert len(lengths) > 10
    assert len(sizes) == 3
    assert all(video.burst.start >= 4 and video.burst.stop <= video.num_frames - 3 for video in planned)


@pytest.mark.slow
@pytest.mark.parametrize("video", plan_action_videos(videos_per_class=PER_CLASS), ids=lambda video: video.name)
def test_the_motion_lies_in_the_burst(folder: Path, video: ActionVideo) -> None:
    motion = measure_motion(folder / video.name, Representation())
    assert len(motion) == video.num_frames
    in_burst = motion[video.burst.start : video.burst.stop]
    assert in_burst.sum() > 0.95 * motion.sum()
    assert len(in_burst) < len(motion) / 2


@pytest.mark.slow
@pytest.mark.parametrize("video", plan_action_videos(videos_per_class=PER_CLASS), ids=lambda video: video.name)
def test_the_shape_does_what_its_class_says(folder: Path, video: ActionVideo) -> None:
    frames = [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in read_frames(folder / video.name)]
    assert frames[0].shape == (video.height, video.width, 3)
    before, after = shape_of(frames[0]), shape_of(frames[-1])
    right, down, growth = after[0] - before[0], after[1] - before[1], after[2] / before[2]
    expected = {
        "move_left": right < -40 and abs(down) < 3,
        "move_right": right > 40 and abs(down) < 3,
        "move_up": down < -40 and abs(right) < 3,
        "move_down": down > 40 and abs(right) < 3,
        "grow": growth > 5,
        "shrink": growth < 1 / 5,
    }
    assert expected[video.action]
    if video.action.startswith("move"):
        assert 0.9 < growth < 1.1


@pytest.mark.slow
def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    write_action_videos(tmp_path, videos_per_class=1)
    assert len(digests(tmp_path)) == len(ACTIONS)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    for path in (folder / "file", file):
        path.write_text("mine")
    for taken in (folder, file):
        with pytest.raises(DatasetError, match=f"{taken} already exists"):
            write_action_videos(taken, videos_per_class=1)
    assert file.read_text() == (folder / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(folder) == ["file"]


@pytest.mark.parametrize(("name", "value"), [("videos_per_class", 0), ("videos_per_class", 1.5), ("seed", -1)])
def test_arguments_out_of_range_are_named_before_anything_is_written(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        write_action_videos(tmp_path / "videos", **{name: value})
    assert not any(tmp_path.iterdir())
