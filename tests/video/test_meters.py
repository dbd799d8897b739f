"""Motion S, measured frame by frame, compared with the reference and with the expected values of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.motion import default_filters, feature_difference, image_difference
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.meters import luma_plane, measure_motion
from tests.support.videos import moving_square, write_video


def decode_all(path: Path) -> NDArray[np.uint8]:
    return np.stack([frame.to_ndarray(format="rgb24") for frame in read_frames(path)])


def test_motion_of_real_files_equals_the_golden_values(golden_motion: list[tuple[Path, dict[str, Any]]]) -> None:
    for path, case in golden_motion:
        assert measure_motion(path, Representation()).tolist() == case["luma"], path


def test_luma_motion_is_the_reference_on_the_decoded_planes(video: Path) -> None:
    planes = np.stack([luma_plane(frame) for frame in read_frames(video)])
    assert measure_motion(video, Representation()).tolist() == image_difference(planes).tolist()


def test_rgb_motion_is_the_reference_on_the_decoded_frames(video: Path) -> None:
    expected = image_difference(decode_all(video), channels="rgb")
    assert measure_motion(video, Representation(channels="rgb")).tolist() == expected.tolist()


def test_feature_motion_is_the_reference_to_single_precision(video: Path) -> None:
    frames = decode_all(video)
    np.testing.assert_allclose(
        measure_motion(video, Representation(motion="feature")), feature_difference(frames), rtol=1e-5
    )
    weights = np.random.default_rng(0).normal(size=(8, 3, 7, 7))
    np.testing.assert_allclose(
        measure_motion(video, Representation(motion="feature", weights=weights)),
        feature_difference(frames, weights),
        rtol=1e-5,
    )
    assert default_filters().shape == weights.shape


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
