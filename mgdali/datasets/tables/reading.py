"""Reading tables: files, and the tables of pandas, Polars and Hugging Face, without importing these packages."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from mgdali.datasets.tables.files import read_table_file
from mgdali.datasets.tables.table import Chosen, Table, table_of_columns, table_of_dicts
from mgdali.errors import DatasetError

__all__ = ["read_table"]


def read_table(
    table: Any, choose: Chosen, *, delimiter: str | None = None, names: Sequence[str] | None = None
) -> Table:
    """Read the needed columns of a table.

    Args:
        table: Path or URL of a file, a table of pandas, Arrow or Polars, a ``Dataset`` of Hugging Face, a list of
            dicts, or a dict of lists.
        choose: Returns the needed columns by the names of all columns.
        delimiter: Character between the cells of a CSV file.
        names: Names of the columns of a CSV file without a header.

    Raises:
        DatasetError: If the table cannot be read, or is something else.
    """
    if isinstance(names, str):
        raise DatasetError(f"names is one name, {names!r}: give the names of all columns in a list")
    if isinstance(table, str | os.PathLike):
        return read_table_file(os.fspath(table), choose, delimiter=delimiter, names=names)
    if delimiter is not None or names is not None:
        raise DatasetError(f"delimiter= and names= are for CSV files, but the table is a {type(table).__name__}")
    source = f"the {type(table).__name__}"
    if isinstance(table, pa.Table | pa.RecordBatch):
        return _of_arrow(source, table, choose)
    if hasattr(table, "with_format"):
        return _of_hugging_face(table, choose)
    if hasattr(table, "iloc") and hasattr(table, "columns"):
        return _of_pandas(source, table, choose)
    if hasattr(table, "to_arrow"):
        return _of_arrow(source, table.to_arrow(), choose)
    if hasattr(table, "__arrow_c_stream__"):
        return _of_arrow(source, pa.table(table), choose)
    if isinstance(table, Mapping):
        return _of_mapping(source, table, choose)
    if isinstance(table, Sequence) and not isinstance(table, bytes):
        return table_of_dicts(source, table, choose)
    raise DatasetError(
        f"the table is a {type(table).__name__}: give the path of a file, a table of pandas, Arrow or Polars, a "
        "Dataset of Hugging Face, a list of dicts, or a dict of lists"
    )


def _of_arrow(source: str, table: Any, choose: Chosen) -> Table:
    found = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
    return Table.of_arrow(source, found.select(choose(found.column_names, source)), found.schema)


def _of_hugging_face(dataset: Any, choose: Chosen) -> Table:
    source = f"the {type(dataset).__name__}"
    if isinstance(dataset, Mapping):
        raise DatasetError(
            f"{source} contains several splits ({', '.join(map(str, dataset))}): give one, such as "
            f"table[{next(iter(dataset), 'train')!r}]"
        )
    if not hasattr(dataset, "__len__"):
        raise DatasetError(f"{source} is read as a stream: load it without streaming=True")
    needed = dataset.select_columns(choose(list(dataset.column_names), source))
    # Columns that are not needed, such as the videos' bytes, are not read. Nothing is decoded.
    table = needed.with_format("arrow")[:]
    found = Table.of_arrow(source, table, dataset.features.arrow_schema)
    return Table(source, list(dataset.column_names), found.values, classes=found.classes)


def _of_pandas(source: str, frame: Any, choose: Chosen) -> Table:
    labels = {str(label): label for label in frame.columns}
    if len(labels) < len(frame.columns):
        raise DatasetError(f"{source} has two columns with the same name: rename one")
    columns = {name: frame[labels[name]] for name in choose(list(labels), source)}
    return table_of_columns(source, columns, list(labels))


def _of_mapping(source: str, columns: Mapping[str, Any], choose: Chosen) -> Table:
    for name, values in columns.items():
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
            raise DatasetError(f"column {name!r} is {str(values)[:80]!r}: give a list with one value per row")
    return table_of_columns(source, {name: columns[name] for name in choose(list(columns), source)}, list(columns))
