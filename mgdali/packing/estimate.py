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
from mgdali.workers.pool import start_pool

__all__ = ["RatioConfig", "RatioJob", "RatioLoader", "estimate_bytes"]

_VIDEOS = 8
_PACKETS = 48
_SIZES = 512
_DURATION = Fraction(1, 25)

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
class RatioConfig:
    """Configuration of workers that encode beginnings. It is empty: each job contains all settings."""

    def make_loader(self) -> RatioLoader:
        """Return the object that encodes beginnings in a worker."""
        return RatioLoader()


class RatioLoader:
    """Encodes the beginning of one video per job."""

    def load(self, job: RatioJob, allocate: Callable[..., object]) -> float:
        """Return the size of a copy of the first frames relative to these frames in the original."""
        try:
            content, original = _beginning(job.media)
            with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
                file.write(content)
                file.flush()
                return len(encode_video(Media(file.name), job.encoding, ()).content) / original
        except (ValueError, ZeroDivisionError, OSError, av.error.FFmpegError) as error:
            raise VideoDecodeError(job.path, 0, str(error)) from error


def estimate_bytes(
    media: Sequence[Media],
    encoding: Encoding,
    *,
    num_workers: int,
    timeout: float = 0.0,
    packed: Sequence[tuple[int, int]] = (),
) -> int | None:
    """Return the estimated size of the copies of videos, in bytes; None if no video could be tried.

    The ratio of copies to originals is applied to the sizes of all videos. It is that of the videos that are packed
    already. If no video is, the first frames of up to 8 videos, which are spread evenly, are encoded.

    Args:
        media: The videos.
        encoding: How they are encoded.
        num_workers: Largest number of worker processes, because a video may end its process; 0 for none.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit.
        packed: Sizes of originals and of their copies that are packed already, in bytes.

    Raises:
        WorkerError: If workers cannot be started.
    """
    sizes = [size for each in _spread(media, _SIZES) if (size := _size(each)) is not None]
    known: list[tuple[int, float]] = [(original, copy) for original, copy in packed if original]
    if not known:
        tried = [(size, each) for each in _spread(media, _VIDEOS) if (size := _size(each)) is not None]
        ratios = _ratios([RatioJob(each, encoding) for _, each in tried], num_workers, timeout)
        known = [(size, size * ratio) for (size, _), ratio in zip(tried, ratios, strict=True) if size and ratio]
    if not (sizes and known):
        return None
    originals, copies = sum(original for original, _ in known), sum(copy for _, copy in known)
    return round(sum(sizes) / len(sizes) * len(media) * copies / originals)


def _ratios(jobs: Sequence[RatioJob], num_workers: int, timeout: float) -> list[float | None]:
    """Return the ratio of each job; None if its video could not be tried."""
    if not jobs:
        return []
    workers = min(num_workers, len(jobs))
    pool = start_pool(RatioConfig(), workers, len(jobs), timeout=timeout)
    ratios: dict[int, float | None] = {}
    try:
        for slot, job in enumerate(jobs):
            pool.submit(slot, job)
        while len(ratios) < len(jobs):
            for slot, outcome in pool.receive():
                ratios[slot] = outcome if isinstance(outcome, float) else None
    finally:
        pool.close()
    return [ratios[slot] for slot in range(len(jobs))]


def _beginning(media: Media) -> tuple[bytes, int]:
    """Return the first frames of a video as a Matroska file, and their size in the original, in bytes."""
    files = media.frame_files()
    if files is not None:
        return frames_stream(files[:_PACKETS], media.path), sum(map(os.path.getsize, files[:_PACKETS]))
    target, size, count = BytesIO(), 0, 0
    with open_video(media) as (source, stream), av.open(target, "w", format="matroska") as container:
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
    return target.getvalue(), size


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
