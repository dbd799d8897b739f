"""Cutting windows out of frames as decoded: no pixel but the window's, whatever the format."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali.crop import Cropper
from mgdali.decode import RGBConverter, read_frames
from mgdali.order import Draw, draw
from mgdali.transforms import SpatialTransform, Window
from tests.videos import moving_square, rotate_by_metadata, write_video

FORMATS = [
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv420p10le",
    "nv12",
    "gray",
    "rgb24",
    "gbrp",
    "yuyv422",
]


def one_frame(pixel_format: str, height: int, width: int, seed: int = 0) -> av.VideoFrame:
    """A frame of few large patches and of the colours of video, so that chroma does not hang on its neighbours'."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(40, 200, (-(-height // 8), -(-width // 8), 3), np.uint8)
    rgb = patches.repeat(8, 0).repeat(8, 1)[:height, :width]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format=pixel_format)


class At(SpatialTransform):
    """A transform whose windows lie where a test wants them."""

    def __init__(self, window: Window, size: int) -> None:
        super().__init__(crop_size=size, resize=size)
        object.__setattr__(self, "place", window)

    def window(self, height: int, width: int, choices: Draw) -> Window:
        place: Window = self.place  # type: ignore[attr-defined]
        return place


MIDDLE = draw(0, 0, 0, 1, training=False)


def cropped(frame: av.VideoFrame, window: Window, size: int) -> NDArray[np.uint8]:
    return Cropper(At(window, size)).crop(frame, MIDDLE)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_window_of_the_clips_size_is_cut_out_as_it_is(pixel_format: str) -> None:
    frame = one_frame(pixel_format, 80, 96)
    whole = RGBConverter()(frame)
    for top, left in ((0, 0), (8, 16), (32, 48)):
        found = cropped(frame, Window(top, left, top + 48, left + 48), 48)
        assert_same_picture(found, whole[top : top + 48, left : left + 48])


def test_a_window_of_every_real_format_is_cut_out_as_it_is(shared: Path) -> None:
    for path in [*sorted((shared / "clips" / "formats").iterdir()), shared / "clips" / "frames" / "00001"]:
        frame = next(read_frames(path))
        whole = RGBConverter()(frame)
        height, width, _ = whole.shape
        size = min(height, width, 120)
        top, left = (height - size) // 4 * 2, (width - size) // 4 * 2
        found = cropped(frame, Window(top, left, top + size, left + size), size)
        assert_same_picture(found, whole[top : top + size, left : left + size])


def assert_same_picture(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """But for rounding, and the edge: of some formats libswscale spreads chroma over neighbours, missing there."""
    difference = np.abs(found.astype(int) - expected)
    assert difference[4:-4, 4:-4].max() <= 2
    assert difference.mean() < 1


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_windows_are_those_of_the_upright_frame(tmp_path: Path, quarter_turns: int) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(2, 48, 64))
    rotate_by_metadata(path, quarter_turns)
    frame = next(read_frames(path))
    whole = RGBConverter()(frame)
    for top, left in ((0, 0), (8, 4), (16, 0)):
        window = Window(top, left, top + 32, left + 32)
        assert (cropped(frame, window, 32) == whole[top : top + 32, left : left + 32]).all()


@pytest.mark.parametrize(("height", "width", "size"), [(64, 64, 48), (40, 64, 56), (24, 24, 48), (200, 160, 40)])
def test_resizing_is_antialiased_bilinear(height: int, width: int, size: int) -> None:
    torch = pytest.importorskip("torch")
    frame = one_frame("yuv444p", 240, 240)
    whole = RGBConverter()(frame)
    picture = torch.from_numpy(whole[16 : 16 + height, 32 : 32 + width].copy()).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(picture, size=(size, size), mode="bilinear", antialias=True)
    found = cropped(frame, Window(16, 32, 16 + height, 32 + width), size)
    difference = np.abs(found.astype(float) - expected[0].permute(1, 2, 0).numpy())
    assert difference.mean() < 2
    assert np.percentile(difference, 99) < 12


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    training=st.booleans(),
    seed=st.integers(0, 100),
    pixel_format=st.sampled_from(FORMATS),
)
def test_any_window_of_any_frame_gives_a_clip(
    height: int, width: int, training: bool, seed: int, pixel_format: str
) -> None:
    frame = one_frame(pixel_format, height, width)
    transform = SpatialTransform(training=training, crop_size=16, resize=18)
    picture = Cropper(transform).crop(frame, draw(seed, 0, 0, 1, training=training))
    assert picture.shape == (16, 16, 3)
    # Patches are of 40 to 200; what was left from before, or lies beside the frame, would differ.
    assert picture.min() > 10
    assert picture.max() < 245


def test_frames_of_other_sizes_and_windows_are_cut_out_after_each_other() -> None:
    transform = SpatialTransform(training=True, crop_size=24, resize=24, scales=(1.0, 0.5))
    cropper = Cropper(transform)
    for seed in range(40):
        frame = one_frame("yuv420p", 48 + 16 * (seed % 3), 48, seed=seed)
        choices = draw(seed // 2, 0, 0, 1, training=True)
        assert (cropper.crop(frame, choices) == Cropper(transform).crop(frame, choices)).all()
