"""Summary and check of an index file, for ``mgdali index show`` and ``mgdali index check``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mgdali.datasets.check import Names
from mgdali.errors import VideoDecodeError
from mgdali.index.find_media import MediaFinder
from mgdali.index.names import AnyPath, Moved, VideoNames, path_or_url
from mgdali.index.remote_index import local_file
from mgdali.index.schema import read_batches
from mgdali.index.writer import open_parquet
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import index_name

__all__ = ["IndexCheck", "IndexSummary", "check_index", "failures", "summarize_index"]

_BATCH_ROWS = 4096
# Comparing a video with its row is mostly waiting for a disk or network, so many comparisons run at once.
_COMPARED_AT_ONCE = 16

_KINDS = ("image", "image_rgb", "feature")
_PROPERTIES = ("error", "num_frames", "width", "height", "rate", "codec", "pixel_format", "times")
_CLOCK = ("time_base_num", "time_base_den")

_State = Literal["current", "missing", "changed", "failed"]


@dataclass(frozen=True)
class IndexSummary:
    """Contents of an index. The attributes are also the keys of its JSON.

    Attributes:
        path: Path or URL of the index file.
        root: Folder or URL that names in the file are relative to; None if all names are absolute paths and URLs.
        size: Size of the file in bytes.
        videos: Number of rows, including those of failed videos.
        failed: Number of videos that could not be decoded.
        frames: Total number of frames.
        hours: Total duration of the videos whose duration is known.
        untimed: Number of decodable videos whose duration is unknown.
        representations: Number of videos with S, per representation.
        codecs: Number of videos per codec, the most frequent first.
        sizes: Number of videos per ``<width>x<height>``, the most frequent first.
        pixel_formats: Number of videos per pixel format, the most frequent first.
    """

    path: str
    root: str | None
    size: int
    videos: int
    failed: int
    frames: int
    hours: float
    untimed: int
    representations: dict[str, int]
    codecs: dict[str, int]
    sizes: dict[str, int]
    pixel_formats: dict[str, int]


@dataclass(frozen=True)
class IndexCheck:
    """Result of comparing an index with its videos. The attributes are also the keys of its JSON.

    Attributes:
        path: Path or URL of the index file.
        videos: Number of rows.
        current: Number of rows whose video exists, has not changed since it was measured, and could be decoded.
        missing: Videos that are missing or cannot be read.
        changed: Videos whose content has changed since they were measured.
        failed: Videos that have not changed and could not be decoded.
        not_in_index: Videos of the given data that have no row; None if no data was given.
        complete: Whether all rows are current and each video of the given data has a row.
    """

    path: str
    videos: int
    current: int
    missing: Names
    changed: Names
    failed: Names
    not_in_index: Names | None
    complete: bool


def summarize_index(path: AnyPath) -> IndexSummary:
    """Return the contents of an index. At most a few thousand rows are in memory at a time.

    Args:
        path: Path or URL of the index file.

    Raises:
        DatasetError: If the file is missing, cannot be read, or is not an index.
        ImportError: If a URL needs a package that is not installed.
    """
    with local_file(path_or_url(path)) as file:
        return _summarize(file, os.fspath(path))


def _summarize(file: Path, name: str) -> IndexSummary:
    counts: Counter[str] = Counter()
    representations: Counter[str] = Counter()
    codecs: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    pixel_formats: Counter[str] = Counter()
    seconds = 0.0
    for batch in _batches(file, name, [*_PROPERTIES, *_CLOCK, *(f"motion_{kind}" for kind in _KINDS)]):
        decodable = batch.filter(batch.column("error").is_null())
        durations = _durations(decodable)
        seconds += float(durations.sum())
        counts["videos"] += batch.num_rows
        counts["failed"] += batch.num_rows - decodable.num_rows
        counts["frames"] += sum(decodable.column("num_frames").to_pylist())
        counts["untimed"] += int((durations == 0).sum())
        for kind in _KINDS:
            representations[kind] += decodable.num_rows - decodable.column(f"motion_{kind}").null_count
        codecs.update(decodable.column("codec").to_pylist())
        pixel_formats.update(decodable.column("pixel_format").to_pylist())
        widths, heights = (decodable.column(name).to_pylist() for name in ("width", "height"))
        sizes.update(f"{width}x{height}" for width, height in zip(widths, heights, strict=True))
    return IndexSummary(
        path=name,
        root=_names_of(file, name).root,
        size=file.stat().st_size,
        videos=counts["videos"],
        failed=counts["failed"],
        frames=counts["frames"],
        hours=seconds / 3600,
        untimed=counts["untimed"],
        representations={kind: count for kind, count in representations.items() if count},
        codecs=dict(codecs.most_common()),
        sizes=dict(sizes.most_common()),
        pixel_formats=dict(pixel_formats.most_common()),
    )


def failures(path: AnyPath) -> Iterator[tuple[str, str]]:
    """Yield path and reason of each video that could not be decoded.

    Args:
        path: Path or URL of the index file.

    Raises:
        DatasetError: If the file is missing, cannot be read, or is not an index.
        ImportError: If a URL needs a package that is not installed.
    """
    with local_file(path_or_url(path)) as file:
        full = _names_of(file, os.fspath(path)).full
        for batch in _batches(file, os.fspath(path), ["path", "error"]):
            failed = batch.filter(batch.column("error").is_valid())
            yield from zip(
                map(full, failed.column("path").to_pylist()), failed.column("error").to_pylist(), strict=True
            )


def check_index(
    path: AnyPath,
    media: Sequence[Media] | None = None,
    *,
    root: AnyPath | None = None,
    moved: Sequence[Moved] = (),
) -> IndexCheck:
    """Compare an index with its videos. Nothing is decoded.

    Args:
        path: Path or URL of the index file.
        media: Videos that should be in the index; None to check only the rows.
        root: Folder or URL that contains the videos now; None for the root in the file.
        moved: Folders or URLs of videos when they were measured, and their current ones.

    Raises:
        DatasetError: If the file is missing, cannot be read, or is not an index.
        ImportError: If a URL needs a package that is not installed.
        ValueError: If ``moved`` does not consist of pairs.
    """
    find = MediaFinder()
    found: dict[_State, list[str]] = {"current": [], "missing": [], "changed": [], "failed": []}
    current = 0
    with local_file(path_or_url(path)) as file, ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
        names = _names_of(file, os.fspath(path), root, moved)
        given = {stored: each for each in media or () for stored in names.candidates(each.path)}
        seen: set[str] = set()
        for batch in _batches(file, os.fspath(path), ["path", "size", "mtime_ns", "head", "error"]):
            rows = batch.to_pylist()
            media_now = [given.get(row["path"]) or find(names.current(row["path"])) for row in rows]
            seen |= given.keys() & {row["path"] for row in rows}
            for row, state in zip(rows, pool.map(_state, rows, media_now), strict=True):
                if state == "current":
                    current += 1
                else:
                    found[state].append(names.current(row["path"]))
    kinds = {state: Names.of(videos) for state, videos in found.items() if state != "current"}
    unseen = {index_name(each.path) for each in media or () if seen.isdisjoint(names.candidates(each.path))}
    without_row = None if media is None else Names.of(unseen)
    wrong = sum(videos.count for videos in kinds.values())
    return IndexCheck(
        path=os.fspath(path),
        videos=current + wrong,
        current=current,
        missing=kinds["missing"],
        changed=kinds["changed"],
        failed=kinds["failed"],
        not_in_index=without_row,
        complete=wrong == 0 and not (without_row and without_row.count),
    )


def _state(row: dict[str, Any], media: Media | None) -> _State:
    if media is None:
        return "missing"
    try:
        if row["size"] is None:
            # It could not be read when it was measured. If it can be read now, it has changed.
            media.fingerprint()
            return "changed"
        if not media.unchanged(Fingerprint(row["size"], row["mtime_ns"], row["head"])):
            return "changed"
    except VideoDecodeError:
        return "missing"
    return "current" if row["error"] is None else "failed"


def _names_of(file: Path, index: str, root: AnyPath | None = None, moved: Sequence[Moved] = ()) -> VideoNames:
    """Return the names of an index that was opened by a path or URL and is read from a local file."""
    with open_parquet(file, index) as parquet:
        return VideoNames.of_file(parquet.schema_arrow.metadata, index, root=root, moved=moved)


def _batches(file: Path, name: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
    with open_parquet(file, name) as parquet:
        yield from read_batches(parquet, columns=columns, batch_size=_BATCH_ROWS)


def _durations(batch: pa.RecordBatch) -> NDArray[np.float64]:
    """Return the duration of each video in seconds, float64; 0 if unknown.

    It is computed from the frames' times, with the average frame duration for the last frame; without times, from the
    frame rate.
    """
    frames, rates, numerators, denominators = (
        batch.column(name).to_numpy(zero_copy_only=False) for name in ("num_frames", "rate", *_CLOCK)
    )
    seconds: NDArray[np.float64] = np.divide(frames, rates, out=np.zeros(len(frames)), where=rates > 0)
    offsets, times = batch.column("times").offsets.to_numpy(), batch.column("times").values.to_numpy()
    first, last = offsets[:-1], offsets[1:] - 1
    timed = np.flatnonzero(last > first)
    ticks = times[last[timed]] - times[first[timed]]
    seconds[timed] = ticks * (numerators / denominators)[timed] * (frames / (frames - 1.0))[timed]
    return seconds
