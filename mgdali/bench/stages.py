"""CPU time of the stages of a worker's job on the CPU route.

In a worker process, a video goes through one stage after another. Each call starts with another stage. The complete
work of a loader's worker is one of the stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from mgdali.bench.figures import in_turn
from mgdali.bench.peers.floor import count_frames
from mgdali.choices import draw
from mgdali.errors import VideoDecodeError
from mgdali.samplers import Representation, Sampler
from mgdali.transforms import SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET, known_picks
from mgdali.video.frames import read_frames
from mgdali.video.media import Media
from mgdali.video.meters import make_meter
from mgdali.video.opening import open_video
from mgdali.video.picked_frames import read_picked
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipConfig, ClipJob, ClipLoader
from mgdali.workers.pool import WorkerPool

__all__ = ["DECODED", "DECODED_NEEDED", "FROM_INDEX", "MEASURED", "STAGES", "WHOLE", "StagesWorker", "VideoStages"]

DECODED = "the same, opened as the loader does"
"""Decoding every frame of a video."""
MEASURED = "and keep the frames, measure motion"
"""Decoding every frame, keeping the frames and measuring motion."""
WHOLE = "all of its work, without an index"
"""The complete job of a worker without an index."""
DECODED_NEEDED = "decode the frames needed for the picks"
"""Decoding the frames that the picks need. They are known from the index."""
FROM_INDEX = "all of its work, with an index"
"""The complete job of a worker with an index."""
STAGES = ("decode every frame", DECODED, MEASURED, WHOLE, DECODED_NEEDED, FROM_INDEX)
"""Names of the stages. The first decodes as :mod:`mgdali.bench.peers.floor` does."""


@dataclass(frozen=True)
class VideoStages:
    """CPU time of the stages of one video.

    Attributes:
        seconds: CPU time by stage.
        decoded_indexed: Number of frames that were decoded with an index.
        picked: Number of different frames that were picked.
    """

    seconds: dict[str, float]
    decoded_indexed: int
    picked: int


@dataclass(frozen=True)
class _Config:
    """Settings of the worker process."""

    sampler: Sampler
    transform: SpatialTransform

    def make_loader(self) -> _Loader:
        return _Loader(self)


class _Loader:
    """The worker's side: runs all stages for a video."""

    def __init__(self, config: _Config) -> None:
        self._sampler = config.sampler
        clips = ClipConfig(sampler=config.sampler, transform=config.transform, memory_budget=MEMORY_BUDGET)
        self._loader = ClipLoader(clips)
        self._calls = 0

    def load(self, job: ClipJob, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> VideoStages:
        made: dict[str, Any] = {}

        def make(stage: str, its_job: ClipJob) -> None:
            made[stage] = self._loader.load(its_job, allocate)

        work: tuple[Callable[[], object], ...] = (
            lambda: count_frames(job.path),
            lambda: _decode_opened(job.media),
            lambda: _measure(job.media, self._sampler.representation),
            lambda: make(WHOLE, ClipJob(job.media, job.choices)),
            lambda: _decode_needed(self._sampler, job),
            lambda: make(FROM_INDEX, job),
        )
        stages = dict(zip(STAGES, work, strict=True))
        self._calls += 1
        seconds = {name: _seconds(stages[name]) for name in in_turn(STAGES, self._calls)}
        return VideoStages(
            {name: seconds[name] for name in STAGES},
            decoded_indexed=made[FROM_INDEX].frames_decoded,
            picked=len(np.unique(made[FROM_INDEX].picks)),
        )


class StagesWorker:
    """A worker process that measures the stages of videos.

    Args:
        sampler: Strategy whose picks are known from a record. It measures motion.
        transform: Spatial transform of the clips.
        timeout: Longest time that a video may take, in seconds; 0 for no limit.
    """

    def __init__(self, sampler: Sampler, transform: SpatialTransform, *, timeout: float = 0.0) -> None:
        self._choices = draw(0, 0, 0, sampler.num_frames, training=False)
        self._pool = WorkerPool(1, 1, _Config(sampler, transform), timeout=timeout)

    def measure(self, path: str, record: VideoRecord) -> VideoStages:
        """Run all stages for a video.

        Raises:
            VideoDecodeError: If the video cannot be decoded.
        """
        self._pool.submit(0, ClipJob(Media(path), self._choices, record))
        while not (done := self._pool.receive()):
            pass
        ((_, outcome),) = done
        if not isinstance(outcome, VideoStages):
            raise outcome if isinstance(outcome, VideoDecodeError) else VideoDecodeError(path, 0, str(outcome))
        return outcome

    def close(self) -> None:
        """End the process."""
        self._pool.close()

    def __enter__(self) -> StagesWorker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _seconds(stage: Callable[[], object]) -> float:
    begun = time.thread_time()
    stage()
    return time.thread_time() - begun


def _decode_opened(media: Media) -> None:
    with open_video(media) as (container, stream):
        for _ in container.decode(stream):
            pass


def _measure(media: Media, representation: Representation | None) -> list[av.VideoFrame]:
    assert representation is not None
    meter = make_meter(representation)
    kept = []
    for frame in read_frames(media):
        meter.add(frame)
        kept.append(frame)
    return kept


def _decode_needed(sampler: Sampler, job: ClipJob) -> None:
    picks = known_picks(sampler, job.record, job.choices.offsets)
    assert job.record is not None
    assert picks is not None
    for _ in read_picked(job.media, job.record, np.unique(picks).tolist()):
        pass
