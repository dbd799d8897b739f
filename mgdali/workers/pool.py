"""Pools of worker processes. Each worker runs one job at a time, and each job concerns one video.

Workers are new processes. They are not forked, so threads and CUDA in the user's process cannot harm them. They do not
run the user's script again, so it needs no ``if __name__ == "__main__"``.

All workers read the next job from one pipe, so a long video delays only the worker that decodes it. The pipe transports
the number of a slot in shared memory. The slot contains the job, and later the clip or the encoded file, which the DALI
graph reads from there without a copy.

Processes share no lock, so a worker that dies cannot leave one locked. Its death closes its pipe of results, which the
main process notices. When the user's process ends for any reason, the pipe of jobs closes and the workers end too.
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
from mgdali.workers.shared_memory import NUMBER_BYTES, SlotMemory

__all__ = ["LocalPool", "WorkerPool"]

# Default capacity of a pipe on Linux.
_PIPE_BYTES = 64 << 10
# One thread per worker: several workers run at the same time.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# By default glibc returns the memory of decoded frames to the system, and the next video needs new pages. For 1080p
# frames these cost half of the decoding time. These settings of glibc keep the memory in the worker.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
# The program of a worker. If the user's process ends before it wrote the setup, nothing is read and the worker ends.
_WORKER_PROGRAM = """
import pickle, sys
if setup := sys.stdin.buffer.read():
    sys.path[:], config = pickle.loads(setup)
    from mgdali.workers.worker import run_worker
    run_worker(config, *map(int, sys.argv[1:]))
"""


class LocalPool:
    """Runs jobs in the calling process (``num_workers=0``); :meth:`receive` runs the next one.

    It has the methods of :class:`~mgdali.workers.protocols.Pool`.

    Args:
        config: Settings that all jobs share.
    """

    def __init__(self, config: LoaderConfig) -> None:
        self._loader = config.make_loader()
        self._jobs: dict[int, Job | None] = {}
        self._memory: dict[int, NDArray[np.uint8]] = {}

    def submit(self, slot: int, job: Job) -> None:
        self._jobs[slot] = job

    def cancel(self, slot: int) -> None:
        self._jobs[slot] = None

    def receive(self) -> list[tuple[int, Outcome]]:
        # A dict keeps the order of submission, and a slot has at most one job.
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
    """Runs jobs in worker processes.

    It has the methods of :class:`~mgdali.workers.protocols.Pool`.

    Args:
        num_workers: Number of worker processes, >= 1.
        slots: Maximum number of jobs that are submitted and not yet released, >= 1.
        config: Settings that all jobs share.
    """

    def __init__(self, num_workers: int, slots: int, config: LoaderConfig) -> None:
        self._owner = os.getpid()
        self._memory = SlotMemory.create(slots, num_workers)
        self._paths: dict[int, str] = {}
        jobs, self._jobs = os.pipe()
        if slots * NUMBER_BYTES > _PIPE_BYTES:
            # With a full pipe, submit() would wait for the workers, which may wait for receive(): a deadlock.
            fcntl.fcntl(jobs, fcntl.F_SETPIPE_SZ, slots * NUMBER_BYTES)
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
        # If all workers ended, the pipe is broken, and receive() reports the first of them.
        with contextlib.suppress(BrokenPipeError):
            # All messages have the same size, below PIPE_BUF, so exactly one worker reads each as a whole.
            os.write(self._jobs, slot.to_bytes(NUMBER_BYTES, "little"))

    def cancel(self, slot: int) -> None:
        self._memory.clear_job(slot)

    def receive(self) -> list[tuple[int, Outcome]]:
        done = []
        for results in wait(list(self._workers), CTRL_C_SECONDS):
            assert isinstance(results, Connection)
            try:
                done.append(results.recv())
            except (EOFError, OSError):
                raise self._exit_error(results) from None
        return done

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return self._memory.array(slot, shape)

    def release(self, slot: int) -> None:
        self._memory.trim(slot)

    def kill(self) -> None:
        # A process forked from the user's process has a copy of this pool, but must not end the workers.
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
        """Start a worker.

        Args:
            number: Number of the worker, from 0.
            jobs: File descriptor of the pipe from which it reads jobs.
            setup: Pickled import path and configuration.
        """
        receiver, sender = Pipe(duplex=False)
        arguments = (jobs, sender.fileno(), self._memory.file, self._memory.slots, self._memory.workers, number)
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER_PROGRAM, *map(str, arguments)],
            stdin=subprocess.PIPE,
            pass_fds=arguments[:3],
            env={**_KEEP_MEMORY, **os.environ, **_ONE_THREAD},
            # In a separate session, Ctrl-C does not reach the workers. The user's process handles it and ends them.
            start_new_session=True,
        )
        sender.close()
        self._workers[receiver] = process
        assert process.stdin is not None
        # If the worker died before it read the setup, receive() reports it.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(setup)

    def _exit_error(self, results: Connection) -> WorkerError:
        """Wait for a worker whose pipe of results was closed, and return the error that describes how it ended."""
        process = self._workers[results]
        number = list(self._workers).index(results)
        code = process.wait()
        how = f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exited with status {code}"
        slot = self._memory.current_slot(number)
        path = self._paths.get(slot) if slot is not None else None
        during = f" while it decoded {path}" if path else " before its first video"
        advice = (
            "the machine may be out of memory: reduce num_workers or memory_budget"
            if code == -signal.SIGKILL
            else "its output above may contain the reason"
        )
        return WorkerError(f"decoding worker {number} (process {process.pid}) {how}{during}; {advice}", path)
