"""Cutting windows out of decoded frames: exactly the pixels of the window, in every pixel format."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mgdali.choices import Draw, draw
from mgdali.transforms import Crop, SpatialTransform, Window
from mgdali.video.crop import Cropper, colour_planes
from mgdali.video.frames import RGBConverter, read_frames
from tests.support.videos import moving_square, rotate_by_metadata, write_video

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

# Formats that libswscale converts to equal values in planes and packed, if it does not resize. For other formats planes
# are more exact.
CONVERTED_FAST = ["yuv420p", "yuvj420p", "yuv422p", "yuyv422"]


def one_frame(pixel_format: str, height: int, width: int, seed: int = 0) -> av.VideoFrame:
    """Return a frame of large patches in the range of video, so that chroma does not depend on neighbouring pixels."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(40, 200, (-(-height // 8), -(-width // 8), 3), np.uint8)
    rgb = patches.repeat(8, 0).repeat(8, 1)[:height, :width]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(format=pixel_format)


class At(SpatialTransform):
    """A transform with a fixed window."""

    def __init__(self, window: Window, size: int | tuple[int, int]) -> None:
        super().__init__(crop_size=size)
        object.__setattr__(self, "place", window)

    def window(self, height: int, width: int, choices: Draw) -> Window:
        place: Window = self.place  # type: ignore[attr-defined]
        return place


MIDDLE = draw(0, 0, 0, 1, training=False)


def cropped(frame: av.VideoFrame, window: Window, size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Return the window of a frame, uint8 ``[H, W, 3]``."""
    return Cropper(At(window, size)).crop(frame, MIDDLE).transpose(1, 2, 0)


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_window_of_the_clips_size_keeps_its_pixels(pixel_format: str) -> None:
    frame = one_frame(pixel_format, 80, 96)
    whole = RGBConverter()(frame)
    for top, left in ((0, 0), (8, 16), (32, 48)):
        found = cropped(frame, Window(top, left, top + 44, left + 44), 44)
        assert_same_picture(found, whole[top : top + 44, left : left + 44])


@pytest.mark.parametrize("pixel_format", [name for name in FORMATS if name not in CONVERTED_FAST])
def test_a_window_converted_in_planes_keeps_its_pixels(pixel_format: str) -> None:
    frame = one_frame(pixel_format, 80, 96)
    whole = colour_planes(frame.reformat(format="gbrp")).transpose(1, 2, 0)
    for top, left in ((0, 0), (8, 16), (32, 48)):
        found = cropped(frame, Window(top, left, top + 48, left + 48), 48)
        assert_same_picture(found, whole[top : top + 48, left : left + 48])


@pytest.mark.parametrize("pixel_format", CONVERTED_FAST)
def test_planes_and_packed_pixels_have_the_same_values(pixel_format: str) -> None:
    frame = one_frame(pixel_format, 80, 96)
    in_planes = cropped(frame, Window(8, 16, 56, 64), 48)
    packed = cropped(frame, Window(8, 16, 58, 66), 50)
    assert_same_picture(in_planes, packed[:48, :48])


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_every_byte_is_written(pixel_format: str) -> None:
    frame = one_frame(pixel_format, 128, 128)
    for size, length in ((24, 24), (48, 48), (50, 50), (25, 25), (120, 120), (24, 36), (48, 31), (25, 60), (16, 17)):
        pictures = []
        for left_over in (7, 250):
            fill_memory(size, left_over)
            pictures.append(cropped(frame, Window(2, 4, 2 + length, 4 + length), size))
        assert (pictures[0] == pictures[1]).all(), (size, length)


def fill_memory(size: int, value: int) -> None:
    """Fill the memory in which frames of this size will be allocated with a value."""
    frames = [av.VideoFrame(size, size, name) for name in ("gbrp", "rgb24") for _ in range(8)]
    for frame in frames:
        for plane in frame.planes:
            plane.update(bytes([value]) * plane.buffer_size)


@pytest.mark.parametrize("window", [Window(0, 0, 96, 96), Window(0, 0, 40, 40)])
def test_colours_of_a_resized_window_are_those_of_the_standard(window: Window) -> None:
    luma, blueness, redness = 120, 90, 170
    frame = av.VideoFrame(96, 96, "yuv420p")
    for plane, value in zip(frame.planes, (luma, blueness, redness), strict=True):
        plane.update(bytes([value]) * plane.buffer_size)
    # ITU-R BT.601, limited range: Kr 0.299, Kb 0.114.
    y, cb, cr = (luma - 16) / 219, (blueness - 128) / 224, (redness - 128) / 224
    red, blue = y + 2 * (1 - 0.299) * cr, y + 2 * (1 - 0.114) * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    expected = 255 * np.array([red, green, blue])
    assert np.abs(cropped(frame, window, 48) - expected).max() <= 0.75


def test_a_window_of_every_real_format_keeps_its_pixels(real_videos: Path) -> None:
    for path in [*sorted((real_videos / "formats").iterdir()), real_videos / "frames" / "00001"]:
        frame = next(read_frames(path))
        whole = RGBConverter()(frame)
        height, width, _ = whole.shape
        size = min(height, width, 120)
        top, left = (height - size) // 4 * 2, (width - size) // 4 * 2
        found = cropped(frame, Window(top, left, top + size, left + size), size)
        assert_same_picture(found, whole[top : top + size, left : left + size])


def assert_same_picture(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> None:
    """Compare without rounding errors and edges: libswscale interpolates the chroma of some formats with neighbours."""
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
        low = Window(top, left, top + 16, left + 32)
        assert (cropped(frame, low, (16, 32)) == whole[top : top + 16, left : left + 32]).all()


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
    wide=st.booleans(),
    seed=st.integers(0, 100),
    pixel_format=st.sampled_from(FORMATS),
)
def test_any_window_of_any_frame_gives_a_clip(
    height: int, width: int, training: bool, wide: bool, seed: int, pixel_format: str
) -> None:
    frame = one_frame(pixel_format, height, width)
    crop: Crop = "random_resized" if wide else "multiscale"
    transform = SpatialTransform(training=training, crop=crop, crop_size=(16, 40) if wide else 16, resize=18)
    choices = draw(seed, 0, 0, 1, training=training, resized_crop=transform.resized_crop)
    picture = Cropper(transform).crop(frame, choices)
    assert picture.shape == (3, *transform.size)
    # The patches have values from 40 to 200. Unwritten memory and pixels outside the frame have others.
    assert picture.min() > 10
    assert picture.max() < 245


def test_one_cropper_handles_frames_and_windows_of_several_sizes() -> None:
    transform = SpatialTransform(training=True, crop_size=24, resize=24, scales=(1.0, 0.5))
    cropper = Cropper(transform)
    for seed in range(40):
        frame = one_frame("yuv420p", 48 + 16 * (seed % 3), 48, seed=seed)
        choices = draw(seed // 2, 0, 0, 1, training=True)
        assert (cropper.crop(frame, choices) == Cropper(transform).crop(frame, choices)).all()
