"""The videos that are measured: a sample, as files that every loader can open, with an index."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mgdali.datasets.named_videos import videos_named
from mgdali.datasets.pack_format import is_pack
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.index.build import build_index
from mgdali.index.reader import MotionIndex
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord
from mgdali.video.remote import is_url

__all__ = ["SEED", "Sample", "Watch", "choose", "prepare"]

SEED = 0
"""Seed of the random sample."""
_BLOCK = 1 << 20

T = TypeVar("T")
R = TypeVar("R")

Watch = Callable[[str, int, int], None]
"""Function that is called with what is being done, the number of finished steps and of all steps."""


@dataclass
class Sample:
    """Videos that can be decoded, as local files or folders of JPEG files.

    Attributes:
        found: Number of videos that the user's argument names.
        paths: Paths of the videos.
        places: Place of each video among all that were found.
        records: Row of each video in the index.
        failed: Reason for each video that cannot be decoded, by its path. No loader loads it.
        copied: Number of videos that were copied to files, because they are members of a tar or at a URL.
        index: Path of the index.
        index_seconds: Duration of building it.
        index_seconds_a_video: The same per video, without the start of the processes.
        first_read, again: Bytes per second of reading the videos for the first and for the second time, each by
            several threads.
        total_bytes: Size of the videos.
        pack: Folder of the packed data set that the argument names; None if it is something else.
    """

    found: int
    index: Path
    pack: str | None = None
    paths: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    records: list[VideoRecord] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    copied: int = 0
    index_seconds: float = 0.0
    index_seconds_a_video: float = 0.0
    first_read: float = 0.0
    again: float = 0.0
    total_bytes: int = 0


def choose(data: str, max_videos: int) -> tuple[list[Media], list[int]]:
    """Return all videos that an argument names, and the places of a random sample of them in random order.

    Args:
        data: As for :func:`mgdali.datasets.named_videos.videos_named`.
        max_videos: Largest number of videos of the sample, >= 1.

    Raises:
        DatasetError: If the argument names no videos.
    """
    media = videos_named(data)
    return media, random.Random(SEED).sample(range(len(media)), min(max_videos, len(media)))


def prepare(
    data: str,
    folder: Path,
    *,
    max_videos: int,
    num_workers: int,
    seconds: float,
    limit: float,
    watch: Watch = lambda text, done, total: None,
) -> Sample:
    """Read the videos of a sample, copy them to files if needed, and build their index.

    Videos are read, and then measured, until about ``seconds`` have passed each time. The sample consists of the videos
    that were measured, so that decoding all of them takes about as long.

    Args:
        data: As for :func:`choose`.
        folder: Existing empty folder for copies and for the index.
        max_videos: Largest number of videos of the sample.
        num_workers: Number of measuring processes and of reading threads.
        seconds: Time after which no more videos are read or measured.
        limit: Longest time for measuring a video, in seconds. One that takes longer counts as failed.
        watch: Function that is told the progress.

    Raises:
        DatasetError: If the argument names no videos, or none of the sample can be decoded.
        WorkerError: If workers cannot be started.
    """
    media, places = choose(data, max_videos)
    sample = Sample(len(media), folder / "index.parquet", data if is_pack(data) else None)
    (folder / "videos").mkdir()
    read: list[_Local] = []
    started, passed = time.perf_counter(), 0.0
    while len(read) < len(places) and passed < seconds:
        watch("Reading the videos", len(read), len(places))
        part = places[len(read) : len(read) + num_workers]
        read += _in_threads(lambda place: _localized(media[place], place, folder / "videos"), part, num_workers)
        passed = time.perf_counter() - started
    sample.first_read = sum(each.size for each in read) / max(passed, 1e-9)
    sample.failed |= {each.name: each.error for each in read if each.error is not None}
    readable = {each.path: each for each in read if each.error is None}
    if readable:
        build = _Build(sample.index, num_workers, seconds, limit, watch)
        failed = build.run(list(readable))
        sample.index_seconds, sample.index_seconds_a_video = build.seconds, build.seconds_a_video
        sample.failed |= {readable[path].name: reason for path, reason in failed.items()}
        _take(sample, [readable[path] for path in build.measured if path not in failed])
    if not sample.paths:
        path, reason = next(iter(sample.failed.items()))
        raise DatasetError(f"none of {len(read)} videos of {data} can be decoded, for example {path}: {reason}")
    started = time.perf_counter()
    again = sum(_in_threads(lambda path: _read(Media(path)), sample.paths, num_workers))
    sample.again = again / max(time.perf_counter() - started, 1e-9)
    return sample


class _Enough(Exception):
    """Raised to end a build of an index early."""


class _Build:
    """A build of an index that ends some seconds after its first video.

    Args:
        index: Path of the index.
        num_workers: Number of measuring processes.
        limit_seconds: Time after the first video when the build ends.
        limit: Longest time for a video, in seconds.
        watch: Function that is told the progress.

    Attributes:
        measured: Paths of the videos that were measured or failed, as in the index.
        seconds: Duration, with the start of the processes.
    """

    def __init__(self, index: Path, num_workers: int, limit_seconds: float, limit: float, watch: Watch) -> None:
        self._index, self._num_workers, self._limit_seconds = index, num_workers, limit_seconds
        self._limit, self._watch = limit, watch
        self._count, self._first, self._last = 0, 0.0, 0.0
        self._failed: dict[str, str] = {}
        self.measured: list[str] = []
        self.seconds = 0.0

    @property
    def seconds_a_video(self) -> float:
        """Duration per video, without the start of the processes if there are several videos."""
        many = len(self.measured) > self._num_workers
        return (self._last - self._first) / (len(self.measured) - 1) if many else self.seconds / len(self.measured)

    def run(self, paths: Sequence[str]) -> dict[str, str]:
        """Build the index of videos, and return the videos that cannot be decoded: path to reason."""
        self._count = len(paths)
        started = time.perf_counter()
        try:
            report = build_index(
                paths, self._index, num_workers=self._num_workers, timeout=self._limit, on_record=self._note
            )
            self.measured = list(paths)
        except _Enough:
            # The measured videos are kept in the journal of the index. This writes them without measuring others.
            report = build_index(self.measured, self._index, num_workers=0)
        self.seconds = time.perf_counter() - started
        return self._failed | report.failed

    def _note(self, record: VideoRecord) -> None:
        self._last = time.perf_counter()
        self._first = self._first or self._last
        self.measured.append(record.path)
        if record.error is not None:
            self._failed[record.path] = record.error
        self._watch("Measuring the videos", len(self.measured), self._count)
        # At least one video per process, and one that can be decoded.
        enough = len(self.measured) >= self._num_workers and len(self.measured) > len(self._failed)
        if enough and self._last - self._first > self._limit_seconds:
            raise _Enough


@dataclass(frozen=True)
class _Local:
    """A video that was read: its name and place in the user's data, its local path, its size, and the error if any."""

    name: str
    place: int
    path: str = ""
    size: int = 0
    error: str | None = None


def _take(sample: Sample, measured: Sequence[_Local]) -> None:
    """Add the videos that have a valid row in the index."""
    index = MotionIndex(sample.index)
    for each in measured:
        record = index.find(each.path)
        if record is None or record.error is not None:
            sample.failed[each.name] = "has no valid row in the index" if record is None else str(record.error)
            continue
        sample.paths.append(each.path)
        sample.places.append(each.place)
        sample.records.append(record)
        sample.total_bytes += each.size
        sample.copied += each.path != os.path.abspath(each.name)


def _localized(media: Media, place: int, folder: Path) -> _Local:
    """Read a video, and copy it to a file in a folder if loaders cannot open it by its path."""
    try:
        if media.span is None and not is_url(media.path):
            return _Local(media.path, place, os.path.abspath(media.path), _read(media))
        content = media.read()
        path = folder / f"{place}{Path(media.path).suffix}"
        path.write_bytes(content)
        return _Local(media.path, place, str(path), len(content))
    except VideoDecodeError as error:
        return _Local(media.path, place, error=error.reason)
    except OSError as error:
        return _Local(media.path, place, error=str(error))


def _read(media: Media) -> int:
    """Read a video and return its size in bytes."""
    files = media.frame_files()
    size = 0
    for path in [media.path] if files is None else files:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                size += len(block)
    return size


def _in_threads(function: Callable[[T], R], items: Sequence[T], num_workers: int) -> list[R]:
    with ThreadPoolExecutor(num_workers) as pool:
        return list(pool.map(function, items))
