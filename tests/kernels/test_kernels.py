"""The CUDA kernels, run on the CPU under the sanitizers and compared with the NumPy reference."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali import sampling
from mgdali.gpu.cuda_kernels import (
    GATHER_BLOCK,
    IMAGE_BLOCK,
    PICK_BLOCK,
    VIDEO,
    Kernels,
    describe_videos,
    gather_grid,
    image_grid,
    kernel_folder,
)
from tests.support.kernel_build import ORDERS, Buffer, HostKernels, KernelError, Out, Structs, needs_compiler, unset

pytestmark = needs_compiler

# One frame, odd sizes, widths not a multiple of 16, smaller than a filter, larger than a tile, 16-byte rows.
SHAPES = [(5, 33, 47), (1, 20, 20), (3, 1, 1), (9, 2, 3), (4, 64, 96), (2, 17, 130), (35, 5, 7), (2, 3, 500)]


CHANNELS = ["luma", "rgb", "plane"]


def random_videos(shapes: Sequence[tuple[int, int, int]], seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


Window = tuple[int, int, int, int]
"""Visible part of a video's frames: top, left, height, width."""


def described(
    videos: Sequence[NDArray[np.uint8]], offset: int = 0, windows: Sequence[Window] | None = None
) -> tuple[NDArray[Any], Structs]:
    """Return the batch's description as the host knows it, without addresses, and the description for the kernel.

    As on a GPU, only the kernel knows the visible parts, `windows`.
    """
    table = describe_videos([0] * len(videos), [video.shape[:3] for video in videos])  # type: ignore[misc]
    on_device = table.copy()
    for i, window in enumerate(windows or ()):
        for name, value in zip(("top", "left", "height", "width"), window, strict=True):
            on_device[name][i] = value
    rows = [(Buffer(video, offset=offset), *tuple(row)[1:]) for video, row in zip(videos, on_device, strict=True)]
    return table, Structs(VIDEO, rows)


def shown(video: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    top, left, height, width = window
    return video[:, top : top + height, left : left + width]


def random_windows(videos: Sequence[NDArray[np.uint8]], seed: int = 0) -> list[Window]:
    """Return a visible part of each video: any position and size."""
    rng = np.random.default_rng(seed)
    windows = []
    for video in videos:
        rows, columns = video.shape[1:3]
        top, left = int(rng.integers(rows)), int(rng.integers(columns))
        windows.append((top, left, int(rng.integers(1, rows - top + 1)), int(rng.integers(1, columns - left + 1))))
    return windows


def split(values: NDArray[Any], table: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values, table["first"][1:])


def image_motion(
    host_kernels: HostKernels, videos: Sequence[NDArray[np.uint8]], channels: str, **more: Any
) -> list[NDArray[Any]]:
    """Return the motion of RGB videos, or of luma planes for `channels` "plane"."""
    table, structs = described(videos, more.pop("offset", 0), more.pop("windows", None))
    out = Out(np.zeros(int(table["num_frames"].sum()), np.uint64))
    grid = image_grid(table, pixel_bytes=1 if channels == "plane" else 3)
    (motion,) = host_kernels.run(
        f"image_difference_{channels}", grid=grid, block=IMAGE_BLOCK, args=[structs, out], **more
    )
    return split(motion, table)


def image_reference(video: NDArray[np.uint8], channels: str) -> list[float]:
    found = reference.image_difference(video, channels="rgb" if channels == "rgb" else "luma")
    return found.tolist()  # type: ignore[no-any-return]


def random_frames(shapes: Sequence[tuple[int, int, int]], channels: str, seed: int = 0) -> list[NDArray[np.uint8]]:
    """Return RGB videos, or luma planes for `channels` "plane"."""
    videos = random_videos(shapes, seed)
    return [np.ascontiguousarray(video[..., 0]) for video in videos] if channels == "plane" else videos


def sums_and_picks_of(
    host_kernels: HostKernels,
    motions: Sequence[NDArray[Any]],
    offsets: NDArray[np.float64],
    *,
    mu: float,
    even: float = 0.0,
    inverse: str = "step",
    unit: float = 1.0,
    order: int = 0,
) -> tuple[list[NDArray[np.float64]], NDArray[np.int64]]:
    """Return the cumulative distribution of each video and the picks, for motion in whole units."""
    table = describe_videos([0] * len(motions), [(len(motion), 1, 1) for motion in motions])
    raw = np.concatenate(motions).astype(np.uint64)
    sums, picks = host_kernels.run(
        "pick_motion_guided",
        grid=len(motions),
        block=PICK_BLOCK,
        args=[
            table,
            raw,
            np.float64(unit),
            np.float64(mu),
            np.float64(even),
            np.int32(inverse == "nearest"),
            offsets,
            np.int32(offsets.shape[1]),
            unset(len(raw), np.float64),
            unset(offsets.shape, np.int64),
        ],
        order=order,
    )
    return split(sums, table), picks


def picks_of(*arguments: Any, **options: Any) -> NDArray[np.int64]:
    """Return the picks for motion in whole units; the arguments are those of `sums_and_picks_of`."""
    return sums_and_picks_of(*arguments, **options)[1]


def top_picks_of(
    host_kernels: HostKernels, motions: Sequence[NDArray[Any]], num_picks: int, *, unit: float = 1.0, order: int = 0
) -> NDArray[np.int64]:
    """Return the picks for motion in whole units."""
    table = describe_videos([0] * len(motions), [(len(motion), 1, 1) for motion in motions])
    (picks,) = host_kernels.run(
        "pick_top_motion",
        grid=len(motions),
        block=PICK_BLOCK,
        args=[
            table,
            np.concatenate(motions).astype(np.uint64),
            np.float64(unit),
            np.int32(num_picks),
            unset((len(motions), num_picks), np.int64),
        ],
        order=order,
    )
    return picks


# --- Motion ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("order", ORDERS)
def test_image_motion_of_a_ragged_batch_equals_the_reference(
    host_kernels: HostKernels, channels: str, order: int
) -> None:
    videos = random_frames(SHAPES, channels, seed=order)
    for video, motion in zip(videos, image_motion(host_kernels, videos, channels, order=order), strict=True):
        assert motion.tolist() == image_reference(video, channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_frames_may_start_at_any_address(host_kernels: HostKernels, channels: str) -> None:
    # The memory of each video ends with its last frame, and the sanitizer reports reads before and after it.
    videos = random_frames([(3, 16, 16), (4, 9, 13), (3, 4, 4), (2, 1, 1), (5, 7, 35)], channels)
    for offset in range(16):
        for video, motion in zip(videos, image_motion(host_kernels, videos, channels, offset=offset), strict=True):
            assert motion.tolist() == image_reference(video, channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_frames_of_any_size_are_read_within_their_memory(host_kernels: HostKernels, channels: str) -> None:
    # Up to three groups of bytes of a thread, in one row and in several.
    shapes = [(2, 1, columns) for columns in range(1, 50)] + [(3, rows, 7) for rows in range(1, 15)]
    for offset in (0, 5, 15):
        videos = random_frames(shapes, channels, seed=offset)
        for video, motion in zip(videos, image_motion(host_kernels, videos, channels, offset=offset), strict=True):
            assert motion.tolist() == image_reference(video, channels)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("order", ORDERS)
def test_image_motion_is_that_of_the_visible_part(host_kernels: HostKernels, channels: str, order: int) -> None:
    # Two of them are whole rows, one is the stored size of 44x31 in coding blocks of 16.
    shapes = [*SHAPES, (3, 40, 24), (3, 40, 24), (4, 32, 48)]
    fixed = [(0, 0, 33, 24), (7, 0, 33, 24), (0, 0, 31, 44)]
    for offset in (0, 3 * order + 1):
        videos = random_frames(shapes, channels, seed=order)
        windows = random_windows(videos[: -len(fixed)], seed=order) + fixed
        motions = image_motion(host_kernels, videos, channels, windows=windows, offset=offset, order=order)
        for video, window, motion in zip(videos, windows, motions, strict=True):
            assert motion.tolist() == image_reference(np.ascontiguousarray(shown(video, window)), channels)


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_visible_part_beyond_the_frame_is_limited_to_it(host_kernels: HostKernels, channels: str) -> None:
    wrong = [(-3, -5, 1000, 1000), (8, 8, 100, 100), (1000, 1000, 5, 5), (3, 4, 0, -7)]
    limited = [(0, 0, 9, 11), (8, 8, 1, 3), (8, 10, 1, 1), (3, 4, 1, 1)]
    videos = random_frames([(3, 9, 11)] * 4, channels)
    motions = image_motion(host_kernels, videos, channels, windows=wrong)
    for video, window, motion in zip(videos, limited, motions, strict=True):
        assert motion.tolist() == image_reference(np.ascontiguousarray(shown(video, window)), channels)


def test_the_luma_of_nv12_frames_is_their_visible_part(host_kernels: HostKernels) -> None:
    # NV12 has the rows of chroma below those of luma.
    (frames,) = random_frames([(4, 24 * 3 // 2, 32)], "plane")
    (motion,) = image_motion(host_kernels, [frames], "plane", windows=[(0, 0, 22, 30)])
    assert motion.tolist() == image_reference(np.ascontiguousarray(frames[:, :22, :30]), "plane")


@pytest.mark.parametrize("channels", ["luma", "rgb"])
def test_a_still_video_has_no_motion_and_the_largest_does_not_overflow(
    host_kernels: HostKernels, channels: Any
) -> None:
    still = np.repeat(random_videos([(1, 30, 30)])[0], 40, axis=0)
    flicker = np.zeros((3, 70, 70, 3), np.uint8)
    flicker[1] = 255
    motions = image_motion(host_kernels, [still, flicker], channels)
    assert not motions[0].any()
    assert motions[1].tolist() == reference.image_difference(flicker, channels=channels).tolist()


@pytest.mark.parametrize("case", range(5))
def test_motion_of_the_golden_arrays_is_as_expected(host_kernels: HostKernels, shared: Path, case: int) -> None:
    golden = np.load(shared / "golden" / "difference.npz")
    video = golden[f"frames{case}"]
    assert image_motion(host_kernels, [video], "luma")[0].tolist() == golden[f"luma{case}"].tolist()
    assert image_motion(host_kernels, [video], "rgb")[0].tolist() == golden[f"rgb{case}"].tolist()


# --- Picks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_picks_of_the_golden_cases_are_as_expected(host_kernels: HostKernels, shared: Path, inverse: Any) -> None:
    for case in json.loads((shared / "golden" / "sampling.json").read_text()):
        # Kernels take whole numbers: thousandths. Scaling motion changes no pick except ties, which rounding decides;
        # cases with random offsets have none.
        thousandths = np.round(np.array(case["motion"]) * 1000)
        offsets = np.array([case["offsets"]])
        expected = sampling.sample_motion_guided(
            np.float32(thousandths), case["num_frames"], mu=case["mu"], offsets=offsets[0], inverse=inverse
        )
        picks = picks_of(host_kernels, [thousandths], offsets, mu=case["mu"], inverse=inverse)
        assert picks[0].tolist() == expected.tolist()
        if (offsets != 0.5).any():
            assert picks[0].tolist() == case[inverse]


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("mu", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_picks_of_random_ragged_batches_equal_the_reference(host_kernels: HostKernels, mu: float, inverse: Any) -> None:
    rng = np.random.default_rng(int(10 * mu))
    # Shorter than a block, shorter than a chunk of the sum, longer than both; with stretches without motion.
    lengths = [1, 2, 3, 7, 31, 129, 300, 1024, 1025, 2500]
    motions = [rng.integers(0, 10**6, length) * (rng.random(length) < 0.7) for length in lengths]
    motions[3][:] = 0
    motions[4][:] = 12345
    for num_picks in (1, 8, 300):
        offsets = rng.random((len(motions), num_picks))
        picks = picks_of(host_kernels, motions, offsets, mu=mu, inverse=inverse, order=num_picks)
        for motion, own, pick in zip(motions, offsets, picks, strict=True):
            rounded = np.float32(motion)
            expected = sampling.sample_motion_guided(rounded, num_picks, mu=mu, offsets=own, inverse=inverse)
            assert pick.tolist() == expected.tolist()


def cumulative_distribution(motion: NDArray[Any], mu: float, even: float, inverse: str) -> NDArray[np.float64]:
    """Return what the kernel computes before it picks, with the operations of the reference."""
    weights = sampling.motion_weights(motion, mu, even)
    if inverse == "step":
        return np.cumsum(weights)
    differences = weights[1:] if weights[1:].any() else np.ones(len(weights) - 1)
    return np.cumsum(differences / differences.sum())


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("even", [0.0, 0.25, 0.5, 0.7, 1.0])
def test_with_an_even_share_sums_equal_the_reference_to_the_bit(
    host_kernels: HostKernels, even: float, inverse: Any
) -> None:
    rng = np.random.default_rng(int(100 * even))
    # A still video, one in which only frame 0 moves, which the released rule leaves out, and the ends of a chunk.
    motions = [np.array(motion) for motion in ([0], [9], [0, 0, 0, 0], [7, 0, 0, 0], [0, 5])]
    motions += [rng.integers(0, 10**6, length) * (rng.random(length) < 0.7) for length in (31, 1024, 1025, 3000)]
    offsets = rng.random((len(motions), 64))
    for order, mu in enumerate((0.0, 0.5, 1.0, 2.0)):
        sums, picks = sums_and_picks_of(
            host_kernels, motions, offsets, mu=mu, even=even, inverse=inverse, order=order % len(ORDERS)
        )
        for motion, own, found, pick in zip(motions, offsets, sums, picks, strict=True):
            rounded = np.float32(motion)
            expected = cumulative_distribution(rounded, mu, even, inverse)
            assert found[len(found) - len(expected) :].tobytes() == expected.tobytes()
            reference_picks = sampling.sample_motion_guided(rounded, 64, mu=mu, even=even, offsets=own, inverse=inverse)
            assert pick.tolist() == reference_picks.tolist()


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("even", [0.0, 0.5])
def test_picks_of_motion_that_overflows_stay_in_the_video(host_kernels: HostKernels, even: float, inverse: Any) -> None:
    # The reference rejects it, but a kernel raises nothing.
    motions = [np.array([0, 3, 2**40, 5, 2**40]), np.array([2**40] * 3), np.array([2**40])]
    picks = picks_of(host_kernels, motions, np.full((3, 6), 0.9), mu=40.0, even=even, inverse=inverse)
    assert (picks >= 0).all()
    assert (picks < np.array([[5], [3], [1]])).all()


def test_picks_do_not_depend_on_the_unit_of_motion(host_kernels: HostKernels) -> None:
    motion = np.random.default_rng(0).integers(0, 2**40, 200)
    offsets = np.random.default_rng(1).random((1, 16))
    picks = picks_of(host_kernels, [motion], offsets, mu=0.5, unit=2.0**-20)
    rounded = np.float32(motion * 2.0**-20)
    assert picks[0].tolist() == sampling.sample_motion_guided(rounded, 16, offsets=offsets[0]).tolist()


# At the largest counts of a 1080p video, float32 represents only every 32nd: adding five changes nothing.
LARGE = 2**28


@pytest.mark.parametrize(
    ("inverse", "motion", "offset"), [("step", [0, LARGE + 5, LARGE], 0.0), ("nearest", [0, LARGE, LARGE + 5], 0.5)]
)
def test_picks_are_those_of_motion_rounded_to_float32(
    host_kernels: HostKernels, inverse: Any, motion: list[int], offset: float
) -> None:
    def reference_of(motion: Any) -> list[int]:
        return sampling.sample_motion_guided(motion, 2, mu=1.0, offsets=offset, inverse=inverse).tolist()

    expected = reference_of(np.float32(motion))
    assert expected != reference_of(motion)
    picks = picks_of(host_kernels, [np.array(motion)], np.full((1, 2), offset), mu=1.0, inverse=inverse)
    assert picks[0].tolist() == expected


def test_top_motion_picks_are_those_of_motion_rounded_to_float32(host_kernels: HostKernels) -> None:
    motion = LARGE + np.random.default_rng(0).integers(0, 200, 300)
    for unit in (1.0, 2.0**-40):
        expected = sampling.sample_top_motion(np.float32(motion * unit), 40).tolist()
        assert expected != sampling.sample_top_motion(motion, 40).tolist()
        assert top_picks_of(host_kernels, [motion], 40, unit=unit)[0].tolist() == expected


def test_motion_is_rounded_to_float64_before_float32(host_kernels: HostKernels) -> None:
    # The value is just above the middle of two floats. As a double it is exactly the middle: a tie, rounded down.
    motion = np.array([2**54, 2**54 + 2**30 + 1], np.uint64)
    assert np.float32(motion)[0] < np.float32(motion)[1]
    expected = sampling.sample_top_motion(np.float32(motion * 1.0), 1)
    assert top_picks_of(host_kernels, [motion], 1)[0].tolist() == expected.tolist() == [0]


def test_the_largest_offset_below_one_stays_in_the_video(host_kernels: HostKernels) -> None:
    motion = np.array([0, 5, 3, 0, 0])
    offsets = np.full((1, 7), np.nextafter(1.0, 0.0))
    expected = sampling.sample_motion_guided(motion, 7, mu=1.0, offsets=offsets[0])
    assert picks_of(host_kernels, [motion], offsets, mu=1.0)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("order", ORDERS[:2])
def test_top_motion_picks_equal_the_reference(host_kernels: HostKernels, order: int) -> None:
    rng = np.random.default_rng(order)
    motions = [rng.integers(0, high, length) for high, length in ((10**9, 700), (4, 300), (1, 20), (2**60, 9), (5, 1))]
    for num_picks in (1, 8, 16):
        picks = top_picks_of(host_kernels, motions, num_picks, order=order)
        for motion, pick in zip(motions, picks, strict=True):
            assert pick.tolist() == sampling.sample_top_motion(np.float32(motion * 1.0), num_picks).tolist()


# --- Gathering -------------------------------------------------------------------------------------------------------


def gathered(
    host_kernels: HostKernels,
    videos: Sequence[NDArray[np.uint8]],
    picks: NDArray[np.int64],
    colours: NDArray[np.float32] | None = None,
    *,
    windows: Sequence[Window] | None = None,
    offset: int = 0,
    order: int = 0,
) -> list[NDArray[Any]]:
    table, structs = described(videos, offset, windows)
    count = picks.shape[1]
    outs = [Out(unset((count, *video.shape[1:]), np.uint8).array, offset=offset) for video in videos]
    return host_kernels.run(
        "gather_frames",
        grid=gather_grid(table, count),
        block=GATHER_BLOCK,
        args=[structs, picks, np.uint64(0) if colours is None else colours, Structs(np.uint64, outs)],
        order=order,
    )


def random_picks(videos: Sequence[NDArray[np.uint8]], count: int = 5) -> NDArray[np.int64]:
    rng = np.random.default_rng(0)
    return np.stack([rng.integers(0, len(video), count) for video in videos])


def repeated_at_the_edge(frames: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    top, left, height, width = window
    below, right = frames.shape[1] - top - height, frames.shape[2] - left - width
    return np.pad(shown(frames, window), ((0, 0), (top, below), (left, right), (0, 0)), mode="edge")


def coloured(frames: NDArray[np.uint8], matrix: NDArray[np.float32]) -> NDArray[np.uint8]:
    red, green, blue = np.moveaxis(frames.astype(np.float32), -1, 0)
    sums = [m[0] * red + m[1] * green + m[2] * blue for m in matrix.reshape(3, 3)]
    return np.clip(np.rint(np.stack(sums, axis=-1)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("offset", [0, 4, 1])
def test_gathered_frames_are_the_picked_ones(host_kernels: HostKernels, offset: int) -> None:
    videos = random_videos([*SHAPES, (3, 100, 180)])
    picks = random_picks(videos)
    for video, pick, clip in zip(videos, picks, gathered(host_kernels, videos, picks, offset=offset), strict=True):
        assert np.array_equal(clip, video[pick])


@pytest.mark.parametrize("order", ORDERS)
def test_gathered_frames_repeat_the_edge_of_the_visible_part(host_kernels: HostKernels, order: int) -> None:
    videos = random_videos([*SHAPES, (3, 32, 48), (2, 16, 16)], seed=order)
    windows = [*random_windows(videos[:-2], seed=order), (0, 0, 31, 44), (5, 0, 9, 16)]
    picks = random_picks(videos)
    for offset in (0, 4, 2 * order + 1):
        clips = gathered(host_kernels, videos, picks, windows=windows, offset=offset, order=order)
        for video, window, pick, clip in zip(videos, windows, picks, clips, strict=True):
            assert np.array_equal(clip, repeated_at_the_edge(video, window)[pick])


@pytest.mark.parametrize("offset", [0, 4, 7])
def test_gathered_frames_have_corrected_colours(host_kernels: HostKernels, offset: int) -> None:
    videos = random_videos([*SHAPES, (3, 32, 48)])
    windows = random_windows(videos)
    matrices = np.random.default_rng(1).normal(size=(len(videos), 9)).astype(np.float32)
    # Halves are rounded, a colour is left as it is, and one is far out of range.
    matrices[0] = np.diag([0.5, 0.5, 1.5]).ravel()
    matrices[1] = np.eye(3).ravel()
    matrices[2] = [1e9, 0, 0, 0, -1e9, 0, np.nan, 0, 0]
    picks = random_picks(videos)
    clips = gathered(host_kernels, videos, picks, matrices, windows=windows, offset=offset)
    with np.errstate(invalid="ignore"):
        for video, window, matrix, pick, clip in zip(videos, windows, matrices, picks, clips, strict=True):
            expected = coloured(repeated_at_the_edge(video, window)[pick], matrix)
            # CUDA converts NaN to 0.
            expected[..., np.isnan(matrix.reshape(3, 3)).any(axis=1)] = 0
            assert np.array_equal(clip, expected)


def test_picks_outside_the_video_are_limited_to_it(host_kernels: HostKernels) -> None:
    videos = random_videos([(3, 4, 5), (1, 2, 2)])
    clips = gathered(host_kernels, videos, np.array([[-1, 3, 1], [-(2**40), 0, 2**40]]))
    assert np.array_equal(clips[0], videos[0][[0, 2, 1]])
    assert np.array_equal(clips[1], videos[1][[0, 0, 0]])


@pytest.mark.parametrize("shape", [(0, 4, 4), (2, 0, 4), (2, 4, 0)])
def test_a_video_without_frames_or_pixels_is_an_error(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no frame or no pixel"):
        describe_videos([0, 0], [(3, 2, 2), shape])


class NumpyKernels(Kernels):
    """`Kernels` whose device is the host."""

    def __init__(self) -> None:
        self.arrays = np

    def _address(self, array: Any) -> int:
        return int(array.ctypes.data)


@pytest.mark.parametrize("channels", ["rgb", "plane"])
def test_only_the_description_on_the_device_has_the_visible_parts(channels: str) -> None:
    frames = random_frames([(5, 16, 24), (2, 32, 48)], channels)
    windows = [(1, 2, 10, 20), (0, 0, 31, 44)]
    videos, on_device = NumpyKernels().describe(frames, [np.array(window, np.int32) for window in windows])
    rows = np.ascontiguousarray(on_device).view(VIDEO).ravel()
    assert rows[["top", "left", "height", "width"]].tolist() == windows
    assert videos[["top", "left", "height", "width"]].tolist() == [(0, 0, 16, 24), (0, 0, 32, 48)]
    for name in ("frames", "first", "num_frames", "rows", "columns"):
        assert rows[name].tolist() == videos[name].tolist()
    whole, on_device = NumpyKernels().describe(frames)
    assert np.array_equal(np.ascontiguousarray(on_device).view(VIDEO).ravel(), whole)
    assert whole["first"].tolist() == [0, 5]


# --- The check itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "planted"),
    [
        # The last group of bytes is read whole, as if the size of every frame were a multiple of 48.
        ("bytes = group < groups.count ? ", "bytes = group < groups.count ? kBytes : group < groups.count ? "),
        # Aligned quads are read at the ends of the memory too.
        ("if (t >= safe_begin && t < safe_end) {", "if (t < safe_end) {"),
        ("if (t >= safe_begin && t < safe_end) {", "if (t >= safe_begin) {"),
    ],
)
def test_a_planted_read_out_of_bounds_fails(program_cache: Path, tmp_path: Path, right: str, planted: str) -> None:
    source = (kernel_folder() / "image_difference.cu").read_text()
    assert source.count(right) == 1
    path = tmp_path / "planted.cu"
    path.write_text(source.replace(right, planted))
    video = random_videos([(4, 5, 7)])
    # The sanitizer reports bytes before an array in whole groups of eight.
    table, structs = described(video, offset=11)
    out = Out(np.zeros(4, np.uint64))
    with HostKernels(path, program_cache) as host, pytest.raises(KernelError, match="overflow|use-after-poison"):
        host.run("image_difference_rgb", grid=image_grid(table), block=IMAGE_BLOCK, args=[structs, out])
