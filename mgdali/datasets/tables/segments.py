"""Segments of a table: its start and end columns, in seconds, as timestamps, or in frames."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mgdali.datasets.segments import SegmentTable
from mgdali.datasets.tables.table import Table
from mgdali.errors import DatasetError
from mgdali.video.time_range import TimeUnit

__all__ = ["check_unit", "segments_of"]

_SECONDS = r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$"
_TIMESTAMP = (
    r"^(?:(?P<hours>[0-9]+):)?(?P<minutes>[0-5]?[0-9]):(?P<seconds>[0-5]?[0-9])(?:\.(?P<fraction>[0-9]{1,9}))?$"
)

_IGNORE = "start=None and end=None ignore such columns"


def check_unit(unit: TimeUnit, first_frame: int) -> None:
    """Raise a ValueError unless ``unit`` is a unit of time and ``first_frame`` the number of a frame."""
    if unit not in get_args(TimeUnit):
        raise ValueError(f"unit must be one of {get_args(TimeUnit)}, got {unit!r}")
    if isinstance(first_frame, bool) or not isinstance(first_frame, int) or first_frame < 0:
        raise ValueError(f"first_frame must be an integer >= 0, got {first_frame!r}")
    if first_frame and unit != "frames":
        raise ValueError(f"first_frame={first_frame} needs unit='frames', got unit={unit!r}")


def segments_of(
    table: Table, start: str | None, end: str | None, unit: TimeUnit, first_frame: int
) -> SegmentTable | None:
    """Return the part of each file that is the video of a row.

    A missing start is the beginning of the file, a missing end its end.

    Args:
        table: The table.
        start: Column of the starts; None for the beginning of each file.
        end: Column of the ends, which do not belong to the parts; None for the end of each file.
        unit: Unit of numbers: seconds or frames. Text ``H:MM:SS.s`` or ``MM:SS.s`` is a time in seconds.
        first_frame: Number of a video's first frame in the table, 0 or 1.

    Returns:
        None if all videos are whole files.

    Raises:
        DatasetError: If a value is not a time, or an end is not after its start; the message names the row.
    """
    if start is None and end is None:
        return None
    count = len(table)
    starts = np.zeros(count) if start is None else _bounds(table, start, unit, first_frame)
    ends = np.full(count, math.nan) if end is None else _bounds(table, end, unit, first_frame)
    given = ~(np.isnan(starts) & np.isnan(ends))
    starts, ends = np.nan_to_num(starts, nan=0.0), np.nan_to_num(ends, nan=math.inf)
    given &= (starts > 0) | (ends < math.inf)
    if not given.any():
        return None
    bad = np.flatnonzero(ends <= starts)
    if len(bad):
        row = int(bad[0])
        shown = f"the end {_written(table, end, row)} is not after the start {_written(table, start, row)}"
        raise DatasetError(f"{table.place(row, end)}: {shown}: correct the row or remove it")
    return SegmentTable.between(starts, ends, unit, given)


def _written(table: Table, column: str | None, row: int) -> str:
    return "0" if column is None else str(table.raw(column)[row].as_py())


def _bounds(table: Table, name: str, unit: TimeUnit, first_frame: int) -> NDArray[np.float64]:
    """Return the times of a column, float64 ``[N]``, NaN for a missing one."""
    column = table.typed(name)
    values = _seconds(table, name, column) if unit == "seconds" else _numbers(table, name, column, unit)
    values = values - first_frame
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero((values < 0) | np.isinf(values) | ((unit == "frames") & (values != np.floor(values))))
    bad = bad[~np.isnan(values[bad])]
    if len(bad):
        row = int(bad[0])
        expected = f"an integer >= {first_frame}" if unit == "frames" else "a number >= 0"
        raise _wrong(table, name, row, f"a number of {unit}: give {expected}")
    return values


def _numbers(table: Table, name: str, column: pa.ChunkedArray, unit: TimeUnit) -> NDArray[np.float64]:
    kind = column.type
    if column.null_count == len(column):
        return np.full(len(column), math.nan)
    if pa.types.is_large_string(kind):
        return _parsed(table, name, column, timestamps=False)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DatasetError(f"{table.source}: column {name!r} contains {kind}: give numbers of {unit}; {_IGNORE}")
    return np.array(column.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy())


def _seconds(table: Table, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    kind = column.type
    if pa.types.is_large_string(kind):
        return _parsed(table, name, column, timestamps=True)
    if pa.types.is_duration(kind) or pa.types.is_time(kind):
        nanoseconds = column.cast(pa.duration("ns") if pa.types.is_duration(kind) else pa.time64("ns")).cast(pa.int64())
        return _from_nanoseconds(nanoseconds)
    return _numbers(table, name, column, "seconds")


def _parsed(table: Table, name: str, column: pa.ChunkedArray, *, timestamps: bool) -> NDArray[np.float64]:
    """Return text as numbers of seconds or frames; if ``timestamps``, also ``H:MM:SS.s``."""
    text = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.large_string()), column)
    null = pa.scalar(None, pa.large_string())
    plain = pc.if_else(pc.match_substring_regex(text, _SECONDS), text, null)
    values = _array(plain.cast(pa.float64()))
    if timestamps:
        times = _timestamps(text)
        values = np.where(np.isnan(values), times, values)
    bad = np.flatnonzero(np.isnan(values) & np.asarray(text.is_valid()))
    if len(bad):
        advice = "seconds, such as 12.5, or a time, such as 00:01:02.50" if timestamps else "a number of frames"
        raise _wrong(table, name, int(bad[0]), f"a time: give {advice}; {_IGNORE}")
    return values


def _timestamps(text: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return timestamps in seconds; NaN for other text.

    Sums of integers are exact, so each result is the nearest float.
    """
    parts = pc.extract_regex(text, _TIMESTAMP)

    def part(name: str, digits: int = 0) -> Any:
        found = pc.struct_field(parts, name)
        padded = pc.utf8_rpad(found, digits, "0") if digits else pc.if_else(pc.equal(found, ""), "0", found)
        return padded.cast(pa.int64())

    minutes = pc.add(pc.multiply(part("hours"), 60), part("minutes"))
    seconds = pc.add(pc.multiply(minutes, 60), part("seconds"))
    return _from_nanoseconds(pc.add(pc.multiply(seconds, 10**9), part("fraction", 9)))


def _from_nanoseconds(values: Any) -> NDArray[np.float64]:
    return _array(values.cast(pa.float64(), safe=False)) / 1e9


def _array(column: Any) -> NDArray[np.float64]:
    return np.array(column.fill_null(math.nan).to_numpy())


def _wrong(table: Table, name: str, row: int, what: str) -> DatasetError:
    value = table.raw(name)[row].as_py()
    return DatasetError(f"{table.place(row, name)}: {value!r} is not {what}")
