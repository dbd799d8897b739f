"""Badly trimmed videos: still frames with the video's noise, and the evaluation of videos that they extend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the extra evaluate")

from mgdali.evaluate.features import compute_features
from mgdali.evaluate.network import open_network
from mgdali.evaluate.run import run_evaluation
from mgdali.evaluate.videos import cache_of, find_videos, measure_videos
from mgdali.index.build import build_index
from mgdali.index.reader import MotionIndex
from mgdali.samplers import Representation
from tests.support.benchmark_modules import script
from tests.support.bursts import NETWORK, Bursts
from tests.support.videos import moving_square, write_video

# Nothing of the package is tested here.
pytestmark = pytest.mark.slow

BOTH = (Representation(), Representation(motion="feature"))


@pytest.fixture(scope="module")
def still_share() -> Any:
    return script("still_share")


@pytest.fixture(scope="module")
def still_frames(still_share: Any) -> Any:
    return script("still_frames")


@pytest.fixture(scope="module")
def still_videos(still_share: Any) -> Any:
    return script("still_videos")


def run(still_share: Any, folder: Path, *arguments: str) -> Any:
    small = ["--network", NETWORK, "--input-size", "16", "--folds", "3", "--seeds", "1", "--num-frames", "2"]
    out = folder / "out.json"
    still_share.main([*small, *arguments, "--cache", str(folder / "cache"), "--out", str(out)])
    return json.loads(out.read_text())


def no_watch(text: str, done: int, total: int) -> None:
    """Show no progress."""


def rows_by_strategy(report: Any, share: str) -> dict[str, Any]:
    return {row["strategy"]: row for row in report["sets"]["videos"]["shares"][share]["rows"]}


def noisy_video(still_frames: Any, sigma: float, num_frames: int = 30) -> Any:
    """Frames with the same picture and independent noise, and a block in the middle that changes all the time."""
    rng = np.random.default_rng(0)
    planes = []
    for height, width in ((80, 96), (40, 48), (40, 48)):
        own = np.full((num_frames, height, width), 120.0) + rng.normal(0, sigma, (num_frames, height, width))
        middle = slice(height // 2 - height // 10, height // 2), slice(width // 2, width // 2 + width // 6)
        own[:, middle[0], middle[1]] = rng.integers(0, 256, (num_frames, 1, 1))
        planes.append(own.round().clip(0, 255).astype(np.uint8))
    return still_frames.Frames(tuple(planes), (0, 2, 2, 2))


def test_a_written_file_decodes_to_the_same_frames(still_frames: Any, tmp_path: Path) -> None:
    frames = noisy_video(still_frames, 3.0)
    still_frames.write_lossless(tmp_path / "video.mkv", frames)
    found = still_frames.read_yuv(str(tmp_path / "video.mkv"))
    assert found.colour == frames.colour
    for own, other in zip(found.planes, frames.planes, strict=True):
        assert np.array_equal(own, other)


@pytest.mark.parametrize("sigma", [1.0, 3.0])
def test_still_frames_differ_as_much_as_the_frames_of_a_still_scene(still_frames: Any, sigma: float) -> None:
    frames = noisy_video(still_frames, sigma)
    luma, copies = frames.planes[0], still_frames.noisy_copies(frames, 0, 8, np.random.default_rng(1))[0]
    # The corner blocks are still in the video.
    corner = (slice(None), slice(0, 16), slice(0, 16))
    expected, found = (np.abs(np.diff(own[corner].astype(float), axis=0)).mean() for own in (luma, copies))
    assert found == pytest.approx(expected, rel=0.15)
    # The block in the middle never rests in the video, but its copies nearly do.
    middle = (slice(None), slice(32, 40), slice(48, 64))
    moving, still = (np.abs(np.diff(own[middle].astype(float), axis=0)).mean() for own in (luma, copies))
    assert moving > 50
    assert still < 10


def test_a_video_without_noise_gets_equal_copies(still_frames: Any) -> None:
    frames = noisy_video(still_frames, 0.0)
    for own, plane in zip(
        still_frames.noisy_copies(frames, 3, 2, np.random.default_rng(0)), frames.planes, strict=True
    ):
        assert np.array_equal(own[:, :16, :16], np.stack([plane[3, :16, :16]] * 2))


@pytest.mark.parametrize(("share", "place"), [(0.0, 0.3), (0.25, 0.0), (0.5, 1.0), (0.9, 0.37)])
def test_an_extended_video_has_the_share_of_still_frames_at_the_place(
    still_frames: Any, share: float, place: float
) -> None:
    order = still_frames.order_of(30, share, place)
    original = np.flatnonzero((order >= 9) & (order < 39))
    assert np.array_equal(order[original], np.arange(9, 39))
    assert 1 - len(original) / len(order) == pytest.approx(share, abs=0.01)
    assert original[0] == round(place * (len(order) - 30))


def test_motion_and_features_are_those_of_the_extended_video_as_a_file(
    still_videos: Any, still_frames: Any, bursts: Bursts, tmp_path: Path
) -> None:
    folder = tmp_path / "videos"
    for label, name in enumerate(("a", "b")):
        (folder / name).mkdir(parents=True)
        write_video(folder / name / "clip.mp4", moving_square(12, 48, 64, seed=label))
    options = bursts.options(tmp_path / "cache", data=str(folder), index=None)
    trimmed = still_videos.prepare(options, 1, no_watch)
    videos, features = still_videos.extended(trimmed, 0.75)
    for number, (video, order) in enumerate(zip(videos, features.orders, strict=True)):
        frames = still_frames.read_yuv(video.video.path)
        whole = tmp_path / "whole" / ("a", "b")[number] / "clip.mkv"
        whole.parent.mkdir(parents=True)
        still_frames.write_lossless(
            whole, still_frames.Frames(tuple(plane[order] for plane in frames.planes), frames.colour)
        )
    build_index(tmp_path / "whole", tmp_path / "whole.parquet", representations=BOTH, num_workers=0)
    index = MotionIndex(tmp_path / "whole.parquet")
    options = bursts.options(tmp_path / "other", data=str(tmp_path / "whole"), index=None)
    expected = run_features(options)
    for number, video in enumerate(videos):
        record = index.find(str(tmp_path / "whole" / ("a", "b")[number] / "clip.mkv"))
        assert record is not None
        for representation in BOTH:
            assert np.array_equal(video.motion[representation.motion], record.motion_of(representation))
        assert np.array_equal(features.of(number), expected[number])


def run_features(options: Any) -> list[Any]:
    """The features of all videos of a folder, as ``mgdali evaluate`` computes them."""
    dataset, _ = find_videos(options)
    measured, _ = measure_videos(dataset, options, 1, no_watch)
    videos, features, _ = compute_features(measured, open_network(options), cache_of(options), 1, no_watch)
    return [features.of(number) for number in range(len(videos))]


def test_motion_guided_sampling_keeps_its_picks_in_the_original(
    still_share: Any, bursts: Bursts, tmp_path: Path
) -> None:
    plot = tmp_path / "plots" / "plot.png"
    report = run(still_share, tmp_path, str(bursts.folder), "--shares", "0,0.75", "--plot", str(plot))
    assert plot.stat().st_size > 10_000
    own = report["sets"]["videos"]
    assert own["shares"]["0.75"]["median_frames"] == 4 * own["shares"]["0"]["median_frames"]
    # The encoder leaves no noise in the still parts of these videos.
    assert own["still_motion"]["image"]["still"] < 0.05
    rows = rows_by_strategy(report, "0.75")
    assert rows["segment"]["picks_in_original"] < 0.5
    assert rows["motion-guided, image, mu 0.5"]["picks_in_original"] > 0.9
    assert rows["motion-guided, image, mu 0.5"]["difference"]["mean"] > 0


def test_without_still_frames_the_rows_are_those_of_the_evaluation(
    still_share: Any, bursts: Bursts, tmp_path: Path
) -> None:
    rows = rows_by_strategy(run(still_share, tmp_path, str(bursts.folder), "--shares", "0"), "0")
    found = run_evaluation(bursts.options(tmp_path / "other", train_clips=4)).comparison
    for strategy in found.strategies:
        assert rows[strategy]["accuracy"] == pytest.approx(100 * found.right[strategy, 2].mean(), abs=1e-3)


def test_a_second_run_measures_only_the_missing_shares(
    still_share: Any, bursts: Bursts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run(still_share, tmp_path, str(bursts.folder), "--shares", "0")
    capsys.readouterr()
    second = run(still_share, tmp_path, str(bursts.folder), "--shares", "0,0.5")
    out, err = capsys.readouterr()
    assert second["sets"]["videos"]["shares"]["0"] == first["sets"]["videos"]["shares"]["0"]
    assert "videos: 50 % still frames" in err
    assert "videos: 0 % still frames" not in err
    assert "| videos, N = 2 | 0 % | 50 % |" in out
    with pytest.raises(SystemExit, match="results with other settings: pass another --out"):
        run(still_share, tmp_path, str(bursts.folder), "--seeds", "2")


def test_a_video_that_cannot_be_extended_is_left_out(
    still_share: Any, bursts: Bursts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = shutil.copytree(bursts.folder, tmp_path / "videos")
    (videos / "left" / "bad.mp4").write_bytes(b"no video" * 100)
    write_video(videos / "right" / "full.mp4", moving_square(5, 32, 32), pixel_format="yuv444p")
    report = run(still_share, tmp_path, str(videos), "--shares", "0")
    assert (report["sets"]["videos"]["videos"], report["sets"]["videos"]["failed"]) == (18, 2)
    assert "still frames are made of yuv420p" in capsys.readouterr().err
