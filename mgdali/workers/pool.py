"""Pools of worker processes. Each worker runs one job at a time, and each job concerns one video.

Workers are new processes. They are not forked, so threads and CUDA in the user's process cannot harm them. They do not
run the user's script again, so it needs no ``if __name__ == "__main__"``.

All workers read the next job from one pipe, so a long video delays only the worker that decodes it. The pipe transports
the job's ticket, a number that is never used again, and the number of a slot in shared memory. The slot contains the
job, and later the clip or the encoded file, which the DALI graph reads from there without a copy.

Processes share no lock, so a worker that dies cannot leave one locked. Its death closes its pipe of results, which the
main process notices. A new worker then takes its place, and its video is tried once more. When the user's process ends
for any reason, the pipe of jobs closes and the workers end too.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pickle
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass, field

import cloudpickle
import numpy as np
from numpy.typing import NDArray

from mgdali.errors import TransformError, VideoCrashError, VideoDecodeError, VideoTimeoutError, WorkerError
from mgdali.workers.outcomes import OutcomePipe, OutcomeWaiter, unread_bytes
from mgdali.workers.protocols import Job, LoaderConfig, Outcome, Pool
from mgdali.workers.shared_memory import NUMBER_BYTES, SlotMemory

__all__ = ["LocalPool", "WorkerPool", "start_pool", "workers_for"]

logger = logging.getLogger("mgdali")

# A ticket and a slot.
_MESSAGE_BYTES = 2 * NUMBER_BYTES
# Tries of a video, if its worker dies or takes too long.
_TRIES = 2
# So many deaths by chance, of workers whose video was decoded by the next worker, within so many seconds end the run.
_MOST_DEATHS, _DEATHS_SECONDS = 3, 60.0
# How long to wait for a killed process. One that waits for a file system that does not answer ends later.
_END_SECONDS = 1.0
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


def start_pool(config: LoaderConfig, num_workers: int, slots: int, *, timeout: float = 0.0) -> Pool:
    """Return a pool of worker processes, or one that runs jobs in the calling process if ``num_workers`` is 0."""
    if num_workers == 0:
        return LocalPool(config)
    return WorkerPool(num_workers, slots, config, timeout=timeout)


def workers_for(jobs: int, num_workers: int | None) -> int:
    """Return the number of worker processes for some jobs; by default one per core, and not more than jobs."""
    return min(jobs, len(os.sched_getaffinity(0))) if num_workers is None else num_workers


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

    def receive(self, count: int = 1) -> list[tuple[int, Outcome]]:
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
        except (VideoDecodeError, TransformError) as error:
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


@dataclass
class _Task:
    """A job that was submitted and whose outcome was not received yet.

    Attributes:
        slot: Its slot.
        job: The job; None if it was cancelled.
        ends: How workers ended that tried it: they died or took too long.
        died: Time of the last worker's death, in seconds; None if it took too long.
    """

    slot: int
    job: Job | None
    ends: list[str] = field(default_factory=list)
    died: float | None = None


@dataclass
class _Worker:
    """A worker process, its number, and the pipe from which its outcomes are read."""

    number: int
    process: subprocess.Popen[bytes]
    results: OutcomePipe


class WorkerPool:
    """Runs jobs in worker processes.

    It has the methods of :class:`~mgdali.workers.protocols.Pool`. If a worker dies, another one takes its place and
    tries its video once more. If that one dies too, the outcome of the job is a :class:`VideoCrashError`. The same
    applies to a worker that takes longer than ``timeout``, which is killed.

    Args:
        num_workers: Number of worker processes, >= 1.
        slots: Maximum number of jobs that are submitted and not yet released, >= 1.
        config: Settings that all jobs share.
        timeout: Longest time that a worker may take for a job, in seconds; 0 for no limit.
    """

    def __init__(self, num_workers: int, slots: int, config: LoaderConfig, *, timeout: float = 0.0) -> None:
        self._owner = os.getpid()
        self._timeout = timeout
        self._memory = SlotMemory.create(slots, num_workers)
        self._tasks: dict[int, _Task] = {}
        self._tickets: dict[int, int] = {}
        self._last_ticket = 0
        self._jobs_out, self._jobs = os.pipe()
        if slots * _MESSAGE_BYTES > _PIPE_BYTES:
            # With a full pipe, submit() would wait for the workers, which may wait for receive(): a deadlock.
            fcntl.fcntl(self._jobs, fcntl.F_SETPIPE_SZ, slots * _MESSAGE_BYTES)
        self._setup = pickle.dumps((sys.path, cloudpickle.dumps(config)))
        self._waiter = OutcomeWaiter(self._memory)
        # The workers by the file descriptors of their pipes.
        self._workers: dict[int, _Worker] = {}
        self._deaths: deque[float] = deque()
        self._seem_lost: set[int] = set()
        self._killed = False
        for number in range(num_workers):
            self._start(number)

    def submit(self, slot: int, job: Job) -> None:
        self._last_ticket += 1
        self._tickets[slot] = self._last_ticket
        self._tasks[self._last_ticket] = _Task(slot, job)
        self._send(self._last_ticket)

    def cancel(self, slot: int) -> None:
        ticket = self._tickets[slot]
        self._tasks[ticket].job = None
        self._memory.clear_job(slot, ticket)

    def receive(self, count: int = 1) -> list[tuple[int, Outcome]]:
        if self._killed:
            raise WorkerError("the workers were ended")
        done = self._read_all()
        woken = True
        if len(done) < count:
            woken = self._waiter.wait(count - len(done))
            done += self._read_all()
        if self._timeout:
            done += self._end_late_workers()
        if not woken and not done:
            self._submit_lost_jobs()
        return done

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return self._memory.array(slot, shape)

    def release(self, slot: int) -> None:
        self._memory.trim(slot)

    def kill(self) -> None:
        # A process forked from the user's process has a copy of this pool, but must not end the workers.
        if os.getpid() == self._owner:
            self._killed = True
            for worker in list(self._workers.values()):
                worker.process.kill()

    def close(self) -> None:
        if self._jobs < 0 or os.getpid() != self._owner:
            return
        os.close(self._jobs)
        os.close(self._jobs_out)
        self._jobs = -1
        self.kill()
        for worker in self._workers.values():
            _wait_for_end(worker.process)
            worker.results.close()
        self._workers.clear()
        self._waiter.close()
        self._memory.close()

    def _start(self, number: int) -> None:
        """Start a worker and send it its setup.

        Args:
            number: Number of the worker, from 0.
        """
        receiver, sender = os.pipe()
        memory = self._memory
        memory.reset_worker(number)
        files = (self._jobs_out, sender, self._waiter.wake, memory.file)
        arguments = (*files, memory.slots, memory.workers, number)
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER_PROGRAM, *map(str, arguments)],
            stdin=subprocess.PIPE,
            pass_fds=files,
            env={**_KEEP_MEMORY, **os.environ, **_ONE_THREAD},
            # In a separate session, Ctrl-C does not reach the workers. The user's process handles it and ends them.
            start_new_session=True,
        )
        os.close(sender)
        self._workers[receiver] = _Worker(number, process, OutcomePipe(receiver))
        self._waiter.add(self._workers[receiver].results)
        assert process.stdin is not None
        # If the worker died before it read the setup, receive() reports it.
        with contextlib.suppress(BrokenPipeError), process.stdin:
            process.stdin.write(self._setup)

    def _send(self, ticket: int) -> None:
        """Store a job in its slot and let the next free worker take it."""
        task = self._tasks[ticket]
        if task.job is None:
            self._memory.clear_job(task.slot, ticket)
        else:
            self._memory.write_job(task.slot, ticket, task.job)
        # All messages have the same size, below PIPE_BUF, so exactly one worker reads each as a whole.
        os.write(self._jobs, b"".join(value.to_bytes(NUMBER_BYTES, "little") for value in (ticket, task.slot)))

    def _read_all(self) -> list[tuple[int, Outcome]]:
        """Return the outcomes that workers have sent; replace workers that have died."""
        done: list[tuple[int, Outcome]] = []
        for file in self._waiter.readable():
            worker = self._workers[file]
            try:
                messages = worker.results.read()
            except EOFError:
                if self._killed:
                    raise WorkerError("the workers were ended") from None
                done += self._replace(worker, _how_it_ended(worker.process))
            else:
                for ticket, outcome in messages:
                    done += self._finish(ticket, outcome)
        return done

    def _finish(self, ticket: int, outcome: Outcome) -> list[tuple[int, Outcome]]:
        task = self._tasks.pop(ticket, None)
        if task is None:
            return []
        if task.died is not None and not isinstance(outcome, Exception):
            self._count_death(task.died)
        return [(task.slot, outcome)]

    def _end_late_workers(self) -> list[tuple[int, Outcome]]:
        """Kill workers that take longer than the timeout, and replace them."""
        done: list[tuple[int, Outcome]] = []
        for worker in list(self._workers.values()):
            ticket, seconds = self._memory.last_job(worker.number)
            # A worker whose outcomes were not read yet may have done its job long ago.
            if ticket not in self._tasks or seconds <= self._timeout or worker.results.unread:
                continue
            worker.process.kill()
            _wait_for_end(worker.process)
            # It may have sent outcomes just before its end.
            while unread_bytes(worker.results.file):
                for outcome in worker.results.read():
                    done += self._finish(*outcome)
            done += self._replace(worker, f"took longer than timeout={self._timeout:g} seconds", late=ticket)
        return done

    def _replace(self, worker: _Worker, how: str, *, late: int | None = None) -> list[tuple[int, Outcome]]:
        """Start a worker in place of one that has ended, and submit its job again.

        Args:
            worker: The worker that has ended.
            how: How it ended, for messages.
            late: Ticket of the job for which the worker was killed; None if it died.

        Returns:
            The outcome of its job, if the job was cancelled or not even a second worker could do it.

        Raises:
            WorkerError: If the worker had not begun a job: a new one would probably end in the same way.
        """
        ticket, _ = self._memory.last_job(worker.number)
        self._waiter.remove(worker.results)
        del self._workers[worker.results.file]
        worker.results.close()
        if not ticket:
            raise WorkerError(
                f"decoding worker {worker.number} (process {worker.process.pid}) {how} before its first video; its "
                "output above may contain the reason"
            )
        self._start(worker.number)
        task = self._tasks.get(ticket)
        if task is None:
            return []
        if task.job is None:
            del self._tasks[ticket]
            return [(task.slot, None)]
        # A late worker may have begun its next job before it was killed: that job has done nothing wrong.
        if late in (None, ticket):
            task.ends.append(how)
            task.died = time.monotonic() if late is None else None
            if len(task.ends) == _TRIES:
                del self._tasks[ticket]
                return [(task.slot, _crash_error(task.job.path, task))]
            logger.warning("the worker that decoded %s %s; another one tries it once more", task.job.path, how)
        self._send(ticket)
        return []

    def _count_death(self, died: float) -> None:
        """Count the death of a worker whose video the next worker has decoded."""
        self._deaths.append(died)
        while self._deaths[0] < died - _DEATHS_SECONDS:
            self._deaths.popleft()
        if len(self._deaths) >= _MOST_DEATHS:
            raise WorkerError(
                f"{len(self._deaths)} decoding workers died within {_DEATHS_SECONDS:g} seconds, on videos that other "
                "workers then decoded: the machine may be out of memory; reduce num_workers or memory_budget"
            )

    def _submit_lost_jobs(self) -> None:
        """Submit jobs again that no worker has.

        A worker that is killed between reading a message and noting the job loses it. The other jobs are then done,
        all workers wait, and nothing happens any more.
        """
        began = {self._memory.last_job(worker.number)[0] for worker in self._workers.values()}
        waiting = began.isdisjoint(self._tasks) and unread_bytes(self._jobs_out) == 0
        lost = set(self._tasks) if waiting else set()
        # A worker may have read a message and not noted its job yet. So the state must last for two waits.
        for ticket in sorted(lost & self._seem_lost):
            self._send(ticket)
        self._seem_lost = lost


def _wait_for_end(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for a process that was killed or has closed its pipe; return its exit code, or None if it still runs."""
    try:
        return process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        return None


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    code = _wait_for_end(process)
    if code is None:
        return "closed its connection"
    return f"was killed by signal {-code} ({signal.strsignal(-code)})" if code < 0 else f"exited with status {code}"


def _crash_error(path: str, task: _Task) -> VideoCrashError:
    first, second = task.ends
    reason = (
        f"each of two workers that decoded it {first}"
        if first == second
        else f"of two workers that decoded it, the first {first}, the second {second}"
    )
    advice = (
        "Remove the file from the data set or encode it again; if many files fail in this way, the machine may be out "
        "of memory (reduce num_workers or memory_budget) or its storage too slow (increase timeout)."
    )
    return (VideoTimeoutError if task.died is None else VideoCrashError)(path, 0, reason, advice)
