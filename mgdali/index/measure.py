"""Measuring one video for the index: S of each representation and the stream's facts, in one pass over it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from mgdali.errors import VideoDecodeError
from mgdali.samplers import Representation
from mgdali.video.frames import read_frames
from mgdali.video.media import Fingerprint, Media
from mgdali.video.meters import make_meter
from mgdali.video.packets import StreamLog
from mgdali.video.record import VideoRecord

__all__ = ["MeasureConfig", "MeasureJob", "MeasureLoader", "failed_record", "measure_video"]


def measure_video(media: Media, name: str, representations: tuple[Representation, ...]) -> VideoRecord:
    """What an index keeps of a video; where it cannot be decoded, why.

    Args:
        media: the video.
        name: its name in the index.
        representations: how S is to be measured.
    """
    fingerprint: Fingerprint | None = None
    log = StreamLog()
    meters = [make_meter(representation) for representation in representations]
    try:
        # Before its content: a file that is written to meanwhile will not look unchanged.
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
    """One video to measure, its name in the index, and how S is to be measured."""

    media: Media
    name: str
    representations: tuple[Representation, ...]

    @property
    def path(self) -> str:
        """The video, for messages."""
        return self.media.path


@dataclass(frozen=True)
class MeasureConfig:
    """What worker processes need to know to measure videos: nothing beside their jobs."""

    def make_loader(self) -> MeasureLoader:
        """What a worker does its jobs with."""
        return MeasureLoader()


class MeasureLoader:
    """Measures videos, one after another."""

    def load(self, job: MeasureJob, allocate: Callable[..., object]) -> VideoRecord:
        """Measure a video; a record is small, so nothing is allocated for it."""
        return measure_video(job.media, job.name, job.representations)


def failed_record(job: MeasureJob, reason: str) -> VideoRecord:
    """The record of a video at which a worker failed."""
    fingerprint = None
    with contextlib.suppress(VideoDecodeError):
        fingerprint = job.media.fingerprint()
    return VideoRecord.from_error(job.name, fingerprint, VideoDecodeError(job.path, 0, reason))
