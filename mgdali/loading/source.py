"""Batches of clips in the epoch's order.

As many videos are under way as there are slots; which worker takes which, and when it is done, changes nothing in the
batches.
"""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import draw
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import VideoDecodeError
from mgdali.loading.order import EpochOrder
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipJob, ClipResult, EncodedResult, Result
from mgdali.workers.protocols import Outcome, Pool

__all__ = [
    "HELD_BATCHES",
    "MADE_HERE",
    "MEASURED",
    "PICKS_KNOWN",
    "Arrays",
    "ClipSource",
    "Index",
    "Part",
    "Tally",
    "arrange_clips",
    "arrange_encoded",
]

HELD_BATCHES = 3
"""Batches whose slots are taken beside those under way: the two that the graph was given last, from which it may still
read, and the next, which is made ahead of being asked for.
"""

MADE_HERE, PICKS_KNOWN, MEASURED = range(3)
"""What a graph that decodes does with a sample: take its clip, decode its picks, or decode all of it and pick."""

# Of a decoded video: 1.3e-9 (1080p) and 3.8e-9 (256x256) where it was measured. For their order a guess will do.
_SECONDS_A_PIXEL = 2e-9

Arrays = tuple[list[NDArray[Any]] | NDArray[Any], ...]
"""A batch for the graph: for each of its inputs one array a clip or, which DALI takes sooner, one of all clips."""


def arrange_clips(videos: list[Video], results: list[Result], memory: list[NDArray[np.uint8]]) -> Arrays:
    """Inputs of a graph that gets clips: pixels, flip, label, picks, number of frames."""
    clips = [result for result in results if isinstance(result, ClipResult)]
    return (
        memory,
        np.array([clip.flip for clip in clips], np.int32),
        np.array([video.label for video in videos], np.int64),
        np.stack([clip.picks for clip in clips]),
        np.array([clip.num_frames for clip in clips], np.int64),
    )


def arrange_encoded(videos: list[Video], results: list[Result], memory: list[NDArray[np.uint8]]) -> Arrays:
    """Inputs of a graph that decodes: file, offsets, kind (:data:`MADE_HERE`, :data:`PICKS_KNOWN` or :data:`MEASURED`),
    pixels, picks, number of frames, crop window, flip, label. Where a sample has no use for an input, any one element
    may stand there.
    """
    files, offsets, kinds, pixels, picks = [], [], [], [], []
    for result, content in zip(results, memory, strict=True):
        here = isinstance(result, ClipResult)
        kinds.append(MADE_HERE if here else MEASURED if result.picks is None else PICKS_KNOWN)
        files.append(np.zeros(1, np.uint8) if here else content)
        pixels.append(content if here else np.zeros((1, 3, 1, 1), np.uint8))
        offsets.append(np.zeros(1) if isinstance(result, ClipResult) else result.offsets)
        picks.append(np.zeros(1, np.int64) if result.picks is None else result.picks)
    return (
        files,
        offsets,
        np.array(kinds, np.int32),
        pixels,
        picks,
        np.array([result.num_frames for result in results], np.int64),
        np.array([_window(result) for result in results], np.float32),
        np.array([result.flip for result in results], np.int32),
        np.array([video.label for video in videos], np.int64),
    )


def _window(result: Result) -> tuple[int, ...]:
    """What of a sample's frames becomes the clip: all of those that were cut out already."""
    return (0, 0, *result.shape[2:4]) if isinstance(result, ClipResult) else result.window


class Index(Protocol):
    """What is known of videos beforehand."""

    def find(self, path: str) -> VideoRecord | None:
        """The record of a video, or None where there is none."""
        ...


class _Sample:
    """One place in a batch: the slot it has, the video that takes it, and what came of decoding that."""

    def __init__(self, slot: int, index: int, record: VideoRecord | None, others: Iterator[int]) -> None:
        self.slot = slot
        self.index = index
        self.record = record
        self.others = others
        self.result: Result | None = None
        self.error: Exception | None = None
        self.abandoned = False

    @property
    def done(self) -> bool:
        return self.result is not None or self.error is not None


@dataclass(frozen=True)
class Part:
    """A batch for the graph, or as much of one as it may decode at a time.

    Attributes:
        arrays: the graph's inputs.
        paths: the clips' videos.
        last: whether the batch is complete with it.
    """

    arrays: Arrays
    paths: list[str]
    last: bool


@dataclass
class _Held:
    """What the graph may still read: its slots, and its arrays, which must live as long."""

    slots: list[int]
    arrays: Arrays | None = None


@dataclass
class Tally:
    """What a loader counts over all of its epochs.

    Attributes:
        bad_videos: the videos that were replaced because they could not be decoded, with why.
        unindexed: the videos that the index was of no use for, with why.
        frames_decoded: frames that decoders put out.
    """

    bad_videos: dict[str, VideoDecodeError] = field(default_factory=dict)
    unindexed: dict[str, str] = field(default_factory=dict)
    frames_decoded: int = 0


class ClipSource:
    """Feeds a graph: a callable that returns the next batch, or raises StopIteration.

    StopIteration ends an epoch, and also a batch that has a video which cannot be decoded; :attr:`error` then holds
    the reason. So all batches before that one come out of the graph first.

    Args:
        dataset: the videos.
        order: this rank's order of them.
        pool: where clips are made.
        tally: where bad videos and decoded frames are noted.
        index: what is known of the videos, or None.
        learn: takes the records that workers make (``ClipConfig.survey``); without it, videos that the index is of no
            use for are noted in ``tally``.
        slots: the pool's slots; at least ``HELD_BATCHES + 1`` batches.
        num_frames: N, picks a clip.
        training: whether the choices are random.
        replace: put another video of this rank in the place of one that cannot be decoded.
        encoded: whether the graph decodes: it gets :func:`arrange_encoded`, otherwise :func:`arrange_clips`.
        decoded_budget: bytes of frames that the graph may decode at a time. A batch that needs more is handed over in
            parts, each at least a video.

    Attributes:
        error: why the epoch ended early, or None.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        order: EpochOrder,
        pool: Pool,
        *,
        slots: int,
        num_frames: int,
        training: bool,
        replace: bool,
        tally: Tally,
        index: Index | None = None,
        learn: Callable[[VideoRecord], None] | None = None,
        encoded: bool = False,
        decoded_budget: float = math.inf,
    ) -> None:
        self._dataset = dataset
        self._order = order
        self._pool = pool
        self._num_frames = num_frames
        self._training = training
        self._replace = replace
        self._tally = tally
        self._index = index
        self._learn = learn
        self._encoded = encoded
        self._decoded_budget = decoded_budget
        self._free = deque(range(slots))
        self._under_way: dict[int, _Sample] = {}
        self._ahead: deque[_Sample] = deque()
        self._held: deque[_Held] = deque()
        self._todo: NDArray[np.int64] = np.empty(0, np.int64)
        self._submitted = 0
        # What each video took when it was last made into a clip, 0 where that is not known: 4 bytes a video.
        self._seconds = np.zeros(len(dataset), np.float32)
        self._epoch = 0
        self._missing = 0
        self.error: Exception | None = None

    def start(self, epoch: int, first_batch: int) -> None:
        """Begin at a batch of an epoch. The graph must have finished with every batch it was given."""
        self.stop()
        while self._held:
            self._release(self._held.popleft().slots)
        self._epoch = epoch
        size = self._order.batch_size
        self._todo = self._order.indices(epoch)[first_batch * size : len(self._order) * size]
        self._submitted = 0
        self._fill()

    def stop(self) -> None:
        """Hand out no further batch; videos under way are finished and forgotten."""
        self.error = None
        self._missing = 0
        self._todo = self._todo[:0]
        for sample in self._ahead:
            sample.abandoned = True
            if sample.done:
                self._release([sample.slot])
            else:
                self._pool.cancel(sample.slot)
        self._ahead.clear()

    def __call__(self) -> Part:
        while len(self._held) >= HELD_BATCHES:
            self._release(self._held.popleft().slots)
        self._fill()
        if self._missing == 0:
            self._missing = min(self._order.batch_size, len(self._ahead) + len(self._todo) - self._submitted)
        if self._missing <= 0:
            raise StopIteration
        part = self._next_part()
        error = next((sample.error for sample in part if sample.error), None)
        if error is not None:
            self.stop()
            self.error = error
            raise StopIteration
        for _ in part:
            self._ahead.popleft()
        self._missing -= len(part)
        held = _Held([sample.slot for sample in part])
        self._held.append(held)
        videos = [self._dataset[sample.index] for sample in part]
        results = [sample.result for sample in part if sample.result is not None]
        memory = [self._pool.memory(sample.slot, result.shape) for sample, result in zip(part, results, strict=True)]
        held.arrays = (arrange_encoded if self._encoded else arrange_clips)(videos, results, memory)
        return Part(held.arrays, [video.path for video in videos], self._missing == 0)

    def _next_part(self) -> list[_Sample]:
        """As much of the current batch as can be decoded at a time."""
        decoded_bytes = 0
        for size in range(1, self._missing + 1):
            part = self._await(size)
            result = part[-1].result
            decoded_bytes += result.decoded_bytes if isinstance(result, EncodedResult) else 0
            if size > 1 and decoded_bytes > self._decoded_budget:
                return part[:-1]
        return part

    def _fill(self) -> None:
        while self._free and self._submitted < len(self._todo):
            of_the_batch = self._order.batch_size - self._submitted % self._order.batch_size
            end = self._submitted + min(of_the_batch, len(self._free))
            new = [self._sample(index) for index in self._todo[self._submitted : end].tolist()]
            self._submitted += len(new)
            self._ahead.extend(new)
            # A batch is there when the last of its videos is: those that take long are begun first.
            for sample in sorted(new, key=self._expected_seconds, reverse=True):
                self._submit(sample)

    def _sample(self, index: int) -> _Sample:
        others = self._order.replacements(self._epoch, index)
        return _Sample(self._free.popleft(), index, self._find(index), others)

    def _find(self, index: int) -> VideoRecord | None:
        """What the index knows of a video."""
        if self._index is None:
            return None
        path = self._dataset[index].path
        record = self._index.find(path)
        if record is None:
            self._note_unindexed(path, "is not in the index")
        return record

    def _expected_seconds(self, sample: _Sample) -> float:
        """What a sample's video took before, else a guess by its frames where the index knows them, else 0."""
        before = float(self._seconds[sample.index])
        record = sample.record
        if before or record is None:
            return before
        return _SECONDS_A_PIXEL * record.num_frames * record.width * record.height

    def _submit(self, sample: _Sample) -> None:
        choices = draw(self._order.seed, self._epoch, sample.index, self._num_frames, training=self._training)
        self._under_way[sample.slot] = sample
        self._pool.submit(sample.slot, ClipJob(self._dataset[sample.index].media, choices, sample.record))

    def _await(self, size: int) -> list[_Sample]:
        """Wait until the next ``size`` samples are done."""
        while True:
            batch = list(islice(self._ahead, size))
            if len(batch) == size and all(sample.done for sample in batch):
                return batch
            for slot, outcome in self._pool.receive():
                self._settle(self._under_way.pop(slot), outcome)
            self._fill()

    def _settle(self, sample: _Sample, outcome: Outcome) -> None:
        """Take in what came of a sample's job."""
        if isinstance(outcome, ClipResult | EncodedResult):
            sample.result = outcome
            if isinstance(outcome, ClipResult):
                self._seconds[sample.index] = outcome.seconds
            self._tally.frames_decoded += outcome.frames_decoded
            if outcome.unindexed is not None:
                self._note_unindexed(self._dataset[sample.index].path, outcome.unindexed)
            if self._learn is not None and isinstance(outcome, ClipResult) and outcome.record is not None:
                self._learn(outcome.record)
        elif isinstance(outcome, VideoDecodeError) and self._replace and not sample.abandoned:
            self._note_bad(outcome)
            self._try_another(sample, outcome)
        else:
            sample.error = outcome
        if sample.abandoned:
            self._release([sample.slot])

    def _try_another(self, sample: _Sample, error: VideoDecodeError) -> None:
        """Put the next video into the place of one that failed; where there is none left, the error stands."""
        other = next(sample.others, None)
        if other is None:
            advice = "No other video of this rank can be decoded either: check the data set's paths and files."
            sample.error = VideoDecodeError(error.path, error.frame, error.reason, advice)
        else:
            sample.index = other
            sample.record = self._find(other)
            self._submit(sample)

    def _note_bad(self, error: VideoDecodeError) -> None:
        if error.path not in self._tally.bad_videos:
            self._tally.bad_videos[error.path] = error
            warnings.warn(f"{error.path} is replaced by another video: {error.reason}", RuntimeWarning, stacklevel=2)

    def _note_unindexed(self, path: str, reason: str) -> None:
        if self._learn is not None or path in self._tally.unindexed:
            return
        self._tally.unindexed[path] = reason
        if len(self._tally.unindexed) == 1:
            message = f"{path} {reason}: it is measured as it loads, as are others of which this is not said again"
            warnings.warn(message, RuntimeWarning, stacklevel=2)

    def _release(self, slots: list[int]) -> None:
        for slot in slots:
            self._pool.release(slot)
        self._free.extend(slots)
