"""Batches keep their order, whichever clip is finished first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali import Segment, VideoDataset
from mgdali.loading.order import WHOLE, EpochOrder
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.loading.tally import Tally
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipResult


class RecordingPool:
    """A pool that runs each job when the caller waits for it, and records the jobs."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.submitted: list[str] = []
        self.released: list[int] = []
        self._jobs: dict[int, str] = {}

    def submit(self, slot: int, job: Any) -> None:
        self.submitted.append(job.path)
        self._jobs[slot] = job.path

    def receive(self) -> list[tuple[int, ClipResult]]:
        slot, path = next(iter(self._jobs.items()))
        del self._jobs[slot]
        return [(slot, ClipResult((1, 3, 2, 2), False, np.zeros(1, np.int64), 1, 1, self.seconds[path]))]

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.zeros(shape, np.uint8)

    def cancel(self, slot: int) -> None:
        pass

    def release(self, slot: int) -> None:
        self.released.append(slot)

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


def make_source(paths: list[str], pool: RecordingPool, batch_size: int, index: Any = None) -> ClipSource:
    order = EpochOrder(num_videos=len(paths), batch_size=batch_size)
    settings = LoaderSettings(sampler=Segment(num_frames=1), order=order)
    return ClipSource(VideoDataset(paths, [0] * len(paths)), pool, settings, Tally(), index=index)


def test_the_slowest_videos_of_a_batch_start_first_and_the_order_is_kept() -> None:
    paths = [f"{number}.mp4" for number in range(8)]
    pool = RecordingPool(dict(zip(paths, [1.0, 5.0, 3.0, 2.0, 9.0, 9.0, 4.0, 0.5], strict=True)))
    source = make_source(paths, pool, batch_size=3)
    for epoch, expected in ((0, [0, 1, 2, 3, 4, 5, 6, 7]), (1, [1, 2, 0, 4, 5, 3, 6, 7])):
        pool.submitted.clear()
        source.start(epoch, WHOLE)
        batches = [source().paths for _ in range(3)]
        assert [path for batch in batches for path in batch] == paths
        assert pool.submitted == [f"{number}.mp4" for number in expected]


class Known:
    """An index that knows how many frames of 100x100 pixels some videos have."""

    def __init__(self, frames: dict[str, int]) -> None:
        self.frames = frames

    def find(self, path: str) -> VideoRecord | None:
        count = self.frames.get(path)
        return None if count is None else VideoRecord(path=path, num_frames=count, width=100, height=100)


def test_the_index_predicts_the_slowest_videos_of_the_first_epoch() -> None:
    paths = [f"{number}.mp4" for number in range(6)]
    pool = RecordingPool(dict.fromkeys(paths, 1.0))
    index = Known(dict(zip(paths, [10, 30, 20, 5, 7, 9], strict=True)))
    source = make_source(paths, pool, batch_size=3, index=index)
    source.start(0, WHOLE)
    assert [source().paths for _ in range(2)] == [paths[:3], paths[3:]]
    assert pool.submitted == [f"{number}.mp4" for number in (1, 2, 0, 5, 4, 3)]


def test_the_memory_of_the_last_two_batches_stays_valid() -> None:
    paths = [f"{number}.mp4" for number in range(12)]
    pool = RecordingPool(dict.fromkeys(paths, 1.0))
    source = make_source(paths, pool, batch_size=2)
    source.start(0, WHOLE)
    released = []
    for _ in range(6):
        source()
        released.append(len(pool.released) // 2)
    assert released == [0, 0, 0, 1, 2, 3]
    assert pool.released == list(range(6))
