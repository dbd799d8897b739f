"""Measuring one video for the index: S of each representation and the stream's properties, in one pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from mgdali.errors import VideoDecodeError, VideoTimeoutError
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.media import Fingerprint, Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord

__all__ = ["MeasureConfig", "MeasureJob", "MeasureLoader", "failed_record", "measure_video"]


def measure_video(media: Media, name: str, representations: tuple[Representation, ...]) -> VideoRecord:
    """Decode a video once and return its index record.

    Args:
        media: The video.
        name: Name of the video in the index.
        representations: Representations for which S is measured.

    Returns:
        The record; if the video cannot be decoded, a record with the reason.
    """
    fingerprint: Fingerprint | None = None
    log = StreamLog()
    meters = [make_meter(representation) for representation in representations]
    try:
        # Taken before the content is read. So a file that is written to during the measurement counts as changed.
        fingerprint = media.fingerprint()
        for frame in read_frames(media, log=log):
            for meter in meters:
                meter.add(frame)
    except VideoDecodeError as error:
        return VideoRecord.from_error(name, fingerprint, error)
    motions = [meter.motion for meter in meters]
    return VideoRecord.from_log(name, fingerprint, log, list(zip(representations, motions, strict=True)))


@dataclass(frozen=True)
class MeasureJob:
    """One video to measure.

    Attributes:
        media: The video.
        name: Name of the video in the index.
        representations: Representations for which S is measured.
    """

    media: Media
    name: str
    representations: tuple[Representation, ...]

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        return self.media.path


@dataclass(frozen=True)
class MeasureConfig:
    """Configuration of workers that measure videos. It is empty: each job contains all settings."""

    def make_loader(self) -> MeasureLoader:
        """Return the object that measures videos in a worker."""
        return MeasureLoader()


class MeasureLoader:
    """Measures one video per job."""

    def load(self, job: MeasureJob, allocate: Callable[..., object]) -> VideoRecord:
        """Measure a video. A record is small and is not stored in shared memory, so ``allocate`` is not called."""
        return measure_video(job.media, job.name, job.representations)


def failed_record(job: MeasureJob, error: VideoDecodeError) -> VideoRecord:
    """Return the record of a video whose worker failed.

    Args:
        job: The job of the worker.
        error: Error of the worker. After a timeout the record has no fingerprint, because reading the file may never
            end. The next build then measures the video again.
    """
    fingerprint = None
    if not isinstance(error, VideoTimeoutError):
        with contextlib.suppress(VideoDecodeError):
            fingerprint = job.media.fingerprint()
    return VideoRecord.from_error(job.name, fingerprint, error)
