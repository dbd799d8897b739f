"""A table in memory: the needed columns as Arrow arrays, and what errors call its rows."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mgdali.errors import DatasetError

__all__ = ["Chosen", "Table", "arrow_array", "table_of_columns", "table_of_dicts"]

Chosen: TypeAlias = Callable[[Sequence[str], str], list[str]]
"""Returns the needed columns by the names of all columns and the name of the table; raises an error if one is missing.
"""

# A number without a leading zero, so that the id "007" stays as it is written.
_INTEGER = r"^-?(0|[1-9][0-9]{0,17})$"
_NUMBER = r"^-?(0|[1-9][0-9]{0,14})?(\.[0-9]*)?([eE][-+]?[0-9]{1,3})?$"
_HAS_DIGIT = r"[0-9]"


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        source: Path of the file, or a description of the object.
        names: Names of all columns.
        values: Values of the needed columns by name.
        line_of: Returns the line of a row in the file, counted from 1; None if rows have no lines.
        untyped: Whether all values are text, as in CSV files.
        classes: Names of the classes by column, if the table has them (``ClassLabel`` of Hugging Face).
    """

    source: str
    names: list[str]
    values: dict[str, pa.ChunkedArray]
    line_of: Callable[[int], int] | None = None
    untyped: bool = False
    classes: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of_arrow(cls, source: str, table: pa.Table, schema: pa.Schema) -> Table:
        """Return a table with the values of an Arrow table.

        Args:
            source: What errors call the table.
            table: The needed columns.
            schema: Names of all columns, and metadata.
        """
        values = {name: _plain(table.column(name)) for name in table.column_names}
        return cls(source, list(schema.names), values, classes=_class_labels(schema))

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), ()))

    def place(self, row: int, column: str | None = None) -> str:
        """Return what errors call a row, or the value of a column in it."""
        where = f"row {row} (the first is row 0)" if self.line_of is None else f"line {self.line_of(row)}"
        return f"{self.source}, {where}" + ("" if column is None else f", column {column!r}")

    def places(self, column: str) -> Sequence[str]:
        """Return what errors call the values of a column, ``[N]``."""
        return _Places(self, column)

    def raw(self, name: str) -> pa.ChunkedArray:
        """Return a column as it is in the table: a column of a CSV file is text."""
        return self.values[name]

    def typed(self, name: str) -> pa.ChunkedArray:
        """Return a column with its type. A column of a CSV file is integers or floats if all its cells are, else text.

        An empty cell is a missing number. Numbers with leading zeros, such as ids, are text.
        """
        return _inferred(self.values[name]) if self.untyped else self.values[name]


class _Places(Sequence[str]):
    def __init__(self, table: Table, column: str) -> None:
        self._table = table
        self._column = column

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index: Any) -> Any:
        return self._table.place(index, self._column)


def table_of_dicts(
    source: str, rows: Sequence[Any], choose: Chosen, line_of: Callable[[int], int] | None = None
) -> Table:
    """Return the table of a list with one dict per row. A key that a row lacks is a missing value.

    Args:
        source: What errors call the table.
        rows: The rows, ``[N]``.
        choose: Returns the needed columns.
        line_of: Returns the line of a row in the file.

    Raises:
        DatasetError: If there are no rows, a row is not a dict, or the values of a column have different types.
    """
    if not rows:
        raise DatasetError(f"{source} has no rows: give a table with one row per video")
    described = Table(source, [], {}, line_of)
    names: dict[str, None] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DatasetError(
                f"{described.place(number)}: {str(row)[:80]!r} is a {type(row).__name__}: give an object with one "
                "value per column"
            )
        names.update(dict.fromkeys(row))
    columns = {name: [row.get(name) for row in rows] for name in choose(list(names), source)}
    return table_of_columns(source, columns, list(names), line_of)


def table_of_columns(
    source: str, columns: Mapping[str, Any], names: list[str], line_of: Callable[[int], int] | None = None
) -> Table:
    """Return the table of the needed columns.

    Args:
        source: What errors call the table.
        columns: Lists, arrays, tensors or series, ``[N]`` by name.
        names: Names of all columns.
        line_of: Returns the line of a row in the file.

    Raises:
        DatasetError: If the columns have different lengths, or the values of a column have different types.
    """
    described = Table(source, names, {}, line_of)
    arrays = {name: _plain(arrow_array(values, described, name)) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DatasetError(f"{source} has columns of different lengths, {lengths}: give each column one value per row")
    return Table(source, names, arrays, line_of)


def arrow_array(values: Any, table: Table, name: str) -> pa.ChunkedArray:
    """Return the values of one column as an Arrow array.

    Args:
        values: A list, array, tensor or series, ``[N]`` or, for numbers, ``[N, C]``.
        table: The table, for errors.
        name: Name of the column.

    Raises:
        DatasetError: If the values have different types.
    """
    if getattr(values, "ndim", 1) == 2:
        matrix = np.asarray(values)
        return pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])])
    try:
        found = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        plain = [_python(value) for value in values]
        try:
            found = pa.array(plain, from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise _mixed(plain, table, name, error) from error
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _python(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.tolist() if hasattr(value, "tolist") else value


def _mixed(values: Sequence[Any], table: Table, name: str, error: Exception) -> DatasetError:
    present = [(row, value) for row, value in enumerate(values) if value is not None]
    first = type(present[0][1])
    row, value = next(((row, value) for row, value in present if type(value) is not first), (0, None))
    if value is None:
        return DatasetError(
            f"{table.source}: column {name!r} has values of type {first.__name__} that a table cannot contain "
            f"({error}): give numbers in the range of int64, text, or lists or dicts of these; or leave out the column "
            "by columns="
        )
    return DatasetError(
        f"{table.place(row, name)}: {str(value)[:80]!r} is a {type(value).__name__}, but the first value is a "
        f"{first.__name__} ({error}): give all values of the column one type"
    )


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column without dictionaries, extension types and views, which not all functions of Arrow accept."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
        kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.large_string())
    return column


def _inferred(column: pa.ChunkedArray) -> pa.ChunkedArray:
    filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.large_string()), column)
    if filled.null_count == len(filled):
        return column

    def all_match(pattern: str) -> bool:
        return bool(pc.all(pc.match_substring_regex(filled, pattern)).as_py())

    if all_match(_INTEGER):
        return filled.cast(pa.int64())
    if all_match(_NUMBER) and all_match(_HAS_DIGIT):
        return filled.cast(pa.float64())
    return column


def _class_labels(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes of ``ClassLabel`` columns, which Hugging Face stores in the metadata."""
    text = (schema.metadata or {}).get(b"huggingface")
    if text is None:
        return {}
    try:
        features = json.loads(text)["info"]["features"]
        return {
            name: list(entry["names"])
            for name, feature in features.items()
            for entry in (feature, feature.get("feature"))
            if isinstance(entry, dict) and isinstance(entry.get("names"), list)
        }
    except (ValueError, KeyError, AttributeError, TypeError):
        return {}
