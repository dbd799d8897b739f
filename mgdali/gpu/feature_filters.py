"""The choice of a kernel for the feature level, and the filters in the form that this kernel takes.

Three kernels compute the same motion: ``kernels/feature_difference_separable.cu`` for banks of separable filters of one
plane, ``feature_difference_mma.cu`` for other banks on GPUs with tensor cores, and ``feature_difference.cu``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mgdali.filter_bank import SeparableBank, separate
from mgdali.motion import FILTER_SIZE, NUM_FILTERS, default_filters

__all__ = [
    "MAX_ROW_FILTERS",
    "FeatureKernel",
    "FeaturePlan",
    "bank_code",
    "feature_plan",
    "feature_units",
    "filter_scale",
    "filter_table",
    "filter_words",
]

FeatureKernel = Literal["separable", "tensor cores", "float32"]
"""A kernel of the feature level. ``"tensor cores"`` rounds the filters to float16, the others compute in float32."""

MAX_ROW_FILTERS = 4
"""The most row filters of a bank for which the separable kernel keeps their results in registers."""

_ROW_TAPS = 3 * FILTER_SIZE
_MMA_LANES = 4
_PADDED_ROW_TAPS = 3 * 2 * _MMA_LANES
_LARGEST_BYTE = 255
_LARGEST_INT = 2**31 - 1
_EXACT = 1e-7


def filter_table(filters: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the filters for the float32 kernel, float32 ``[147, 8]``: taps (row, column, channel) by filters.

    Args:
        filters: Float32 ``[8, 3, 7, 7]``.
    """
    return np.ascontiguousarray(filters.transpose(2, 3, 1, 0).reshape(-1, NUM_FILTERS))


def filter_scale(filters: NDArray[np.float32]) -> float:
    """Return the power of two that scales the largest weight into [1, 2), so that float16 keeps small weights.

    Args:
        filters: Float32 ``[8, 3, 7, 7]``.
    """
    largest = float(np.abs(filters).max())
    return 2.0 ** -math.floor(math.log2(largest)) if largest > 0 else 1.0


def filter_words(filters: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Return the filters for the tensor cores, uint32 ``[8, 22, 4]``: filters by words by lanes.

    Each word contains two float16 weights, multiplied by :func:`filter_scale`. ``kernels/feature_difference_mma.cu``
    describes the order of the taps and the reason for it.

    Args:
        filters: Float32 ``[8, 3, 7, 7]``.
    """
    filters = filters * np.float32(filter_scale(filters))
    rows = np.zeros((NUM_FILTERS, FILTER_SIZE, _PADDED_ROW_TAPS), np.float16)
    rows[:, :, :_ROW_TAPS] = filters.transpose(0, 2, 3, 1).reshape(NUM_FILTERS, FILTER_SIZE, _ROW_TAPS)
    pairs = rows.view(np.uint32).reshape(NUM_FILTERS, FILTER_SIZE, 3, _MMA_LANES)
    padding = np.zeros((NUM_FILTERS, 1, _MMA_LANES), np.uint32)
    ahead = pairs[:, :, :2].reshape(NUM_FILTERS, 2 * FILTER_SIZE, _MMA_LANES)
    return np.concatenate([ahead, pairs[:, :, 2], padding], axis=1)


def feature_units(filters: NDArray[np.float32], videos: NDArray[Any]) -> float:
    """Return the number of integer units per 1 of S at the feature level: a power of two with which no S overflows.

    The kernels add S in uint64, because the result of integer additions does not depend on their order.

    Args:
        filters: Float32 ``[8, 3, 7, 7]``.
        videos: The batch, an array of :data:`mgdali.gpu.cuda_kernels.VIDEO`.
    """
    strongest = 255 * float(np.linalg.norm(np.abs(filters.astype(np.float64)).sum(axis=(1, 2, 3))))
    pixels = int((videos["height"].astype(np.int64) * videos["width"]).max())
    return 2.0 ** math.floor(62 - math.log2(max(strongest * pixels, 1.0)))


# --- The choice of a kernel -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class FeaturePlan:
    """How a bank's motion is measured: a kernel, and its arguments apart from the videos.

    Attributes:
        kernel: The kernel.
        source: Name of the source file in ``kernels/``, without ``.cu``.
        function: Name of the kernel in it.
        head: C++ definitions that are put before the source; empty if the source is used as it is.
        weights: The kernel's argument after the videos; None if it has none.
        scale: S per 1 of the sum that the kernel computes.
        block: Threads per block.
        tile: Rows and columns of pixels per block.
    """

    kernel: FeatureKernel
    source: str
    function: str
    head: str
    weights: NDArray[Any] | None
    scale: float
    block: int
    tile: tuple[int, int]


def feature_plan(
    filters: NDArray[np.float32], *, tensor_cores: bool, planes: bool = False, kernel: FeatureKernel | None = None
) -> FeaturePlan:
    """Return how the motion of a bank is measured.

    Args:
        filters: Float32 ``[8, 3, 7, 7]``.
        tensor_cores: Whether the GPU has the tensor cores of sm_80 or newer.
        planes: Whether the videos are planes of luma, for which only separable banks have a kernel.
        kernel: The kernel to use. None chooses the separable one if the bank is separable, else the tensor cores if the
            GPU has them.

    Raises:
        ValueError: If the bank or the videos need another kernel than the one given.
    """
    separable = _separable_plan(filters.tobytes(), planes)
    if kernel is None:
        kernel = "separable" if separable or planes else "tensor cores" if tensor_cores else "float32"
    if kernel == "separable":
        if separable is None:
            raise ValueError("the filters are not a separable bank, which the separable kernel needs, and luma planes")
        return separable
    if planes:
        raise ValueError(f"the kernel {kernel!r} does not take luma planes: only 'separable' does")
    if kernel == "tensor cores":
        words, scale = filter_words(filters), 1 / filter_scale(filters)
        return FeaturePlan(kernel, "feature_difference_mma", "feature_difference_mma", "", words, scale, 128, (16, 32))
    return FeaturePlan(kernel, "feature_difference", "feature_difference", "", filter_table(filters), 1.0, 256, (8, 32))


# The analysis of a bank takes milliseconds, and a loader uses one bank for all its batches.
@lru_cache(maxsize=8)
def _separable_plan(content: bytes, planes: bool) -> FeaturePlan | None:
    filters = np.frombuffer(content, np.float32).reshape(NUM_FILTERS, 3, FILTER_SIZE, FILTER_SIZE)
    bank = separate(filters)
    if bank is None or bank.row_of[-1] >= MAX_ROW_FILTERS:
        return None
    # The kernel's sum leaves out the largest column tap and the factor of the plane in integers.
    strongest = float(np.abs(bank.columns).max())
    scale = (
        strongest * abs(float(bank.plane.sum())) if planes else strongest / float(np.abs(_integer_plane(bank)).max())
    )
    # The default bank is compiled as it is in the repository, so that all machines measure the same to the bit.
    head = "" if np.array_equal(filters, default_filters()) else bank_code(bank)
    name = "feature_difference_separable"
    return FeaturePlan("separable", name, f"{name}_plane" if planes else name, head, None, scale, 128, (64, 64))


# --- Separable banks --------------------------------------------------------------------------------------------------


def bank_code(bank: SeparableBank) -> str:
    """Return C++ definitions of the numbers of a separable bank. The largest column tap is scaled to 1.

    The numbers become constants of the kernel's instructions. Taps of 0 are left out, and symmetric filters take fewer
    multiplications.
    """
    plane = _integer_plane(bank)
    strongest = float(np.abs(bank.columns).max()) or 1.0
    rows = bank.rows[np.unique(bank.row_of, return_index=True)[1]]
    is_bytes = plane.min() >= 0 and plane.max() <= _LARGEST_BYTE
    return "\n".join(
        [
            "#define MGDALI_BANK",
            "namespace bank {",
            f"constexpr int kRows = {len(rows)};",
            f"constexpr int kFilters = {len(bank.columns)};",
            f"constexpr int kOutputs = {len(bank.mixing)};",
            f"constexpr bool kPlaneIsBytes = {'true' if is_bytes else 'false'};",
            f"__device__ constexpr int kPlane[3] = {_braces(plane)};",
            f"__device__ constexpr float kRow[kRows][{FILTER_SIZE}] = {_braces(rows)};",
            f"__device__ constexpr int kRowOf[kFilters] = {_braces(bank.row_of)};",
            f"__device__ constexpr float kColumn[kFilters][{FILTER_SIZE}] = {_braces(bank.columns / strongest)};",
            f"__device__ constexpr float kMixing[kOutputs][kFilters] = {_braces(bank.mixing)};",
            "}",
            "",
        ]
    )


def _integer_plane(bank: SeparableBank) -> NDArray[np.int64]:
    """Return integers in the ratio of the plane's weights: bytes if possible, else such that no sum overflows int32."""
    for largest in range(1, _LARGEST_BYTE + 1):
        weights = bank.plane * largest
        whole = np.round(weights)
        if whole.min() >= 0 and np.abs(weights - whole).max() <= _EXACT * largest:
            return whole.astype(np.int64)
    largest = int(_LARGEST_INT / (255 * float(np.abs(bank.plane).sum()))) - 2
    return np.round(bank.plane * largest).astype(np.int64)


def _braces(values: NDArray[Any]) -> str:
    """Return numbers as a C++ initializer, floats with the digits of float32."""
    if values.ndim > 1:
        return "{\n" + "".join(f"    {_braces(row)},\n" for row in values) + "}"
    if values.dtype.kind == "f":
        return "{" + ", ".join(f"{np.float32(value)!s}f" for value in values) + "}"
    return "{" + ", ".join(str(int(value)) for value in values) + "}"


if __name__ == "__main__":
    default = separate(default_filters())
    assert default is not None
    print("// The default filter bank as separable filters of one plane: the output of")
    print(f"// `python -m mgdali.gpu.feature_filters`.\n#pragma once\n\n{bank_code(default)}", end="")
