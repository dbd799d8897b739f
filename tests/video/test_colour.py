"""The correction of colours, for clips decoded by PyAV and converted as DALI's decoder converts them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from mgdali.video.colour import MATRICES, colour_correction
from mgdali.video.frames import RGBConverter

HEIGHT, WIDTH, FRAMES = 96, 128, 3
TAGS = {"bt601": 6, "bt709": 1, "bt2020": 9, "untagged": 2}
"""Values of ``matrix_coefficients`` in H.264 (ITU-T H.273)."""


def planes(seed: int) -> NDArray[np.uint8]:
    """Return smooth planes of Y, U and V, uint8 [FRAMES, 3/2 HEIGHT, WIDTH]; some are outside RGB's range."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(FRAMES):
        parts = []
        for height, width, span in ((HEIGHT, WIDTH, 80), (HEIGHT // 2, WIDTH // 2, 45), (HEIGHT // 2, WIDTH // 2, 45)):
            y, x = np.mgrid[:height, :width] / height
            a, b, c = rng.uniform(2, 6, 3)
            parts.append(128 + span * np.sin(a * x + c) * np.cos(b * y))
        frames.append(np.concatenate([part.ravel() for part in parts]).reshape(-1, WIDTH))
    return np.stack(frames).round().astype(np.uint8)


def write_tagged(path: Path, frames: NDArray[np.uint8], *, matrix: int, full: bool) -> Path:
    """Write planes as a clip whose header names a matrix and a range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "4", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1
        for each in frames:
            frame = av.VideoFrame.from_ndarray(each, format="yuv420p")
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def decoded(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def doubled(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a plane in twice its size, interpolated linearly between the centres of its pixels."""
    for axis in (0, 1):
        size = plane.shape[axis]
        place = (np.arange(2 * size) + 0.5) / 2 - 0.5
        low = np.floor(place).astype(int)
        share = (place - low).reshape((-1, 1) if axis == 0 else (1, -1))
        before, after = (plane.take(np.clip(low + i, 0, size - 1), axis) for i in (0, 1))
        plane = before * (1 - share) + after * share
    return plane


def ycbcr(frame: av.VideoFrame) -> NDArray[np.float64]:
    """Return the frame's Y, Cb and Cr in units of 1/255, float64 [HEIGHT, WIDTH, 3], chroma as DALI interpolates it."""
    array = frame.to_ndarray().astype(np.float64)
    chroma = array[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    return np.stack([array[:HEIGHT], *(doubled(plane) for plane in chroma)], axis=-1)


def converted_by_dali(frame: av.VideoFrame, *, full: bool) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return RGB as DALI's decoder on the GPU writes it, and where at least one channel is clipped.

    Source: the machine code of ``VideoColorSpaceConversionKernel`` in DALI 2.4.0. The neutral value of chroma is 127.5
    there instead of 128, and black is 15.9375 instead of 16 in the limited range. RGB is therefore off by up to 1.1.
    """
    y, blue, red = np.moveaxis(ycbcr(frame) / 255 - (0, 0.5, 0.5), -1, 0)
    if full:
        rgb = [y + 1.402 * red, y - 0.34413629 * blue - 0.71413629 * red, y + 1.772 * blue]
    else:
        y = 1.16438353 * (y - 0.0625)
        rgb = [y + 1.59602678 * red, y - 0.81296766 * red - 0.39176229 * blue, y + 2.01723218 * blue]
    exact = 255 * np.stack(rgb, axis=-1)
    return np.clip(np.rint(exact), 0, 255).astype(np.uint8), ((exact < -0.5) | (exact > 255.5)).any(axis=-1)


def corrected(rgb: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Return what the gathering kernel makes of the frames."""
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    rows = colour_correction(name).reshape(3, 3)
    sums = np.stack([row[0] * red + row[1] * green + row[2] * blue for row in rows], axis=-1)
    return np.clip(np.rint(sums), 0, 255).astype(np.uint8)


def mean_difference(a: NDArray[np.uint8], b: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    return float(np.abs(a.astype(np.int16) - b)[where].mean())


def converted_by_pyav(frame: av.VideoFrame, pixel_format: str) -> NDArray[np.uint8]:
    """Return RGB as the CPU route converts frames: packed, or by planes."""
    if pixel_format == "rgb24":
        return RGBConverter()(frame)
    planar = VideoReformatter().reformat(frame, format=pixel_format, threads=1)
    green, blue, red = (np.frombuffer(plane, np.uint8).reshape(HEIGHT, -1)[:, :WIDTH] for plane in planar.planes)
    return np.stack([red, green, blue], axis=-1)


@pytest.mark.parametrize("pixel_format", ["rgb24", "gbrp"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("tag", TAGS)
def test_corrected_frames_differ_from_pyavs_by_at_most_one_beyond_the_decoders_own(
    tmp_path: Path, tag: str, full: bool, pixel_format: str
) -> None:
    frames = decoded(write_tagged(tmp_path / "tagged.mp4", planes(seed=0), matrix=TAGS[tag], full=full))
    assert len(frames) == FRAMES
    clipped = 0
    for frame in frames:
        assert frame.colorspace == TAGS[tag]
        assert (frame.color_range == ColorRange.JPEG) == full
        converted, out_of_range = converted_by_dali(frame, full=full)
        clipped += int(out_of_range.sum())
        inside = ~out_of_range
        name = "bt601" if tag == "untagged" else tag
        rgb = corrected(converted, name)
        right = converted_by_pyav(frame, pixel_format)
        # The decoder's own difference: that of the same pixels if BT.601 applied to them, which needs no correction.
        frame.colorspace = Colorspace.ITU601
        own = mean_difference(converted, converted_by_pyav(frame, pixel_format), inside)
        assert mean_difference(rgb, right, inside) <= own + 1
        if name != "bt601":
            assert mean_difference(converted, right, inside) > own + 1, "the test would also pass without a correction"
    share = clipped / (FRAMES * HEIGHT * WIDTH)
    print(f"{tag}, {'full' if full else 'limited'} range: {share:.1%} of the pixels were clipped before the correction")
    assert 0 < share < 0.1


@pytest.mark.parametrize("name", MATRICES)
def test_the_correction_is_exact_for_values_in_range(name: str) -> None:
    # Kr and Kb of the standards, and their definition of Y, Cb and Cr.
    red, blue = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[name]
    rgb = np.random.default_rng(0).uniform(0, 255, (1000, 3))
    y = rgb @ (red, 1 - red - blue, blue)
    cb, cr = (rgb[:, 2] - y) / (2 * (1 - blue)), (rgb[:, 0] - y) / (2 * (1 - red))
    by_601 = np.stack([y + 1.402 * cr, y - 0.114 * 1.772 / 0.587 * cb - 0.299 * 1.402 / 0.587 * cr, y + 1.772 * cb], -1)
    np.testing.assert_allclose(by_601 @ colour_correction(name).reshape(3, 3).T, rgb, atol=1e-4)


def test_bt601_needs_no_correction() -> None:
    assert colour_correction("bt601").tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]


@pytest.mark.parametrize("name", MATRICES)
def test_grey_stays_grey(name: str) -> None:
    matrix = colour_correction(name)
    assert matrix.shape == (9,)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix.reshape(3, 3).sum(axis=1), 1, atol=1e-6)


def test_an_unknown_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"matrix must be one of .*'bt2020'.*, got 'smpte240m'"):
        colour_correction("smpte240m")
