"""Videos with little motion, from the S in an index."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mgdali.errors import DatasetError, check_integer
from mgdali.index.names import AnyPath, VideoNames, path_or_url
from mgdali.index.remote_index import local_file
from mgdali.index.schema import read_batches
from mgdali.index.writer import open_parquet

__all__ = ["StillVideo", "still_videos"]

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
            lengths = pc.fill_null(pc.list_value_length(batch.column("motion_image")), 0)
            yield from _of_batch(batch.filter(pc.greater(lengths, 1)), names)


def _of_batch(batch: pa.RecordBatch, names: VideoNames) -> Iterator[StillVideo]:
    motion = batch.column("motion_image")
    offsets, values = motion.offsets.to_numpy(), motion.values.to_numpy()
    plain = (batch.column(name).to_pylist() for name in ("path", "width", "height"))
    for path, width, height, start, end in zip(*plain, offsets[:-1], offsets[1:], strict=True):
        differences = values[start + 1 : end]
        yield StillVideo(
            path=names.full(path),
            motion=float(differences.mean(dtype=np.float64)) / (width * height),
            unchanged=float((differences == 0).mean()),
            num_frames=len(differences) + 1,
        )
