"""Estimating the space that a pack needs, by encoding the beginnings of a few videos."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import TypeVar

import av
import av.error

from mgdali.errors import VideoDecodeError
from mgdali.packing.encode import encode_video
from mgdali.packing.encoding import Encoding
from mgdali.video.media import Media, frames_stream
from mgdali.video.opening import open_video
from mgdali.video.remote import is_url
from mgdali.video.time_range import TimeRange
from mgdali.workers.pool import start_pool

__all__ = ["Beginning", "RatioConfig", "RatioJob", "RatioLoader", "estimate_bytes"]

_VIDEOS = 8
_PACKETS = 48
_SIZES = 512
_DURATION = Fraction(1, 25)
_DEFAULT_RATE = 25.0

_T = TypeVar("_T")


@dataclass(frozen=True)
class RatioJob:
    """One video whose beginning is encoded.

    Attributes:
        media: The video.
        encoding: Settings of the copy.
    """

    media: Media
    encoding: Encoding

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        return self.media.path


@dataclass(frozen=True)
class Beginning:
    """Result of encoding the first frames of a video.

    Attributes:
        ratio: Size of the copy relative to these frames in the original.
        frame_bytes: Size of the copy per frame, in bytes.
        rate: Average number of frames per second of the original.
    """

    ratio: float
    frame_bytes: float
    rate: float


@dataclass(frozen=True)
class RatioConfig:
    """Configuration of workers that encode beginnings. It is empty: each job contains all settings."""

    def make_loader(self) -> RatioLoader:
        """Return the object that encodes beginnings in a worker."""
        return RatioLoader()


class RatioLoader:
    """Encodes the beginning of one video per job."""

    def load(self, job: RatioJob, allocate: Callable[..., object]) -> Beginning:
        """Encode the first frames of a video."""
        try:
            content, original, rate = _beginning(job.media)
            with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
                file.write(content)
                file.flush()
                copy = encode_video(Media(file.name), job.encoding, ())
            size = len(copy.content)
            return Beginning(size / original, size / copy.record.num_frames, rate)
        except (ValueError, ZeroDivisionError, OSError, av.error.FFmpegError) as error:
            raise VideoDecodeError(job.path, 0, str(error)) from error


def estimate_bytes(
    media: Sequence[Media],
    encoding: Encoding,
    time_ranges: Sequence[TimeRange | None] = (),
    *,
    num_workers: int,
    timeout: float = 0.0,
    packed: Sequence[tuple[int, int]] = (),
) -> int | None:
    """Return the estimated size of the copies of videos, in bytes; None if no video could be tried.

    The ratio of copies to originals is applied to the sizes of all whole files. It is that of the files that are packed
    already. If none is, the first frames of up to 8 files, which are spread evenly, are encoded. For segments of files,
    such frames give the bytes per frame, which are applied to the lengths of the segments.

    Args:
        media: The files of the videos, ``[N]``.
        encoding: How they are encoded.
        time_ranges: The part of each file that is the video, ``[N]``; empty if all videos are whole files.
        num_workers: Largest number of worker processes, because a video may end its process; 0 for none.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit.
        packed: Sizes of whole files and of their copies that are packed already, in bytes.

    Raises:
        WorkerError: If workers cannot be started.
    """
    parts = list(time_ranges) or [None] * len(media)
    whole = [each for each, part in zip(media, parts, strict=True) if part is None]
    files = [each for each, part in zip(media, parts, strict=True) if part is not None]
    segments = [part for part in parts if part is not None]

    def tried(media: Sequence[Media]) -> list[tuple[int, Beginning]]:
        sized = [(size, each) for each in _spread(media, _VIDEOS) if (size := _size(each)) is not None]
        found = _beginnings([RatioJob(each, encoding) for _, each in sized], num_workers, timeout)
        return [(size, each) for (size, _), each in zip(sized, found, strict=True) if size and each is not None]

    estimates = [_bytes_of_files(whole, packed, tried)] if whole else []
    if segments:
        estimates.append(_bytes_of_segments(segments, [each for _, each in tried(files)]))
    known = [each for each in estimates if each is not None]
    return round(sum(known)) if known else None


def _bytes_of_files(
    media: Sequence[Media],
    packed: Sequence[tuple[int, int]],
    tried: Callable[[Sequence[Media]], list[tuple[int, Beginning]]],
) -> float | None:
    sizes = [size for each in _spread(media, _SIZES) if (size := _size(each)) is not None]
    known: list[tuple[int, float]] = [(original, copy) for original, copy in packed if original]
    if not known:
        known = [(size, size * beginning.ratio) for size, beginning in tried(media)]
    if not (sizes and known):
        return None
    originals, copies = sum(original for original, _ in known), sum(copy for _, copy in known)
    return sum(sizes) / len(sizes) * len(media) * copies / originals


def _bytes_of_segments(segments: Sequence[TimeRange], tried: Sequence[Beginning]) -> float | None:
    if not tried:
        return None
    rate = sum(each.rate for each in tried) / len(tried)
    lengths = [
        (part.end - part.start) * (rate if part.unit == "seconds" else 1)
        for part in segments
        # The length of a segment up to the end of its file is not known without opening it.
        if part.end is not None
    ]
    if not lengths:
        return None
    frame_bytes = sum(each.frame_bytes for each in tried) / len(tried)
    return sum(lengths) / len(lengths) * len(segments) * frame_bytes


def _beginnings(jobs: Sequence[RatioJob], num_workers: int, timeout: float) -> list[Beginning | None]:
    """Return the result of each job; None if its video could not be tried."""
    if not jobs:
        return []
    workers = min(num_workers, len(jobs))
    pool = start_pool(RatioConfig(), workers, len(jobs), timeout=timeout)
    found: dict[int, Beginning | None] = {}
    try:
        for slot, job in enumerate(jobs):
            pool.submit(slot, job)
        while len(found) < len(jobs):
            for slot, outcome in pool.receive():
                found[slot] = outcome if isinstance(outcome, Beginning) else None
    finally:
        pool.close()
    return [found[slot] for slot in range(len(jobs))]


def _beginning(media: Media) -> tuple[bytes, int, float]:
    """Return the first frames of a video as a Matroska file, their size in bytes in the original, and its rate."""
    files = media.frame_files()
    if files is not None:
        size = sum(map(os.path.getsize, files[:_PACKETS]))
        return frames_stream(files[:_PACKETS], media.path), size, _DEFAULT_RATE
    target, size, count = BytesIO(), 0, 0
    with open_video(media) as (source, stream), av.open(target, "w", format="matroska") as container:
        rate = float(stream.average_rate or _DEFAULT_RATE)
        out = container.add_stream_from_template(stream, opaque=True)
        for packet in source.demux(stream):
            if not packet.size:
                continue
            size += packet.size
            packet.stream = out
            # Some containers, such as AVI, have no times. Frames are counted in the order of decoding.
            packet.time_base = _DURATION
            packet.pts = packet.dts = count
            container.mux(packet)
            count += 1
            if count == _PACKETS:
                break
    return target.getvalue(), size, rate


def _size(media: Media) -> int | None:
    """Return the size of a video in bytes; None if it cannot be read."""
    try:
        if media.span is not None:
            return media.span[1]
        if is_url(media.path) or not os.path.isfile(media.path):
            return None if os.path.exists(media.path) and not os.path.isdir(media.path) else media.fingerprint().size
        return os.path.getsize(media.path)
    except (VideoDecodeError, OSError):
        return None


def _spread(values: Sequence[_T], count: int) -> list[_T]:
    """Return up to ``count`` values, spread evenly."""
    if len(values) <= count:
        return list(values)
    return [values[i * len(values) // count] for i in range(count)]
