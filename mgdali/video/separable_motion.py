"""Feature-level motion of luma planes, for banks of separable filters that weight R, G and B as luma does.

The CPU route measures these banks on the decoder's luma plane, by the compiled loop of
:mod:`mgdali.video.separable_loop`. The default bank is one of them. Tests compare it with
:func:`mgdali.motion.feature_difference`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.filter_bank import SeparableBank, separate
from mgdali.motion import FILTER_SIZE, LUMA_WEIGHTS, NUM_FILTERS, default_filters, has_luma_weights

__all__ = ["PlaneMotion", "default_bank", "luma_bank"]

_HALF = FILTER_SIZE // 2

Taps = NDArray[np.float64]


# --- Banks ------------------------------------------------------------------------------------------------------------


def luma_bank(filters: NDArray[np.float32]) -> SeparableBank | None:
    """Return a bank in the form in which the CPU route measures it on luma planes; None if it is measured on RGB.

    Args:
        filters: float32 ``[8, 3, 7, 7]``, finite.
    """
    return _luma_bank(filters.tobytes())


# Each record of an index asks for it, and the analysis of a bank takes milliseconds.
@lru_cache(maxsize=8)
def _luma_bank(content: bytes) -> SeparableBank | None:
    filters = np.frombuffer(content, np.float32).reshape(NUM_FILTERS, 3, FILTER_SIZE, FILTER_SIZE)
    if np.array_equal(filters, default_filters()):
        return default_bank()
    return separate(filters) if has_luma_weights(filters) else None


def default_bank() -> SeparableBank:
    """Return the bank of :func:`mgdali.motion.default_filters` as separable filters.

    :func:`mgdali.filter_bank.separate` finds the same filters. But the last bits of its numbers, and the order of the
    filters, depend on the processor and on NumPy's linear algebra. With the constants here, all machines measure the
    same bits.
    """
    smooth = _mirrored([0.13533528150806, 0.41111228785483, 0.80073739547570, 1], sign=1)
    slope = _mirrored([0.49378948825700, 1, 0.97386700280367, 0], sign=-1)
    curve = _mirrored([-0.47885483109262, -0.41810761994130, 0.39696243885348, 1], sign=1)
    strongest = 0.055400765815284
    columns = [0.81549186113283 * smooth, 0.41096450933050 * slope, 0.81549186113283 * slope, curve]
    mixing = np.eye(5)
    mixing[3, 4] = 0.38996766490691
    return SeparableBank(
        plane=np.array(LUMA_WEIGHTS) / max(LUMA_WEIGHTS),
        rows=np.stack([slope, slope, smooth, smooth, curve]),
        columns=strongest * np.stack([*columns, 0.93166473496786 * smooth]),
        mixing=mixing,
    )


def _mirrored(half: Sequence[float], *, sign: int) -> Taps:
    """Return 7 taps from the first four: even with sign 1, odd with sign -1."""
    return np.array([*half, *(sign * tap for tap in half[2::-1])])


# --- Measuring --------------------------------------------------------------------------------------------------------


class PlaneMotion:
    """Measures the feature-level motion between two luma planes with a separable bank, in float32.

    Creating the first one of a process imports numba and loads the compiled loop, in about half a second. If numba's
    cache does not contain the loop, compiling it takes some seconds more.

    Args:
        bank: A bank of filters of 7 taps, from :func:`luma_bank`.
    """

    def __init__(self, bank: SeparableBank) -> None:
        from mgdali.video.separable_loop import compiled_loop

        rows = bank.rows[np.unique(bank.row_of, return_index=True)[1]]
        self._rows = _terms((i, 0, row) for i, row in enumerate(rows))
        shares = [(output, j) for output, j in np.argwhere(bank.mixing)]
        columns = [(output, bank.row_of[j], bank.mixing[output, j] * bank.columns[j]) for output, j in shares]
        # The largest tap is 1 in the loop, so that no bank's responses are too large or too small for float32.
        strongest = max(float(np.abs(taps).max()) for _, _, taps in columns)
        self._columns = _terms((output, row, taps / (strongest or 1)) for output, row, taps in columns)
        self._scale = strongest * abs(float(bank.plane.sum()))
        self._loop = compiled_loop()

    def __call__(self, now: NDArray[Any], before: NDArray[Any]) -> float:
        """Return S, the sum over pixels of the norm of the bank's responses to ``now - before``, in units of samples.

        Args:
            now: A luma plane ``[H, W]`` of at least one pixel, uint8 or uint16. Rows may have padding.
            before: The previous plane, of the same shape and type.

        Raises:
            ValueError: If the planes have another type or not the same shape.
        """
        if now.shape != before.shape or now.dtype != before.dtype or now.ndim != 2 or 0 in now.shape:
            raise ValueError(
                "planes must have the same shape [H, W] and type, got "
                f"{list(now.shape)} {now.dtype} and {list(before.shape)} {before.dtype}"
            )
        if now.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"planes must be uint8 or uint16, got {now.dtype}")
        sample = now.dtype.itemsize
        now, before = (np.ascontiguousarray(plane, f"<u{sample}").view(np.uint8) for plane in (now, before))
        return self._scale * float(self._loop(now, before, sample, *self._rows, *self._columns))


def _terms(filters: Iterable[tuple[int, int, Taps]]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return filters as even and odd terms, in the form that :func:`mgdali.video.separable_loop.norm_sum` takes.

    Args:
        filters: Number of the target, number of the source, and the 7 taps of each filter.

    Returns:
        The terms int64 ``[n, 3]`` and their first four taps float32 ``[n, 4]``.
    """
    terms: list[Sequence[int]] = []
    halves: list[Taps] = []
    for target, source, taps in filters:
        for odd, part in enumerate(((taps + taps[::-1]) / 2, (taps - taps[::-1]) / 2)):
            # A filter of zeros is one term, because the loop would not set the values of a target without terms.
            if part.any() or (not odd and not taps.any()):
                terms.append((target, source, odd))
                halves.append(part[: _HALF + 1])
    return np.array(terms, np.int64), np.array(halves, np.float32)
