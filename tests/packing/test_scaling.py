"""Frames of packed videos: size, orientation and colours."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.packing.scaling import FrameScaler
from mgdali.video.frames import RGBConverter, quarter_turns, read_frames
from mgdali.video.meters import luma_plane
from tests.support.videos import moving_square, rotate_by_metadata, write_video

FULL, LIMITED, UNKNOWN = 2, 1, 0


def ramp(pixel_format: str, colour_range: int = UNKNOWN) -> av.VideoFrame:
    """A frame of 64x48 whose luma increases from left to right, from 16 to 235, without colour."""
    frame = av.VideoFrame(64, 48, pixel_format)
    depth = frame.format.components[0].bits
    kind = np.uint8 if depth == 8 else np.uint16
    for number, plane in enumerate(frame.planes):
        samples = np.full((plane.height, plane.line_size // np.dtype(kind).itemsize), 128 << (depth - 8), kind)
        if number == 0:
            samples[:, : plane.width] = np.linspace(16, 235, plane.width).astype(kind) << (depth - 8)
        plane.update(samples.tobytes())
    frame.color_range = colour_range
    return frame


def rgb_of(frame: av.VideoFrame) -> NDArray[np.int64]:
    return RGBConverter()(frame).astype(np.int64)


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((640, 480), (341 - 1, 256)),
        ((480, 640), (256, 341 - 1)),
        ((1638, 409), (1025 - 1, 256)),
        ((256, 256), (256, 256)),
        ((100, 50), (100, 50)),
        ((101, 51), (100, 50)),
        ((2, 2), (2, 2)),
        ((1, 1), (2, 2)),
        ((3, 900), (2, 900)),
    ],
)
def test_the_short_side_is_scaled_down_never_up_and_odd_sizes_round_down(
    size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    frame = av.VideoFrame(*size, "yuv420p")
    scale = FrameScaler(frame, 256)
    assert (scale.width, scale.height) == scaled
    made = scale(frame)
    assert (made.width, made.height, made.format.name) == (*scaled, "yuv420p")


def test_scaling_averages_the_area_of_each_pixel() -> None:
    rng = np.random.default_rng(1)
    frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (96, 64), np.uint8).astype(np.uint8), "gray")
    scale = FrameScaler(frame, 32)
    means = luma_plane(frame).reshape(48, 2, 32, 2).mean((1, 3))
    assert np.abs(luma_plane(scale(frame)) - means).max() <= 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_frames_are_upright(turns: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(1, 48, 96))
    rotate_by_metadata(path, turns)
    (frame,) = read_frames(path)
    assert quarter_turns(frame) == -turns % 4
    scale = FrameScaler(frame, 256)
    made = scale(frame)
    assert (made.width, made.height, made.rotation) == ((96, 48, 0) if turns % 2 == 0 else (48, 96, 0))
    np.testing.assert_array_equal(luma_plane(made), np.rot90(luma_plane(frame), -turns % 4))
    assert np.abs(rgb_of(made) - rgb_of(frame)).mean() < 2


@pytest.mark.parametrize(
    ("pixel_format", "colour_range", "kept"),
    [
        ("yuv420p", UNKNOWN, UNKNOWN),
        ("yuv420p", LIMITED, LIMITED),
        ("yuv420p", FULL, FULL),
        ("yuvj420p", FULL, FULL),
        ("yuvj444p", UNKNOWN, FULL),
        ("yuv422p", FULL, FULL),
        ("yuv444p", LIMITED, LIMITED),
        ("yuv420p10le", UNKNOWN, UNKNOWN),
        ("yuv422p10le", LIMITED, LIMITED),
        ("yuv444p12le", LIMITED, LIMITED),
        ("yuva420p", UNKNOWN, UNKNOWN),
        # FFmpeg converts grey to RGB as if it always had the full range.
        ("gray", UNKNOWN, FULL),
        ("gray", LIMITED, FULL),
        ("gray10le", UNKNOWN, FULL),
    ],
)
def test_luma_and_its_range_are_kept(pixel_format: str, colour_range: int, kept: int) -> None:
    frame = ramp(pixel_format, colour_range)
    scale = FrameScaler(frame, 256)
    made = scale(frame)
    depth = frame.format.components[0].bits
    expected = luma_plane(frame).astype(np.float64) / (1 << (depth - 8))
    if depth > 8 and kept == FULL:
        # The largest values of all depths are equal.
        expected *= 255 / 256 * (1 << depth) / ((1 << depth) - 1)
    assert np.abs(luma_plane(made) - expected).max() <= 1
    assert scale.tags.range == kept
    made.color_range = scale.tags.range
    assert np.abs(rgb_of(made) - rgb_of(frame)).max() <= 4


def test_rgb_becomes_limited_bt601() -> None:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (3, 4, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    for pixel_format in ("rgb24", "gbrp"):
        frame = av.VideoFrame.from_ndarray(smooth, "rgb24").reformat(format=pixel_format)
        scale = FrameScaler(frame, 256)
        assert (scale.tags.range, scale.tags.matrix) == (LIMITED, 6)
        made = scale(frame)
        made.color_range, made.colorspace = scale.tags.range, scale.tags.matrix
        inner = np.abs(rgb_of(made) - smooth).reshape(3, 16, 4, 16, 3)[:, 4:-4, :, 4:-4]
        assert inner.max() <= 5


def test_all_tags_are_those_of_the_original() -> None:
    frame = ramp("yuv420p10le", LIMITED)
    frame.colorspace, frame.color_primaries, frame.color_trc = 9, 9, 16
    tags = FrameScaler(frame, 256).tags
    assert (tags.range, tags.matrix, tags.primaries, tags.transfer) == (LIMITED, 9, 9, 16)


@pytest.mark.parametrize("matrix", [0, 1, 3, 7, 8, 9, 10, 14])
def test_planes_do_not_depend_on_the_matrix(matrix: int) -> None:
    # libswscale refuses to convert by some of these.
    tagged, untagged = ramp("yuv422p10le"), ramp("yuv422p10le")
    tagged.colorspace = matrix
    made = [FrameScaler(frame, 32)(frame).to_ndarray() for frame in (tagged, untagged)]
    np.testing.assert_array_equal(*made)


def test_a_frame_has_nothing_but_its_pixels(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", moving_square(3, 48, 96))
    rotate_by_metadata(path, 2)
    for frame in read_frames(path):
        made = FrameScaler(frame, 256)(frame)
        assert frame.pict_type
        assert len(list(frame.side_data)) > 0
        assert (made.pict_type, made.pts, len(list(made.side_data))) == (0, None, 0)
