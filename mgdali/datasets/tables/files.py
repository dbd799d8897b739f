"""Reading files of tables: CSV, JSON Lines, JSON and Parquet, with the line of each row for errors."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, TextIO
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from mgdali.datasets.tables.endings import DELIMITERS, JSON_ENDINGS, PARQUET_ENDINGS, TABLE_ENDINGS
from mgdali.datasets.tables.table import Chosen, Table, table_of_dicts
from mgdali.errors import DatasetError
from mgdali.video.remote import is_url, read_part

__all__ = ["read_table_file"]

# Rows that are converted to Arrow at a time, so that few Python objects exist at once.
_CHUNK = 50_000


def read_table_file(path: str, choose: Chosen, *, delimiter: str | None, names: Sequence[str] | None) -> Table:
    """Read the needed columns of a file. Its ending tells the format; ``.gz`` may follow.

    Args:
        path: Path or URL.
        choose: Returns the needed columns by the names of all columns.
        delimiter: Character between the cells of a row; None for the format's.
        names: Names of the columns of a CSV file without a header.

    Raises:
        DatasetError: If the file cannot be read, has an unknown ending, or is malformed; the message names the line.
    """
    ending = _ending(path)
    found = DELIMITERS.get(ending)
    if found is None and delimiter is None and ending not in (*JSON_ENDINGS, *PARQUET_ENDINGS):
        raise DatasetError(
            f"{path} has the ending {ending!r}: give a table {TABLE_ENDINGS}, or the delimiter= of its cells"
        )
    if ending in (*JSON_ENDINGS, *PARQUET_ENDINGS):
        if delimiter is not None or names is not None:
            raise DatasetError(f"{path} has the ending {ending!r}, but delimiter= and names= are for CSV files")
        return _read_parquet(path, choose) if ending in PARQUET_ENDINGS else _read_json(path, _content(path), choose)
    return _read_csv(path, _content(path), choose, delimiter or found or ",", names)


def _ending(path: str) -> str:
    name = PurePosixPath(urlsplit(path).path if is_url(path) else path)
    return (name.with_suffix("") if name.suffix.lower() == ".gz" else name).suffix.lower()


def _content(path: str) -> bytes:
    """Return the content of a text file in UTF-8."""
    try:
        content = read_part(path)
        content = gzip.decompress(content) if path.lower().endswith(".gz") else content
    except (OSError, EOFError, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise DatasetError(f"cannot read the table {path}: {reason}; give the path of a file") from error
    try:
        content.decode()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}, line {number}: the text is not UTF-8 ({error.reason}); save the table as UTF-8"
        ) from error
    return content.removeprefix(codecs.BOM_UTF8)


def _read_csv(path: str, content: bytes, choose: Chosen, delimiter: str, names: Sequence[str] | None) -> Table:
    if len(delimiter) != 1:
        raise DatasetError(f"delimiter must be one character, got {delimiter!r}")

    def rows() -> Iterator[tuple[int, list[str]]]:
        return _csv_rows(path, io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter)

    written = next(rows(), (0, []))[1] if names is None else list(names)
    if not written:
        raise DatasetError(f"{path} is empty: give a table with a row of column names, or names=")
    header = [name.strip() for name in written]
    columns = choose(header, path)
    places = [header.index(name) for name in columns]
    # Arrow takes a tenth of the time of Python's csv, which is exact about the line of an error.
    # If there is one column, Arrow takes a line of spaces for a row.
    found = None if len(header) == 1 else _csv_by_arrow(content, delimiter, written, places, named=names is not None)
    if found is None:
        found = _csv_by_python(path, islice(rows(), int(names is None), None), header, places)
    return Table(
        path, header, dict(zip(columns, found, strict=True)), partial(_line_of, rows, names is None), untyped=True
    )


def _csv_by_arrow(
    content: bytes, delimiter: str, header: list[str], places: list[int], *, named: bool
) -> list[pa.ChunkedArray] | None:
    """Return columns of a CSV file as text; None if Arrow finds it malformed."""
    columns = [header[place] for place in places]
    options = (
        pacsv.ReadOptions(column_names=header if named else None),
        pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.large_string()), include_columns=columns, strings_can_be_null=False
        ),
    )
    try:
        table = pacsv.read_csv(pa.BufferReader(content), *options)
    except pa.ArrowException:
        return None
    return [pc.utf8_trim_whitespace(table.column(name)) for name in columns]


def _csv_by_python(
    path: str, rows: Iterator[tuple[int, list[str]]], header: list[str], places: list[int]
) -> list[pa.ChunkedArray]:
    """Return columns of a CSV file as text; raise an error that names the line if the file is malformed."""
    chunks: list[list[pa.Array]] = [[] for _ in places]
    while chunk := list(islice(rows, _CHUNK)):
        for line, cells in chunk:
            if len(cells) != len(header):
                raise DatasetError(
                    f"{path}, line {line}: the row has {len(cells)} cells, but there are {len(header)} columns "
                    f"({', '.join(header)}); correct the row, or give the names of all columns"
                )
        for place, part in zip(places, chunks, strict=True):
            part.append(pa.array([cells[place].strip() for _, cells in chunk], pa.large_string()))
    return [pa.chunked_array(part, pa.large_string()) for part in chunks]


def _csv_rows(path: str, file: TextIO, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row. Blank lines are skipped."""
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            if len(row) > 1 or any(cell.strip() for cell in row):
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise DatasetError(f"{path}, line {number}: {error}; correct the quotation marks or the delimiter") from error


def _line_of(rows: Callable[[], Iterator[tuple[int, list[str]]]], header: bool, row: int) -> int:
    return next(islice(rows(), row + header, None))[0]


def _read_json(path: str, content: bytes, choose: Chosen) -> Table:
    if content.lstrip()[:1] == b"[":
        return table_of_dicts(path, _json_array(path, content), choose)
    lines = partial(_json_line_of, content)
    # Arrow takes a tenth of the time of Python, which is exact about the line of an error.
    try:
        table = pajson.read_json(pa.BufferReader(content))
        if len(table) and not any(_has_times(kind) for kind in table.schema.types):
            needed = table.select(choose(table.column_names, path))
            return replace(Table.of_arrow(path, needed, table.schema), line_of=lines)
    except pa.ArrowException:
        pass
    objects = [_json_line(path, number, line) for number, line in _json_lines(content)]
    return table_of_dicts(path, objects, choose, lines)


def _has_times(kind: pa.DataType) -> bool:
    """Return whether Arrow has taken text for times, which would change it."""
    kinds = [kind]
    while kinds:
        kind = kinds.pop()
        if pa.types.is_temporal(kind):
            return True
        kinds += [kind.field(number).type for number in range(kind.num_fields)]
    return False


def _json_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    return ((number, line) for number, line in enumerate(content.split(b"\n"), 1) if line.strip())


def _json_line_of(content: bytes, row: int) -> int:
    return next(islice(_json_lines(content), row, None))[0]


def _json_array(path: str, content: bytes) -> list[Any]:
    try:
        return list(json.loads(content))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno}: the text is not JSON ({error.msg}); correct it") from error
    except RecursionError as error:
        raise DatasetError(f"{path}: its lists are nested too deeply; give a list of objects") from error


def _json_line(path: str, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{path}, line {number}: the line is not a JSON object ({error.msg}); write one object per line"
        ) from error
    except RecursionError as error:
        raise DatasetError(f"{path}, line {number}: its values are nested too deeply; remove them") from error


def _read_parquet(path: str, choose: Chosen) -> Table:
    if not is_url(path) and not os.path.isfile(path):
        reason = "it is a folder" if os.path.isdir(path) else "No such file or directory"
        raise DatasetError(f"cannot read the table {path}: {reason}; give the path of a Parquet file")
    try:
        with pq.ParquetFile(pa.BufferReader(read_part(path)) if is_url(path) else path) as file:
            schema = file.schema_arrow
            return Table.of_arrow(path, file.read(columns=choose(schema.names, path)), schema)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"cannot read the table {path}: {error}; give a Parquet file") from error
