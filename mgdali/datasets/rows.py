"""The rows of a data set: what it knows about each of its videos, selected and joined as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.segments import SegmentTable
from mgdali.errors import DatasetError

__all__ = ["NO_SPAN", "Rows", "check_members", "column_lists", "path_strings", "span_table"]

NO_SPAN = (-1, -1)
"""The span of a video that is not a member of a tar."""


@dataclass(frozen=True)
class Rows:
    """The videos of a data set, in order.

    Attributes:
        paths: Path of each video, ``[N]``.
        labels: Class indices int64 ``[N]`` (-1 for a missing label), numbers float32 ``[N]``, or vectors float32
            ``[N, C]`` (NaN for a missing label).
        classes: Names of the classes, ``[C]``; empty if the labels have none.
        spans: Offset and length of each member of a tar, int64 ``[N, 2]``; None if there are no members.
        columns: Further values of each video, ``[N]`` by name.
        segments: The part of each file that is the video; None if all videos are whole files.

    Raises:
        DatasetError: If there are no videos.
    """

    paths: list[str]
    labels: NDArray[Any]
    classes: list[str]
    spans: NDArray[np.int64] | None
    columns: dict[str, Sequence[Any]]
    segments: SegmentTable | None

    def __post_init__(self) -> None:
        if not self.paths:
            raise DatasetError("a data set needs at least one video, got none")

    def take(self, rows: NDArray[np.int64]) -> Rows:
        """Return some of the rows, in the order of their indices.

        Args:
            rows: Indices in ``[0, N)``, ``[M]``.

        Raises:
            DatasetError: If there are no indices.
        """
        numbers = rows.tolist()
        return Rows(
            [self.paths[row] for row in numbers],
            self.labels[rows],
            list(self.classes),
            None if self.spans is None else self.spans[rows],
            {name: _taken(values, rows, numbers) for name, values in self.columns.items()},
            None if self.segments is None else self.segments.take(rows),
        )

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Yield each row as a dict.

        It contains the columns; ``path`` and ``label``; ``class``, the name of the class or None; and ``time_range``,
        the part of the file or None.
        """
        # Columns of tables are faster to iterate over than to index.
        values = zip(*self.columns.values(), strict=True) if self.columns else repeat(())
        for index, (path, label, others) in enumerate(zip(self.paths, self.labels, values, strict=False)):
            value = label.item() if self.labels.ndim == 1 else label
            named = self.labels.dtype == np.int64 and value >= 0
            yield {
                **dict(zip(self.columns, others, strict=True)),
                "path": path,
                "label": value,
                "class": self.classes[value] if named else None,
                "time_range": None if self.segments is None else self.segments[index],
            }


def path_strings(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return paths as strings, ``[N]``.

    Raises:
        DatasetError: If ``paths`` is one path, something is not a path, or a path contains a null character.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        raise DatasetError(f"paths is one path, {paths!r}: give a list of paths, such as [{paths!r}]")
    found = [path if isinstance(path, str) else _path_string(path) for path in paths]
    bad = next((path for path in found if "\0" in path), None)
    if bad is not None:
        raise DatasetError(f"path {bad!r} contains a null character, which no file's name contains: correct it")
    return found


def check_members(paths: Sequence[str], spans: NDArray[np.int64] | None) -> None:
    """Raise a DatasetError if a path names a member of a tar whose position is not given."""
    others = paths if spans is None else [paths[row] for row in np.flatnonzero(spans[:, 0] < 0).tolist()]
    for path in (path for path in others if "::" in path):
        tar = path.rpartition("::")[0]
        if os.path.isfile(tar) and not os.path.exists(path):
            raise DatasetError(
                f"{path}: the position of this member in its tar is missing: read {tar} by VideoDataset.from_shards, "
                "or give spans="
            )


def column_lists(columns: Mapping[str, Sequence[Any]], length: int) -> dict[str, Sequence[Any]]:
    """Return columns with one value per video.

    Raises:
        DatasetError: If a column has another number of values.
    """
    # A column of a table is kept as it is, because a list would take several times its memory.
    found = {name: values if hasattr(values, "extended") else list(values) for name, values in columns.items()}
    for name, values in found.items():
        if len(values) != length:
            raise DatasetError(f"column {name!r} has {len(values)} values for {length} videos: give one per video")
    return found


def span_table(spans: Iterable[tuple[int, int] | None] | NDArray[np.int64], paths: list[str]) -> NDArray[np.int64]:
    """Return spans as int64 ``[N, 2]``. For a million videos, tuples would take ten times the memory.

    Raises:
        DatasetError: If a span is not an offset and a length, or their number is not that of the paths.
    """
    rows = spans if isinstance(spans, np.ndarray) else [NO_SPAN if span is None else span for span in spans]
    try:
        table = np.array(rows)
        fine = table.shape == (len(paths), 2) and np.issubdtype(table.dtype, np.integer)
    except ValueError:
        fine = False
    if not fine:
        raise DatasetError("spans must contain an offset and a length, or None, for each path")
    bad = np.flatnonzero((table < 0).any(axis=1) & (table != NO_SPAN).any(axis=1))
    if len(bad):
        raise DatasetError(f"{paths[bad[0]]}: span {table[bad[0]].tolist()} is not an offset and a length in bytes")
    return table.astype(np.int64)


def _path_string(path: os.PathLike[str]) -> str:
    found = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(found, str):
        raise DatasetError(f"path {path!r} is a {type(path).__name__}: give paths as str or pathlib.Path")
    return found


def _taken(values: Sequence[Any], rows: NDArray[np.int64], numbers: list[int]) -> Sequence[Any]:
    taken: Sequence[Any] = values.take(rows) if hasattr(values, "take") else [values[row] for row in numbers]
    return taken
