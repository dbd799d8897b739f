"""Arrow schema of an index file, and the conversion between records and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mgdali.errors import DatasetError
from mgdali.index.columns import value_reader
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord

__all__ = [
    "FORMAT",
    "REQUIRED",
    "SCHEMA",
    "Rows",
    "check_format",
    "conform",
    "file_schema",
    "from_batch",
    "read_batches",
    "records_of",
    "to_batch",
]

FORMAT = 3
"""Newest format of index files. Version 0.1 of MGDali wrote format 1, which has no number in the file.

Formats 2 and 3 have the same columns. In format 3, names are relative to the root in the file's metadata; a version
that knows only format 2 would take all videos for new ones. A file without a root, as in a packed data set, has format
2, so that older versions can read it.
"""

# New columns need a new number in both kinds of files.
_FORMAT_WITHOUT_ROOT = 2

_FORMAT_KEY = b"mgdali.format"

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("head", pa.string()),
        ("error", pa.string()),
        ("num_frames", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("rotation", pa.int16()),
        ("rate", pa.float64()),
        ("codec", pa.string()),
        ("pixel_format", pa.string()),
        ("container", pa.string()),
        ("time_base_num", pa.int32()),
        ("time_base_den", pa.int32()),
        ("times", pa.list_(pa.int64())),
        ("packets", pa.list_(pa.int32())),
        ("referenced", pa.list_(pa.bool_())),
        ("key_frames", pa.list_(pa.int32())),
        ("motion_image", pa.list_(pa.float32())),
        ("motion_image_rgb", pa.list_(pa.float32())),
        ("motion_feature", pa.list_(pa.float32())),
        ("filters", pa.string()),
        ("origin", pa.string()),
        ("extradata", pa.binary()),
        ("packet_offsets", pa.list_(pa.int64())),
        ("packet_sizes", pa.list_(pa.int32())),
    ],
    {_FORMAT_KEY: str(_FORMAT_WITHOUT_ROOT)},
)
"""The columns of an index file; docs/motion-index.md describes them."""

_SINCE_FORMAT_2 = ("origin", "extradata", "packet_offsets", "packet_sizes")

REQUIRED = tuple(name for name in SCHEMA.names if name not in _SINCE_FORMAT_2)
"""Columns that an index file must have, which are those of format 1. Others that are missing count as null."""

_MOTION = "motion_"
_PLAIN = (
    *("num_frames", "width", "height", "rotation", "rate", "codec", "pixel_format", "container", "filters"),
    *("origin", "extradata"),
)
_LISTS = ("times", "packets", "referenced", "key_frames", "packet_offsets", "packet_sizes")


def file_schema(root: Mapping[bytes, bytes]) -> pa.Schema:
    """Return the schema of a new index file.

    Args:
        root: Entries of the metadata that tell the root of the names (:meth:`mgdali.index.names.VideoNames.metadata`);
            empty if it has none.
    """
    return SCHEMA.with_metadata({_FORMAT_KEY: str(FORMAT), **root}) if root else SCHEMA


def check_format(schema: pa.Schema, name: str) -> None:
    """Check that this version of MGDali can read a file.

    Args:
        schema: Schema of the file.
        name: Name of the file, for the error.

    Raises:
        DatasetError: If a newer version of MGDali wrote it in a newer format.
    """
    number = (schema.metadata or {}).get(_FORMAT_KEY, b"1")
    if not number.isdigit() or int(number) > FORMAT:
        raise DatasetError(
            f"{name} has format {number.decode(errors='replace')}, but this version of MGDali reads formats 1 to "
            f"{FORMAT}: install a newer version of MGDali, or create the file again with this one"
        )


def read_batches(
    parquet: pq.ParquetFile, *, columns: Sequence[str] | None = None, batch_size: int = 4096
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of an index file in the present format (:func:`conform`).

    Args:
        parquet: The open file.
        columns: Names of columns of :data:`SCHEMA`, in the order of the result; None for all.
        batch_size: Largest number of rows of a batch.
    """
    names = SCHEMA.names if columns is None else list(columns)
    existing = [name for name in names if name in parquet.schema_arrow.names]
    for batch in parquet.iter_batches(columns=existing, batch_size=batch_size):
        yield conform(batch, names)


def conform(batch: pa.RecordBatch, columns: Sequence[str] = tuple(SCHEMA.names)) -> pa.RecordBatch:
    """Return rows of any format with columns of :data:`SCHEMA`: missing columns are null, other columns are left out.

    Args:
        batch: The rows.
        columns: Names of columns, in the order of the result.
    """
    schema = pa.schema([SCHEMA.field(name) for name in columns], SCHEMA.metadata)
    existing = set(batch.schema.names)
    arrays = [
        batch.column(field.name) if field.name in existing else pa.nulls(batch.num_rows, field.type) for field in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def to_batch(records: list[VideoRecord]) -> pa.RecordBatch:
    """Convert records to rows of :data:`SCHEMA`."""
    # All columns are converted in one call. One call per column takes three times as long, which slows down a build.
    return pa.RecordBatch.from_struct_array(pa.array([_row(record) for record in records], pa.struct(list(SCHEMA))))


class Rows:
    """Rows of an index file as records.

    Args:
        batch: The rows, with the columns of :data:`SCHEMA`.
        full_name: Function that returns the path of a record from that of its row; None to leave paths unchanged.
    """

    def __init__(self, batch: pa.RecordBatch, full_name: Callable[[str], str] | None = None) -> None:
        columns = {name: batch.column(name) for name in SCHEMA.names if name in batch.schema.names}
        read = {name: value_reader(column) for name, column in columns.items()}
        self.path: Callable[[int], str] = read["path"]
        """Function that returns the path of a row, as it is in the file."""
        self._full_name = full_name
        self._error = read["error"]
        self._fingerprint = [read[name] for name in ("size", "mtime_ns", "head")]
        self._time_base = [read[name] for name in ("time_base_num", "time_base_den")]
        # Columns without any value are not read. Their attributes keep their defaults.
        used = {name for name, column in columns.items() if column.null_count < batch.num_rows}
        self._motion = [
            (name[len(_MOTION) :], read[name]) for name in read if name.startswith(_MOTION) and name in used
        ]
        self._attributes = [(name, read[name]) for name in (*_PLAIN, *_LISTS) if name in used]

    def __getitem__(self, row: int) -> VideoRecord:
        """Return the record of a row in ``[0, N)``. Its arrays are views of the batch's memory, except ``referenced``.

        The row is not checked.
        """
        size, mtime_ns, head = [read(row) for read in self._fingerprint]
        fingerprint = None if size is None else Fingerprint(size, mtime_ns, head)
        path = self.path(row) if self._full_name is None else self._full_name(self.path(row))
        error = self._error(row)
        if error is not None:
            return VideoRecord(path=path, fingerprint=fingerprint, error=error)
        numerator, denominator = [read(row) for read in self._time_base]
        motion = {key: values for key, read in self._motion if (values := read(row)) is not None}
        attributes: dict[str, Any] = {name: read(row) for name, read in self._attributes}
        return VideoRecord(
            path=path,
            fingerprint=fingerprint,
            time_base=(numerator, denominator),
            motion=motion,
            **attributes,
        )


def from_batch(batch: pa.RecordBatch, row: int) -> VideoRecord:
    """Return the record of one row. For several rows of a batch, :class:`Rows` and :func:`records_of` are faster."""
    return Rows(batch)[row]


def records_of(batch: pa.RecordBatch) -> Iterator[VideoRecord]:
    """Yield the records of all rows."""
    rows = Rows(batch)
    for row in range(batch.num_rows):
        yield rows[row]


def _row(record: VideoRecord) -> dict[str, Any]:
    row: dict[str, Any] = {"path": record.path, "error": record.error}
    if record.fingerprint is not None:
        known = record.fingerprint
        row |= {"size": known.size, "mtime_ns": known.mtime_ns, "head": known.head}
    if record.error is not None:
        return row
    for name in SCHEMA.names:
        if hasattr(record, name):
            row[name] = getattr(record, name)
    row["time_base_num"], row["time_base_den"] = record.time_base
    return row | {_MOTION + key: values for key, values in record.motion.items()}
