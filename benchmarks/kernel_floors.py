"""Lower bounds ("floors") of the CUDA kernels' times, and the share of the hardware's rate that a kernel reaches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from figures import target

from mgdali import motion as reference
from mgdali.gpu.feature_filters import FeatureKernel

NUM_FILTERS = reference.NUM_FILTERS
TAPS = 3 * reference.FILTER_SIZE**2
PADDED_TAPS = 176
"""Inner dimension of the tensor cores' matrix product: eleven steps of 16, for 147 taps."""
SEPARABLE_OPERATIONS = 2 * 3 + 1 + 2 * 56 + 2 * 6 + 1
"""Float32 operations per pixel of the default bank in feature_difference_separable.cu, without those at the borders of
strips and tiles. Plane: 2 x 3 for the weighted sums and 1 for the difference. Filters: 2 x 56 for the taps. Norm: 2 x 6
for the mixing and the squares, 1 for the square root. The rest of the instructions is in results/sass.json."""
SHARED_BYTES_PER_PIXEL = 84
"""Bytes that feature_difference_mma.cu reads from shared memory: 84 loads of 128 bytes per warp of 128 pixels."""
SHARED_BYTES_PER_CYCLE = 128
"""Bytes per clock cycle of a multiprocessor's shared memory: 32 banks of 4 bytes."""
CACHES = 4
"""The batches that are used in turn are together at least this many times as large as the L2 cache."""


HIDDEN_ROWS, HIDDEN_COLUMNS = 8, 12
"""Rows and columns at the bottom and right edges that are not visible in the rows "visible part" and "corrected": those
of a 340x256 or 1080p video in coding blocks of 16."""


@dataclass(frozen=True)
class Case:
    """Number and size of the videos of a batch; all have the same size."""

    name: str
    videos: int
    frames: int
    height: int
    width: int

    @property
    def frame_bytes(self) -> int:
        return 3 * self.height * self.width

    @property
    def batch_bytes(self) -> int:
        return self.videos * self.frames * self.frame_bytes


@dataclass(frozen=True)
class Ceilings:
    """Rates of this GPU per second; 0 if not measured."""

    copied_bytes: float = 0
    """Bytes read plus bytes written by a copy within device memory."""
    half_operations: float = 0
    float_operations: float = 0
    additions: float = 0
    """Float64 additions that each depend on the previous one."""
    shared_bytes: float = 0
    """Bytes of the shared memory of all multiprocessors at the highest clock, which is computed and not measured."""


@dataclass(frozen=True)
class Work:
    """Smallest amount of work of a kernel for a batch. ``operations_are`` names the ceiling of its operations."""

    bytes: int = 0
    operations: int = 0
    additions: int = 0
    operations_are: str = "half_operations"


def image_work(case: Case) -> Work:
    """Return the work of image-level motion: each frame is read once."""
    return Work(bytes=case.batch_bytes)


def visible_image_work(case: Case) -> Work:
    """Return the work of image-level motion of the visible part of the frames."""
    return Work(bytes=3 * case.videos * case.frames * (case.height - HIDDEN_ROWS) * (case.width - HIDDEN_COLUMNS))


def feature_work(case: Case, kernel: FeatureKernel, *, taps: int = TAPS) -> Work:
    """Return the work of feature-level motion with the default bank, at each pixel of each frame except the first.

    The separable kernel does :data:`SEPARABLE_OPERATIONS`. The others apply eight filters; a tap is a multiplication
    and an addition.
    """
    pixels = case.videos * (case.frames - 1) * case.height * case.width
    if kernel == "separable":
        return Work(case.batch_bytes, SEPARABLE_OPERATIONS * pixels, operations_are="float_operations")
    operations_are = "half_operations" if kernel == "tensor cores" else "float_operations"
    return Work(case.batch_bytes, 2 * NUM_FILTERS * taps * pixels, operations_are=operations_are)


def gather_work(case: Case, picks: int) -> Work:
    """Return the work of gathering: each picked frame is read and written once."""
    return Work(bytes=2 * case.videos * picks * case.frame_bytes)


def pick_work(case: Case, even: float = 0.0) -> Work:
    """Return the work of picking: one thread per video adds up the frames' motion in order, all videos in parallel.

    With ``even``, it adds up twice, because the share that is spread evenly depends on the first sum.
    """
    return Work(additions=case.frames * (2 if even else 1))


def floors_ms(work: Work, ceilings: Ceilings) -> dict[str, float]:
    """Return the time that each kind of work takes at its ceiling, in milliseconds; kinds without work are left out."""
    kinds = {
        "bytes": (work.bytes, ceilings.copied_bytes),
        "operations": (work.operations, getattr(ceilings, work.operations_are)),
        "additions": (work.additions, ceilings.additions),
    }
    return {kind: 1e3 * amount / rate for kind, (amount, rate) in kinds.items() if amount and rate}


def shared_memory_ms(case: Case, ceilings: Ceilings) -> float | None:
    """Return the least time of the tensor-core kernel's shared-memory reads; None if the rate is unknown."""
    if not ceilings.shared_bytes:
        return None
    pixels = case.videos * (case.frames - 1) * case.height * case.width
    return 1e3 * SHARED_BYTES_PER_PIXEL * pixels / ceilings.shared_bytes


def summary(times: Iterable[float]) -> dict[str, float]:
    """Return the median and the tenth and ninetieth percentiles."""
    low, median, high = np.percentile(list(times), (10, 50, 90))
    return {"median_ms": float(median), "p10_ms": float(low), "p90_ms": float(high)}


def assessed(work: Work, ceilings: Ceilings, median_ms: float) -> dict[str, Any]:
    """Return a kernel's time relative to its floor, the longest of the floors of its kinds of work."""
    floors = floors_ms(work, ceilings)
    binding = max(floors, key=lambda kind: floors[kind], default=None)
    return {
        **{name: amount for name, amount in asdict(work).items() if amount and name != "operations_are"},
        "floors_ms": floors,
        "bound_by": binding,
        "share_of_ceiling": floors[binding] / median_ms if binding else None,
        "over_floor": median_ms / floors[binding] if binding else None,
    }


def sets_needed(batch_bytes: int, cache_bytes: int) -> int:
    """Return the number of batches to use in turn so that none is still in the L2 cache at its next turn."""
    return max(2, math.ceil(CACHES * cache_bytes / batch_bytes))


def targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the figures with a target, for videos of 340x256 pixels."""
    found = {(row["case"], row["kernel"]): row for row in rows}
    results = []
    for case in dict.fromkeys(row["case"] for row in rows if row["case"].startswith("340x256")):
        image = found.get((case, "image luma"))
        feature = found.get((case, "feature separable"))
        if image and feature:
            ratio = feature["median_ms"] / image["median_ms"]
            results.append(_target(f"{feature['kernel']} / image luma", case, ratio, "<=", 15))
        results += [
            _target(f"{kernel}, share of the copy bandwidth", case, row["share_of_ceiling"], ">=", 0.85)
            for kernel in ("image luma", "image rgb")
            if (row := found.get((case, kernel)))
        ]
    return results


def _target(figure: str, case: str, value: float, relation: str, bound: float) -> dict[str, Any]:
    return {"figure": figure, "case": case, **target(figure, value, relation, bound)}
