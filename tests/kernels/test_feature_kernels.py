"""The kernels of the feature level, run on the CPU under the sanitizers and compared with the NumPy reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali import motion as reference
from mgdali.gpu.cuda_kernels import feature_grid
from mgdali.gpu.feature_filters import FeatureKernel, feature_plan, feature_units
from mgdali.video.frames import read_frames
from tests.kernels.test_kernels import Window, described, random_videos, random_windows, shown, split
from tests.support.kernel_build import KERNELS, ORDERS, HostKernels, KernelError, Out, needs_compiler

pytestmark = needs_compiler

TOLERANCES: dict[FeatureKernel, float] = {"separable": 1e-6, "tensor cores": 2e-3, "float32": 1e-6}
FILTERS = reference.default_filters()
# One frame, one pixel, smaller than a filter, more frames than a block takes, one tile and several of each kernel.
SHAPES = [(4, 33, 47), (1, 20, 20), (3, 1, 1), (3, 2, 3), (2, 17, 130), (19, 5, 7), (2, 3, 150), (2, 70, 40)]
# Tensor cores are slow on the CPU.
SMALL = [(3, 17, 37), (1, 20, 20), (3, 1, 1), (2, 2, 3), (18, 3, 7)]

every_kernel = pytest.mark.parametrize("kernel", TOLERANCES)


def shapes_for(kernel: FeatureKernel) -> list[tuple[int, int, int]]:
    return SMALL if kernel == "tensor cores" else SHAPES


def feature_motion(
    host: HostKernels,
    videos: Sequence[NDArray[np.uint8]],
    filters: NDArray[np.float32] = FILTERS,
    *,
    kernel: FeatureKernel,
    planes: bool = False,
    windows: Sequence[Window] | None = None,
    offset: int = 0,
    order: int = 0,
) -> list[NDArray[Any]]:
    table, structs = described(videos, offset, windows)
    plan = feature_plan(filters, tensor_cores=True, planes=planes, kernel=kernel)
    units = feature_units(filters, table)
    (motion,) = host.run(
        plan.function,
        grid=feature_grid(table, plan),
        block=plan.block,
        args=[
            structs,
            *([] if plan.weights is None else [plan.weights]),
            np.float64(units * plan.scale),
            Out(np.zeros(int(table["num_frames"].sum()), np.uint64)),
        ],
        order=order,
    )
    return split(motion / units, table)


def check(
    host: HostKernels,
    videos: Sequence[NDArray[np.uint8]],
    filters: NDArray[np.float32] = FILTERS,
    *,
    kernel: FeatureKernel,
    windows: Sequence[Window] | None = None,
    **more: Any,
) -> None:
    motions = feature_motion(host, videos, filters, kernel=kernel, windows=windows, **more)
    for i, (video, motion) in enumerate(zip(videos, motions, strict=True)):
        visible = shown(video, windows[i]) if windows else video
        expected = reference.feature_difference(visible, filters)
        np.testing.assert_allclose(motion, expected, rtol=TOLERANCES[kernel], atol=1e-6)


# --- All kernels ------------------------------------------------------------------------------------------------------


@every_kernel
@pytest.mark.parametrize("order", ORDERS)
def test_motion_of_a_ragged_batch_equals_the_reference(
    host_kernels: HostKernels, kernel: FeatureKernel, order: int
) -> None:
    videos = random_videos(shapes_for(kernel), seed=order)
    videos[0][2] = videos[0][1]
    check(host_kernels, videos, kernel=kernel, order=order)


@every_kernel
@pytest.mark.parametrize("order", ORDERS)
def test_motion_is_that_of_the_visible_part(host_kernels: HostKernels, kernel: FeatureKernel, order: int) -> None:
    # Frames begin at any address; the sanitizer reports reads before and after a video.
    videos = random_videos(shapes_for(kernel), seed=order)
    windows = random_windows(videos, seed=order)
    check(host_kernels, videos, kernel=kernel, windows=windows, offset=order, order=order)


@every_kernel
def test_a_visible_part_beyond_the_frame_is_limited_to_it(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    (video,) = random_videos([(2, 6, 40)])
    (motion,) = feature_motion(host_kernels, [video], kernel=kernel, windows=[(1, 30, 1000, 1000)])
    (expected,) = feature_motion(host_kernels, [video], kernel=kernel, windows=[(1, 30, 5, 10)])
    assert motion.tolist() == expected.tolist()


@every_kernel
def test_frames_may_start_at_any_address(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    videos = random_videos([(3, 8, 8), (3, 5, 7), (2, 1, 1), (2, 1, 2)])
    for offset in range(4 if kernel == "tensor cores" else 16):
        check(host_kernels, videos, kernel=kernel, offset=offset)


@pytest.mark.parametrize("kernel", ["separable", "float32"])
def test_frames_of_any_width_are_read_within_their_memory(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    widths = [*range(1, 12), *range(60, 73), 124, 125, 126, 127, 128, 129]
    for offset in (0, 3):
        check(host_kernels, random_videos([(2, 2, width) for width in widths]), kernel=kernel, offset=offset)


@every_kernel
def test_motion_is_the_same_to_the_bit_in_any_order(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    videos = random_videos([(3, 20, 40), (2, 17, 33)])
    results = [np.concatenate(feature_motion(host_kernels, videos, kernel=kernel, order=order)) for order in ORDERS]
    assert all(np.array_equal(result, results[0]) for result in results)


@every_kernel
def test_a_still_video_has_no_motion(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    still = np.repeat(random_videos([(1, 20, 30)])[0], 3, axis=0)
    assert not feature_motion(host_kernels, [still], kernel=kernel)[0].any()


@every_kernel
def test_a_change_from_black_to_white_does_not_overflow(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    flicker = np.zeros((3, 40, 70, 3), np.uint8)
    flicker[1] = 255
    check(host_kernels, [flicker], kernel=kernel)


@every_kernel
@pytest.mark.parametrize("case", range(5))
def test_motion_of_the_golden_arrays_is_as_expected(
    host_kernels: HostKernels, shared: Path, kernel: FeatureKernel, case: int
) -> None:
    golden = np.load(shared / "golden" / "difference.npz")
    video, filters = golden[f"frames{case}"], golden[f"weights{case}"].astype(np.float32)
    if kernel == "separable":
        check(host_kernels, [video], kernel=kernel)
        return
    (motion,) = feature_motion(host_kernels, [video], filters, kernel=kernel)
    np.testing.assert_allclose(motion, golden[f"feature{case}"], rtol=TOLERANCES[kernel])


# --- Any filters: tensor cores and float32 ----------------------------------------------------------------------------

any_filters = pytest.mark.parametrize("kernel", ["tensor cores", "float32"])


@any_filters
def test_each_tap_of_each_filter_is_in_its_place(host_kernels: HostKernels, kernel: FeatureKernel) -> None:
    # A single bright pixel meets every tap once. Weights are random powers of two, so a misplaced tap shows.
    video = np.zeros((2, 15, 40, 3), np.uint8)
    rng = np.random.default_rng(0)
    for channel in range(3):
        video[1] = 0
        video[1, 7, 19, channel] = 255
        filters = np.zeros((8, 3, 7, 7), np.float32)
        filters[:, channel] = 2.0 ** rng.integers(-3, 4, (8, 7, 7))
        expected = reference.feature_difference(video, filters)
        motion = feature_motion(host_kernels, [video], filters, kernel=kernel)[0]
        np.testing.assert_allclose(motion, expected, rtol=1e-5)


@any_filters
@pytest.mark.parametrize("size", [1e-7, 1.0, 1e5])
def test_filters_of_any_size_are_supported(host_kernels: HostKernels, kernel: FeatureKernel, size: float) -> None:
    video = random_videos([(2, 12, 30)])
    filters = (np.random.default_rng(0).normal(size=(8, 3, 7, 7)) * size).astype(np.float32)
    check(host_kernels, video, filters, kernel=kernel)


# --- Separable banks --------------------------------------------------------------------------------------------------


def test_motion_of_luma_planes_is_that_of_grey_frames(host_kernels: HostKernels) -> None:
    for order in ORDERS:
        videos = [np.ascontiguousarray(video[..., 0]) for video in random_videos(SHAPES, seed=order)]
        windows = random_windows(videos, seed=order)
        motions = feature_motion(
            host_kernels, videos, kernel="separable", planes=True, windows=windows, offset=order, order=order
        )
        for video, window, motion in zip(videos, windows, motions, strict=True):
            grey = np.repeat(shown(video, window)[..., None], 3, axis=3)
            np.testing.assert_allclose(motion, reference.feature_difference(grey), rtol=1e-6)


def test_motion_of_real_frames_equals_the_reference(host_kernels: HostKernels, sample_videos: Path) -> None:
    paths = sorted((sample_videos / "formats").glob("*.mp4"))[:3]
    assert paths
    for path in paths:
        frames = [frame.to_ndarray(format="rgb24") for frame in islice(read_frames(path), 3)]
        check(host_kernels, [np.stack(frames)], kernel="separable")


def test_motion_of_a_frame_that_brightens_evenly_is_near_the_reference(host_kernels: HostKernels) -> None:
    # Nearly everything cancels in the filters: what is left is along the borders.
    video = np.repeat(np.array([0, 1, 200], np.uint8), 130 * 140 * 3).reshape(3, 130, 140, 3)
    check(host_kernels, [video], kernel="separable")


def outer_sums(rows: int, columns: int) -> NDArray[np.float64]:
    """Return combinations of all outer products of random taps: float64 [8, 7, 7]."""
    rng = np.random.default_rng(rows + 10 * columns)
    shares = rng.normal(size=(8, columns, rows))
    return np.einsum("fab,ay,bx->fyx", shares, rng.normal(size=(columns, 7)), rng.normal(size=(rows, 7)))


def bank_of(spatial: NDArray[np.float64], colour: tuple[float, float, float]) -> NDArray[np.float32]:
    return (spatial[:, None] * np.array(colour)[None, :, None, None]).astype(np.float32)


BANKS = {
    "four row filters, colours of any sign": bank_of(outer_sums(4, 2), (0.31, -0.83, 0.117)),
    "one filter, one colour, large": bank_of(outer_sums(1, 1), (0, 1e6, 0)),
    "one response of four filters, small": bank_of(np.repeat(outer_sums(2, 2)[:1], 8, 0), (1e-10, 2e-10, 0)),
    "zeros": np.zeros((8, 3, 7, 7), np.float32),
}


@pytest.mark.parametrize("name", BANKS)
def test_the_separable_kernel_is_compiled_for_other_banks(tmp_path: Path, program_cache: Path, name: str) -> None:
    filters = BANKS[name]
    plan = feature_plan(filters, tensor_cores=True)
    assert plan.kernel == "separable"
    source = tmp_path / "other_bank.cu"
    source.write_text(plan.head + (KERNELS / f"{plan.source}.cu").read_text())
    with HostKernels(source, program_cache) as host:
        videos = random_videos([(3, 33, 47), (2, 3, 70)])
        for order in ORDERS:
            motions = feature_motion(host, videos, filters, kernel="separable", order=order)
            for video, motion in zip(videos, motions, strict=True):
                np.testing.assert_allclose(motion, reference.feature_difference(video, filters), rtol=1e-6)


# --- The check itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "planted"),
    [
        # Words without a visible byte are read.
        ("bytes[j] = min(max(4 * j, from), to);", "bytes[j] = max(4 * j, from);"),
        ("bytes[j] = min(max(4 * j, from), to);", "bytes[j] = min(4 * j, to);"),
        # Rows above the frame are read.
        ("down >= 0 && down < tile.video.height", "down < tile.video.height"),
    ],
)
def test_a_planted_read_out_of_bounds_fails(program_cache: Path, tmp_path: Path, right: str, planted: str) -> None:
    header = (KERNELS / "feature_tile.cuh").read_text()
    assert header.count(right) == 1
    source = (KERNELS / "feature_difference_separable.cu").read_text()
    include = '#include "feature_tile.cuh"\n'
    assert include in source
    path = tmp_path / "planted.cu"
    path.write_text(source.replace(include, re.sub("#pragma once", "", header).replace(right, planted)))
    # The sanitizer reports bytes before an array in whole groups of eight.
    with HostKernels(path, program_cache) as host, pytest.raises(KernelError, match="overflow|use-after-poison"):
        feature_motion(host, random_videos([(2, 5, 7)]), kernel="separable", offset=16)
