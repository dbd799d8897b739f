"""Speed of a loader: clips per second, shares of time, and how the clips were decoded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mgdali.loading.order import WHOLE, Share
from mgdali.loading.tally import Tally

__all__ = ["BUSY", "WAITING", "ClipWork", "EpochMeter", "LoaderStats", "SlowVideo", "route_name"]

logger = logging.getLogger("mgdali")

WAITING = 0.1
"""Share of the time spent waiting for batches below which training counts as the limit."""

BUSY = 0.7
"""Share of the workers' time from which on they count as the limit, if training waits."""

_PYAV, _NVDEC = "PyAV", "NVDEC"
_WHOLE, _INDEX, _PACK = "whole video", "index", "pack"
_SLOWEST = 5
# Reasons may contain numbers of a video. So many different ones are counted separately.
_MOST_REASONS = 20
_OTHER_REASONS = "other reasons"


def route_name(*, on_gpu: bool, indexed: bool, packed: bool) -> str:
    """Return the name of a clip's route in :attr:`LoaderStats.by_route`.

    Args:
        on_gpu: Whether the GPU decodes it.
        indexed: Whether its picks were known before it was decoded, from the video's record.
        packed: Whether this record is that of a packed data set.
    """
    known = (_PACK if packed else _INDEX) if indexed else _WHOLE
    return f"{_NVDEC if on_gpu else _PYAV}, {known}"


class ClipWork(NamedTuple):
    """How one clip was made.

    Attributes:
        path: Path of its video.
        route: Name of its route (:func:`route_name`).
        not_on_gpu: Reason the GPU did not decode it, in a loader whose GPU decodes; otherwise None.
        frames: Number of frames that the decoder returned.
        seconds: Time that its job took, in seconds.
        replaced: Whether it replaces another video of the batch.
    """

    path: str
    route: str
    not_on_gpu: str | None
    frames: int
    seconds: float
    replaced: bool


@dataclass(frozen=True)
class SlowVideo:
    """A video and the time that it took in a worker, in seconds."""

    path: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LoaderStats:
    """Numbers of one epoch on this rank, from the first request for a batch to the last one that was answered.

    ``print(stats)`` shows them with a sentence about what limits the speed (:attr:`limit`), and
    ``dataclasses.asdict(stats)`` can be written as JSON.

    Attributes:
        epoch: The epoch; None if no epoch has begun.
        rank, world_size: This process's share of the videos.
        num_workers: Number of decoding processes; 0 if this process decodes.
        batches, clips: Number of batches and clips that were yielded. Those of an epoch that was resumed in the middle
            count from there.
        seconds: Time from the first request for a batch to the return of the last one, in seconds. In the first epoch
            it contains the start of the workers. After the epoch's end it contains the training step of its last batch.
        clips_per_second: ``clips / seconds``.
        waiting: Share of ``seconds`` that the program waited for batches, in [0, 1].
        workers_busy: Share of the workers' time that they spent on videos, in [0, 1]; without workers, the share of
            ``seconds`` that this process spent on them. Videos that cannot be decoded do not count.
        frames_decoded: Number of frames that decoders returned for the clips.
        by_route: Number of clips by decoder (``PyAV`` or ``NVDEC``) and by what told the picks: ``whole video``
            (everything was decoded), ``index`` or ``pack``, as in ``{"PyAV, index": 40, "PyAV, whole video": 2}``.
        pyav_reasons: In a loader whose GPU decodes, number of clips that PyAV decoded, by reason.
        replaced: Number of clips that replace videos that cannot be decoded.
        slowest: The five videos that took longest in a worker, the slowest first. If the GPU decodes a video, the time
            is that of reading it.
    """

    epoch: int | None = None
    rank: int = 0
    world_size: int = 1
    num_workers: int = 0
    batches: int = 0
    clips: int = 0
    seconds: float = 0.0
    clips_per_second: float = 0.0
    waiting: float = 0.0
    workers_busy: float = 0.0
    frames_decoded: int = 0
    by_route: dict[str, int] = field(default_factory=dict)
    pyav_reasons: dict[str, int] = field(default_factory=dict)
    replaced: int = 0
    slowest: tuple[SlowVideo, ...] = ()

    @property
    def limit(self) -> str:
        """A sentence about what limits the speed.

        If the program waits for less than :data:`WAITING` of the time, it is training. Otherwise it is this process if
        it decodes itself, or the workers if they are busy for at least :data:`BUSY` of their time, or else another
        thing: the GPU's decoder, the start of the workers, or few videos that take long.
        """
        if not self.clips:
            return "No batch was yielded yet."
        if self.waiting < WAITING:
            return "Training is the limit: batches are ready before they are requested."
        if self.num_workers == 0:
            return (
                "This process decodes, and training waits for it: with num_workers=1 or more, both happen at the "
                "same time."
            )
        if self.workers_busy >= BUSY:
            whole = any(route.endswith(_WHOLE) for route in self.by_route)
            return f"The workers are the limit: use more workers{', an index or a pack' if whole else ''}."
        if any(route.startswith(_NVDEC) for route in self.by_route):
            return "The GPU's decoder is probably the limit, because the workers are idle part of the time."
        return (
            "Neither training nor the workers are the limit: the start of the workers, a few slow videos or copying "
            "batches takes the time; a larger prefetch_factor may help."
        )

    @property
    def line(self) -> str:
        """The most important numbers in one line."""
        workers = f"workers busy {_percent(self.workers_busy)}" if self.num_workers else "decoded in this process"
        return (
            f"{self._name}: {self.clips:,} clips in {self.seconds:.1f} s ({self.clips_per_second:.1f} clips/s), "
            f"waited {_percent(self.waiting)} of the time, {workers}, {self.frames_decoded:,} frames decoded"
            + (f", {self.replaced:,} clips replaced" if self.replaced else "")
        )

    def __str__(self) -> str:
        if not self.clips:
            return self.limit if self.epoch is None else f"{self._name}: {self.limit}"
        lines = [self.line, self.limit, f"decoded by: {_counts(self.by_route)}"]
        if self.pyav_reasons:
            lines.append(f"not on the GPU: {_counts(self.pyav_reasons)}")
        lines.append("slowest videos:")
        lines += [f"  {video.seconds:.3f} s  {video.path}" for video in self.slowest]
        return "\n  ".join(lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show the same text in notebooks, where the line of a dataclass is hard to read."""
        printer.text(repr(self) if cycle else str(self))

    @property
    def _name(self) -> str:
        rank = f" (rank {self.rank} of {self.world_size})" if self.world_size > 1 else ""
        return f"epoch {self.epoch}{rank}"


class EpochMeter:
    """Counts what a loader does in its current epoch.

    All methods are called in the thread that requests batches, a few times per batch.

    Args:
        tally: The loader's counters, which have the time that jobs took (:attr:`Tally.job_seconds`).
        clock: Returns the time in seconds.
    """

    def __init__(self, tally: Tally, clock: Callable[[], float] = time.perf_counter) -> None:
        self._tally = tally
        self._clock = clock
        self._epoch: int | None = None
        self._share = WHOLE
        self._num_workers = 0
        self._reset()

    def begin(self, epoch: int, share: Share, num_workers: int) -> None:
        """Begin an epoch, whose first batch was requested now."""
        self._epoch, self._share, self._num_workers = epoch, share, num_workers
        self._reset()
        self._first = True
        self._began = self._requested = self._answered = self._clock()

    def request(self) -> None:
        """Note the request for a batch, or for the end of the epoch."""
        # The first request is older: it began the epoch.
        if not self._first:
            self._requested = self._clock()
        self._first = False

    def count(self, work: Iterable[ClipWork]) -> None:
        """Count the batch that was requested, which is returned now."""
        self._batches += 1
        for path, route, not_on_gpu, frames, seconds, replaced in work:
            self._clips += 1
            self._frames += frames
            self._routes[route] = self._routes.get(route, 0) + 1
            self._replaced += replaced
            if not_on_gpu is not None:
                self._count_reason(not_on_gpu)
            if seconds > self._fifth:
                self._note_slow(path, seconds)
        self._answer()

    def end(self) -> None:
        """Note that the epoch has no further batch, and log its numbers in one line."""
        self._answer()
        if self._clips:
            logger.info("%s", self.stats().line)

    def stats(self) -> LoaderStats:
        """Return the numbers of the running epoch, or of the last one if none is running."""
        seconds = self._answered - self._began
        workers = max(self._num_workers, 1)
        slowest = sorted(self._slow.items(), key=lambda item: item[1], reverse=True)
        return LoaderStats(
            epoch=self._epoch,
            rank=self._share.rank,
            world_size=self._share.world_size,
            num_workers=self._num_workers,
            batches=self._batches,
            clips=self._clips,
            seconds=seconds,
            clips_per_second=self._clips / seconds if seconds else 0.0,
            waiting=_share(self._waited, seconds),
            workers_busy=_share(self._job_seconds - self._job_seconds_before, seconds * workers),
            frames_decoded=self._frames,
            by_route=dict(self._routes),
            pyav_reasons=dict(self._reasons),
            replaced=self._replaced,
            slowest=tuple(SlowVideo(path, time) for path, time in slowest),
        )

    def _reset(self) -> None:
        self._first = False
        self._began = self._requested = self._answered = 0.0
        self._waited = 0.0
        self._job_seconds = self._job_seconds_before = self._tally.job_seconds
        self._batches = self._clips = self._frames = self._replaced = 0
        self._routes: dict[str, int] = {}
        self._reasons: dict[str, int] = {}
        self._slow: dict[str, float] = {}
        # The time that a video must exceed to be one of the slowest.
        self._fifth = 0.0

    def _answer(self) -> None:
        """Note that a request is answered now."""
        self._answered = self._clock()
        self._waited += self._answered - self._requested
        self._job_seconds = self._tally.job_seconds

    def _count_reason(self, reason: str) -> None:
        if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
            reason = _OTHER_REASONS
        self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def _note_slow(self, path: str, seconds: float) -> None:
        """Make a video one of the slowest. Several segments of one file count as one video."""
        self._slow[path] = max(seconds, self._slow.get(path, 0.0))
        if len(self._slow) > _SLOWEST:
            del self._slow[min(self._slow, key=self._slow.__getitem__)]
        if len(self._slow) == _SLOWEST:
            self._fifth = min(self._slow.values())


def _share(part: float, whole: float) -> float:
    # Workers may have begun a job before the epoch.
    return min(1.0, part / whole) if whole > 0 else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _counts(numbers: dict[str, int]) -> str:
    return "; ".join(f"{name}: {number:,}" for name, number in sorted(numbers.items(), key=lambda item: -item[1]))
