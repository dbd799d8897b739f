"""Batches in order, whichever video is made into a clip first."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali import VideoDataset
from mgdali.clips import ClipResult
from mgdali.order import EpochOrder
from mgdali.source import HELD_BATCHES, ClipSource, Tally


class RecordingPool:
    """Does each job when it is waited for, and says what it took."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.submitted: list[str] = []
        self._jobs: dict[int, str] = {}

    def submit(self, slot: int, job: Any) -> None:
        self.submitted.append(job.path)
        self._jobs[slot] = job.path

    def receive(self) -> list[tuple[int, ClipResult]]:
        slot, path = next(iter(self._jobs.items()))
        del self._jobs[slot]
        return [(slot, ClipResult((1, 2, 2, 3), False, np.zeros(1, np.int64), 1, 1, self.seconds[path]))]

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.zeros(shape, np.uint8)

    def cancel(self, slot: int) -> None:
        pass

    def release(self, slot: int) -> None:
        pass

    def kill(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_of_each_batch_the_videos_that_took_longest_are_begun_first_and_come_out_in_their_order() -> None:
    paths = [f"{number}.mp4" for number in range(8)]
    pool = RecordingPool(dict(zip(paths, [1.0, 5.0, 3.0, 2.0, 9.0, 9.0, 4.0, 0.5], strict=True)))
    source = ClipSource(
        VideoDataset(paths, [0] * 8),
        EpochOrder(num_videos=8, batch_size=3),
        pool,
        slots=3 * (HELD_BATCHES + 2),
        num_frames=1,
        training=False,
        replace=False,
        tally=Tally(),
    )
    for epoch, expected in ((0, [0, 1, 2, 3, 4, 5, 6, 7]), (1, [1, 2, 0, 4, 5, 3, 6, 7])):
        pool.submitted.clear()
        source.start(epoch, 0)
        batches = [source().paths for _ in range(3)]
        assert [path for batch in batches for path in batch] == paths
        assert pool.submitted == [f"{number}.mp4" for number in expected]
