"""Labels of a table: one column, or several columns that together are a vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mgdali.datasets.label_kinds import Labels, read_labels
from mgdali.datasets.tables.table import Table
from mgdali.errors import DatasetError

__all__ = ["table_labels"]


def table_labels(table: Table, label: str | Sequence[str] | None, classes: list[str] | None) -> Labels:
    """Return the labels of a table.

    Args:
        table: The table.
        label: Name of the column; several columns of numbers, whose values are a vector with one class per column; or
            None for no labels.
        classes: Names of the classes; None if the labels define them.

    Raises:
        DatasetError: If a label is malformed; the message names the row and the column.
    """
    if label is None:
        return read_labels(None, range(len(table)), classes)  # type: ignore[arg-type]
    if not isinstance(label, str):
        return _columns(table, list(label), classes)
    places = table.places(label)
    column = table.typed(label)
    names = classes or table.classes.get(label)
    kind = column.type
    if label in table.classes and pa.types.is_integer(kind):
        # Hugging Face uses -1 for a missing label.
        column = pc.if_else(pc.equal(column, -1), pa.scalar(None, kind), column)
    if names is not None and pa.types.is_floating(kind) and _whole(column):
        # pandas stores integers as floats if some are missing.
        column = column.cast(pa.int64())
    if pa.types.is_fixed_size_list(kind):
        return read_labels(_matrix(table, label, column), places, names)
    return read_labels(column.to_pylist(), places, names, names_may_be_numbers=True)


def _whole(column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.equal(pc.floor(column), column), min_count=0).as_py())


def _columns(table: Table, columns: list[str], classes: list[str] | None) -> Labels:
    values = np.stack([_numbers(table, name, table.typed(name)) for name in columns], axis=1)
    return read_labels(values, table.places(columns[0]), columns if classes is None else classes)


def _numbers(table: Table, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of numbers, float64 ``[N]``, NaN for a missing one."""
    kind = column.type
    if column.null_count == len(column):
        return np.full(len(column), np.nan)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        if not pa.types.is_large_string(kind):
            raise DatasetError(f"{table.source}: column {name!r} contains {kind}: a vector needs numbers")
        row = _first_word(column)
        raise DatasetError(f"{table.place(row, name)}: {column[row].as_py()!r} is not a number: a vector needs numbers")
    return np.array(column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy())


def _first_word(column: pa.ChunkedArray) -> int:
    """Return the first row of text that is not a number."""
    number = pc.match_substring_regex(column, r"^[-+]?[0-9.]*(?:[eE][-+]?[0-9]+)?$")
    return max(0, int(pc.index(pc.fill_null(number, True), False).as_py()))


def _matrix(table: Table, name: str, column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of lists of one length as float64 ``[N, C]``, with a row of NaN for a missing list."""
    if not _has_numbers(column.type.value_type):
        raise DatasetError(f"{table.source}: column {name!r} contains {column.type}: a vector needs numbers")
    values = np.full((len(column), column.type.list_size), np.nan)
    flat = pc.list_flatten(column).cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    values[np.asarray(column.is_valid())] = flat.reshape(-1, column.type.list_size)
    return values


def _has_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
