"""Motion S, measured frame by frame, compared with the reference and with the expected values of real files."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali.motion import LUMA_WEIGHTS, default_filters, feature_difference, image_difference, luma_from_rgb
from mgdali.samplers import Representation
from mgdali.video.frames import quarter_turns, read_frames
from mgdali.video.meters import luma_bits, luma_plane, make_meter, measure_motion
from tests.support.videos import moving_square, rotate_by_metadata, write_video

FEATURE = Representation(motion="feature")


@pytest.fixture(scope="module")
def short_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames: the reference at the feature level is slow on RGB."""
    return write_video(tmp_path_factory.mktemp("short") / "square.mp4", moving_square(4, 30, 38))


def decode_all(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(path)])


@pytest.mark.slow
def test_motion_of_real_files_equals_the_golden_values(golden_motion: list[tuple[Path, dict[str, Any]]]) -> None:
    for path, case in golden_motion:
        assert measure_motion(path, Representation()).tolist() == case["luma"], path


def test_luma_motion_is_the_reference_on_the_decoded_planes(video: Path) -> None:
    planes = np.stack([luma_plane(frame) for frame in read_frames(video)])
    assert measure_motion(video, Representation()).tolist() == image_difference(planes).tolist()


def test_rgb_motion_is_the_reference_on_the_decoded_frames(video: Path) -> None:
    expected = image_difference(decode_all(video), channels="rgb")
    assert measure_motion(video, Representation(channels="rgb")).tolist() == expected.tolist()


def luma_in_8_bits(frames: list[Any]) -> NDArray[np.float64]:
    """The decoder's luma planes, upright, in units of 8-bit video: float64 [T, H, W]."""
    planes = [np.rot90(luma_plane(frame), quarter_turns(frame)).astype(np.float64) for frame in frames]
    return np.stack(planes) / (1 << ((luma_bits(frames[0].format.name) or 8) - 8))


def feature_motion(planes: NDArray[np.float64], filters: NDArray[np.float32]) -> NDArray[np.float64]:
    """S of planes of any values, by torch's convolution in float64."""
    changes = torch.from_numpy(np.diff(planes, axis=0))[:, None]
    weights = torch.from_numpy(filters.astype(np.float64).sum(axis=1, keepdims=True))
    motion = torch.nn.functional.conv2d(changes, weights, padding=3).norm(dim=1).sum(dim=(1, 2))
    return np.concatenate([[0.0], motion.numpy()])


def horizontal_filters() -> NDArray[np.float32]:
    """A separable bank of luma that responds to horizontal changes only."""
    filters = default_filters()
    return np.repeat(filters[:1], 8, axis=0)


def test_feature_motion_is_the_reference_on_the_decoded_planes(video: Path) -> None:
    planes = np.stack([luma_plane(frame) for frame in read_frames(video)])
    np.testing.assert_allclose(measure_motion(video, FEATURE), feature_difference(planes), rtol=1e-6)


@pytest.mark.parametrize(
    "weights",
    [
        np.random.default_rng(0).normal(size=(8, 3, 7, 7)),
        np.random.default_rng(0).normal(size=(8, 1, 7, 7)) * np.array(LUMA_WEIGHTS)[:, None, None] / 256,
        default_filters()[:, ::-1],
    ],
    ids=["random", "luma, not separable", "separable, not luma"],
)
def test_feature_motion_of_other_filters_is_the_reference_on_rgb(short_video: Path, weights: NDArray[Any]) -> None:
    measured = measure_motion(short_video, Representation(motion="feature", weights=weights))
    np.testing.assert_allclose(measured, feature_difference(decode_all(short_video), weights), rtol=1e-5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_filters_of_luma_planes_are_applied_to_the_upright_picture(tmp_path: Path, turns: int) -> None:
    path = write_video(tmp_path / "turned.mp4", moving_square(6, 40, 64))
    rotate_by_metadata(path, turns)
    filters = horizontal_filters()
    frames = list(read_frames(path))
    stored = np.stack([luma_plane(frame) for frame in frames])
    upright = np.rot90(stored, quarter_turns(frames[0]), axes=(1, 2))
    measured = measure_motion(path, Representation(motion="feature", weights=filters))
    np.testing.assert_allclose(measured, feature_difference(upright, filters), rtol=1e-6)
    assert upright.shape == ((6, 40, 64) if turns == 2 else (6, 64, 40))
    if turns != 2:
        other = feature_difference(stored, filters)
        assert (np.abs(measured - other) > 0.01 * measured)[1:].any()


def test_feature_motion_of_deep_colour_is_in_eight_bit_units(tmp_path: Path) -> None:
    path = write_video(tmp_path / "deep.mkv", moving_square(5, 40, 48), codec="ffv1", pixel_format="yuv420p10le")
    frames = list(read_frames(path))
    assert luma_plane(frames[0]).max() > 255
    expected = feature_motion(luma_in_8_bits(frames), default_filters())
    np.testing.assert_allclose(measure_motion(path, FEATURE), expected, rtol=1e-6)


@pytest.mark.slow
def test_feature_motion_of_real_files_is_the_reference_on_the_decoded_planes(real_videos: Path) -> None:
    paths = sorted(path for path in (real_videos / "formats").iterdir() if path.is_file())
    assert paths
    for path in paths:
        frames = list(islice(read_frames(path), 2))
        meter = make_meter(FEATURE)
        for frame in frames:
            meter.add(frame)
        expected = feature_motion(luma_in_8_bits(frames), default_filters())
        np.testing.assert_allclose(meter.motion, expected, rtol=1e-6, atol=1e-3, err_msg=path.name)


def test_deep_colour_is_measured_in_eight_bit_units(tmp_path: Path) -> None:
    path = write_video(tmp_path / "deep.mkv", moving_square(9, 40, 48), codec="ffv1", pixel_format="yuv420p10le")
    planes = [luma_plane(frame).astype(np.int64) for frame in read_frames(path)]
    expected = [0.0] + [np.abs(b - a).sum() / 4 for a, b in zip(planes, planes[1:], strict=False)]
    assert planes[0].max() > 255
    assert measure_motion(path, Representation()).tolist() == expected


def test_a_video_stored_as_rgb_is_measured_by_its_luma(tmp_path: Path) -> None:
    frames = moving_square(7, 40, 48)
    path = write_video(tmp_path / "rgb.mov", frames, codec="png", pixel_format="rgb24")
    assert measure_motion(path, Representation()).tolist() == image_difference(frames).tolist()
    np.testing.assert_allclose(measure_motion(path, FEATURE), feature_difference(luma_from_rgb(frames)), rtol=1e-6)
