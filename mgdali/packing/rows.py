"""Rows of packed videos: those of finished shards, and their merging into the table and the index of a pack."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mgdali.datasets.pack_format import (
    FORMAT_KEY,
    TABLE_SCHEMA,
    LeftOut,
    Shard,
    conform_table,
    format_needed,
    part_columns,
    part_name,
    part_of,
)
from mgdali.errors import DatasetError
from mgdali.index.schema import SCHEMA, conform, to_batch
from mgdali.index.writer import new_parquet
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord
from mgdali.video.time_range import TimeRange

__all__ = [
    "ROW_SCHEMA",
    "TAR_END_BYTES",
    "CompleteRows",
    "Identity",
    "PackedRow",
    "Records",
    "RowSource",
    "ShardRows",
    "failed_batch",
    "identities_of",
    "origin_bytes",
    "packed_batch",
    "rows_of",
    "segments_in",
    "write_index",
    "write_table",
]

ROW_SCHEMA = pa.schema(
    [
        ("occurrence", pa.int32()),
        ("error", pa.string()),
        ("end", pa.int64()),
        ("checksum", pa.int64()),
        ("video", pa.struct(list(TABLE_SCHEMA))),
        ("record", pa.struct(list(SCHEMA))),
    ]
)
"""Columns of a journal, and of the rows of a finished shard, one row per video.

``occurrence`` tells rows of the same original apart; ``error`` is the reason if the video could not be decoded; ``end``
the size of the shard after the video, in bytes; ``checksum`` the CRC-32 of what the video added to the shard; ``video``
its row of the table; ``record`` its row of the index.
"""

TAR_END_BYTES = 1024
"""Size of the end mark of a tar: two empty blocks."""

_GROUP_ROWS = 4096
_GROUPS_KEPT = 8


class Identity(NamedTuple):
    """What tells the videos of a pack apart, whatever other videos it contains.

    Attributes:
        origin: Name of the original (:func:`mgdali.video.record.index_name`).
        part: The part of the original that the video is; None for a whole file.
        occurrence: Number of earlier rows with the same original and part.
    """

    origin: str
    part: TimeRange | None
    occurrence: int

    @property
    def name(self) -> str:
        """Name of the original, or of its part, for messages."""
        return part_name(self.origin, self.part)

    def left_out(self, error: str) -> LeftOut:
        """Return the entry of the manifest for a video that could not be decoded."""
        return LeftOut(self.origin, error, **part_columns(self.part))


@dataclass(frozen=True, slots=True)
class PackedRow:
    """What is known of a video from an earlier run.

    Attributes:
        identity: Its original.
        error: Reason why it could not be decoded; otherwise None, and the other attributes are known.
        key: Its key.
        label: Its row's columns ``label`` and ``label_values``.
        columns: Its values of the data set's columns, as JSON.
        fingerprint: Fingerprint of the original when it was packed.
        length: Size of the copy in bytes.
    """

    identity: Identity
    error: str | None
    key: str = ""
    label: tuple[int | None, list[float] | None] = (None, None)
    columns: str = "{}"
    fingerprint: Fingerprint | None = None
    length: int = 0


class RowSource(Protocol):
    """Files with rows of packed videos."""

    def rows(self) -> list[PackedRow]:
        """Return the rows, in the order of the files."""
        ...

    def videos(self) -> pa.Table:
        """Return the rows' part of the table of videos, :data:`TABLE_SCHEMA`; null for videos that failed."""
        ...

    def groups(self) -> list[int]:
        """Return the number of rows of each group whose records are read together."""
        ...

    def records(self, group: int) -> pa.Table:
        """Return the index rows of a group, :data:`SCHEMA`."""
        ...


class ShardRows:
    """The rows of one finished shard.

    Args:
        path: Parquet file with the columns of :data:`ROW_SCHEMA`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self) -> list[PackedRow]:
        return rows_of(_read(self._path, ["occurrence", "error", "video"]))

    def videos(self) -> pa.Table:
        return _flat(_read(self._path, ["video"]), "video", TABLE_SCHEMA)

    def shard(self) -> Shard:
        """Return the shard, as the manifest describes it."""
        table = _read(self._path, ["error", "end"])
        name = self._path.name.partition(".tar")[0] + ".tar"
        size = max(table.column("end").to_pylist()) + TAR_END_BYTES
        return Shard(name, table.column("error").null_count, size)

    def groups(self) -> list[int]:
        with _opened(self._path) as file:
            return [int(file.metadata.num_rows)]

    def records(self, group: int) -> pa.Table:
        return _flat(_read(self._path, ["record"]), "record", SCHEMA)


class CompleteRows:
    """The rows of a complete pack.

    Args:
        table: Path of its table.
        index: Function that returns the path of its index; it is called when records are needed.
        shards: Number of its shards. Rows of later shards are ignored: a run that added shards did not end.
    """

    def __init__(self, table: Path, index: Callable[[], Path], shards: int) -> None:
        self._table = table
        videos = conform_table(_read(table))
        self._total = videos.num_rows
        self._kept = np.flatnonzero(videos.column("shard").to_numpy() < shards)
        self._videos = videos.take(self._kept)
        self._find_index = index

    def rows(self) -> list[PackedRow]:
        rows = self._videos.to_pylist()
        identities = identities_of([row["origin"] for row in rows], [part_of(row) for row in rows])
        return [_packed_row(each.occurrence, None, row) for each, row in zip(identities, rows, strict=True)]

    def videos(self) -> pa.Table:
        return self._videos

    @cached_property
    def _index(self) -> Path:
        return self._find_index()

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The number of rows of the index up to the end of each of its groups."""
        with _opened(self._index) as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        if sum(counts) != self._total:
            raise DatasetError(
                f"{self._index} has {sum(counts)} rows, but {self._table} has {self._total}: the pack is damaged; copy "
                "it again, or pack the data set into an empty folder"
            )
        return np.cumsum(counts, dtype=np.int64)

    def groups(self) -> list[int]:
        starts = np.concatenate([[0], self._ends[:-1]])
        first = np.searchsorted(self._kept, starts)
        return [int(count) for count in np.diff(np.append(first, len(self._kept)))]

    def records(self, group: int) -> pa.Table:
        start = 0 if group == 0 else int(self._ends[group - 1])
        chosen = self._kept[(self._kept >= start) & (self._kept < self._ends[group])] - start
        with _opened(self._index) as file:
            batches = file.read_row_group(group).combine_chunks().to_batches()
        return pa.Table.from_batches([conform(batch) for batch in batches], SCHEMA).take(chosen)


def identities_of(names: Sequence[str], parts: Sequence[TimeRange | None]) -> list[Identity]:
    """Return the identities of videos in order.

    Args:
        names: Names of their originals, ``[N]``.
        parts: The parts of the originals, ``[N]``; None for a whole file.
    """
    counts: dict[tuple[str, TimeRange | None], int] = {}
    found = []
    for key in zip(names, parts, strict=True):
        found.append(Identity(*key, counts.get(key, 0)))
        counts[key] = counts.get(key, 0) + 1
    return found


def origin_bytes(videos: pa.Table) -> int:
    """Return the size of the originals of a table of videos, in bytes. The segments of a file count as one original."""
    sizes: dict[int | str, int] = {}
    for number, row in enumerate(videos.select(["origin", "unit", "origin_size"]).to_pylist()):
        sizes[number if row["unit"] is None else row["origin"]] = row["origin_size"]
    return sum(sizes.values())


def segments_in(videos: pa.Table) -> int:
    """Return the number of segments of files in a table of videos."""
    return int(len(videos) - videos.column("unit").null_count)


def packed_batch(
    occurrence: int, end: int, checksum: int, video: dict[str, Any], record: VideoRecord
) -> pa.RecordBatch:
    """Return the row of a packed video as a batch of :data:`ROW_SCHEMA`.

    Args:
        occurrence: Number of earlier rows with the same original.
        end: Size of the shard after the video, in bytes.
        checksum: CRC-32 of what the video added to the shard.
        video: Row of the table, by the names of its columns.
        record: Record of the video for the index.
    """
    values = {"occurrence": occurrence, "error": None, "end": end, "checksum": checksum, "video": video}
    return _batch(values, to_batch([record]).to_struct_array())


def failed_batch(identity: Identity, end: int, error: str) -> pa.RecordBatch:
    """Return the row of a video that could not be decoded, as a batch of :data:`ROW_SCHEMA`."""
    nothing = pa.nulls(1, ROW_SCHEMA.field("record").type)
    video = {"origin": identity.origin, **part_columns(identity.part)}
    values = {"occurrence": identity.occurrence, "error": error, "end": end, "checksum": 0, "video": video}
    return _batch(values, nothing)


def rows_of(table: pa.Table) -> list[PackedRow]:
    """Return the rows of a table with the columns ``occurrence``, ``error`` and ``video``."""
    columns = (table.column(name).to_pylist() for name in ("occurrence", "error", "video"))
    return [_packed_row(*values) for values in zip(*columns, strict=True)]


def write_table(path: Path, sources: Sequence[RowSource], order: Sequence[int]) -> pa.Table:
    """Write the table of videos and return it. The number of the format in the file is the one that the rows need.

    Args:
        path: Path of the new file.
        sources: All rows.
        order: Numbers of the rows in the new file, counted through all sources.

    Raises:
        OSError: If the file cannot be written.
    """
    table = _joined([source.videos() for source in sources], TABLE_SCHEMA).take(pa.array(order, pa.int64()))
    schema = TABLE_SCHEMA.with_metadata({FORMAT_KEY: str(format_needed(table))})
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        writer.write_table(table.combine_chunks().cast(schema), row_group_size=_GROUP_ROWS)
    return table


def write_index(path: Path, sources: Sequence[RowSource], order: Sequence[int]) -> int:
    """Write the index and return the number of frames of its videos. The arguments are those of :func:`write_table`.

    Only a few groups of rows are in memory at a time.
    """
    records = Records(sources)
    frames = 0
    with new_parquet(path) as writer:
        for start in range(0, len(order), _GROUP_ROWS):
            table = records.take(order[start : start + _GROUP_ROWS])
            frames += sum(filter(None, table.column("num_frames").to_pylist()))
            writer.write_table(table.combine_chunks(), row_group_size=_GROUP_ROWS)
    return frames


class Records:
    """Index rows by their numbers, which count through all sources. A few groups of rows are kept in memory.

    Args:
        sources: The sources.
    """

    def __init__(self, sources: Sequence[RowSource]) -> None:
        self._groups = [(source, group, count) for source in sources for group, count in enumerate(source.groups())]
        self._ends = np.cumsum([count for _, _, count in self._groups], dtype=np.int64)
        self._read = lru_cache(_GROUPS_KEPT)(self._read_group)

    def take(self, rows: Sequence[int]) -> pa.Table:
        """Return rows, :data:`~mgdali.index.schema.SCHEMA`, in the given order."""
        return _joined(list(self._parts(rows)), SCHEMA)

    def _parts(self, rows: Sequence[int]) -> Iterator[pa.Table]:
        places = [(int(np.searchsorted(self._ends, row, side="right")), row) for row in rows]
        for number, entries in itertools.groupby(places, key=lambda place: place[0]):
            start = int(self._ends[number]) - self._groups[number][2]
            yield self._read(number).take(pa.array([row - start for _, row in entries], pa.int64()))

    def _read_group(self, number: int) -> pa.Table:
        source, group, _ = self._groups[number]
        return source.records(group)


def _batch(values: dict[str, Any], record: pa.Array) -> pa.RecordBatch:
    types = {field.name: field.type for field in ROW_SCHEMA}
    arrays = [pa.array([value], types[name]) for name, value in values.items()]
    return pa.RecordBatch.from_arrays([*arrays, record.cast(types["record"])], schema=ROW_SCHEMA)


def _packed_row(occurrence: int, error: str | None, video: dict[str, Any]) -> PackedRow:
    identity = Identity(video["origin"], part_of(video), occurrence)
    if error is not None:
        return PackedRow(identity, error)
    fingerprint = Fingerprint(video["origin_size"], video["origin_mtime_ns"], video["origin_head"])
    label = (video["label"], video["label_values"])
    return PackedRow(identity, None, video["key"], label, video["columns"], fingerprint, video["length"])


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"cannot read {os.fspath(path)} ({error}): the pack is damaged; copy it again, or pack the data set into "
            "an empty folder"
        ) from error


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    with _opened(path) as file:
        return file.read(columns=columns, use_threads=False)


def _flat(table: pa.Table, column: str, schema: pa.Schema) -> pa.Table:
    """Return a column of structures as a table."""
    arrays = table.column(column).combine_chunks().flatten()
    return pa.Table.from_arrays(list(arrays), schema=schema)


def _joined(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([table.cast(schema) for table in tables]) if tables else schema.empty_table()
