"""The videos that are evaluated: their labels, and their motion from an index."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.cache import cache_folder
from mgdali.datasets.pack_format import is_pack
from mgdali.datasets.packs import check_representation
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.evaluate.options import EvaluateOptions, Watch
from mgdali.index.build import build_index
from mgdali.index.names import common_root
from mgdali.index.packed_rows import packed_index
from mgdali.index.reader import MotionIndex
from mgdali.packing.sources import labelled_videos
from mgdali.samplers import Motion, Representation
from mgdali.video.measured_part import motion_of_part
from mgdali.video.record import VideoRecord

__all__ = ["MeasuredVideo", "cache_of", "find_videos", "measure_videos"]

_SEED = 0


@dataclass(frozen=True, eq=False)
class MeasuredVideo:
    """A video and its motion.

    Attributes:
        video: The video; its label is a class index.
        group: Value of the column by which folds are made; None without such a column.
        motion: S by level, float64 ``[T]``.
    """

    video: Video
    group: Any
    motion: dict[Motion, NDArray[np.float64]]

    @property
    def num_frames(self) -> int:
        """Number of frames, T."""
        return len(next(iter(self.motion.values())))


def cache_of(options: EvaluateOptions) -> Path:
    """Return the folder for features and indexes, which is made if it does not exist.

    Raises:
        DatasetError: If it cannot be made.
    """
    folder = options.cache if options.cache is not None else cache_folder() / "evaluate"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatasetError(
            f"the cache folder {folder} cannot be made ({error.strerror}): give another one with --cache"
        ) from error
    return folder


def find_videos(options: EvaluateOptions) -> tuple[VideoDataset, int]:
    """Return the labelled videos, a random sample if there are too many, and the number of all videos.

    Raises:
        DatasetError: If the data cannot be read, or its labels are not classes; if a label, or the column by which
            folds are made, is missing.
    """
    data = options.data
    dataset = VideoDataset.from_pack(data) if is_pack(data) else labelled_videos(data)
    if dataset.labels.ndim != 1 or dataset.labels.dtype.kind != "i" or len(dataset.classes) < 2:
        raise DatasetError(
            f"{data} has no classes to tell apart: give videos of at least two classes, such as a folder with one "
            "subfolder per class, or a table with a column 'label'"
        )
    missing = np.flatnonzero(dataset.labels < 0)
    if len(missing):
        raise DatasetError(
            f"{data}: {len(missing)} videos have no label, for example {dataset.paths[int(missing[0])]}: label them, "
            "or remove them"
        )
    if options.fold_column is not None and options.fold_column not in dataset.columns:
        known = f"its columns are {', '.join(dataset.columns)}" if dataset.columns else "it has no further columns"
        raise DatasetError(f"{data} has no column {options.fold_column!r}: {known}")
    found = len(dataset)
    if found > options.max_videos:
        dataset = dataset.subset(sorted(random.Random(_SEED).sample(range(found), options.max_videos)))
    return dataset, found


def measure_videos(
    dataset: VideoDataset, options: EvaluateOptions, num_workers: int, watch: Watch
) -> tuple[list[MeasuredVideo], dict[str, str]]:
    """Return the videos whose motion is known, and for each other path the reason that it is not.

    Without an index in the options, one is built in the cache. It keeps what it has measured, so an interrupted build
    is resumed.

    Raises:
        DatasetError: If the index cannot be read or written, or contains none of the videos.
        WorkerError: If workers cannot be started.
    """
    index = _open_index(dataset, options, num_workers, watch)
    groups = None if options.fold_column is None else dataset.columns[options.fold_column]
    measured: list[MeasuredVideo] = []
    failed: dict[str, str] = {}
    for i, video in enumerate(dataset):
        try:
            motion = _motion(video, index.find(video.path), options.levels)
        except VideoDecodeError as error:
            failed[video.path] = error.reason
            continue
        measured.append(MeasuredVideo(video, None if groups is None else groups[i], motion))
    if not measured:
        path, reason = next(iter(failed.items()))
        what = "can be decoded" if options.index is None else f"is in the index {options.index}"
        remedy = "" if options.index is None else f"; mgdali index build --motion {options.motion} adds them"
        raise DatasetError(
            f"none of {len(failed)} videos of {options.data} {what}, for example {path}: {reason}{remedy}"
        )
    return measured, failed


def _open_index(dataset: VideoDataset, options: EvaluateOptions, num_workers: int, watch: Watch) -> MotionIndex:
    wanted = [Representation(motion=level) for level in options.levels]
    if dataset.pack is not None:
        if options.index is not None:
            raise DatasetError(f"{options.data} is a packed data set, which has its own index: leave out --index")
        try:
            for each in wanted:
                check_representation(dataset.pack, each)
        except DatasetError as error:
            raise DatasetError(f"{error}. Here, --motion image or --motion feature chooses one level") from error
        return packed_index(dataset.pack)
    if options.index is not None:
        return MotionIndex(options.index)
    path = _index_path(dataset, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    done = todo = 0

    def start(count: int, kept: int) -> None:
        nonlocal todo
        todo = count
        watch("Measuring motion", 0, todo)

    def count(record: VideoRecord) -> None:
        nonlocal done
        done += 1
        watch("Measuring motion", done, todo)

    build_index(
        dataset,
        path,
        representations=wanted,
        num_workers=num_workers,
        retry_failed=True,
        on_start=start,
        on_record=count,
    )
    return MotionIndex(path)


def _index_path(dataset: VideoDataset, options: EvaluateOptions) -> Path:
    # One index per folder of videos, so that another choice of videos or classes finds what was measured before.
    root = os.fspath(common_root(dataset.paths) or "")
    return cache_of(options) / "indexes" / f"{hashlib.blake2b(os.fsencode(root), digest_size=8).hexdigest()}.parquet"


def _motion(video: Video, record: VideoRecord | None, levels: Sequence[Motion]) -> dict[Motion, NDArray[np.float64]]:
    """Return S of a video or segment by level.

    Raises:
        VideoDecodeError: If the record is missing or not sufficient.
    """

    def failure(reason: str) -> VideoDecodeError:
        return VideoDecodeError(video.path, 0, reason)

    if record is None:
        raise failure("the index does not contain it")
    if record.error is not None or record.fingerprint is None:
        raise failure(record.error or "it could not be decoded when it was measured")
    if not video.media.unchanged(record.fingerprint):
        raise failure("it has changed since it was measured")
    part = (0, record.num_frames) if video.time_range is None else video.time_range.frames(record)
    if part is None:
        raise failure("the index does not contain the times of its frames")
    if video.time_range is not None:
        video.time_range.check_frames(part, video.path)
    found = {}
    for level in levels:
        whole = record.motion_of(Representation(motion=level))
        if whole is None:
            raise failure(f"the index does not contain its motion at the {level} level")
        found[level] = motion_of_part(whole, *part)
    return found
