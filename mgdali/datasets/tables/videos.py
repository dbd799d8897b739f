"""The videos of a table: paths, labels, segments and further columns of its rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mgdali.datasets.labels import ClassNames, class_names
from mgdali.datasets.listing import AnyPath
from mgdali.datasets.rows import Rows
from mgdali.datasets.tables.column import TableColumn
from mgdali.datasets.tables.endings import DELIMITERS
from mgdali.datasets.tables.labels import table_labels
from mgdali.datasets.tables.paths import path_columns, video_paths
from mgdali.datasets.tables.reading import read_table
from mgdali.datasets.tables.segments import check_unit, segments_of
from mgdali.datasets.tables.table import Table
from mgdali.errors import DatasetError
from mgdali.video.time_range import TimeUnit

__all__ = ["TableLayout", "read_table_videos"]

_START, _END = "start", "end"
# pandas writes the numbers of rows into such columns of CSV and Parquet files.
_PANDAS_INDEX = re.compile(r"|__index_level_[0-9]+__")


@dataclass(frozen=True, kw_only=True)
class TableLayout:
    """Which columns of a table are what.

    Attributes:
        path: Column of the paths, or a pattern with columns in braces.
        label: Column of the labels, several columns, or None for no labels.
        columns: Columns to keep; None for all that are not used otherwise.
        start, end: Columns of the bounds of segments; None for whole files. The default names may be missing.
    """

    path: str
    label: str | Sequence[str] | None
    columns: Sequence[str] | None
    start: str | None
    end: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str):
            raise DatasetError(f"path is {self.path!r}: give the name of a column, or a pattern such as '{{id}}.mp4'")
        if isinstance(self.columns, str):
            raise DatasetError(f"columns is one name, {self.columns!r}: give a list, such as [{self.columns!r}]")
        labels = self.labels()
        for name, value in (("label", labels), ("columns", self.columns or ())):
            if not all(isinstance(each, str) for each in value):
                raise DatasetError(f"{name} is {value!r}: give names of columns")
        if len(set(labels)) < len(labels):
            raise DatasetError(f"label is {labels}: give each column once")
        if self.label is not None and not labels:
            raise DatasetError("label is an empty list: give names of columns, or None for no labels")

    def bounds(self, names: Sequence[str]) -> tuple[str | None, str | None]:
        """Return the columns of starts and ends that the table has."""
        start = None if self.start == _START and _START not in names else self.start
        end = None if self.end == _END and _END not in names else self.end
        return start, end

    def labels(self) -> list[str]:
        """Return the columns of the labels."""
        return [self.label] if isinstance(self.label, str) else list(self.label or ())

    def kept(self, names: Sequence[str]) -> list[str]:
        """Return the columns to keep."""
        if self.columns is not None:
            return list(self.columns)
        # The columns of a pattern are ids, which users need; a column of paths is the video's path.
        used = {*self.labels(), *self.bounds(names), *([self.path] if self.path in names else [])}
        return [name for name in names if name not in used and not _PANDAS_INDEX.fullmatch(name)]

    def needed(self, names: Sequence[str], source: str) -> list[str]:
        """Return all columns that have to be read.

        Raises:
            DatasetError: If one is missing, two columns have the same name, or a name is not text.
        """
        odd = next((name for name in names if not isinstance(name, str)), None)
        if odd is not None:
            raise DatasetError(f"{source} has a column {odd!r} ({type(odd).__name__}): give it a name of type str")
        twice = next((name for number, name in enumerate(names) if name and name in names[:number]), None)
        if twice is not None:
            raise DatasetError(f"{source} has two columns {twice!r}: rename one")
        bounds = [name for name in self.bounds(names) if name is not None]
        paths = path_columns(self.path, names)
        for argument, wanted in (
            ("path=", paths),
            ("label=", self.labels()),
            ("start= or end=", bounds),
            ("columns=", self.columns or ()),
        ):
            missing = next((name for name in wanted if name not in names), None)
            if missing is not None:
                advice = ", or label=None for no labels" if argument == "label=" else ""
                if argument == "path=" and source.removesuffix(".gz").endswith(tuple(DELIMITERS)):
                    advice = (
                        ". If the file has no header, give names=; if other characters separate the cells, delimiter="
                    )
                raise DatasetError(
                    f"{source} has no column {missing!r}, but it has {', '.join(names) or 'no column'}: give the name "
                    f"of a column in {argument}{advice}"
                )
        return list(dict.fromkeys([*paths, *self.labels(), *bounds, *self.kept(names)]))


def read_table_videos(
    table: Any,
    layout: TableLayout,
    *,
    unit: TimeUnit,
    first_frame: int,
    root: AnyPath,
    template: str | None,
    classes: ClassNames | None,
    names: Sequence[str] | None,
    delimiter: str | None,
) -> Rows:
    """Return the videos of a table, one per row.

    The arguments are those of :meth:`~mgdali.datasets.video_dataset.VideoDataset.from_table`.
    """
    check_unit(unit, first_frame)
    known = class_names(classes)
    found = read_table(table, layout.needed, delimiter=delimiter, names=names)
    if not len(found):
        raise DatasetError(f"{found.source} has no rows: give a table with one row per video")
    labels = table_labels(found, layout.label, known)
    return Rows(
        video_paths(found, layout.path, root, template),
        labels.values,
        labels.classes,
        None,
        {name: _kept(found, name) for name in layout.kept(found.names)},
        segments_of(found, *layout.bounds(found.names), unit, first_frame),
    )


def _kept(table: Table, name: str) -> TableColumn:
    column = table.typed(name)
    if pa.types.is_floating(column.type):
        # A column with NaN becomes a tensor in the batches; one with None would be a list.
        column = column.fill_null(float("nan"))
    return TableColumn(column.combine_chunks())
