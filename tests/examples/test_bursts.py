"""The synthetic data set in which only a burst of motion identifies the class."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from bursts import BURSTS, SIDE, BurstVideo, plan_burst_videos, write_burst_videos
from numpy.typing import NDArray

from mgdali import DatasetError, VideoDataset
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.meters import measure_motion

COUNTS = {"train_per_class": 2, "val_per_class": 1}
PLANNED = plan_burst_videos(**COUNTS)
DIRECTIONS = {"down": (0, 1), "left": (-1, 0), "right": (1, 0), "up": (0, -1)}


# Only the example is tested here, nothing of the package.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bursts") / "not" / "yet"
    write_burst_videos(made, **COUNTS)
    return made


def digests(folder: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.mp4")
    }


def centres(path: Path) -> NDArray[np.float64]:
    """Return the position (x, y) of the shape in each frame. The shape is brighter than any background."""
    places = []
    for frame in read_frames(path):
        y, x = np.nonzero(frame.to_ndarray(format="rgb24").max(axis=-1) > 205)
        places.append((x.mean(), y.mean()))
    return np.array(places)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder: Path, tmp_path: Path) -> None:
    write_burst_videos(tmp_path / "again", **COUNTS)
    write_burst_videos(tmp_path / "other", train_per_class=1, val_per_class=1, seed=1)
    first, again, other = digests(folder), digests(tmp_path / "again"), digests(tmp_path / "other")
    assert first == again
    assert not set(first.values()) & set(other.values())


@pytest.mark.slow
def test_no_two_videos_are_the_same_within_a_split_or_between_them(folder: Path) -> None:
    found = digests(folder)
    assert len(set(found.values())) == len(found) == 3 * len(BURSTS)
    assert len({video.seed for video in PLANNED}) == len(PLANNED)


def test_a_larger_data_set_does_not_change_earlier_videos() -> None:
    more = {video.name: video for video in plan_burst_videos(train_per_class=4, val_per_class=3)}
    assert [more[video.name] for video in PLANNED] == PLANNED


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("val", 1)])
def test_each_split_is_a_data_set_of_all_classes(folder: Path, split: str, count: int) -> None:
    dataset = VideoDataset.from_folder(folder / split)
    planned = [video for video in PLANNED if video.name.startswith(f"{split}/")]
    assert dataset.classes == list(BURSTS)
    assert [video.path for video in dataset] == [str(folder / video.name) for video in planned]
    assert [dataset.classes[video.label] for video in dataset] == [video.action for video in planned]
    assert len(dataset) == count * len(BURSTS)


def test_lengths_shares_and_places_of_bursts_differ() -> None:
    planned = plan_burst_videos(train_per_class=50, val_per_class=1)
    shares = [len(video.burst) / video.num_frames for video in planned]
    middles = [np.mean(video.burst) / video.num_frames for video in planned]
    assert min(video.num_frames for video in planned) in range(56, 60)
    assert max(video.num_frames for video in planned) in range(157, 161)
    assert 0.15 < min(shares) < 0.17
    assert 0.24 < max(shares) < 0.26
    assert min(middles) < 0.2
    assert max(middles) > 0.8


def test_burst_flash_and_shake_do_not_overlap_and_are_within_the_video() -> None:
    for video in plan_burst_videos(train_per_class=20, val_per_class=20):
        spans = sorted((video.burst, video.flash, video.shake), key=lambda span: span.start)
        assert sum(video.moves) == len(video.burst)
        assert min(video.moves) >= 2
        assert len(video.moves) == len(BURSTS[video.action])
        assert spans[0].start >= 4
        assert all(later.start - earlier.stop >= 3 for earlier, later in zip(spans, spans[1:], strict=False))
        assert spans[-1].stop <= video.num_frames - 3


def test_the_length_of_a_burst_does_not_reveal_the_number_of_moves() -> None:
    videos = plan_burst_videos(train_per_class=100, val_per_class=1)
    lengths = {count: [len(v.burst) for v in videos if len(v.moves) == count] for count in (2, 4)}
    assert np.mean(lengths[2]) == pytest.approx(np.mean(lengths[4]), rel=0.1)


def motion_of(folder: Path, video: BurstVideo) -> dict[str, NDArray[np.float64]]:
    """Return the image-level motion S of the burst, the flash, the shake and all other frames."""
    motion = np.asarray(measure_motion(folder / video.name, Representation()), np.float64)
    assert len(motion) == video.num_frames
    spans = {"burst": video.burst, "flash": video.flash, "shake": video.shake}
    still = np.delete(motion, [t for span in spans.values() for t in span])
    return {"still": still, **{name: motion[span.start : span.stop] for name, span in spans.items()}}


@pytest.mark.parametrize("video", PLANNED, ids=lambda video: video.name)
def test_the_burst_moves_more_than_still_frames_and_less_than_flash_and_shake(folder: Path, video: BurstVideo) -> None:
    motion = motion_of(folder, video)
    assert motion["still"].mean() < motion["burst"].mean()
    assert motion["burst"].max() < motion["flash"].min()
    assert motion["burst"].max() < motion["shake"].max()


def test_apart_from_flash_and_shake_most_motion_is_in_the_burst(folder: Path) -> None:
    motion = [motion_of(folder, video) for video in PLANNED]
    burst, still = (sum(each[name].sum() for each in motion) for name in ("burst", "still"))
    assert burst > 0.5 * (burst + still)


@pytest.mark.parametrize("video", PLANNED, ids=lambda video: video.name)
def test_the_shape_makes_the_moves_of_its_class_and_returns_to_its_start(folder: Path, video: BurstVideo) -> None:
    places = centres(folder / video.name)
    ends = video.burst.start - 1 + np.cumsum([0, *video.moves])
    made = np.diff(places[ends], axis=0)
    expected = np.array([DIRECTIONS[move] for move in BURSTS[video.action]])
    assert np.abs(places[ends[0]] - places[ends[-1]]).max() < 1
    assert ((made * expected).sum(axis=1) > 11).all()
    assert np.abs(made * (1 - np.abs(expected))).max() < 1.5


@pytest.mark.parametrize("video", PLANNED[:4], ids=lambda video: video.name)
def test_outside_the_burst_the_shape_rests_in_every_frame(folder: Path, video: BurstVideo) -> None:
    places = centres(folder / video.name)
    resting = [t for t in range(video.num_frames) if t not in {*video.burst, *video.flash, *video.shake}]
    assert places.shape == (video.num_frames, 2)
    assert np.abs(places[resting] - places[0]).max() < 1


def test_videos_are_small_and_square(folder: Path) -> None:
    for video in PLANNED:
        assert next(iter(read_frames(folder / video.name))).to_ndarray(format="rgb24").shape == (SIDE, SIDE, 3)
        assert (folder / video.name).stat().st_size < 40_000


def test_a_folder_that_is_not_empty_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(DatasetError, match=f"{tmp_path} already exists"):
        write_burst_videos(tmp_path, **COUNTS)
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize(("name", "value"), [("train_per_class", 0), ("val_per_class", 1.5), ("seed", -1)])
def test_arguments_out_of_range_are_errors_before_anything_is_written(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer"):
        write_burst_videos(tmp_path / "videos", **{name: value})
    assert not any(tmp_path.iterdir())
