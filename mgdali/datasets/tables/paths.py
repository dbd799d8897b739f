"""Paths of the videos of a table: a column of paths, or a pattern such as ``{participant_id}/{video_id}.MP4``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from string import Formatter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mgdali.datasets.listing import AnyPath, printf_template
from mgdali.datasets.tables.table import Table
from mgdali.errors import DatasetError
from mgdali.video.remote import is_url

__all__ = ["path_columns", "video_paths"]

_Piece = tuple[str, str | None, str]
"""Text, and the column that follows it with its format; None if no column follows."""


def path_columns(path: str, names: Sequence[str]) -> list[str]:
    """Return the columns that the paths of the videos consist of.

    Args:
        path: A column, or a pattern with columns in braces.
        names: Names of all columns.

    Raises:
        DatasetError: If a pattern has wrong braces.
    """
    if path in names or "{" not in path:
        return [path]
    return [name for _, name, _ in _pieces(path) if name is not None]


def video_paths(table: Table, path: str, root: AnyPath, template: str | None) -> list[str]:
    """Return the path of each video, ``[N]``.

    Args:
        table: The table.
        path: A column of paths, or of dicts with the entry ``path``; or a pattern with columns in braces, which may
            have a format: ``{video_id}_{start:06d}.mp4``.
        root: Folder or URL that relative paths start from.
        template: File names of the frames, if the paths are folders of JPEG frames.

    Raises:
        DatasetError: If a path is missing, or a value does not fit its format; the message names the row.
    """
    column = _column(table, path) if path in table.names else _formatted(table, path)
    paths: list[str] = column.to_pylist()
    folder = os.fspath(root)
    if folder:
        paths = [_joined(folder, each) for each in paths]
    if template is not None:
        name = printf_template(template)
        paths = [f"{each.rstrip('/')}/{name}" for each in paths]
    return paths


def _pieces(path: str) -> list[_Piece]:
    try:
        found = list(Formatter().parse(path))
    except ValueError as error:
        raise DatasetError(f"path {path!r} is not a pattern ({error}): write it like '{{video_id}}.mp4'") from error
    if any(name == "" or conversion for _, name, _, conversion in found):
        raise DatasetError(f"path {path!r} is not a pattern: write the name of a column in each pair of braces")
    return [(text, name, format_ or "") for text, name, format_, _ in found]


def _column(table: Table, name: str) -> pa.ChunkedArray:
    column = table.raw(name)
    if pa.types.is_struct(column.type):
        fields = [column.type.field(number).name for number in range(column.type.num_fields)]
        if "path" not in fields:
            raise DatasetError(f"{table.source}: column {name!r} contains dicts without the entry 'path': give paths")
        column = pc.struct_field(column, "path").cast(pa.large_string())
    if not pa.types.is_large_string(column.type) and column.null_count < len(column):
        advice = ", one per row" if pa.types.is_list(column.type) else ""
        raise DatasetError(f"{table.source}: column {name!r} contains {column.type}: give paths as text{advice}")
    return _complete(table, name, column)


def _complete(table: Table, name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of text; raise an error if a value is missing."""
    missing = pc.fill_null(pc.equal(column, ""), True) if pa.types.is_large_string(column.type) else pc.is_null(column)
    row = pc.index(missing, True).as_py()
    if row >= 0:
        raise DatasetError(f"{table.place(row, name)}: the value is missing, but the video's path needs it: add it")
    return column


def _formatted(table: Table, path: str) -> pa.ChunkedArray:
    parts: list[Any] = []
    for text, name, format_ in _pieces(path):
        parts.append(pa.scalar(text, pa.large_string()))
        if name is not None:
            parts.append(_words(table, name, format_))
    return pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string()))


def _words(table: Table, name: str, format_: str) -> pa.ChunkedArray:
    """Return the values of a column as text."""
    column = _complete(table, name, table.raw(name))
    if format_:
        words = [_word(table, row, name, value, format_) for row, value in enumerate(column.to_pylist())]
        return pa.chunked_array([pa.array(words, pa.large_string())])
    if not (pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)):
        raise DatasetError(
            f"{table.source}: column {name!r} contains {column.type}, but the video's path needs text or integers: "
            f"convert it, or give a format such as {{{name}:.1f}}"
        )
    return column.cast(pa.large_string())


def _word(table: Table, row: int, name: str, value: Any, format_: str) -> str:
    try:
        if format_[-1] in "bcdoxX":
            return format(value if isinstance(value, int) else int(value), format_)
        if format_[-1] in "eEfFgG%":
            return format(float(value), format_)
        return format(value, format_)
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise DatasetError(
            f"{table.place(row, name)}: {value!r} does not fit the format {format_!r} ({error}): correct the "
            "value or the path"
        ) from error


def _joined(root: str, path: str) -> str:
    if is_url(path) or os.path.isabs(path):
        return path
    return f"{root.rstrip('/')}/{path}" if is_url(root) else os.path.join(root, path)
