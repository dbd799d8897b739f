"""Values of single rows of Arrow columns, read from Arrow's buffers.

Arrow's own way to a value, a scalar object and its conversion, takes several microseconds. A record has two dozen
values, and the loader reads a record for each clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["value_reader"]


def value_reader(column: pa.Array) -> Callable[[int], Any]:
    """Return the function that returns the value of a row of a column, or None for a null.

    Numbers are int or float, texts str and bytes bytes. A list is an array: a view of the column's memory, or a copy if
    its values are bool.

    Args:
        column: A column of numbers, strings, bytes, or lists of numbers or of bool. Lists contain no nulls. The
            function's argument is a row in ``[0, len(column))``; it is not checked.
    """
    if column.null_count == len(column):
        return lambda row: None
    read = _reader_of_valid(column)
    if column.null_count == 0:
        return read
    bits, first = memoryview(column.buffers()[0]), column.offset

    def read_unless_null(row: int) -> Any:
        bit = first + row
        return read(row) if bits[bit >> 3] >> (bit & 7) & 1 else None

    return read_unless_null


def _reader_of_valid(column: pa.Array) -> Callable[[int], Any]:
    """Return the function that returns the value of a row that is not null."""
    if pa.types.is_list(column.type):
        return _list_reader(column)
    if pa.types.is_string(column.type):
        text = _bytes_reader(column)
        return lambda row: str(text(row), "utf-8")
    if pa.types.is_binary(column.type):
        content = _bytes_reader(column)
        return lambda row: bytes(content(row))
    return _numbers(column.buffers()[1], column.type.to_pandas_dtype())[column.offset :].__getitem__


def _numbers(buffer: pa.Buffer, dtype: type[np.generic]) -> memoryview:
    """Return a buffer as numbers that are read as Python's, which takes less time than as NumPy's."""
    return memoryview(np.frombuffer(buffer, dtype))  # type: ignore[arg-type]


def _bytes_reader(column: pa.Array) -> Callable[[int], memoryview]:
    ends = _numbers(column.buffers()[1], np.int32)[column.offset :]
    content = memoryview(column.buffers()[2] or b"")
    return lambda row: content[ends[row] : ends[row + 1]]


def _list_reader(column: pa.Array) -> Callable[[int], NDArray[Any]]:
    ends = _numbers(column.buffers()[1], np.int32)[column.offset :]
    if not pa.types.is_boolean(column.type.value_type):
        values: NDArray[Any] = column.values.to_numpy(zero_copy_only=False)
        return lambda row: values[ends[row] : ends[row + 1]]
    bits = np.frombuffer(column.values.buffers()[1] or b"", np.uint8)
    first = column.values.offset

    def read_bits(row: int) -> NDArray[np.bool_]:
        start, end = first + ends[row], first + ends[row + 1]
        unpacked = np.unpackbits(bits[start >> 3 : (end + 7) >> 3], bitorder="little")
        return unpacked[start & 7 : (start & 7) + end - start].view(np.bool_)

    return read_bits
