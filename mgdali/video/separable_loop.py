"""The loop that measures the motion of a separable bank between two planes, compiled by numba.

A plane is measured in tiles, so that all intermediate values fit into the processor's cache. Each tile takes the steps
of :mod:`mgdali.filter_bank`: row filters of the difference, column filters of their responses, mixing, norm.

Every machine computes the same bits. Each operation is one of IEEE 754, because numba neither reorders operations nor
joins a multiplication and an addition into one instruction, unless ``fastmath`` allows it. The order of all additions
is fixed, and there is one thread.

Importing numba takes a third of a second. Therefore this module is imported only when a
:class:`mgdali.video.separable_motion.PlaneMotion` is created.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import llvmlite.binding
import numpy as np
from numba import njit, types
from numpy.typing import NDArray

__all__ = ["TILE_COLUMNS", "TILE_ROWS", "compile_loop", "compiled_loop", "norm_sum"]

TILE_ROWS = 32
TILE_COLUMNS = 128
"""Size of a tile in pixels. With 3 row filters, the values of a tile take 120 KB. The speed hardly depends on it."""

_MARGIN = 3

Floats = NDArray[np.float32]
Terms = NDArray[np.int64]


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _filter_evenly(out: Floats, values: Floats, step: int, taps: Floats, add: bool) -> None:
    """Set ``out[p]`` to the response of an even filter to ``values[p + t * step]``, t = 0 to 6, or add it."""
    size = len(out)
    a0, a1, a2 = values[:size], values[step : step + size], values[2 * step : 2 * step + size]
    a3, a4 = values[3 * step : 3 * step + size], values[4 * step : 4 * step + size]
    a5, a6 = values[5 * step : 5 * step + size], values[6 * step : 6 * step + size]
    w0, w1, w2, w3 = taps[0], taps[1], taps[2], taps[3]
    if add:
        for p in range(size):
            out[p] += w0 * (a0[p] + a6[p]) + w1 * (a1[p] + a5[p]) + w2 * (a2[p] + a4[p]) + w3 * a3[p]
    else:
        for p in range(size):
            out[p] = w0 * (a0[p] + a6[p]) + w1 * (a1[p] + a5[p]) + w2 * (a2[p] + a4[p]) + w3 * a3[p]


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _filter_oddly(out: Floats, values: Floats, step: int, taps: Floats, add: bool) -> None:
    """Set ``out[p]`` to the response of an odd filter to ``values[p + t * step]``, t = 0 to 6, or add it."""
    size = len(out)
    a0, a1, a2 = values[:size], values[step : step + size], values[2 * step : 2 * step + size]
    a4, a5, a6 = (
        values[4 * step : 4 * step + size],
        values[5 * step : 5 * step + size],
        values[6 * step : 6 * step + size],
    )
    w0, w1, w2 = taps[0], taps[1], taps[2]
    if add:
        for p in range(size):
            out[p] += w0 * (a0[p] - a6[p]) + w1 * (a1[p] - a5[p]) + w2 * (a2[p] - a4[p])
    else:
        for p in range(size):
            out[p] = w0 * (a0[p] - a6[p]) + w1 * (a1[p] - a5[p]) + w2 * (a2[p] - a4[p])


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _filter_values(out: Floats, values: Floats, step: int, odd: int, taps: Floats, add: bool) -> None:
    """Set ``out[p]`` to the response of a term to ``values[p + t * step]``, t = 0 to 6, or add it."""
    if odd:
        _filter_oddly(out, values, step, taps, add)
    else:
        _filter_evenly(out, values, step, taps, add)


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _take_differences(
    out: Floats,
    now: NDArray[np.uint8],
    before: NDArray[np.uint8],
    sample: int,
    tile: tuple[int, int, int, int],
) -> None:
    """Set ``out`` to the difference of two planes in a tile with its margins: 0 outside the planes.

    Args:
        out: Rows of the tile, one after the other.
        now: Bytes of a plane, uint8 ``[H, W * sample]``.
        before: Bytes of the previous plane, in the same form.
        sample: Number of bytes per sample, low byte first: 1 or 2.
        tile: Top, left, bottom and right of the tile, without its margins.
    """
    top, left, bottom, right = tile
    height, width = now.shape[0], now.shape[1] // sample
    first, last = max(left - _MARGIN, 0), min(right + _MARGIN, width)
    out[:] = 0
    for y in range(max(top - _MARGIN, 0), min(bottom + _MARGIN, height)):
        start = (y - top + _MARGIN) * (right - left + 2 * _MARGIN) + first - left + _MARGIN
        row = out[start : start + last - first]
        a, b = now[y, first * sample : last * sample], before[y, first * sample : last * sample]
        if sample == 1:
            for x in range(len(row)):
                row[x] = np.float32(a[x]) - np.float32(b[x])
        else:
            for x in range(len(row)):
                high = np.float32(a[2 * x + 1]) - np.float32(b[2 * x + 1])
                row[x] = np.float32(256) * high + (np.float32(a[2 * x]) - np.float32(b[2 * x]))


@njit(nogil=True)  # type: ignore[untyped-decorator]
def _set_squares(
    squares: Floats, across: Floats, pitch: int, terms: Terms, taps: Floats, output: Floats, size: int
) -> None:
    """Set ``squares[p]`` to the squared norm of the outputs at p < size; ``output`` is memory for one of them."""
    squares[:size] = 0
    for i in range(len(terms)):
        add = i > 0 and terms[i, 0] == terms[i - 1, 0]
        _filter_values(output[:size], across[terms[i, 1]], pitch, terms[i, 2], taps[i], add)
        if i + 1 == len(terms) or terms[i, 0] != terms[i + 1, 0]:
            for p in range(size):
                squares[p] += output[p] * output[p]


def norm_sum(
    now: NDArray[np.uint8],
    before: NDArray[np.uint8],
    sample: int,
    row_terms: Terms,
    row_taps: Floats,
    column_terms: Terms,
    column_taps: Floats,
) -> float:
    """Return the sum over pixels of the norm of a bank's responses to the difference of two planes.

    A term is an even or an odd filter of 7 taps. A row filter is the sum of one or two terms of the difference. An
    output is a sum of terms, along columns, of the row filters' responses. The norm is that of the outputs.

    Args:
        now: Bytes of a plane, uint8 ``[H, W * sample]``.
        before: Bytes of the previous plane, in the same form.
        sample: Number of bytes per sample, low byte first: 1 or 2.
        row_terms: int64 ``[n, 3]``: number of the row filter, not descending; 0; 1 if the term is odd, else 0.
        row_taps: float32 ``[n, 4]``: the first four taps of each term. The fourth one of an odd term is 0.
        column_terms: int64 ``[m, 3]``: number of the output, not descending; row filter; 1 if odd, else 0.
        column_taps: float32 ``[m, 4]``: the first four taps of each term.

    Returns:
        The sum, not negative, as float64.
    """
    height, width = now.shape[0], now.shape[1] // sample
    widest = min(width, TILE_COLUMNS) + 2 * _MARGIN
    largest = min(height, TILE_ROWS) * widest
    differences = np.empty(largest + 2 * _MARGIN * widest + 2 * _MARGIN, np.float32)
    across = np.empty((row_terms[-1, 0] + 1, largest + 2 * _MARGIN * widest), np.float32)
    output = np.empty(largest, np.float32)
    squares = np.empty(largest, np.float32)
    # One sum per column of the tiles: additions to different sums need not wait for each other.
    sums = np.zeros(widest, np.float64)
    for top in range(0, height, TILE_ROWS):
        bottom = min(top + TILE_ROWS, height)
        for left in range(0, width, TILE_COLUMNS):
            right = min(left + TILE_COLUMNS, width)
            # The rows of a tile follow each other with their margins, so that one loop filters all of them. The
            # responses in the margins are not used.
            pitch = right - left + 2 * _MARGIN
            size = (bottom - top) * pitch
            difference = differences[: size + 2 * _MARGIN * pitch + 2 * _MARGIN]
            _take_differences(difference, now, before, sample, (top, left, bottom, right))
            for i in range(len(row_terms)):
                target = across[row_terms[i, 0], : size + 2 * _MARGIN * pitch]
                add = i > 0 and row_terms[i, 0] == row_terms[i - 1, 0]
                _filter_values(target, difference, 1, row_terms[i, 2], row_taps[i], add)
            _set_squares(squares, across, pitch, column_terms, column_taps, output, size)
            for y in range(bottom - top):
                row = squares[y * pitch : y * pitch + right - left]
                for x in range(len(row)):
                    sums[x] += np.float64(np.sqrt(row[x]))
    total = 0.0
    for value in sums:
        total += value
    return total


# --- Compiling --------------------------------------------------------------------------------------------------------

_BYTES = types.Array(types.uint8, 2, "C", readonly=True)
_TERMS = types.Array(types.int64, 2, "C", readonly=True)
_TAPS = types.Array(types.float32, 2, "C", readonly=True)
_SIGNATURE = types.float64(_BYTES, _BYTES, types.int64, _TERMS, _TAPS, _TERMS, _TAPS)


@lru_cache
def compiled_loop() -> Any:
    """Return :func:`norm_sum` as machine code, from numba's cache if it contains it, else compiled and put there.

    The cache is in the folder that ``NUMBA_CACHE_DIR`` names, in ``__pycache__`` beside this module, or in the user's
    cache folder: the first one that can be written. A process that can write none of them compiles for itself.
    """
    try:
        return compile_loop(cache=True)
    except Exception:
        # No folder can be written, the disk is full, or a file in the cache is damaged. An error of another kind occurs
        # again without the cache.
        return compile_loop(cache=False)


def compile_loop(*, cache: bool) -> Any:
    """Return :func:`norm_sum` as machine code for this machine.

    Args:
        cache: Whether to take it from numba's cache, and to put it there.

    Raises:
        RuntimeError: If ``cache`` is true and no folder can be written.
        OSError: If a file of the cache cannot be read or written.
        pickle.UnpicklingError: If a file of the cache is damaged. Other damage may raise other exceptions.
    """
    # Processes that start at the same time all compile, and write the same files. Each file is replaced as a whole.
    # But numba may give results of two signatures, or for two processors, the same file name, and then a process loads
    # the wrong one. Hence there is only one signature, and the name of the function contains the kind of processor.
    norm_sum.__qualname__ = f"norm_sum_{_processor()}"
    return njit(_SIGNATURE, nogil=True, cache=cache)(norm_sum)


def _processor() -> str:
    """Return a name for this kind of processor, 8 hexadecimal digits."""
    kind = f"{llvmlite.binding.get_host_cpu_name()} {llvmlite.binding.get_host_cpu_features().flatten()}"
    return hashlib.blake2b(kind.encode(), digest_size=4).hexdigest()
