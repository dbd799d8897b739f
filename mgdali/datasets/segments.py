"""The segments of a data set's files, kept in little memory: a data set may have millions of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import DatasetError
from mgdali.video.time_range import TimeRange, TimeUnit

__all__ = ["SegmentTable"]

_WHOLE, _SECONDS, _FRAMES = range(3)
_CODES: dict[TimeUnit, int] = {"seconds": _SECONDS, "frames": _FRAMES}
_UNITS: dict[int, TimeUnit] = {code: unit for unit, code in _CODES.items()}


class SegmentTable:
    """The part of each file that is a video of the data set; None for a whole file.

    Args:
        bounds: Start and end of each part, float64 ``[N, 2]``; infinity for the end of the file.
        units: What each part is counted in, uint8 ``[N]``; 0 for whole files.
    """

    def __init__(self, bounds: NDArray[np.float64], units: NDArray[np.uint8]) -> None:
        self._bounds = bounds
        self._units = units

    @classmethod
    def of(cls, time_ranges: Iterable[TimeRange | None], paths: Sequence[str]) -> SegmentTable:
        """Return the table of a data set's parts.

        Args:
            time_ranges: The parts, ``[N]``.
            paths: Paths of the files, ``[N]``.

        Raises:
            DatasetError: If the numbers of parts and paths differ, or something is not a :class:`TimeRange`.
        """
        given = list(time_ranges)
        if len(given) != len(paths):
            raise DatasetError(
                f"{len(paths)} paths and {len(given)} time_ranges: give one per path, or None for a file"
            )
        bounds = np.zeros((len(given), 2))
        units = np.zeros(len(given), np.uint8)
        for i, part in enumerate(given):
            if part is None:
                continue
            if not isinstance(part, TimeRange):
                raise DatasetError(
                    f"{paths[i]}: time_ranges[{i}] is {part!r} ({type(part).__name__}): give a TimeRange, or None for "
                    "the whole file"
                )
            bounds[i] = part.start, math.inf if part.end is None else part.end
            units[i] = _CODES[part.unit]
        return cls(bounds, units)

    @classmethod
    def whole(cls, count: int) -> SegmentTable:
        """Return the table of ``count`` whole files."""
        return cls(np.zeros((count, 2)), np.zeros(count, np.uint8))

    @classmethod
    def between(
        cls, starts: NDArray[np.float64], ends: NDArray[np.float64], unit: TimeUnit, given: NDArray[np.bool_]
    ) -> SegmentTable:
        """Return the table of parts whose bounds were checked.

        Args:
            starts: Start of each part, ``[N]``.
            ends: End of each part, infinity for the end of the file, ``[N]``.
            unit: What the bounds are counted in.
            given: Whether each row is a part, ``[N]``; the others are whole files.
        """
        bounds = np.where(given[:, None], np.stack([starts, ends], axis=1), 0.0)
        return cls(bounds, np.where(given, _CODES[unit], _WHOLE).astype(np.uint8))

    def take(self, rows: NDArray[np.int64]) -> SegmentTable:
        """Return the parts at some rows, in their order."""
        return SegmentTable(self._bounds[rows], self._units[rows])

    def extended(self, other: SegmentTable) -> SegmentTable:
        """Return this table followed by another one."""
        return SegmentTable(np.concatenate([self._bounds, other._bounds]), np.concatenate([self._units, other._units]))

    def __len__(self) -> int:
        return len(self._units)

    def __getitem__(self, index: int) -> TimeRange | None:
        code = int(self._units[index])
        if code == _WHOLE:
            return None
        start, end = self._bounds[index].tolist()
        return TimeRange(start, None if end == math.inf else end, _UNITS[code])
