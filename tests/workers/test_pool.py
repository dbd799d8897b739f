"""Pools of workers: jobs, their outcomes, and the end of workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mgdali import MotionGuided, Segment, VideoDataset, VideoDecodeError, WorkerError
from mgdali.choices import draw
from mgdali.transforms import SpatialTransform
from mgdali.video.media import Media
from mgdali.workers.clip_job import ClipConfig, ClipJob, ClipResult
from mgdali.workers.pool import _WORKER_PROGRAM, LocalPool, WorkerPool
from mgdali.workers.protocols import Pool
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


@pytest.fixture(params=[0, 1, 3])
def pool(request: pytest.FixtureRequest) -> Any:
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


def test_a_cancelled_job_that_was_not_begun_is_not_done(pool: Pool, dataset: VideoDataset) -> None:
    for slot in range(8):
        pool.submit(slot, job(dataset[0].path))
    for slot in range(1, 8):
        pool.cancel(slot)
    outcomes = collect(pool, 8)
    # Each worker may have begun a job before the cancellation, but none reached the last job.
    assert outcomes[7] is None
    pool.submit(7, job(dataset[0].path))
    assert isinstance(collect(pool, 1)[7], ClipResult)


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
    for _ in range(3):
        pool = WorkerPool(2, 4, CONFIG)
        pool.submit(0, job(dataset[0].path))
        collect(pool, 1)
        workers = list(pool._workers.values())
        pool.close()
        assert all(process.returncode is not None for process in workers)
        del pool
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


def test_a_killed_worker_is_named_with_the_video_it_had(tmp_path: Path) -> None:
    # A pipe that nobody writes to. The worker waits for it, as it may for a network file system.
    path = tmp_path / "stuck.mp4"
    os.mkfifo(path)
    pool = WorkerPool(1, 2, CONFIG)
    try:
        pool.submit(0, job(str(path)))
        process = next(iter(pool._workers.values()))
        while pool._memory.current_slot(0) is None:
            time.sleep(0.01)
        threading.Timer(0.3, process.send_signal, [signal.SIGKILL]).start()
        with pytest.raises(WorkerError, match=f"signal 9 .*{path}.*memory_budget"):
            collect(pool, 1)
    finally:
        pool.close()


def test_ctrl_c_in_the_users_process_does_not_reach_the_workers(dataset: VideoDataset) -> None:
    pool = WorkerPool(2, 2, CONFIG)
    try:
        sessions = {os.getsid(process.pid) for process in pool._workers.values()}
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
