"""Worker processes that do a job a video, and the memory in which they hand over what is large: clips, files.

A worker is started afresh (not forked, so that threads and CUDA in the user's process cannot harm it, and without
running the user's script again, so that no ``if __name__ == "__main__"`` is needed). All workers take the next job
from one pipe, so a long video holds up only the worker that decodes it. A job is a slot's number; what is to be done
stands in the slot's memory, and so does the finished clip, which the DALI graph reads from there without a copy.

No lock is shared: a worker that dies can leave none behind, and its pipe's end tells. When the user's process ends,
however it ends, the pipe of jobs closes and the workers end too.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import signal
import subprocess
import sys
from multiprocessing.connection import Connection, Pipe, wait

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.interrupts import CTRL_C_SECONDS
from mgdali.workers.protocols import Job, LoaderConfig, Outcome
from mgdali.workers.shared_memory import RECORD_BYTES, SlotMemory

__all__ = ["LocalPool", "WorkerPool"]

_PIPE_ROOM = 64 << 10
# The workers are the parallelism.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# glibc: keep what decoded frames took for the next video's. Fresh pages for 1080p frames cost half of their decoding.
_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
# Nothing is read where the user's process has ended before it could say what to do.
_BOOT = """
import pickle, sys
if setup := sys.stdin.buffer.read():
    sys.path[:], config = pickle.loads(setup)
    from mgdali.workers.worker import run_worker
    run_worker(config, *map(int, sys.argv[1:]))
"""


class LocalPool:
    """Does jobs in the calling process, each when it is waited for (``num_workers=0``)."""

    def __init__(self, config: LoaderConfig) -> None:
        self._loader = config.make_loader()
        self._jobs: dict[int, Job | None] = {}
        self._memory: dict[int, NDArray[np.uint8]] = {}

    def submit(self, slot: int, job: Job) -> None:
        self._jobs[slot] = job

    def cancel(self, slot: int) -> None:
        self._jobs[slot] = None

    def receive(self) -> list[tuple[int, Outcome]]:
        # A dict keeps the order of submission; a slot has one job at a time.
        slot = next(iter(self._jobs))
        job = self._jobs.pop(slot)
        if job is None:
            return [(slot, None)]

        def allocate(shape: tuple[int, ...]) -> NDArray[np.uint8]:
            self._memory[slot] = np.empty(shape, np.uint8)
            return self._memory[slot]

        try:
            return [(slot, self._loader.load(job, allocate))]
        except VideoDecodeError as error:
            return [(slot, error)]

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return self._memory[slot]

    def release(self, slot: int) -> None:
        self._memory.pop(slot, None)

    def kill(self) -> None:
        pass

    def close(self) -> None:
        self._jobs.clear()
        self._memory.clear()


class WorkerPool:
    """Does jobs in worker processes.

    Args:
        num_workers: processes, >= 1.
        slots: jobs that may be under way or finished and not yet released.
        config: what all jobs have in common.
    """

    def __init__(self, num_workers: int, slots: int, config: LoaderConfig) -> None:
        self._owner = os.getpid()
        self._memory = SlotMemory.create(slots, num_workers)
        self._paths: dict[int, str] = {}
        jobs, self._jobs = os.pipe()
        if slots * RECORD_BYTES > _PIPE_ROOM:
            # So that submitting never waits for workers, which may be waiting for their results to be received.
            fcntl.fcntl(jobs, fcntl.F_SETPIPE_SZ, slots * RECORD_BYTES)
        self._workers: dict[Connection, subprocess.Popen[bytes]] = {}
        setup = pickle.dumps((sys.path, cloudpickle.dumps(config)))
        try:
            for number in range(num_workers):
                self._start(number, jobs, setup)
        finally:
            os.close(jobs)

    def submit(self, slot: int, job: Job) -> None:
        self._paths[slot] = job.path
        self._memory.write_job(slot, job)
        # With no worker left the pipe is broken; receive() then says which worker ended, and how.
        with contextlib.suppress(BrokenPipeError):
            # Records of one size, far below PIPE_BUF: each is read whole by exactly one worker.
            os.write(self._jobs, slot.to_bytes(RECORD_BYTES, "little"))

    def cancel(self, slot: int) -> None:
        self._memory.clear_job(slot)

    def receive(self) -> list[tuple[int, Outcome]]:
        done = []
        for results in wait(list(self._workers), CTRL_C_SECONDS):
            assert isinstance(results, Connection)
            try:
                done.append(results.recv())
            except (EOFError, OSError):
                raise self._obituary(results) from None
        return done

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return self._memory.array(slot, shape)

    def release(self, slot: int) -> None:
        self._memory.trim(slot)

    def kill(self) -> None:
        # A process that was forked off the user's has these workers in its memory too.
        if os.getpid() == self._owner:
            for process in self._workers.values():
                process.kill()

    def close(self) -> None:
        if self._jobs < 0 or os.getpid() != self._owner:
            return
        os.close(self._jobs)
        self._jobs = -1
        self.kill()
        for results, process in self._workers.items():
            process.wait()
            results.close()
        self._workers.clear()
        self._memory.close()

    def _start(self, number: int, jobs: int, setup: bytes) -> None:
        receiving, sending = Pipe(duplex=False)
        numbers = (jobs, sending.fileno(), self._memory.file, self._memory.slots, self._memory.workers, number)
        process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, *map(str, numbers)],
            stdin=subprocess.PIPE,
            pass_fds=numbers[:3],
            env={**_HEAP, **os.environ, **_ONE_THREAD},
            # A session of their own: Ctrl-C is for the user's process, which then ends them.
            start_new_session=True,
        )
        sending.close()
        self._workers[receiving] = process
        assert process.stdin is not None
        # A worker that died before it read this is reported by receive().
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(setup)

    def _obituary(self, results: Connection) -> WorkerError:
        process = self._workers[results]
        number = list(self._workers).index(results)
        code = process.wait()
        how = f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exited with status {code}"
        slot = self._memory.current_slot(number)
        path = self._paths.get(slot) if slot is not None else None
        during = f" while it decoded {path}" if path else " before its first video"
        advice = (
            "the machine may be out of memory: use fewer num_workers or a smaller memory_budget"
            if code == -signal.SIGKILL
            else "what it printed is above"
        )
        return WorkerError(f"decoding worker {number} (process {process.pid}) {how}{during}; {advice}", path)
