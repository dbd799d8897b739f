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
import mmap
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, Protocol

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import VideoDecodeError, WorkerError
from mgdali.interrupts import CTRL_C_SECONDS
from mgdali.video.frames import keep_decoder_messages

__all__ = ["Job", "Loader", "LoaderConfig", "LocalPool", "Outcome", "Pool", "WorkerPool"]

Outcome = Any
"""What came of a job: what the loader made of it, a VideoDecodeError, a WorkerError, or None where it was cancelled."""

_RECORD = 8
_PIPE_ROOM = 64 << 10
_SLOT_ROOM = 4 << 30
_KEPT = 8 << 20
# The workers are the parallelism.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# glibc: keep what decoded frames took for the next video's. Fresh pages for 1080p frames cost half of their decoding.
_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
# Nothing is read where the user's process has ended before it could say what to do.
_BOOT = """
import pickle, sys
if setup := sys.stdin.buffer.read():
    sys.path[:], config = pickle.loads(setup)
    from mgdali.workers.pool import run_worker
    run_worker(config, *map(int, sys.argv[1:]))
"""


class Job(Protocol):
    """One video to do something with; it is pickled."""

    @property
    def path(self) -> str:
        """The video, for messages."""
        ...


class Loader(Protocol):
    """Does jobs, one after another."""

    def load(self, job: Any, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> Any:
        """Do a job.

        Args:
            job: what is to be done.
            allocate: gives memory for what is too large to pickle, uint8 of the shape asked for; the result then has
                that ``shape``.
        """
        ...


class LoaderConfig(Protocol):
    """What is the same for all jobs; pickled once to each worker."""

    def make_loader(self) -> Loader:
        """What a worker does its jobs with."""
        ...


class Pool(Protocol):
    """Where jobs are done: each job occupies a slot from :meth:`submit` until the slot is used again."""

    def submit(self, slot: int, job: Job) -> None:
        """Have ``job`` done, what it allocates put into ``slot``."""
        ...

    def cancel(self, slot: int) -> None:
        """The slot's job is no longer wanted: where it was not begun, None soon comes of it."""
        ...

    def receive(self) -> list[tuple[int, Outcome]]:
        """Wait for jobs to be done, but not for long; their slots and what came of them, which may be none.

        Raises:
            WorkerError: a worker process has ended.
        """
        ...

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """What a finished job allocated, valid until :meth:`release`."""
        ...

    def release(self, slot: int) -> None:
        """The slot's memory is no longer looked at."""
        ...

    def kill(self) -> None:
        """End all workers, at once. A :meth:`receive` that another thread is in raises; only :meth:`close` follows."""
        ...

    def close(self) -> None:
        """End all workers, at once, and give back what they shared. No other thread may be in a method."""
        ...


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
        self._memory = _SlotMemory.create(slots, num_workers)
        self._paths: dict[int, str] = {}
        jobs, self._jobs = os.pipe()
        if slots * _RECORD > _PIPE_ROOM:
            # So that submitting never waits for workers, which may be waiting for their results to be received.
            fcntl.fcntl(jobs, fcntl.F_SETPIPE_SZ, slots * _RECORD)
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
            os.write(self._jobs, slot.to_bytes(_RECORD, "little"))

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


def run_worker(config: bytes, jobs: int, results: int, memory_file: int, slots: int, workers: int, number: int) -> None:
    """A worker's life: take a job, do it, say so, until the pipe of jobs is closed."""
    keep_decoder_messages()
    memory = _SlotMemory(memory_file, slots, workers)
    # The user's own sampler may be in the configuration; what it raises when loaded is shown and ends the worker.
    loader = pickle.loads(config).make_loader()
    sending = Connection(results, readable=False)
    while record := os.read(jobs, _RECORD):
        slot = int.from_bytes(record, "little")
        memory.set_current_slot(number, slot)
        outcome: Outcome
        job = memory.read_job(slot)
        try:
            outcome = loader.load(job, partial(memory.array, slot)) if job else None
        except VideoDecodeError as error:
            outcome = error
        except Exception:
            outcome = WorkerError(f"a decoding worker failed:\n{traceback.format_exc()}")
        try:
            sending.send((slot, outcome))
        except BrokenPipeError:
            return


class _SlotMemory:
    """One anonymous file in memory, mapped whole by every process and cut into slots of far more room than they use.

    The file is sparse: a slot takes what was written to it. It counts against no limit of /dev/shm, needs no name
    that could be left behind, and one mapping serves any number of slots.
    """

    def __init__(self, file: int, slots: int, workers: int) -> None:
        self.file = file
        self.slots = slots
        self.workers = workers
        self._map = mmap.mmap(file, slots * _SLOT_ROOM + _page_up(workers * _RECORD))
        self._current = np.frombuffer(self._map, np.int64, workers, offset=slots * _SLOT_ROOM)
        self._used = [0] * slots

    @classmethod
    def create(cls, slots: int, workers: int) -> _SlotMemory:
        file = os.memfd_create("mgdali")
        os.ftruncate(file, slots * _SLOT_ROOM + _page_up(workers * _RECORD))
        return cls(file, slots, workers)

    def close(self) -> None:
        """Close the file. The mapping goes when the last array in it does."""
        os.close(self.file)

    def write_job(self, slot: int, job: Job) -> None:
        body = pickle.dumps(job)
        start = slot * _SLOT_ROOM
        self._map[start : start + _RECORD + len(body)] = len(body).to_bytes(_RECORD, "little") + body

    def clear_job(self, slot: int) -> None:
        """Of a job not yet read; of one that was, this touches only a clip that nobody will look at."""
        self._map[slot * _SLOT_ROOM : slot * _SLOT_ROOM + _RECORD] = bytes(_RECORD)

    def read_job(self, slot: int) -> Job | None:
        """The slot's job, or None where it was cleared."""
        start = slot * _SLOT_ROOM + _RECORD
        size = int.from_bytes(self._map[start - _RECORD : start], "little")
        job: Job | None = pickle.loads(self._map[start : start + size]) if size else None
        return job

    def array(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        size = int(np.prod(shape, dtype=np.int64))
        if size > _SLOT_ROOM:
            raise ValueError(f"a clip of shape {list(shape)} is larger than {_SLOT_ROOM >> 30} GiB: pick fewer frames")
        self._used[slot] = size
        return np.frombuffer(self._map, np.uint8, size, offset=slot * _SLOT_ROOM).reshape(shape)

    def trim(self, slot: int) -> None:
        """Give back the memory of an unusually large clip; that of others is kept for the slot's next."""
        if self._used[slot] > _KEPT:
            start = slot * _SLOT_ROOM + _KEPT
            # Kernels that cannot take memory out of a file, as some sandboxes', keep it for the slot's next clip.
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_REMOVE, start, _page_up(self._used[slot] - _KEPT))
        self._used[slot] = 0

    def set_current_slot(self, worker: int, slot: int) -> None:
        self._current[worker] = slot + 1

    def current_slot(self, worker: int) -> int | None:
        """The slot of the worker's latest job, or None where it had none."""
        return int(self._current[worker]) - 1 if self._current[worker] else None


def _page_up(size: int) -> int:
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
