"""The videos that the user of ``mgdali explore`` names: from a data set, or from the rows of a motion index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mgdali.datasets.pack_format import part_name
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.index.find_media import MediaFinder
from mgdali.index.names import common_root
from mgdali.index.reader import MotionIndex
from mgdali.index.still import mean_motion, motion_of_rows
from mgdali.video.record import VideoRecord, index_name
from mgdali.video.time_range import TimeRange

__all__ = ["Facts", "IndexedVideos", "ListedVideos", "Source", "shown"]

# Threads that find the classes of the videos of an index.
_THREADS = 4

# Rows whose S is in memory at a time.
_BATCH = 512

# The number in a pattern of JPEG frames, such as img_%05d.jpg.
_PLACEHOLDER = "%[0-9]*d"


@dataclass(frozen=True)
class Facts:
    """What an index tells about some videos.

    Attributes:
        first: Row of the first one; the others follow it.
        frames: Numbers of frames, float64 ``[M]``; NaN if unknown.
        motion, still: Motion as :func:`mgdali.index.still.mean_motion` returns it, float64 ``[M]``; None if it has not
            been computed yet.
        errors: Reasons of videos that could not be decoded, by row.
    """

    first: int
    frames: NDArray[np.float64]
    motion: NDArray[np.float64] | None
    still: NDArray[np.float64] | None
    errors: dict[int, str]


class Source(Protocol):
    """Videos in a fixed order. Several threads may read them, except for :meth:`facts`.

    Attributes:
        names: Names for the user, ``[N]`` strings.
        classes: Names of the classes, ``[N]`` strings, null where unknown.
        has_index: Whether there are records.
        unique: Whether each video is known to occur once.
    """

    names: pa.ChunkedArray
    classes: pa.ChunkedArray
    has_index: bool
    unique: bool

    def __len__(self) -> int: ...

    def keys(self) -> Iterator[str]:
        """Yield a text for each video that is the same for the same video in other sources."""

    def video(self, row: int) -> Video:
        """Return a video."""

    def record(self, row: int) -> VideoRecord | None:
        """Return the record of a video's file; it may belong to an earlier content. None without one."""

    def facts(self) -> Iterator[Facts]:
        """Yield what the index tells, at most a few thousand videos at a time. Only one thread may call it."""


class ListedVideos:
    """Videos of a data set, whose records are looked up in an index.

    Args:
        dataset: The videos.
        names: Names for the user without the part of the file; by default the paths.
        classes: Names of the classes, ``[N]``; by default those of the labels.
        index: The index; None without one.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        *,
        names: Sequence[str] | None = None,
        classes: Sequence[str | None] | None = None,
        index: MotionIndex | None = None,
    ) -> None:
        self._dataset = dataset
        self._index = index
        self.has_index = index is not None
        self.unique = False
        plain: Iterable[str] = map(shown, dataset.paths if names is None else names)
        if dataset.has_segments:
            plain = (part_name(name, dataset[row].time_range) for row, name in enumerate(plain))
        self.names = pa.chunked_array([pa.array(plain, pa.string())])
        self.classes = pa.chunked_array(
            [pa.array(_labels(dataset) if classes is None else map(_shown_class, classes), pa.string())]
        )

    def __len__(self) -> int:
        return len(self._dataset)

    def keys(self) -> Iterator[str]:
        for row, path in enumerate(self._dataset.paths):
            yield _key(index_name(path), self._dataset[row].time_range if self._dataset.has_segments else None)

    def video(self, row: int) -> Video:
        return self._dataset[row]

    def record(self, row: int) -> VideoRecord | None:
        return None if self._index is None else self._index.find(self._dataset.paths[row])

    def facts(self) -> Iterator[Facts]:
        if self._index is None:
            return
        for first in range(0, len(self), _BATCH):
            rows = range(first, min(first + _BATCH, len(self)))
            records = [self.record(row) for row in rows]
            parts = [_part(record, self._dataset[row].time_range) for row, record in zip(rows, records, strict=True)]
            frames = np.array([np.nan if part is None else part[1] - part[0] for part in parts], np.float64)
            errors = {row: each.error for row, each in zip(rows, records, strict=True) if each and each.error}
            yield Facts(first, frames, *_motion(records, parts), errors)


class IndexedVideos:
    """All videos of a motion index.

    Args:
        index: The index.
        whole_names: Whether names are paths and URLs; if not, they begin at the folder of all videos.
    """

    has_index = True
    unique = True

    def __init__(self, index: MotionIndex, *, whole_names: bool) -> None:
        self._index = index
        self._find = MediaFinder()
        chunks = [batch.column(0) for batch in index.batches(["path"])]
        stored = pa.chunked_array(chunks, pa.string())
        if whole_names and index.root is not None:
            self.names = pa.chunked_array([pa.array(self._full_names(stored), pa.string())])
        else:
            self.names = stored if whole_names or index.root is not None else _without_root(stored)
        # PyArrow lets other threads run while it computes.
        with ThreadPoolExecutor(_THREADS) as pool:
            self.classes = pa.chunked_array(list(pool.map(_last_folders, chunks)), pa.string())

    def __len__(self) -> int:
        return len(self._index)

    def keys(self) -> Iterator[str]:
        for batch in self._index.batches(["path"]):
            yield from (_key(self._index.full_name(name), None) for name in batch.column(0).to_pylist())

    def video(self, row: int) -> Video:
        name = self._index[row].path
        media = self._find(name)
        # A member that its tar does not contain has no position. Opening it gives an error that says so.
        return Video(name, -1) if media is None else Video(media.path, -1, media.span)

    def record(self, row: int) -> VideoRecord | None:
        return self._index[row]

    def facts(self) -> Iterator[Facts]:
        first = 0
        # The numbers of frames are few bytes and known at once; S of all frames takes longer.
        for batch in self._index.batches(["num_frames", "error"]):
            yield Facts(first, _frames(batch), None, None, _errors(batch, first))
            first += batch.num_rows
        first = 0
        for batch in self._index.batches(["num_frames", "error", "width", "height", "motion_image"]):
            for start in range(0, batch.num_rows, _BATCH):
                part = batch.slice(start, _BATCH)
                yield Facts(first + start, _frames(part), *motion_of_rows(part), {})
            first += batch.num_rows

    def _full_names(self, stored: pa.ChunkedArray) -> Iterator[str]:
        return (self._index.full_name(name) for chunk in stored.chunks for name in chunk.to_pylist())


def shown(path: str) -> str:
    """Return a path as text. A byte that is not UTF-8 is written as ``\\\\xNN``."""
    return path if path.isascii() else os.fsencode(path).decode(errors="backslashreplace")


def _shown_class(name: str | None) -> str | None:
    return None if name is None else shown(name)


def _labels(dataset: VideoDataset) -> list[str | None]:
    """Return the names of the videos' classes; None for missing labels, numbers and vectors."""
    if dataset.labels.dtype != np.int64 or dataset.labels.ndim != 1:
        return [None] * len(dataset)
    names = [*map(str, dataset.classes), None]
    return [names[label] for label in dataset.labels.tolist()]


def _key(name: str, part: TimeRange | None) -> str:
    return name if part is None else f"{name}\0{part}"


def _without_root(names: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return paths below the folder that contains all of them."""
    if not len(names):
        return names
    ends = pc.min_max(names).as_py()
    root = common_root([ends["min"], ends["max"]])
    return names if root is None else pc.utf8_slice_codeunits(names, len(root) + 1)


def _last_folders(paths: pa.StringArray) -> pa.StringArray:
    """Return the name of the folder of each video, null without one.

    The videos are files, members of tars, or patterns of frames, whose own folder is the video. A regular expression
    that finds all of them takes seven times as long.
    """
    split = pc.split_pattern(paths, "/", max_splits=3, reverse=True)
    parts = split.values
    starts, ends = (split.offsets.to_numpy()[rows] for rows in (slice(None, -1), slice(1, None)))
    frames = pc.match_substring_regex(parts.take(pa.array(ends - 1)), _PLACEHOLDER).to_numpy(zero_copy_only=False)
    places = ends - np.where(frames, 3, 2)
    folders = parts.take(pa.array(places, mask=places < starts))
    if pc.any(pc.match_substring(folders, "::")).as_py():
        # The first folder within a tar follows the name of the tar.
        folders = pc.replace_substring_regex(folders, "(?s)^.*::", "")
    return pc.if_else(pc.equal(folders, ""), pa.scalar(None, pa.string()), folders)


def _part(record: VideoRecord | None, part: TimeRange | None) -> tuple[int, int] | None:
    """Return the frames of a segment; None if unknown."""
    if record is None or record.error is not None:
        return None
    return (0, record.num_frames) if part is None else part.frames(record)


def _motion(
    records: Sequence[VideoRecord | None], parts: Sequence[tuple[int, int] | None]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the motion of parts of videos, as :func:`mgdali.index.still.mean_motion`."""
    values, pixels = [], []
    for record, part in zip(records, parts, strict=True):
        known = None if record is None or part is None else record.motion.get("image")
        values.append(np.empty(0, np.float32) if known is None or part is None else known[slice(*part)])
        pixels.append(0 if record is None else record.width * record.height)
    ends = np.cumsum([len(each) for each in values])
    return mean_motion(np.concatenate(values), ends - [len(each) for each in values], ends, pixels)


def _frames(batch: pa.RecordBatch) -> NDArray[np.float64]:
    frames: NDArray[np.float64] = batch.column("num_frames").to_numpy(zero_copy_only=False).astype(np.float64)
    frames[batch.column("error").is_valid().to_numpy(zero_copy_only=False)] = np.nan
    return frames


def _errors(batch: pa.RecordBatch, first: int) -> dict[int, str]:
    column = batch.column("error")
    if column.null_count == len(column):
        return {}
    rows = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False)).tolist()
    return {first + row: column[row].as_py() for row in rows}
