"""Batches of clips in the order of an epoch.

The source keeps as many videos in progress as there are slots. Which worker loads which video, and which one is
finished first, changes nothing in the batches.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import TransformError, VideoDecodeError
from mgdali.gpu.decoder_memory import session_cache_bytes
from mgdali.loading.batch import Arrays, Part, arrange_clips, arrange_encoded, single_clips
from mgdali.loading.order import WHOLE, Share
from mgdali.loading.sample import Held, Sample, draw_choices
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.tally import NOT_INDEXED, Tally
from mgdali.samplers import needs_times
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipResult
from mgdali.workers.encoded_job import GRAPH_FAILED, EncodedResult, Result
from mgdali.workers.protocols import Outcome, Pool

__all__ = ["ClipSource", "Index"]

# Measured time per pixel of a decoded video: 1.3e-9 s (1080p) and 3.8e-9 s (256x256). An estimate is enough to decide
# which video to begin first.
_SECONDS_PER_PIXEL = 2e-9


class Index(Protocol):
    """Records of videos that were measured before."""

    def find(self, path: str) -> VideoRecord | None:
        """Return the record of a video, or None if it has none."""
        ...


class ClipSource:
    """The batches of a loader: a callable that returns the next part of a batch, or raises StopIteration.

    StopIteration ends an epoch. It also ends it at a batch with a video that cannot be decoded; :attr:`error` is then
    the reason. All batches before that one come out of the graph first.

    Args:
        dataset: The videos.
        pool: The workers, with ``settings.slots`` slots.
        settings: Settings of the loader.
        tally: Counters to update.
        index: Records of videos that were measured before; None for no index.
        on_record: Called with each record that a worker makes (``settings.make_records``). Without it, videos without
            a valid record in the index are noted in ``tally``.

    Attributes:
        error: Reason the epoch ended early, or None.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        pool: Pool,
        settings: LoaderSettings,
        tally: Tally,
        *,
        index: Index | None = None,
        on_record: Callable[[VideoRecord], None] | None = None,
    ) -> None:
        self._dataset = dataset
        self._pool = pool
        self._settings = settings
        self._order = settings.order
        self._tally = tally
        self._index = index
        self._on_record = on_record
        self._free = deque(range(settings.slots))
        self._under_way: dict[int, Sample] = {}
        self._ahead: deque[Sample] = deque()
        self._held: deque[Held] = deque()
        # Number of videos that the graphs were given to decode, by the number of bytes of a frame.
        self._decoded: Counter[int] = Counter()
        # Files that are being measured, with the samples of other segments that wait for the record.
        self._waiting: dict[str, list[Sample]] = {}
        self._todo: NDArray[np.int64] = np.empty(0, np.int64)
        self._occurrences = self._todo
        self._submitted = 0
        # CPU time that each video took when it was last loaded; 0 if unknown. It takes 4 bytes per video.
        self._seconds = np.zeros(len(dataset), np.float32)
        self._epoch = 0
        self._share = WHOLE
        self._missing = 0
        # Path and height and width of the first clip that the user's function has returned.
        self._first_clip: tuple[str, tuple[int, int]] | None = None
        self.error: Exception | None = None

    def path(self, index: int) -> str:
        """Return the path of the video at an index of the data set."""
        return self._dataset[index].path

    def start(self, epoch: int, share: Share, taken: int = 0) -> None:
        """Begin an epoch. The graph must have finished all batches that it was given.

        Args:
            epoch: The epoch.
            share: This process's share of the videos.
            taken: Number of videos of the epoch that all ranks together have loaded before.
        """
        self.stop()
        while self._held:
            self._release(self._held.popleft().samples)
        self._epoch = epoch
        self._share = share
        most = self._order.num_batches(epoch, share, taken) * self._order.batch_size
        self._todo = self._order.indices(epoch, share, taken)[:most]
        self._occurrences = self._order.occurrences(epoch, share, taken)[:most]
        self._submitted = 0
        self._fill()

    def stop(self) -> None:
        """Return no further batch. The results of videos that are in progress are dropped."""
        self.error = None
        self._missing = 0
        self._todo = self._todo[:0]
        waiting = {sample for samples in self._waiting.values() for sample in samples}
        for samples in self._waiting.values():
            samples.clear()
        for sample in self._ahead:
            sample.abandoned = True
            if sample.done or sample in waiting:
                self._release([sample])
            else:
                self._pool.cancel(sample.slot)
        self._ahead.clear()

    def __call__(self) -> Part:
        while len(self._held) >= self._settings.held_batches:
            self._release(self._held.popleft().samples)
        self._fill()
        if self._missing == 0:
            self._missing = min(self._order.batch_size, len(self._ahead) + len(self._todo) - self._submitted)
        if self._missing <= 0:
            raise StopIteration
        samples = self._next_samples()
        error = next((sample.error for sample in samples if sample.error), None) or self._size_error(samples)
        if error is not None:
            self.stop()
            self.error = error
            raise StopIteration
        for _ in samples:
            self._ahead.popleft()
        self._missing -= len(samples)
        part = self._arranged(samples, last=self._missing == 0)
        self._held.append(Held(samples, part))
        return part

    def decode_again(self, part: Part, reason: str, deadline: float) -> Part:
        """Let PyAV decode the videos of a part that the graph should have decoded, after the graph has failed on it.

        The new files and clips use the slots of the old ones. Threads of the failed graph may still read these: they
        then read other bytes, which can do no more harm than a broken file. The memory stays mapped as long as the
        failed graph refers to its arrays.

        PyAV decodes the videos of the part from then on, also in later epochs. If PyAV finds one broken, it is the
        one at fault, and the others go to the graph again.

        Args:
            part: A part that was returned and that the graphs have not given back.
            reason: The graph's error, for the warning.
            deadline: Time on the monotonic clock at which to stop waiting, in seconds.

        Returns:
            The part with finished clips in place of files.

        Raises:
            VideoDecodeError: If a video cannot be decoded and is not replaced.
            WorkerError: If a worker ended or failed.
            TimeoutError: If the videos were not decoded by the deadline.
        """
        self._tally.note_graph_failure(part.paths, reason)
        held = next(held for held in self._held if held.part is part)
        again = {sample: sample.index for sample in held.samples if isinstance(sample.result, EncodedResult)}
        for sample in again:
            self._pool.release(sample.slot)
            sample.result = None
            sample.on_gpu = False
            self._submit(sample)
        while missing := sum(not sample.done for sample in again):
            if time.monotonic() > deadline:
                raise TimeoutError
            self._receive(missing)
        for sample in again:
            if sample.error is not None:
                raise sample.error
        broken = [index for sample, index in again.items() if sample.index != index or _damaged(sample.result)]
        self._tally.failed_on_gpu.update(dict.fromkeys(broken or again.values(), GRAPH_FAILED))
        for sample in self._ahead:
            self._redo_if_failed(sample)
        held.part = self._arranged(held.samples, last=part.last)
        return held.part

    def _redo_if_failed(self, sample: Sample) -> None:
        """Submit a finished sample again if it is a file on which a graph has failed in the meantime."""
        if isinstance(sample.result, EncodedResult) and not sample.abandoned and not self._may_use_gpu(sample):
            sample.result = None
            self._pool.release(sample.slot)
            self._submit(sample)

    def _arranged(self, samples: list[Sample], *, last: bool) -> Part:
        """Return a part of a batch from its finished samples."""
        videos = [sample.video for sample in samples]
        results = [sample.result for sample in samples if sample.result is not None]
        memory = [self._pool.memory(sample.slot, result.shape) for sample, result in zip(samples, results, strict=True)]
        files = [result for result in results if isinstance(result, EncodedResult)]
        self._decoded.update(result.frame_bytes for result in files)
        return Part(
            self._arrange(samples, videos, results, memory),
            [video.path for video in videos],
            last,
            indices=[sample.index for sample in samples],
            gpu_bytes=sum(result.gpu_bytes for result in files),
            gpu_limit=self._gpu_room(self._decoded),
            work=[sample.work(packed=self._dataset.pack is not None) for sample in samples],
        )

    def _arrange(
        self, samples: list[Sample], videos: list[Video], results: list[Result], memory: list[NDArray[np.uint8]]
    ) -> Arrays:
        """Return the graph's inputs for finished samples."""
        label = self._settings.label
        seeds = [[view.seed for view in sample.views or ()] or [sample.seed] for sample in samples]
        if any(sample.views is not None for sample in samples):
            videos, results, memory = single_clips(videos, results, memory)
        if not self._settings.decodes_in_graph:
            return arrange_clips(videos, results, memory, label=label)
        transform = None
        if self._settings.function is not None:
            transform = [(seed, sample.index) for sample, own in zip(samples, seeds, strict=True) for seed in own]
        return arrange_encoded(videos, results, memory, label=label, transform=transform)

    def _next_samples(self) -> list[Sample]:
        """Return the next samples of the current batch, as many as fit into the GPU's memory beside other parts."""
        needed, decoded = 0, Counter(self._decoded)
        parts = self._settings.graphs * self._settings.queue_depth
        samples: list[Sample] = []
        while len(samples) < self._missing:
            sample = self._await(len(samples))
            if isinstance(sample.result, EncodedResult):
                needed += sample.result.gpu_bytes
                decoded[sample.result.frame_bytes] += 1
                if samples and needed * parts > self._gpu_room(decoded):
                    break
            samples.append(sample)
        return samples

    def _size_error(self, samples: list[Sample]) -> TransformError | None:
        """Return an error if the user's function returned clips of several sizes, which cannot form a batch."""
        if self._settings.function is None or self._settings.decodes_in_graph:
            return None
        for sample in samples:
            if not isinstance(sample.result, ClipResult):
                continue
            path, (height, width) = sample.video.path, sample.result.shape[-2:]
            if self._first_clip is None:
                self._first_clip = path, (height, width)
            first, size = self._first_clip
            if (height, width) != size:
                return self._settings.function.sizes_differ(path, (height, width), first, size)
        return None

    def _gpu_room(self, decoded: Counter[int]) -> float:
        """Return the number of bytes of the GPU's memory budget that NVDEC's sessions leave, >= 0.

        Args:
            decoded: Number of decoded videos, by the number of bytes of a frame.
        """
        sessions = session_cache_bytes(decoded, self._settings.decoders_at_once)
        return max(0.0, self._settings.gpu_memory_budget - sessions)

    def _fill(self) -> None:
        while self._free and self._submitted < len(self._todo):
            of_the_batch = self._order.batch_size - self._submitted % self._order.batch_size
            end = self._submitted + min(of_the_batch, len(self._free))
            indices = self._todo[self._submitted : end].tolist()
            occurrences = self._occurrences[self._submitted : end].tolist()
            new = [self._sample(*video) for video in zip(indices, occurrences, strict=True)]
            self._submitted += len(new)
            self._ahead.extend(new)
            # A batch is complete when its last video is: the videos that take longest are begun first.
            for sample in sorted(new, key=self._expected_seconds, reverse=True):
                self._submit(sample)

    def _sample(self, index: int, occurrence: int) -> Sample:
        others = self._order.replacements(self._epoch, index, self._share, occurrence)
        sample = Sample(self._free.popleft(), others, occurrence)
        self._assign(sample, index)
        return sample

    def _assign(self, sample: Sample, index: int) -> None:
        """Let a video fill a sample."""
        sample.index = index
        sample.video = self._dataset[index]
        sample.record = sample.part = None
        if self._index is None:
            return
        path, time_range = sample.video.path, sample.video.time_range
        record = self._index.find(path)
        if record is None:
            if self._on_record is None:
                self._tally.note_unindexed(path, NOT_INDEXED)
            return
        if time_range is not None and record.error is None:
            sample.part = time_range.frames(record)
        sample.record = record if needs_times(self._settings.sampler) else record.without_times()

    def _expected_seconds(self, sample: Sample) -> float:
        """Return the time that a sample's video took before, else an estimate from its record, else 0."""
        before = float(self._seconds[sample.index])
        record = sample.record
        if before or record is None:
            return before
        first, end = sample.part or (0, record.num_frames)
        return _SECONDS_PER_PIXEL * (end - first) * record.width * record.height

    def _submit(self, sample: Sample) -> None:
        crash = self._tally.crashed.get(sample.index)
        if crash is not None and self._settings.on_error != "raise":
            self._replace(sample, crash)
            return
        if self._must_wait(sample):
            return
        draw_choices(sample, self._settings, self._epoch)
        self._under_way[sample.slot] = sample
        self._pool.submit(sample.slot, sample.job(on_gpu=self._may_use_gpu(sample)))

    def _must_wait(self, sample: Sample) -> bool:
        """Return whether a sample must wait because its file is being measured for the index, for another segment.

        Otherwise each segment of a long file that is not in the index would measure the whole file again.
        """
        path = sample.video.path
        if self._on_record is None or not self._dataset.has_segments or sample.record is not None:
            return False
        if path in self._waiting:
            self._waiting[path].append(sample)
            return True
        self._waiting[path] = []
        sample.measures = path
        return False

    def _go_on(self, file: str) -> None:
        """Submit the segments of a file that have waited for its record."""
        for sample in self._waiting.pop(file):
            self._assign(sample, sample.index)
            self._submit(sample)

    def _may_use_gpu(self, sample: Sample) -> bool:
        """Return whether the graph may decode a sample's video."""
        return sample.on_gpu and sample.index not in self._tally.failed_on_gpu

    def _await(self, position: int) -> Sample:
        """Wait until the sample at a position of those ahead is done, and return it."""
        while position >= len(self._ahead) or not self._ahead[position].done:
            # All that the batch still needs, so that this process wakes up once.
            batch = islice(self._ahead, position, self._missing)
            self._receive(max(1, sum(sample.slot in self._under_way for sample in batch)))
            self._fill()
        return self._ahead[position]

    def _receive(self, count: int) -> None:
        """Wait a short time for ``count`` jobs to finish, and store the outcomes of finished jobs."""
        for slot, outcome in self._pool.receive(count):
            self._settle(self._under_way.pop(slot), outcome)

    def _settle(self, sample: Sample, outcome: Outcome) -> None:
        """Store the outcome of a sample's job."""
        measured, sample.measures = sample.measures, None
        if isinstance(outcome, ClipResult | EncodedResult):
            sample.result = outcome
            self._note(sample, outcome)
            self._redo_if_failed(sample)
        elif isinstance(outcome, VideoDecodeError) and self._settings.on_error != "raise" and not sample.abandoned:
            self._replace(sample, outcome)
        else:
            sample.error = outcome
        if sample.abandoned:
            self._release([sample])
        if measured is not None:
            self._go_on(measured)

    def _note(self, sample: Sample, result: Result) -> None:
        """Note the facts about a result that are of interest beyond its batch."""
        self._tally.frames_decoded += result.frames_decoded
        self._tally.job_seconds += result.wall_seconds
        if result.unindexed is not None and self._on_record is None:
            self._tally.note_unindexed(sample.video.path, result.unindexed)
        if sample.video.time_range is not None:
            self._tally.note_long_way(sample.video.path, result.num_frames, result.frames_decoded)
        if isinstance(result, ClipResult):
            self._seconds[sample.index] = result.seconds
            if result.not_on_gpu is not None:
                self._tally.by_pyav.setdefault(sample.video.path, result.not_on_gpu)
            if result.damage is not None:
                self._tally.note_damaged(result.damage)
            if result.record is not None and self._on_record is not None:
                self._on_record(result.record)

    def _replace(self, sample: Sample, error: VideoDecodeError) -> None:
        """Replace a video that failed by the next candidate. Without a candidate, the error is kept."""
        self._tally.note_replaced(sample.index, error)
        other = next(sample.others, None)
        if other is None:
            advice = "No other video of this rank can be decoded either: check the data set's paths and files."
            sample.error = VideoDecodeError(error.path, error.frame, error.reason, advice)
        else:
            sample.replaced = True
            self._assign(sample, other)
            self._submit(sample)

    def _release(self, samples: list[Sample]) -> None:
        for sample in samples:
            self._pool.release(sample.slot)
            self._free.append(sample.slot)


def _damaged(result: Result | None) -> bool:
    """Return whether a clip is made of the frames before a damage."""
    return isinstance(result, ClipResult) and result.damage is not None
