"""Batches keep their order, whichever clip is finished first."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mgdali import Segment, VideoDataset
from mgdali.gpu.driver import DecoderCaps
from mgdali.loading.order import WHOLE, EpochOrder
from mgdali.loading.route import Route
from mgdali.loading.settings import LoaderSettings
from mgdali.loading.source import ClipSource
from mgdali.loading.tally import Tally
from mgdali.transforms import Window
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipResult
from mgdali.workers.encoded_job import GRAPH_FAILED, EncodedResult

ONE_ENGINE = Route(torch.device("cpu"), {"h264": DecoderCaps("h264", "4:2:0", 8, 1, 48, 16, 4096, 4096, 65536)})


class RecordingPool:
    """A pool that runs each job when the caller waits for it, and records the jobs."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.submitted: list[str] = []
        self.released: list[int] = []
        self.waits: list[int] = []
        self._jobs: dict[int, str] = {}

    def submit(self, slot: int, job: Any) -> None:
        self.submitted.append(job.path)
        self._jobs[slot] = job.path

    def receive(self, count: int = 1) -> list[tuple[int, ClipResult]]:
        self.waits.append(count)
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


def test_the_source_waits_for_all_that_a_batch_still_needs() -> None:
    paths = [f"{number}.mp4" for number in range(7)]
    pool = RecordingPool(dict.fromkeys(paths, 1.0))
    source = make_source(paths, pool, batch_size=4)
    source.start(0, WHOLE)
    assert [len(source().paths) for _ in range(2)] == [4, 3]
    assert pool.waits == [4, 3, 2, 1, 3, 2, 1]


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


class EncodedPool(RecordingPool):
    """A pool whose results are files for the graph, or clips for videos that the graph must not decode."""

    def __init__(self) -> None:
        super().__init__({})
        self.jobs: list[tuple[str, bool]] = []
        self._on_gpu: dict[int, bool] = {}

    def submit(self, slot: int, job: Any) -> None:
        super().submit(slot, job)
        self.jobs.append((job.path, job.on_gpu))
        self._on_gpu[slot] = job.on_gpu

    def receive(self, count: int = 1) -> list[tuple[int, Any]]:
        slot = next(iter(self._jobs))
        del self._jobs[slot]
        if not self._on_gpu[slot]:
            clip = ClipResult((1, 3, 2, 2), False, np.zeros(1, np.int64), 1, 1, 0.0, not_on_gpu=GRAPH_FAILED)
            return [(slot, clip)]
        # Ten frames of 20x50 pixels.
        frame_bytes = 3 * 20 * 50
        file = EncodedResult(
            shape=(5,),
            window=Window(0, 0, 2, 2),
            flip=False,
            offsets=np.zeros(1),
            num_frames=10,
            frames_decoded=10,
            frame_bytes=frame_bytes,
            visible=(0, 0, 20, 50),
            colours=np.zeros(9, np.float32),
        )
        return [(slot, file)]


def make_encoded_source(count: int, pool: EncodedPool, tally: Tally | None = None, **settings: Any) -> ClipSource:
    paths = [f"{number}.mp4" for number in range(count)]
    given = LoaderSettings(sampler=Segment(num_frames=1), route=ONE_ENGINE, decoder_threads=3, **settings)
    return ClipSource(VideoDataset(paths, [0] * count), pool, given, Tally() if tally is None else tally)


def test_a_part_is_what_fits_beside_another_one_with_buffers_and_sessions() -> None:
    order = EpochOrder(num_videos=12, batch_size=6)
    source = make_encoded_source(12, EncodedPool(), order=order, gpu_memory_budget=600_000, num_graphs=1)
    source.start(0, WHOLE)
    parts = [source() for _ in range(4)]
    # A video takes 10 frames, 8 in its decoder and one pick, 57,000 bytes; the sessions of three decoders take 99,000.
    # Two parts of 4 videos fit: 456,000 of 501,000 bytes. Two parts of 5 would need 570,000.
    assert [len(part.paths) for part in parts] == [4, 2, 4, 2]
    assert [part.last for part in parts] == [False, True, False, True]
    assert [part.gpu_bytes for part in parts] == [228_000, 114_000, 228_000, 114_000]
    assert [part.gpu_limit for part in parts] == [501_000] * 4


def test_more_graphs_leave_less_memory_for_each_part() -> None:
    order = EpochOrder(num_videos=6, batch_size=6)
    source = make_encoded_source(6, EncodedPool(), order=order, gpu_memory_budget=600_000, num_graphs=2)
    source.start(0, WHOLE)
    # There are four parts in the graphs at a time, and up to six sessions of 33,000 bytes, one more with each video.
    # Two videos need 456,000 of 534,000 bytes at first, then of 468,000, and no longer fit into 402,000.
    assert [len(source().paths) for _ in range(4)] == [2, 2, 1, 1]


def test_a_part_on_which_the_graph_failed_is_decoded_again_in_its_slots() -> None:
    pool, tally = EncodedPool(), Tally()
    source = make_encoded_source(6, pool, tally, order=EpochOrder(num_videos=6, batch_size=2))
    source.start(0, WHOLE)
    failed, other = source(), source()
    pool.jobs.clear()
    # A video that is prepared ahead turns out to be one that PyAV has to decode.
    tally.failed_on_gpu[5] = GRAPH_FAILED
    assert len(source().paths) == 2
    with pytest.warns(RuntimeWarning, match=r"0\.mp4, 1\.mp4\. The error: no reason"):
        again = source.decode_again(failed, "no reason", time.monotonic() + 60)
    assert pool.jobs == [("5.mp4", False), ("0.mp4", False), ("1.mp4", False)]
    assert (again.paths, again.last, again.gpu_bytes) == (failed.paths, True, 0)
    assert pool.released == [5, 0, 1]
    assert tally.failed_on_gpu == dict.fromkeys([0, 1, 5], GRAPH_FAILED)
    assert set(tally.by_pyav) == {"0.mp4", "1.mp4", "5.mp4"}
    assert tally.graph_failures == 1
    assert [clip.route for clip in failed.work] == ["NVDEC, whole video"] * 2
    assert [(clip.route, clip.not_on_gpu) for clip in again.work] == [("PyAV, whole video", GRAPH_FAILED)] * 2
    assert other.gpu_bytes == 2 * 57_000
    # The next epoch begins with these videos.
    pool.jobs.clear()
    source.start(1, WHOLE)
    assert [on_gpu for _, on_gpu in sorted(pool.jobs)] == [False, False, True, True, True, False]


def test_decoding_again_ends_at_the_deadline() -> None:
    source = make_encoded_source(2, EncodedPool(), order=EpochOrder(num_videos=2, batch_size=2))
    source.start(0, WHOLE)
    failed = source()
    with pytest.warns(RuntimeWarning, match="failed on one"), pytest.raises(TimeoutError):
        source.decode_again(failed, "no reason", time.monotonic() - 1)
