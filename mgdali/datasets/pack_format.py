"""Files of a packed data set: their names, the manifest, and the table of the videos.

A packed data set ("pack") is a folder or a URL with tar shards in WebDataset's layout, a motion index, a table of the
videos, and a manifest that lists the shards. The manifest is written last: a folder without it is not complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mgdali.errors import DatasetError
from mgdali.video.remote import is_url, read_part
from mgdali.video.time_range import TimeRange

__all__ = [
    "FORMAT",
    "FORMAT_KEY",
    "INDEX",
    "MANIFEST",
    "SEGMENT_COLUMNS",
    "TABLE",
    "TABLE_SCHEMA",
    "LeftOut",
    "PackManifest",
    "Shard",
    "conform_table",
    "format_needed",
    "is_pack",
    "join",
    "label_columns",
    "label_of",
    "member_name",
    "part_columns",
    "part_name",
    "part_of",
    "read_manifest",
    "shard_name",
]

FORMAT = 2
"""Number of the newest format of packs that this version reads and writes.

Format 2 has segments of files, and labels that are not class indices. A pack without these has format 1, which older
versions read.
"""

MANIFEST, INDEX, TABLE = "pack.json", "index.parquet", "videos.parquet"
"""Names of the files beside the shards."""

SEGMENT_COLUMNS = ("start", "end", "unit")
"""Columns of the table that say which part of its original a segment is."""

FORMAT_KEY = b"mgdali.format"
"""Entry of a Parquet file's metadata with the number of the format."""

TABLE_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("label", pa.int64()),
        ("origin", pa.string()),
        ("origin_size", pa.int64()),
        ("origin_mtime_ns", pa.int64()),
        ("origin_head", pa.string()),
        ("digest", pa.string()),
        ("columns", pa.string()),
        ("label_values", pa.list_(pa.float32())),
        ("start", pa.float64()),
        ("end", pa.float64()),
        ("unit", pa.string()),
    ],
    {FORMAT_KEY: str(FORMAT)},
)
"""Columns of the table, one row per video, in the order of the data set.

``key`` is the name of the video's files up to the dot; ``shard`` the shard's place in the manifest; ``offset`` and
``length`` the position of ``<key>.mp4`` in the shard, in bytes; ``origin`` and the three columns after it the path and
the fingerprint of the original; ``digest`` the BLAKE2b hash (16 bytes, hexadecimal) of ``<key>.mp4``; ``columns`` the
video's values of the data set's columns, as a JSON object; ``label_values`` the label if it is not a class index;
``start``, ``end`` and ``unit`` the part of the original that the video is, as in
:class:`~mgdali.video.time_range.TimeRange`, null for a whole file.
"""


@dataclass(frozen=True)
class Shard:
    """One shard of a pack.

    Attributes:
        name: Name of the file.
        videos: Number of videos in it.
        bytes: Size of the file.
    """

    name: str
    videos: int
    bytes: int


@dataclass(frozen=True)
class LeftOut:
    """An original that is not in the pack, because it could not be decoded.

    Attributes:
        path: Path of the original.
        error: Reason.
        start, end, unit: The part of the original, as in :data:`TABLE_SCHEMA`.
    """

    path: str
    error: str
    start: float | None = None
    end: float | None = None
    unit: str | None = None

    @property
    def part(self) -> TimeRange | None:
        """The part of the original; None for the whole file."""
        return part_of(asdict(self))


@dataclass(frozen=True, kw_only=True)
class PackManifest:
    """Contents of ``pack.json``.

    Attributes:
        version: Version of MGDali that wrote the pack.
        preset, codec, encoder, gop, quality, short_side: How the videos were encoded; ``docs/packs.md`` describes them.
        motion: Names of the representations that the index contains S for, such as ``"image"``
            (:func:`mgdali.video.record.representation_key`).
        filters: Digest of the filters of the feature level; None if the index contains no S of that level.
        classes: Names of the classes by index.
        frames: Number of frames of all videos.
        origin_bytes: Size of the originals of all videos, in bytes.
        shards: The shards, in order.
        left_out: Originals that could not be decoded.
        label_shape: Shape of a label: ``()`` if labels are numbers, ``(C,)`` if they are vectors; None if they are
            class indices.
        format: Number of the format.
    """

    version: str
    preset: str
    codec: str
    encoder: str
    gop: int
    quality: int
    short_side: int
    motion: tuple[str, ...]
    filters: str | None
    classes: tuple[str, ...]
    frames: int
    origin_bytes: int
    shards: tuple[Shard, ...]
    left_out: tuple[LeftOut, ...] = field(default=())
    label_shape: tuple[int, ...] | None = None
    format: int = FORMAT

    @property
    def videos(self) -> int:
        """Number of videos."""
        return sum(shard.videos for shard in self.shards)

    @property
    def total_bytes(self) -> int:
        """Size of all shards together, in bytes."""
        return sum(shard.bytes for shard in self.shards)

    def to_json(self) -> str:
        """Return the content of ``pack.json``."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str) -> PackManifest:
        """Return the manifest of a ``pack.json``. Entries that this version does not know are ignored.

        Args:
            text: Content of the file.
            name: Name of the file, for errors.

        Raises:
            DatasetError: If it is not a manifest, or has a newer format.
        """
        try:
            content = json.loads(text)
            number = content["format"]
            if not isinstance(number, int) or number > FORMAT:
                raise DatasetError(
                    f"{name} has format {number}, but this version of MGDali reads formats up to {FORMAT}: install a "
                    "newer version of MGDali, or pack the data set again with this one"
                )
            shape = content.get("label_shape")
            known = {each: content[each] for each in cls.__dataclass_fields__ if each in content}
            return cls(
                **{
                    **known,
                    "motion": tuple(content["motion"]),
                    "classes": tuple(content["classes"]),
                    "shards": tuple(_entry(Shard, each) for each in content["shards"]),
                    "label_shape": None if shape is None else tuple(shape),
                    "left_out": tuple(_entry(LeftOut, each) for each in content.get("left_out", ())),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, DatasetError):
                raise
            reason = f"{type(error).__name__}: {error}"
            raise DatasetError(
                f"{name} is not the manifest of a packed data set ({reason}): give the folder that `mgdali pack` wrote"
            ) from error


def _entry(kind: Any, content: Mapping[str, Any]) -> Any:
    return kind(**{name: content[name] for name in kind.__dataclass_fields__ if name in content})


def conform_table(table: pa.Table) -> pa.Table:
    """Return a table of videos with the columns of :data:`TABLE_SCHEMA`: others are left out, missing ones are null."""
    known = set(table.column_names)
    columns = [table.column(f.name) if f.name in known else pa.nulls(len(table), f.type) for f in TABLE_SCHEMA]
    return pa.table(columns, schema=TABLE_SCHEMA)


def part_columns(part: TimeRange | None) -> dict[str, Any]:
    """Return the part of an original as :data:`SEGMENT_COLUMNS` of the table."""
    if part is None:
        return dict.fromkeys(SEGMENT_COLUMNS)
    end = None if part.end is None else float(part.end)
    return {"start": float(part.start), "end": end, "unit": str(part.unit)}


def part_of(row: Mapping[str, Any]) -> TimeRange | None:
    """Return the part of an original from a row of the table; None for a whole file."""
    return None if row["unit"] is None else TimeRange(row["start"], row["end"], row["unit"])


def part_name(origin: str, part: TimeRange | None) -> str:
    """Return the name of an original, or of a part of it, for messages."""
    return origin if part is None else f"{origin} ({part})"


def label_columns(label: Any) -> dict[str, Any]:
    """Return a label as the columns ``label`` and ``label_values`` of the table.

    Args:
        label: Class index, number, or vector, as :class:`mgdali.datasets.video_dataset.Video` has it.
    """
    if isinstance(label, int | np.integer):
        return {"label": int(label), "label_values": None}
    return {"label": None, "label_values": np.atleast_1d(np.asarray(label, np.float32)).tolist()}


def label_of(row: Mapping[str, Any], label_shape: tuple[int, ...] | None) -> Any:
    """Return the label of a row of the table: an int, a float, or a list of floats.

    Args:
        row: The row, with the columns of :func:`label_columns`.
        label_shape: Shape of the pack's labels, as in the manifest.
    """
    if label_shape is None:
        return row["label"]
    return row["label_values"] if label_shape else row["label_values"][0]


def format_needed(videos: pa.Table) -> int:
    """Return the number of the format that a table of videos needs."""
    labels = videos.column("label").to_numpy()
    others = videos.column("unit").null_count < len(videos) or videos.column("label_values").null_count < len(videos)
    return FORMAT if others or bool(np.any(labels < 0)) else 1


def shard_name(number: int) -> str:
    """Return the file name of a shard, which is numbered from 0."""
    return f"shard-{number:06d}.tar"


def member_name(shard: str, key: str) -> str:
    """Return the name of a video in a pack, relative to the pack: its name in the index."""
    return f"{shard}::{key}.mp4"


def join(root: str | os.PathLike[str], name: str) -> str:
    """Return the path or URL of a file of a pack."""
    folder = os.fspath(root)
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def is_pack(folder: str | os.PathLike[str]) -> bool:
    """Return whether a local folder is a complete pack."""
    return not is_url(os.fspath(folder)) and os.path.isfile(join(folder, MANIFEST))


def read_manifest(root: str | os.PathLike[str]) -> PackManifest:
    """Return the manifest of a pack.

    Args:
        root: Folder or URL of the pack.

    Raises:
        DatasetError: If it is missing, cannot be read, is not a manifest, or has a newer format.
        ImportError: If a URL needs a package that is not installed.
    """
    name = join(root, MANIFEST)
    try:
        content = read_part(name)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{os.fspath(root)} is not a complete packed data set, because it has no {MANIFEST}: give the folder that "
            "`mgdali pack` wrote; if packing was interrupted, run the same command again"
        ) from error
    except OSError as error:
        raise DatasetError(
            f"cannot read {name}: {error.strerror or error}; give the folder or URL of a packed data set"
        ) from error
    return PackManifest.from_json(content, name)
