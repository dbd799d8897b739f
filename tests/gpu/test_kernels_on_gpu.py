"""The CUDA kernels on a GPU, through `Kernels`, compared with the NumPy reference.

The same sources run on the CPU in `test_kernels.py`. The tests here cover what only a GPU has: its own instructions
and tensor cores, its `pow`, streams, real sizes, and blocks that run at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali import sampling
from mgdali.gpu.cuda_kernels import Kernels, describe_videos
from mgdali.gpu.feature_filters import FeatureKernel
from tests.support.gpu_device import skip_without_gpu

pytestmark = pytest.mark.gpu

# One frame, odd sizes, widths not a multiple of 16, smaller than a filter, larger than a tile, 16-byte rows,
# longer than a block sums up at once.
RAGGED = [(5, 33, 47), (1, 20, 20), (3, 1, 1), (9, 2, 3), (4, 64, 96), (2, 17, 130), (70, 5, 7), (2, 3, 500)]
REAL = [(9, 256, 340), (3, 1080, 1920), (1, 256, 340), (6, 340, 256), (2, 720, 1278)]
LENGTHS = [1, 2, 3, 7, 31, 129, 300, 1024, 1025, 2500]
REPEATS = 10
POISON = 0xCD

Level = Literal["luma", "rgb", "plane", "separable", "float32", "tensor cores"]
FEATURE_KERNELS: tuple[FeatureKernel, ...] = ("separable", "float32", "tensor cores")


@pytest.fixture(scope="module")
def cupy() -> Any:
    try:
        module = importlib.import_module("cupy")
    except ImportError as error:
        pytest.skip(f"CuPy is missing: {error}")
    skip_without_gpu()
    return module


@pytest.fixture(scope="module")
def kernels(cupy: Any) -> Kernels:
    return Kernels()


@pytest.fixture(autouse=True)
def _poisoned_memory(cupy: Any) -> Iterator[None]:
    """Fill all device memory of a test when it is allocated, so that bytes that a kernel does not write are visible."""
    pool = cupy.cuda.MemoryPool()

    def allocate(size: int) -> Any:
        memory = pool.malloc(size)
        if size:
            memory.memset_async(POISON, size)
        return memory

    with cupy.cuda.using_allocator(allocate):
        yield


def random_videos(shapes: Sequence[tuple[int, int, int]], seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]


def random_filters(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((8, 3, 7, 7)).astype(np.float32)


def separable_filters(seed: int) -> NDArray[np.float32]:
    """Return combinations of the outer products of two column filters and two row filters, of one plane."""
    rng = np.random.default_rng(seed)
    shares, columns, rows = rng.normal(size=(8, 2, 2)), rng.normal(size=(2, 7)), rng.normal(size=(2, 7))
    spatial = np.einsum("fab,ay,bx->fyx", shares, columns, rows)
    return np.asarray(spatial[:, None] * rng.normal(size=(3, 1, 1)), np.float32)


def uploaded(cupy: Any, videos: Sequence[NDArray[np.uint8]], offset: int = 0) -> list[Any]:
    """Copy each video to the device, to an offset from a multiple of 512 bytes in the middle of a larger buffer."""
    arrays = []
    for video in videos:
        buffer = cupy.empty(offset + video.size + 64, np.uint8)
        part = buffer[offset : offset + video.size].reshape(video.shape)
        part.set(video)
        assert part.data.ptr % 512 == offset
        arrays.append(part)
    return arrays


def lengths_only(cupy: Any, lengths: Sequence[int]) -> tuple[NDArray[Any], Any]:
    """Return a batch for the kernels that read motion but no frames."""
    table = describe_videos([0] * len(lengths), [(length, 1, 1) for length in lengths])
    return table, cupy.asarray(table.view(np.uint8))


def split(values: Any, table: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values.get(), table["first"][1:])


def random_windows(videos: Sequence[NDArray[np.uint8]], seed: int = 0) -> list[NDArray[np.int32]]:
    """Return a visible part of each video: any position and size; of every second video in whole rows."""
    rng = np.random.default_rng(seed)
    windows = []
    for i, video in enumerate(videos):
        rows, columns = video.shape[1:3]
        top, left = int(rng.integers(rows)), 0 if i % 2 else int(rng.integers(columns))
        width = columns if i % 2 else int(rng.integers(1, columns - left + 1))
        windows.append(np.array([top, left, rng.integers(1, rows - top + 1), width], np.int32))
    return windows


def shown(video: NDArray[np.uint8], window: NDArray[np.int32]) -> NDArray[np.uint8]:
    top, left, height, width = (int(value) for value in window)
    return np.ascontiguousarray(video[:, top : top + height, left : left + width])


def measured(
    kernels: Kernels,
    arrays: Sequence[Any],
    level: Level,
    filters: NDArray[np.float32] | None = None,
    windows: Sequence[NDArray[np.int32]] | None = None,
) -> list[NDArray[np.float64]]:
    """Return the motion S of each video."""
    visible = None if windows is None else [kernels.arrays.asarray(window) for window in windows]
    table, on_device = kernels.describe(arrays, visible)
    if level in ("luma", "rgb", "plane"):
        return [part.astype(np.float64) for part in split(kernels.image_difference(table, on_device, level), table)]
    chosen = reference.default_filters() if filters is None else filters
    motion, unit = kernels.feature_difference(table, on_device, chosen, kernel=level)
    return [part * unit for part in split(motion, table)]


def tolerance_of(kernels: Kernels, level: Level) -> float:
    if level == "tensor cores" and not kernels.tensor_cores:
        pytest.skip("this GPU lacks the tensor cores that the kernel needs (sm_80)")
    return 2e-3 if level == "tensor cores" else 1e-5


# --- Motion at the image level ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["luma", "rgb"])
@pytest.mark.parametrize("shapes", [RAGGED, REAL], ids=["ragged", "real sizes"])
def test_image_motion_equals_the_reference_bit_for_bit(
    cupy: Any, kernels: Kernels, channels: Any, shapes: list[tuple[int, int, int]]
) -> None:
    videos = random_videos(shapes)
    for video, motion in zip(videos, measured(kernels, uploaded(cupy, videos), channels), strict=True):
        assert motion.tolist() == reference.image_difference(video, channels=channels).tolist()


@pytest.mark.parametrize("channels", ["luma", "rgb"])
@pytest.mark.parametrize("offset", range(16))
def test_image_motion_of_frames_at_any_address(cupy: Any, kernels: Kernels, channels: Any, offset: int) -> None:
    videos = random_videos([*RAGGED, (4, 256, 340)], seed=offset)
    for video, motion in zip(videos, measured(kernels, uploaded(cupy, videos, offset), channels), strict=True):
        assert motion.tolist() == reference.image_difference(video, channels=channels).tolist()


@pytest.mark.parametrize("channels", ["luma", "rgb"])
@pytest.mark.parametrize("offset", [0, 7])
def test_image_motion_is_that_of_the_visible_part(cupy: Any, kernels: Kernels, channels: Any, offset: int) -> None:
    videos = random_videos([*RAGGED, *REAL, (4, 256, 352), (2, 1088, 1920)], seed=offset)
    windows = random_windows(videos[:-2], seed=offset)
    windows += [np.array([0, 0, 256, 340], np.int32), np.array([0, 0, 1080, 1920], np.int32)]
    motions = measured(kernels, uploaded(cupy, videos, offset), channels, windows=windows)
    for video, window, motion in zip(videos, windows, motions, strict=True):
        assert motion.tolist() == reference.image_difference(shown(video, window), channels=channels).tolist()


@pytest.mark.parametrize("offset", [0, 5])
def test_motion_of_luma_planes_equals_the_reference_bit_for_bit(cupy: Any, kernels: Kernels, offset: int) -> None:
    videos = [np.ascontiguousarray(video[..., 0]) for video in random_videos([*RAGGED, *REAL], seed=offset)]
    arrays = uploaded(cupy, videos, offset)
    for video, motion in zip(videos, measured(kernels, arrays, "plane"), strict=True):
        assert motion.tolist() == reference.image_difference(video).tolist()
    windows = random_windows(videos)
    for video, window, motion in zip(videos, windows, measured(kernels, arrays, "plane", windows=windows), strict=True):
        assert motion.tolist() == reference.image_difference(shown(video, window)).tolist()


@pytest.mark.parametrize("channels", ["luma", "rgb"])
def test_a_still_video_has_no_motion_and_the_largest_does_not_overflow(
    cupy: Any, kernels: Kernels, channels: Any
) -> None:
    still = np.repeat(random_videos([(1, 30, 30)])[0], 40, axis=0)
    flicker = np.zeros((3, 2160, 3840, 3), np.uint8)
    flicker[1] = 255
    motions = measured(kernels, uploaded(cupy, [still, flicker]), channels)
    assert not motions[0].any()
    most = 255 * 2160 * 3840 * (3 if channels == "rgb" else 1)
    assert motions[1].tolist() == [0, most, most]


# --- Motion at the feature level -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", FEATURE_KERNELS)
@pytest.mark.parametrize("filters", [None, 1, 2], ids=["default filters", "random filters", "other random filters"])
@pytest.mark.parametrize("offset", [0, 3])
def test_feature_motion_of_a_ragged_batch_is_near_the_reference(
    cupy: Any, kernels: Kernels, level: Level, filters: int | None, offset: int
) -> None:
    tolerance = tolerance_of(kernels, level)
    made = separable_filters if level == "separable" else random_filters
    bank = reference.default_filters() if filters is None else made(filters)
    videos = random_videos(RAGGED, seed=offset)
    videos[0][3] = videos[0][2]
    motions = measured(kernels, uploaded(cupy, videos, offset), level, bank)
    assert motions[0][3] == 0
    for video, motion in zip(videos, motions, strict=True):
        np.testing.assert_allclose(motion, reference.feature_difference(video, bank), rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("level", FEATURE_KERNELS)
def test_feature_motion_is_that_of_the_visible_part(cupy: Any, kernels: Kernels, level: Level) -> None:
    tolerance = tolerance_of(kernels, level)
    videos = random_videos(RAGGED)
    windows = random_windows(videos)
    motions = measured(kernels, uploaded(cupy, videos), level, windows=windows)
    for video, window, motion in zip(videos, windows, motions, strict=True):
        np.testing.assert_allclose(motion, reference.feature_difference(shown(video, window)), tolerance, 1e-6)


@pytest.mark.parametrize("level", FEATURE_KERNELS)
@pytest.mark.parametrize("shape", [(3, 256, 340), (2, 1080, 1920), (20, 224, 224)], ids=str)
def test_feature_motion_at_real_sizes_is_near_the_reference(
    cupy: Any, kernels: Kernels, level: Level, shape: tuple[int, int, int]
) -> None:
    tolerance = tolerance_of(kernels, level)
    videos = random_videos([shape, (1, *shape[1:])])
    motions = measured(kernels, uploaded(cupy, videos), level)
    # The reference takes a second for a few frames, so only frames at both ends of the blocks' ranges are compared.
    video, motion = videos[0], motions[0]
    for t in sorted({1, 2, 16, 17, len(video) - 1} & set(range(1, len(video)))):
        expected = reference.feature_difference(video[t - 1 : t + 1])[1]
        np.testing.assert_allclose(motion[t], expected, rtol=tolerance)
    assert motion[0] == 0
    assert motions[1].tolist() == [0]


def test_feature_motion_of_luma_planes_is_that_of_grey_frames(cupy: Any, kernels: Kernels) -> None:
    videos = [np.ascontiguousarray(video[..., 0]) for video in random_videos(RAGGED)]
    table, on_device = kernels.describe(arrays := uploaded(cupy, videos))
    assert len(arrays) == len(videos)
    motion, unit = kernels.feature_difference(table, on_device, reference.default_filters(), planes=True)
    for video, own in zip(videos, split(motion, table), strict=True):
        grey = np.repeat(video[..., None], 3, axis=3)
        np.testing.assert_allclose(own * unit, reference.feature_difference(grey), rtol=1e-5)


@pytest.mark.parametrize("level", ["float32", "tensor cores"])
def test_each_tap_of_each_filter_is_in_its_place(cupy: Any, kernels: Kernels, level: Level) -> None:
    tolerance_of(kernels, level)
    # A single bright pixel meets every tap once. Weights are random powers of two, exact in half precision, so
    # a misplaced tap changes the result.
    rng = np.random.default_rng(0)
    for channel in range(3):
        video = np.zeros((2, 15, 40, 3), np.uint8)
        video[1, 7, 19, channel] = 255
        filters = np.zeros((8, 3, 7, 7), np.float32)
        filters[:, channel] = 2.0 ** rng.integers(-3, 4, (8, 7, 7))
        (motion,) = measured(kernels, uploaded(cupy, [video]), level, filters)
        np.testing.assert_allclose(motion, reference.feature_difference(video, filters), rtol=1e-5)


# --- Picks -----------------------------------------------------------------------------------------------------------


def random_motions(seed: int) -> list[NDArray[np.int64]]:
    """Return motion of many lengths, exact in float32, with still stretches; one video is still, one uniform."""
    rng = np.random.default_rng(seed)
    motions = [rng.integers(0, 10**6, length) * (rng.random(length) < 0.7) for length in LENGTHS]
    motions[3][:] = 0
    motions[4][:] = 12345
    return motions


def picked(
    cupy: Any,
    kernels: Kernels,
    motions: Sequence[NDArray[np.int64]],
    offsets: NDArray[np.float64],
    mu: float,
    inverse: sampling.Inverse,
    even: float = 0.0,
) -> NDArray[np.int64]:
    table, on_device = lengths_only(cupy, [len(motion) for motion in motions])
    raw = cupy.asarray(np.concatenate(motions).astype(np.uint64))
    picks = kernels.pick_motion_guided(table, on_device, raw, 1.0, cupy.asarray(offsets), mu, even, inverse)
    return np.asarray(picks.get())


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("num_picks", [1, 8, 300])
def test_picks_of_random_ragged_batches_equal_the_reference(
    cupy: Any, kernels: Kernels, mu: float, inverse: sampling.Inverse, num_picks: int
) -> None:
    motions = random_motions(int(10 * mu) + num_picks)
    offsets = np.random.default_rng(num_picks).random((len(motions), num_picks))
    for even in (0.0, 0.3, 1.0):
        picks = picked(cupy, kernels, motions, offsets, mu, inverse, even)
        for motion, own, pick in zip(motions, offsets, picks, strict=True):
            expected = sampling.sample_motion_guided(motion, num_picks, mu=mu, even=even, offsets=own, inverse=inverse)
            assert pick.tolist() == expected.tolist()


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("num_picks", [1, 8, 300])
def test_picks_for_other_exponents_differ_only_within_rounding(
    cupy: Any, kernels: Kernels, inverse: sampling.Inverse, num_picks: int
) -> None:
    # CUDA's pow and the host's may differ in the last bit, and so may sums of their results. So a pick must be the
    # reference's for the level or for a level within that rounding of it: it may differ only next to a step.
    mu = 0.3
    motions = random_motions(num_picks)
    offsets = np.random.default_rng(num_picks).random((len(motions), num_picks))
    picks = picked(cupy, kernels, motions, offsets, mu, inverse)
    for motion, own, pick in zip(motions, offsets, picks, strict=True):
        expected = sampling.sample_motion_guided(motion, num_picks, mu=mu, offsets=own, inverse=inverse)
        for i in np.flatnonzero(pick != expected):
            assert within_rounding(motion, mu, float(i + own[i]) / num_picks, int(pick[i]), inverse), (
                f"pick {i} of {len(motion)} frames is {pick[i]}, the reference's is {expected[i]}"
            )


def within_rounding(motion: NDArray[np.int64], mu: float, share: float, pick: int, inverse: sampling.Inverse) -> bool:
    """Return whether `pick` is right for a level within rounding of this share of the total."""
    weights = sampling.motion_weights(motion, mu)
    # Rounding: two units in the last place of each pow, half a unit of each addition, a few units of the level.
    rounding = (len(weights) + 8) * float(np.finfo(np.float64).eps)
    if inverse == "step":
        shares = np.cumsum(weights) / weights.sum()
        below = shares[pick - 1] if pick else 0.0
        return bool(weights[pick] > 0 and below - rounding <= share <= shares[pick] + rounding)
    # Only over the differences, which are one position earlier in the array.
    differences = weights[1:] if weights[1:].any() else np.ones(len(weights) - 1)
    distances = np.abs(np.cumsum(differences / differences.sum()) - share)
    first_of_equals = pick == 0 or differences[pick] > 0
    return bool(first_of_equals and distances[pick] <= distances.min() + rounding)


def test_the_check_of_rounding_rejects_a_wrong_pick() -> None:
    motion = np.array([0, 1, 0, 1, 1, 1])
    edge = 0.25
    assert [pick for pick in range(6) if within_rounding(motion, 0.3, edge, pick, "step")] == [1, 3]
    assert [pick for pick in range(6) if within_rounding(motion, 0.3, edge + 1e-9, pick, "step")] == [3]
    assert [pick for pick in range(5) if within_rounding(motion, 0.3, edge, pick, "nearest")] == [0]
    assert [pick for pick in range(5) if within_rounding(motion, 0.3, edge + 0.125, pick, "nearest")] == [0, 2]


@pytest.mark.parametrize("inverse", ["step", "nearest"])
def test_the_largest_offset_below_one_stays_in_the_video(
    cupy: Any, kernels: Kernels, inverse: sampling.Inverse
) -> None:
    motion = np.array([0, 5, 3, 0, 0])
    offsets = np.full((1, 7), np.nextafter(1.0, 0.0))
    expected = sampling.sample_motion_guided(motion, 7, mu=1.0, offsets=offsets[0], inverse=inverse)
    assert picked(cupy, kernels, [motion], offsets, 1.0, inverse)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("inverse", ["step", "nearest"])
@pytest.mark.parametrize("level", ["luma", *FEATURE_KERNELS])
def test_picks_of_motion_that_never_left_the_device(
    cupy: Any, kernels: Kernels, level: Level, inverse: sampling.Inverse
) -> None:
    tolerance_of(kernels, level)
    arrays = uploaded(cupy, random_videos([(40, 33, 47), (1, 20, 20), (9, 2, 3), (130, 16, 16)]))
    table, on_device = kernels.describe(arrays)
    unit = 1.0
    if level == "luma":
        motion = kernels.image_difference(table, on_device, level)
    else:
        filters = reference.default_filters()
        motion, unit = kernels.feature_difference(table, on_device, filters, kernel=level)
    offsets = np.random.default_rng(0).random((len(arrays), 8))
    picks = kernels.pick_motion_guided(table, on_device, motion, unit, cupy.asarray(offsets), 0.5, 0.0, inverse).get()
    for own, place, pick in zip(split(motion, table), offsets, picks, strict=True):
        rounded = np.float32(own * unit)
        expected = sampling.sample_motion_guided(rounded, 8, mu=0.5, offsets=place, inverse=inverse)
        assert pick.tolist() == expected.tolist()


@pytest.mark.parametrize("num_picks", [1, 8, 16, 300])
def test_top_motion_picks_equal_the_reference(cupy: Any, kernels: Kernels, num_picks: int) -> None:
    rng = np.random.default_rng(num_picks)
    # Many equal values, no equal values, values up to the largest that float64 distinguishes, fewer frames than picks.
    ranges = ((10**9, 700), (4, 300), (1, 20), (2**53, 9), (5, 1), (2**53, 2500), (3, 16))
    motions = [rng.integers(0, high, length) for high, length in ranges]
    table, on_device = lengths_only(cupy, [len(motion) for motion in motions])
    raw = cupy.asarray(np.concatenate(motions).astype(np.uint64))
    picks = kernels.pick_top_motion(table, on_device, raw, 1.0, num_picks).get()
    for motion, pick in zip(motions, picks, strict=True):
        assert pick.tolist() == sampling.sample_top_motion(np.float32(motion * 1.0), num_picks).tolist()


def test_picks_are_those_of_motion_rounded_to_float32(cupy: Any, kernels: Kernels) -> None:
    # At the largest counts of a 1080p video, float32 represents only every 32nd: adding five changes nothing.
    large = 2**28
    for inverse, motion, offset in (("step", [0, large + 5, large], 0.0), ("nearest", [0, large, large + 5], 0.5)):
        rule: Any = {"mu": 1.0, "inverse": inverse}
        expected = sampling.sample_motion_guided(np.float32(motion), 2, offsets=offset, **rule).tolist()
        assert expected != sampling.sample_motion_guided(motion, 2, offsets=offset, **rule).tolist()
        found = picked(cupy, kernels, [np.array(motion)], np.full((1, 2), offset), **rule)
        assert found[0].tolist() == expected


def test_top_motion_picks_are_those_of_motion_rounded_to_float32(cupy: Any, kernels: Kernels) -> None:
    close = 2**28 + np.random.default_rng(0).integers(0, 200, 300)
    # The value is just above the middle of two floats. As a double it is exactly the middle: a tie, rounded down.
    twice = np.array([2**54, 2**54 + 2**30 + 1])
    for motion, num_picks in ((close, 40), (twice, 1)):
        table, on_device = lengths_only(cupy, [len(motion)])
        raw = cupy.asarray(motion.astype(np.uint64))
        for unit in (1.0, 2.0**-40):
            expected = sampling.sample_top_motion(np.float32(motion * unit), num_picks)
            found = kernels.pick_top_motion(table, on_device, raw, unit, num_picks).get()
            assert found[0].tolist() == expected.tolist()


# --- Gathering -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 4, 13])
def test_gathered_frames_are_the_picked_ones(cupy: Any, kernels: Kernels, offset: int) -> None:
    videos = random_videos([*RAGGED, (7, 256, 340), (2, 1080, 1920), (3, 101, 181)], seed=offset)
    table, on_device = kernels.describe(arrays := uploaded(cupy, videos, offset))
    # In any order and with repeats, which one-frame videos always have.
    rng = np.random.default_rng(offset)
    picks = np.stack([rng.integers(0, len(video), 5) for video in videos])
    clips = kernels.gather_frames(table, on_device, cupy.asarray(picks))
    assert len(clips) == len(arrays)
    for video, pick, clip in zip(videos, picks, clips, strict=True):
        assert clip.dtype == np.uint8
        assert np.array_equal(clip.get(), video[pick])


@pytest.mark.parametrize("offset", [0, 4, 13])
@pytest.mark.parametrize("corrected", [False, True], ids=["same colours", "corrected colours"])
def test_gathered_frames_repeat_the_edge_of_the_visible_part(
    cupy: Any, kernels: Kernels, offset: int, corrected: bool
) -> None:
    videos = random_videos([*RAGGED, (7, 256, 352), (2, 1088, 1920), (3, 101, 181)], seed=offset)
    windows = random_windows(videos, seed=offset)
    rng = np.random.default_rng(offset)
    picks = np.stack([rng.integers(0, len(video), 5) for video in videos])
    matrices = rng.normal(size=(len(videos), 9)).astype(np.float32)
    matrices[1::3] = np.eye(3).ravel()
    arrays, visible = uploaded(cupy, videos, offset), [cupy.asarray(window) for window in windows]
    table, on_device = kernels.describe(arrays, visible)
    colours = [cupy.asarray(matrix) for matrix in matrices] if corrected else None
    clips = kernels.gather_frames(table, on_device, cupy.asarray(picks), colours)
    for video, window, pick, matrix, clip in zip(videos, windows, picks, matrices, clips, strict=True):
        top, left, height, width = (int(value) for value in window)
        below, right = video.shape[1] - top - height, video.shape[2] - left - width
        expected = np.pad(shown(video, window)[pick], ((0, 0), (top, below), (left, right), (0, 0)), mode="edge")
        if corrected:
            red, green, blue = np.moveaxis(expected.astype(np.float32), -1, 0)
            sums = [row[0] * red + row[1] * green + row[2] * blue for row in matrix.reshape(3, 3)]
            expected = np.clip(np.rint(np.stack(sums, axis=-1)), 0, 255).astype(np.uint8)
        assert np.array_equal(clip.get(), expected)


# --- Repeats and streams ---------------------------------------------------------------------------------------------


def whole_run(cupy: Any, kernels: Kernels, arrays: Sequence[Any]) -> dict[str, list[Any]]:
    """Return the results of every kernel for a batch, still on the device."""
    table, on_device = kernels.describe(arrays)
    filters = reference.default_filters()
    offsets = cupy.asarray(np.random.default_rng(0).random((len(arrays), 8)))
    results: dict[str, list[Any]] = {}
    for channels in ("luma", "rgb"):
        results[channels] = [kernels.image_difference(table, on_device, channels)]
    for name in FEATURE_KERNELS if kernels.tensor_cores else FEATURE_KERNELS[:2]:
        motion, unit = kernels.feature_difference(table, on_device, filters, kernel=name)
        results[name] = [motion]
        for inverse in ("step", "nearest"):
            guided = kernels.pick_motion_guided(table, on_device, motion, unit, offsets, 0.3, 0.2, inverse)
            results[f"picks of {name}, {inverse}"] = [guided]
    results["top motion"] = [kernels.pick_top_motion(table, on_device, results["luma"][0], 1.0, 8)]
    results["frames"] = kernels.gather_frames(table, on_device, guided)
    return results


def on_host(results: dict[str, list[Any]]) -> dict[str, list[bytes]]:
    return {name: [array.get().tobytes() for array in arrays] for name, arrays in results.items()}


def test_ten_runs_give_identical_bits(cupy: Any, kernels: Kernels) -> None:
    arrays = uploaded(cupy, random_videos([*RAGGED, (40, 256, 340), (20, 224, 224)]))
    first = on_host(whole_run(cupy, kernels, arrays))
    for _ in range(REPEATS - 1):
        again = on_host(whole_run(cupy, kernels, arrays))
        assert [name for name in first if first[name] != again[name]] == []


def test_work_is_queued_on_the_current_stream(cupy: Any, kernels: Kernels) -> None:
    videos = random_videos([*RAGGED, (20, 256, 340)])
    expected = on_host(whole_run(cupy, kernels, uploaded(cupy, videos)))
    sources = uploaded(cupy, videos)
    targets = uploaded(cupy, random_videos([video.shape[:3] for video in videos], seed=1))
    wait = cupy.RawKernel(
        'extern "C" __global__ void wait(long long cycles) '
        "{ const long long start = clock64(); while (clock64() - start < cycles); }",
        "wait",
    )
    cupy.cuda.Device().synchronize()
    # The frames arrive only after tens of milliseconds, on a stream that waits for no other stream and that no other
    # stream waits for. Work queued on another stream would measure the memory's earlier content.
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        wait((1,), (1,), (np.int64(10**8),))
        for source, target in zip(sources, targets, strict=True):
            target.data.copy_from_device_async(source.data, source.nbytes)
        results = whole_run(cupy, kernels, targets)
        stream.synchronize()
        found = on_host(results)
    assert [name for name in expected if expected[name] != found[name]] == []
