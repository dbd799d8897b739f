"""Videos with little motion, from the S in an index."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from mgdali.errors import DatasetError, check_integer
from mgdali.index.names import AnyPath, VideoNames, path_or_url
from mgdali.index.remote_index import local_file
from mgdali.index.schema import read_batches
from mgdali.index.writer import open_parquet

__all__ = ["StillVideo", "mean_motion", "motion_of_rows", "still_videos"]

_COLUMNS = ("path", "width", "height", "motion_image")


@dataclass(frozen=True)
class StillVideo:
    """Motion of one video. The attributes are also the keys of its JSON.

    Attributes:
        path: Absolute path or URL of the video.
        motion: Mean of S at the image level per frame and pixel, without frame 0, whose S is 0 in every video: how much
            a pixel's luma changes from one frame to the next, in 8-bit units, in [0, 255].
        unchanged: Share of frames with S = 0, without frame 0, in [0, 1]. They equal the frame before.
        num_frames: Number of frames.
    """

    path: str
    motion: float
    unchanged: float
    num_frames: int


def still_videos(path: AnyPath, count: int) -> list[StillVideo]:
    """Return the videos with the least motion, the stillest first. At most a few thousand rows are in memory at a time.

    Videos that could not be decoded, have a single frame, or were not measured at the image level are left out.

    Args:
        path: Path or URL of the index file.
        count: Largest number of videos.

    Raises:
        DatasetError: If the file is missing, cannot be read, or is not an index, or if it contains no S at the image
            level.
        ImportError: If a URL needs a package that is not installed.
        ValueError: If ``count`` is not an integer >= 1.
    """
    check_integer("count", count, least=1)
    with local_file(path_or_url(path)) as file:
        found = heapq.nsmallest(count, _measured(file, os.fspath(path)), key=lambda video: (video.motion, video.path))
    if not found:
        raise DatasetError(
            f"the index {os.fspath(path)} contains no S at the image level: run `mgdali index build DATA --out "
            f"{os.fspath(path)} --motion image`"
        )
    return found


def _measured(file: Path, name: str) -> Iterator[StillVideo]:
    with open_parquet(file, name) as parquet:
        names = VideoNames.of_file(parquet.schema_arrow.metadata, name)
        for batch in read_batches(parquet, columns=_COLUMNS):
            yield from _of_batch(batch, names)


def _of_batch(batch: pa.RecordBatch, names: VideoNames) -> Iterator[StillVideo]:
    motion, unchanged = motion_of_rows(batch)
    measured = np.flatnonzero(~np.isnan(motion))
    lengths = np.diff(batch.column("motion_image").offsets.to_numpy())
    paths = batch.column("path").take(pa.array(measured)).to_pylist()
    columns = (values[measured].tolist() for values in (motion, unchanged, lengths))
    for path, mean, share, length in zip(paths, *columns, strict=True):
        yield StillVideo(path=names.full(path), motion=mean, unchanged=share, num_frames=length)


def motion_of_rows(batch: pa.RecordBatch) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the motion of the videos in rows of an index, as :func:`mean_motion` does.

    Args:
        batch: The rows, with the columns ``width``, ``height`` and ``motion_image``.
    """
    motion = batch.column("motion_image")
    offsets = motion.offsets.to_numpy()
    # The entries of a null count for nothing, whatever its offsets are.
    ends = np.where(motion.is_valid().to_numpy(zero_copy_only=False), offsets[1:], offsets[:-1])
    width, height = (batch.column(name).fill_null(0).to_numpy().astype(np.float64) for name in ("width", "height"))
    return mean_motion(motion.values.to_numpy(), offsets[:-1], ends, width * height)


def mean_motion(
    values: NDArray[np.floating[Any]], starts: ArrayLike, ends: ArrayLike, pixels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the motion of several videos, as in :attr:`StillVideo.motion` and :attr:`StillVideo.unchanged`.

    Args:
        values: S at the image level of all videos, one after another.
        starts, ends: First entry in ``values`` of each video and the entry after its last one, ``[N]``, not decreasing.
        pixels: Number of pixels of a frame of each video, ``[N]``.

    Returns:
        Mean of S per frame and pixel, and share of frames with S = 0, both without frame 0, float64 ``[N]``. Both are
        NaN for a video with less than two frames.
    """
    first, last, area = np.asarray(starts, np.int64) + 1, np.asarray(ends, np.int64), np.asarray(pixels, np.float64)
    motion, unchanged = np.full((2, len(first)), np.nan)
    moving = np.flatnonzero(last > first)
    if len(moving):
        begin, count = first[moving[0]], (last - first)[moving]
        values = values[begin : last[moving[-1]]]
        # Every second sum is that of a video. The others are of the entries between two videos.
        bounds = np.stack([first[moving], last[moving]], axis=1).ravel()[:-1] - begin
        motion[moving] = np.add.reduceat(values, bounds, dtype=np.float64)[::2] / count / area[moving]
        unchanged[moving] = np.add.reduceat(values == 0, bounds, dtype=np.int64)[::2] / count
    return motion, unchanged
