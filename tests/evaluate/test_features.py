"""Features of frames: each frame once, in files that are complete, whatever stops the work."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mgdali.datasets.video_dataset import Video
from mgdali.evaluate.features import compute_features
from mgdali.evaluate.network import FrameNetwork
from mgdali.evaluate.videos import MeasuredVideo
from mgdali.video.time_range import TimeRange
from tests.support.bursts import TinyNetwork
from tests.support.videos import moving_square, write_video

SIZE = 16


class Counting(TinyNetwork):
    """The tiny network, which counts its pictures in all of its copies, and stops after some of them."""

    pictures = 0
    stop_after: int | None = None

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        Counting.pictures += len(pixels)
        if Counting.stop_after is not None and Counting.pictures > Counting.stop_after:
            raise KeyboardInterrupt
        return super().forward(pixels)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> FrameNetwork:
    monkeypatch.setattr(Counting, "pictures", 0)
    monkeypatch.setattr(Counting, "stop_after", None)
    return FrameNetwork("counting", Counting(), SIZE, (127.0,) * 3, (128.0,) * 3)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[MeasuredVideo]:
    folder = tmp_path_factory.mktemp("features")
    paths = [write_video(folder / f"{t}.mp4", moving_square(t, 32, 48, seed=t)) for t in (9, 11, 20)]
    return [MeasuredVideo(Video(str(path), 0), None, {"image": np.zeros(int(path.stem))}) for path in paths]


def ignore(text: str, done: int, total: int) -> None:
    pass


def test_each_frame_is_computed_once(videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path) -> None:
    kept, found, failed = compute_features(videos, network, tmp_path, 1, ignore)
    assert (kept, failed, found.computed, found.lengths.tolist()) == (videos, {}, 3, [9, 11, 20])
    assert Counting.pictures == 40
    assert [found.of(i).shape for i in range(3)] == [(9, 12), (11, 12), (20, 12)]
    again = compute_features(videos, network, tmp_path, 1, ignore)[1]
    assert (again.computed, again.files, Counting.pictures) == (0, found.files, 40)


def test_the_square_is_seen_where_it_is(tmp_path: Path, network: FrameNetwork) -> None:
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    frames[0, :16, :16] = frames[1, 16:, 16:] = 255
    video = MeasuredVideo(Video(str(write_video(tmp_path / "a.mp4", frames)), 0), None, {"image": np.zeros(2)})
    features = compute_features([video], network, tmp_path, 1, ignore)[1].of(0).reshape(2, 3, 4)
    assert (features.argmax(2) == [[0] * 3, [3] * 3]).all()


def test_the_number_of_threads_changes_no_bit(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network = replace(network, module=nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1)))
    before = torch.get_num_threads()
    found = [compute_features(videos, network, tmp_path / str(n), n, ignore)[1] for n in (1, 3)]
    assert all((found[0].of(i) == found[1].of(i)).all() for i in range(3))
    assert torch.get_num_threads() == before


def test_after_ctrl_c_only_the_other_videos_are_computed(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counting, "stop_after", 25)
    with pytest.raises(KeyboardInterrupt):
        compute_features(videos, network, tmp_path, 1, ignore)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(len(np.load(path)) for path in files) == [9, 11]
    monkeypatch.setattr(Counting, "stop_after", None)
    monkeypatch.setattr(Counting, "pictures", 0)
    assert compute_features(videos, network, tmp_path, 1, ignore)[1].computed == 1
    assert Counting.pictures == 20


def test_changed_videos_and_damaged_files_are_computed_again(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(videos[0].video.path, path)
    video = MeasuredVideo(Video(str(path), 0), None, {"image": np.zeros(9)})
    first = compute_features([video], network, tmp_path, 1, ignore)[1]
    write_video(path, moving_square(9, 32, 48, seed=77))
    second = compute_features([video], network, tmp_path, 1, ignore)[1]
    assert second.computed == 1
    assert (second.of(0) != first.of(0)).any()
    os.truncate(second.files[0], 100)
    assert compute_features([video], network, tmp_path, 1, ignore)[1].computed == 1


def test_videos_that_cannot_be_decoded_or_do_not_fit_the_index_are_left_out(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path
) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video" * 100)
    bad = MeasuredVideo(Video(str(tmp_path / "bad.mp4"), 0), None, {"image": np.zeros(9)})
    missing = MeasuredVideo(Video(str(tmp_path / "missing.mp4"), 0), None, {"image": np.zeros(9)})
    other = replace(videos[1], motion={"image": np.zeros(12)})
    kept, found, failed = compute_features([bad, videos[0], missing, other], network, tmp_path, 1, ignore)
    assert kept == [videos[0]]
    assert list(failed) == [bad.video.path, missing.video.path, other.video.path]
    assert "it has 11 frames, but 12 in the index" in failed[other.video.path]
    assert len(found.files) == 1


@pytest.mark.parametrize("part", [TimeRange(3, 8, "frames"), TimeRange(0.1, 0.25)])
def test_a_segment_has_the_features_of_its_frames(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path, part: TimeRange
) -> None:
    whole = compute_features([videos[2]], network, tmp_path, 1, ignore)[1].of(0)
    segment = MeasuredVideo(replace(videos[2].video, time_range=part), None, {"image": np.zeros(5)})
    found = compute_features([segment], network, tmp_path, 1, ignore)[1]
    assert (found.of(0) == whole[3:8]).all()


def test_a_network_that_cannot_be_used_ends_the_work(
    videos: list[MeasuredVideo], network: FrameNetwork, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"network counting returned shape \[24, 16, 16\] for 8 pictures"):
        compute_features(videos, replace(network, module=nn.Flatten(0, 1)), tmp_path, 1, ignore)
