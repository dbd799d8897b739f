"""Reading a packed data set: its videos, labels and columns, and the index that belongs to it."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mgdali.datasets.pack_format import (
    FORMAT,
    FORMAT_KEY,
    INDEX,
    SEGMENT_COLUMNS,
    TABLE,
    PackManifest,
    conform_table,
    join,
    label_of,
    member_name,
    read_manifest,
)
from mgdali.errors import DatasetError
from mgdali.samplers import Representation
from mgdali.video.record import representation_key, was_measured
from mgdali.video.remote import is_url, read_part, remote_info

__all__ = ["Pack", "PackListing", "check_representation", "open_pack", "read_pack", "read_table"]

_NEEDED = ("key", "shard", "offset", "length", "label", "label_values", "columns", *SEGMENT_COLUMNS)


@dataclass(frozen=True)
class Pack:
    """A packed data set.

    Attributes:
        root: Its folder or URL.
        manifest: Contents of its ``pack.json``.
    """

    root: str
    manifest: PackManifest

    @property
    def index(self) -> str:
        """Path or URL of its motion index, whose names are relative to :attr:`root`."""
        return join(self.root, INDEX)


@dataclass(frozen=True)
class PackListing:
    """The videos of a packed data set, in order.

    Attributes:
        pack: The packed data set.
        paths: ``<shard>::<key>.mp4`` of each video, ``[N]``.
        labels: Class indices int64 ``[N]``, numbers float32 ``[N]``, or vectors float32 ``[N, C]``.
        spans: Offset and length in the shard, in bytes, int64 ``[N, 2]``.
        columns: Further values of each video by name, ``[N]`` each; None where a video has no value, or NaN if the
            other values are floats, as in a data set from a table. If the pack has segments of files, their ``start``,
            ``end`` and ``unit`` are among them, unless the data set that was packed had columns with these names.
    """

    pack: Pack
    paths: list[str]
    labels: NDArray[Any]
    spans: NDArray[np.int64]
    columns: dict[str, list[Any]]


def open_pack(root: str | os.PathLike[str]) -> Pack:
    """Return a packed data set, after a check that its files exist.

    On a disk, each shard must have the size that the manifest says. At a URL, only the index is looked up.

    Args:
        root: Folder or URL that ``mgdali pack`` wrote.

    Raises:
        DatasetError: If the manifest, the index or a shard is missing, cannot be read or has another size.
        ImportError: If a URL needs a package that is not installed.
    """
    folder = os.fspath(root)
    pack = Pack(folder, read_manifest(folder))
    try:
        if is_url(folder):
            remote_info(pack.index)
            return pack
        os.stat(pack.index)
    except OSError as error:
        raise DatasetError(
            f"{folder} has no index that can be read ({pack.index}: {error.strerror or error}). The copies in a packed "
            "data set are never measured: copy the index again, or pack the data set again"
        ) from error
    for shard in pack.manifest.shards:
        path = Path(folder, shard.name)
        size = path.stat().st_size if path.is_file() else None
        if size != shard.bytes:
            what = "is missing" if size is None else f"has {size} bytes instead of {shard.bytes}"
            raise DatasetError(f"{path} {what}: copy it again; `mgdali pack check {folder}` examines all shards")
    return pack


def read_pack(root: str | os.PathLike[str]) -> PackListing:
    """Return the videos of a packed data set.

    Args:
        root: Folder or URL that ``mgdali pack`` wrote.

    Raises:
        DatasetError: As :func:`open_pack`; also if the table of the videos is missing, cannot be read, has a newer
            format, or does not fit the manifest.
        ImportError: If a URL needs a package that is not installed.
    """
    pack = open_pack(root)
    table = read_table(pack.root).select(_NEEDED)
    rows = {name: table.column(name).to_pylist() for name in ("key", "shard", "columns")}
    shards = [shard.name for shard in pack.manifest.shards]
    if not len(table):
        raise DatasetError(
            f"the packed data set {pack.root} contains no video, and {len(pack.manifest.left_out)} originals were left "
            f"out: `mgdali pack show {pack.root} --failed` lists the reasons"
        )
    if len(table) != pack.manifest.videos or not set(rows["shard"]) <= set(range(len(shards))):
        raise DatasetError(
            f"{join(pack.root, TABLE)} lists {len(table)} videos, but the manifest {pack.manifest.videos}, or shards "
            "that the manifest does not list: copy all files of the packed data set again"
        )
    paths = [
        join(pack.root, member_name(shards[shard], key)) for key, shard in zip(rows["key"], rows["shard"], strict=True)
    ]
    spans = np.stack([table.column(name).to_numpy() for name in ("offset", "length")], axis=1)
    columns = _columns(rows["columns"])
    if table.column("unit").null_count < len(table):
        columns = {name: table.column(name).to_pylist() for name in SEGMENT_COLUMNS} | columns
    return PackListing(pack, paths, _labels(pack, table), spans, columns)


def read_table(root: str) -> pa.Table:
    """Return the table of a packed data set's videos (:data:`~mgdali.datasets.pack_format.TABLE_SCHEMA`).

    Columns that the file lacks are null; other columns are left out.

    Args:
        root: Folder or URL of the packed data set.

    Raises:
        DatasetError: If the table is missing, cannot be read, or has a newer format.
    """
    name = join(root, TABLE)
    try:
        table = pq.read_table(pa.BufferReader(read_part(name)))
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"cannot read the table of videos {name}: {error}; copy all files of the packed data set again"
        ) from error
    number = (table.schema.metadata or {}).get(FORMAT_KEY, b"")
    if not number.isdigit() or int(number) > FORMAT:
        raise DatasetError(
            f"{name} has format {number.decode(errors='replace')!r}, but this version of MGDali reads formats up to "
            f"{FORMAT}: install a newer version of MGDali"
        )
    return conform_table(table)


def check_representation(pack: Pack, representation: Representation | None) -> None:
    """Check that the index of a packed data set contains S of a representation.

    Args:
        pack: The packed data set.
        representation: The representation that a sampler needs; None if it needs no motion.

    Raises:
        DatasetError: If it does not. S of the copies would differ from S of the originals, so it is never measured.
    """
    if representation is None or was_measured(representation, pack.manifest.motion, pack.manifest.filters):
        return
    has = " and ".join(pack.manifest.motion) or "none"
    raise DatasetError(
        f"the packed data set {pack.root} contains no motion {representation_key(representation)!r} with these filters "
        f"(it contains: {has}), and copies are never measured: pack the originals again with this motion (--motion, or "
        "representations= of mgdali.pack), or choose another sampler"
    )


def _labels(pack: Pack, table: pa.Table) -> NDArray[Any]:
    """Return the labels of a table's rows."""
    shape = pack.manifest.label_shape
    rows = table.select(["label", "label_values"]).to_pylist()
    try:
        labels = np.array([label_of(row, shape) for row in rows], np.int64 if shape is None else np.float32)
    except (TypeError, ValueError):
        labels = np.empty(0)
    if labels.shape != (len(rows), *(shape or ())):
        raise DatasetError(
            f"{join(pack.root, TABLE)} has other labels than the manifest says: copy all files of the packed data set "
            "again"
        )
    return labels


def _columns(rows: list[str | None]) -> dict[str, list[Any]]:
    """Return the values of each column from one JSON object per video."""
    values = [{} if row is None else json.loads(row) for row in rows]
    names = dict.fromkeys(name for row in values for name in row)
    return {name: _with_nan([row.get(name) for row in values]) for name in names}


def _with_nan(values: list[Any]) -> list[Any]:
    """Return a column with NaN for missing numbers, which are null in JSON, if its values are floats."""
    kinds = set(map(type, values))
    if float not in kinds or not kinds <= {int, float, type(None)}:
        return values
    return [math.nan if value is None else value for value in values]
