"""Pools of workers: jobs, their outcomes, and the end of workers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mgdali import MotionGuided, Segment, VideoDataset, VideoDecodeError, WorkerError
from mgdali.choices import draw
from mgdali.errors import VideoCrashError, VideoTimeoutError
from mgdali.transforms import SpatialTransform
from mgdali.video.media import Media
from mgdali.workers.clip_job import ClipConfig, ClipJob, ClipResult
from mgdali.workers.pool import _WORKER_PROGRAM, LocalPool, WorkerPool
from mgdali.workers.protocols import Pool
from tests.support.crashing import KILLED, SEGFAULT, STUCK, Crashing
from tests.support.interrupting import ctrl_c_in_another_thread
from tests.support.videos import moving_square, write_video

CONFIG = ClipConfig(
    sampler=MotionGuided(num_frames=4), transform=SpatialTransform(crop_size=16, resize=20), memory_budget=1 << 30
)


def job(path: str) -> ClipJob:
    return ClipJob(Media(path), draw(0, 0, 0, 4, training=False))


def collect(pool: Pool, count: int) -> dict[int, Any]:
    outcomes: dict[int, Any] = {}
    while len(outcomes) < count:
        outcomes.update(pool.receive())
    return outcomes


@pytest.fixture(scope="module", params=[0, 1, 3])
def pool(request: pytest.FixtureRequest) -> Any:
    """A pool for several tests, which release all slots that they used."""
    made = WorkerPool(request.param, 8, CONFIG) if request.param else LocalPool(CONFIG)
    yield made
    made.close()


def test_every_job_comes_back_once_with_its_own_clip(pool: Pool, dataset: VideoDataset) -> None:
    local = LocalPool(CONFIG)
    for start in (0, 3):
        paths = [dataset[start + i].path for i in range(8)]
        for slot, path in enumerate(paths):
            pool.submit(slot, job(path))
        outcomes = collect(pool, 8)
        assert sorted(outcomes) == list(range(8))
        for slot, path in enumerate(paths):
            local.submit(0, job(path))
            ((_, expected),) = local.receive()
            assert isinstance(expected, ClipResult)
            assert (pool.memory(slot, outcomes[slot].shape) == local.memory(0, expected.shape)).all()
            pool.release(slot)


def test_the_error_of_a_bad_video_does_not_affect_the_next_job(
    pool: Pool, dataset: VideoDataset, tmp_path: Path
) -> None:
    pool.submit(0, job(str(tmp_path / "none.mp4")))
    pool.submit(1, job(dataset[0].path))
    outcomes = collect(pool, 2)
    assert isinstance(outcomes[0], VideoDecodeError)
    assert outcomes[0].path == str(tmp_path / "none.mp4")
    assert isinstance(outcomes[1], ClipResult)
    pool.release(1)


def test_a_cancelled_job_that_was_not_begun_is_not_done(pool: Pool, dataset: VideoDataset) -> None:
    for slot in range(8):
        pool.submit(slot, job(dataset[0].path))
    for slot in range(1, 8):
        pool.cancel(slot)
    outcomes = collect(pool, 8)
    # Each worker may have begun a job before the cancellation, but none reached the last job.
    assert outcomes[7] is None
    for slot, outcome in outcomes.items():
        if outcome is not None:
            pool.release(slot)
    pool.submit(7, job(dataset[0].path))
    assert isinstance(collect(pool, 1)[7], ClipResult)
    pool.release(7)


@pytest.mark.slow
def test_more_jobs_than_a_pipe_holds_by_default_are_taken_without_waiting(tmp_path: Path) -> None:
    count = 9000
    pool = WorkerPool(2, count, CONFIG)
    try:
        for slot in range(count):
            pool.submit(slot, job(str(tmp_path / "none.mp4")))
        assert len(collect(pool, count)) == count
    finally:
        pool.close()


def test_a_large_clips_memory_is_given_back(tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "large.mp4", moving_square(2, 32, 32)))
    config = ClipConfig(
        sampler=Segment(num_frames=32), transform=SpatialTransform(crop_size=640, resize=640), memory_budget=1 << 30
    )
    pool = WorkerPool(1, 2, config)
    try:
        taken = []
        for _ in range(3):
            pool.submit(0, ClipJob(Media(path), draw(0, 0, 0, 32, training=False)))
            result = collect(pool, 1)[0]
            size = pool.memory(0, result.shape).nbytes
            taken.append(os.fstat(pool._memory.file).st_blocks * 512)
            pool.release(0)
            taken.append(os.fstat(pool._memory.file).st_blocks * 512)
    finally:
        pool.close()
    assert size > 30 << 20
    assert all(while_held > size for while_held in taken[::2])
    assert all(after < 10 << 20 for after in taken[1::2])


def test_a_closed_pool_leaves_neither_processes_nor_open_files(dataset: VideoDataset) -> None:
    def open_files() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = open_files()
    for _ in range(2):
        pool = WorkerPool(2, 4, CONFIG)
        pool.submit(0, job(dataset[0].path))
        collect(pool, 1)
        workers = list(pool._workers.values())
        pool.close()
        assert all(worker.process.returncode is not None for worker in workers)
        del pool, workers
    assert open_files() == before


def test_a_worker_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch, dataset: VideoDataset) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = WorkerPool(1, 2, CONFIG)
    try:
        pool.submit(0, job(dataset[0].path))
        with pytest.raises(WorkerError, match="status 1 before its first video"):
            collect(pool, 1)
    finally:
        pool.close()


# --- workers that die or take too long -------------------------------------------------------------------------------


def processes_of(pool: WorkerPool) -> list[subprocess.Popen[bytes]]:
    return [worker.process for worker in pool._workers.values()]


@pytest.fixture
def crashing(tmp_path: Path) -> Iterator[Any]:
    """Makes pools whose workers end on videos of certain lengths, and the jobs of videos of given lengths."""
    pools: list[WorkerPool] = []

    def make(at: dict[int, int], lengths: list[int], *, once: bool = False, workers: int = 1, **more: Any) -> Any:
        sampler = Crashing(at, str(tmp_path) if once else None)
        pool = WorkerPool(workers, 8, replace(CONFIG, sampler=sampler), **more)
        pools.append(pool)
        for slot, length in enumerate(lengths):
            path = tmp_path / f"{slot}.mp4"
            pool.submit(slot, job(str(write_video(path, moving_square(length, 32, 32)))))
        return pool

    yield make
    for pool in pools:
        pool.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_video_that_kills_two_workers_is_an_error_that_names_it(crashing: Any, workers: int) -> None:
    pool = crashing({9: SEGFAULT}, [5, 9, 6, 7], workers=workers)
    outcomes = collect(pool, 4)
    assert isinstance(outcomes[1], VideoCrashError)
    assert outcomes[1].path.endswith("1.mp4")
    assert "each of two workers that decoded it was killed by signal 11 (Segmentation fault). " in str(outcomes[1])
    assert all(isinstance(outcomes[slot], ClipResult) for slot in (0, 2, 3))
    assert len(processes_of(pool)) == workers


def test_a_video_whose_worker_dies_once_is_decoded_by_the_next(
    crashing: Any, dataset: VideoDataset, caplog: pytest.LogCaptureFixture
) -> None:
    pool = crashing({9: KILLED}, [5, 9, 6], once=True)
    outcomes = collect(pool, 3)
    assert all(isinstance(outcome, ClipResult) for outcome in outcomes.values())
    assert outcomes[1].num_frames == 9
    assert "1.mp4 was killed by signal 9 (Killed); another one tries it once more" in caplog.text


@pytest.mark.slow
def test_three_deaths_by_chance_within_a_minute_end_the_run(crashing: Any) -> None:
    pool = crashing({7: KILLED, 8: KILLED, 9: KILLED}, [7, 5, 8, 9], once=True)
    with pytest.raises(WorkerError, match=r"3 decoding workers died within 60 seconds.*reduce num_workers or memory_b"):
        collect(pool, 4)


@pytest.mark.slow
def test_deaths_that_are_long_ago_do_not_count(crashing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgdali.workers.pool._DEATHS_SECONDS", 0.0)
    pool = crashing({7: KILLED, 8: KILLED, 9: KILLED}, [7, 8, 9], once=True)
    assert all(isinstance(outcome, ClipResult) for outcome in collect(pool, 3).values())


@pytest.mark.slow
def test_deaths_with_videos_that_kill_each_worker_do_not_count(crashing: Any) -> None:
    pool = crashing({7: SEGFAULT, 8: SEGFAULT, 9: SEGFAULT}, [7, 8, 9, 5], workers=2)
    outcomes = collect(pool, 4)
    assert [isinstance(outcomes[slot], VideoCrashError) for slot in range(4)] == [True, True, True, False]


@pytest.mark.slow
def test_a_video_that_takes_too_long_is_tried_twice(tmp_path: Path, crashing: Any) -> None:
    # A pipe that nobody writes to. The worker waits for it, as it may for a network file system.
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    pool = crashing({9: STUCK}, [5, 9, 6], once=True, workers=2, timeout=1.0)
    before = set(processes_of(pool))
    pool.submit(3, job(str(stuck)))
    outcomes = collect(pool, 4)
    assert isinstance(outcomes[3], VideoTimeoutError)
    assert f"{stuck}: each of two workers that decoded it took longer than timeout=1 seconds. " in str(outcomes[3])
    # One that takes too long only once is decoded by the next worker.
    assert all(isinstance(outcomes[slot], ClipResult) for slot in range(3))
    assert all(process.poll() is not None for process in before - set(processes_of(pool)))


def test_a_worker_whose_outcomes_are_read_late_is_not_too_late(crashing: Any) -> None:
    pool = crashing({}, [5, 6, 7, 8], timeout=0.5)
    before = processes_of(pool)
    # Until all jobs are done, and for longer than the timeout.
    while pool._memory.last_job(0)[0] < 4:
        time.sleep(0.01)
    time.sleep(0.7)
    assert all(isinstance(outcome, ClipResult) for outcome in collect(pool, 4).values())
    assert processes_of(pool) == before


@pytest.mark.slow
def test_a_timeout_and_a_death_are_both_named(tmp_path: Path, crashing: Any) -> None:
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    pool = crashing({}, [], timeout=0.5)
    pool.submit(0, job(str(stuck)))
    (process,) = processes_of(pool)
    while pool._memory.last_job(0)[0] == 0:
        time.sleep(0.01)
    process.kill()
    error = collect(pool, 1)[0]
    assert isinstance(error, VideoTimeoutError)
    assert re.search(
        r"the first was killed by signal 9 \(Killed\), the second took longer than timeout=0.5", str(error)
    )


def test_an_idle_worker_that_is_killed_is_replaced(crashing: Any, dataset: VideoDataset) -> None:
    pool = crashing({}, [5], workers=1)
    collect(pool, 1)
    for _ in range(2):
        (process,) = processes_of(pool)
        process.kill()
        pool.submit(0, job(dataset[0].path))
        assert isinstance(collect(pool, 1)[0], ClipResult)
        assert process not in processes_of(pool)


@pytest.mark.slow
def test_a_cancelled_job_whose_worker_dies_is_not_tried_again(tmp_path: Path, crashing: Any) -> None:
    stuck = tmp_path / "stuck.mp4"
    os.mkfifo(stuck)
    pool = crashing({}, [], timeout=0.5)
    pool.submit(0, job(str(stuck)))
    while pool._memory.last_job(0)[0] == 0:
        time.sleep(0.01)
    pool.cancel(0)
    assert collect(pool, 1) == {0: None}


def test_a_job_that_was_lost_with_its_worker_is_submitted_again(dataset: VideoDataset, crashing: Any) -> None:
    pool = crashing({}, [5, 6], workers=2)
    collect(pool, 2)
    for process in processes_of(pool):
        process.send_signal(signal.SIGSTOP)
    pool.submit(0, job(dataset[0].path))
    pool.submit(1, job(dataset[1].path))
    # A worker that is killed after it has read a message, and before it has noted the job.
    os.read(pool._jobs_out, 16)
    for process in processes_of(pool):
        process.send_signal(signal.SIGCONT)
    assert {slot: outcome.num_frames for slot, outcome in collect(pool, 2).items()} == {0: 3, 1: 7}


def test_killing_a_pool_starts_no_new_workers(dataset: VideoDataset) -> None:
    pool = WorkerPool(2, 8, CONFIG)
    try:
        for slot in range(8):
            pool.submit(slot, job(dataset[0].path))
        collect(pool, 1)
        before = processes_of(pool)
        pool.kill()
        with pytest.raises(WorkerError, match="the workers were ended"):
            collect(pool, 8)
        assert processes_of(pool) == before
    finally:
        pool.close()


def test_ctrl_c_in_the_users_process_does_not_reach_the_workers(dataset: VideoDataset) -> None:
    pool = WorkerPool(2, 2, CONFIG)
    try:
        sessions = {os.getsid(worker.process.pid) for worker in pool._workers.values()}
        assert os.getsid(0) not in sessions
    finally:
        pool.close()


def test_ctrl_c_is_noticed_while_no_worker_sends_anything() -> None:
    pool = WorkerPool(1, 1, CONFIG)
    try:
        with ctrl_c_in_another_thread(after=0.3):
            while True:
                pool.receive()
    finally:
        pool.close()


def test_a_worker_without_a_setup_ends_silently() -> None:
    result = subprocess.run([sys.executable, "-c", _WORKER_PROGRAM], input=b"", capture_output=True)
    assert (result.returncode, result.stderr) == (0, b"")


def test_workers_need_neither_torch_nor_dali(dataset: VideoDataset) -> None:
    code = "import sys, mgdali.workers.pool; print([m for m in ('torch', 'nvidia.dali', 'cupy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
