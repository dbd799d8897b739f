"""Memory that the main process and its workers share: one slot per job, for the job and then for its result."""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import pickle
import time

import numpy as np
from numpy.typing import NDArray

from mgdali.workers.protocols import Job

__all__ = ["NUMBER_BYTES", "SlotMemory"]

NUMBER_BYTES = 8
"""Size of a number that processes exchange, in bytes."""

# Before a pickled job: the job's ticket and size.
_HEADER_BYTES = 2 * NUMBER_BYTES
# Per worker: the ticket of its last job, when it began it, and how many outcomes it has sent.
_STATE_NUMBERS = 3
_SLOT_BYTES = 4 << 30
_KEPT_BYTES = 8 << 20


class SlotMemory:
    """One anonymous file in memory that every process maps as a whole.

    It is divided into slots of 4 GiB. The file is sparse, so a slot takes only the memory that was written. The file
    does not count against the limit of /dev/shm, has no name that could be left over, and needs one mapping for any
    number of slots.

    Args:
        file: File descriptor of the file.
        slots: Number of slots.
        workers: Number of workers.
    """

    def __init__(self, file: int, slots: int, workers: int) -> None:
        self.file = file
        self.slots = slots
        self.workers = workers
        self._map = mmap.mmap(file, _file_bytes(slots, workers))
        numbers = np.frombuffer(self._map, np.int64, workers * _STATE_NUMBERS + 1, offset=slots * _SLOT_BYTES)
        self._states = numbers[:-1].reshape(workers, _STATE_NUMBERS)
        # The number of outcomes of all workers at which the main process wants to be woken up.
        self._wanted = numbers[-1:]
        self._used = [0] * slots

    @classmethod
    def create(cls, slots: int, workers: int) -> SlotMemory:
        """Create a new file and map it."""
        file = os.memfd_create("mgdali")
        os.ftruncate(file, _file_bytes(slots, workers))
        return cls(file, slots, workers)

    def close(self) -> None:
        """Close the file. Its memory is freed with the last array from :meth:`array`."""
        os.close(self.file)

    def write_job(self, slot: int, ticket: int, job: Job) -> None:
        """Store a pickled job in a slot, with its ticket, an integer >= 1."""
        body = pickle.dumps(job)
        start = slot * _SLOT_BYTES
        self._map[start : start + _HEADER_BYTES + len(body)] = _numbers(ticket, len(body)) + body

    def clear_job(self, slot: int, ticket: int) -> None:
        """Remove the job from a slot. If a worker already read the job, this overwrites its unwanted result."""
        self._map[slot * _SLOT_BYTES : slot * _SLOT_BYTES + _HEADER_BYTES] = _numbers(ticket, 0)

    def has_job(self, slot: int, ticket: int) -> bool:
        """Return whether a slot contains the job with a ticket, or the note that this job was removed."""
        start = slot * _SLOT_BYTES
        return int.from_bytes(self._map[start : start + NUMBER_BYTES], "little") == ticket

    def read_job(self, slot: int) -> Job | None:
        """Return the job in a slot; None if it was removed."""
        start = slot * _SLOT_BYTES + _HEADER_BYTES
        size = int.from_bytes(self._map[start - NUMBER_BYTES : start], "little")
        job: Job | None = pickle.loads(self._map[start : start + size]) if size else None
        return job

    def array(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the memory of a slot as an array, uint8 of the given shape.

        Raises:
            ValueError: If the array is larger than a slot.
        """
        size = math.prod(shape)
        if size > _SLOT_BYTES:
            raise ValueError(f"a clip of shape {list(shape)} is larger than {_SLOT_BYTES >> 30} GiB: pick fewer frames")
        self._used[slot] = size
        return np.frombuffer(self._map, np.uint8, size, offset=slot * _SLOT_BYTES).reshape(shape)

    def trim(self, slot: int) -> None:
        """Return the memory of an unusually large array to the system; keep up to 8 MiB for the slot's next one."""
        if self._used[slot] > _KEPT_BYTES:
            start = slot * _SLOT_BYTES + _KEPT_BYTES
            # Some kernels, such as those of sandboxes, cannot remove a part of a file. It then stays allocated.
            with contextlib.suppress(OSError):
                self._map.madvise(mmap.MADV_REMOVE, start, _whole_pages(self._used[slot] - _KEPT_BYTES))
        self._used[slot] = 0

    def begin_job(self, worker: int, ticket: int) -> None:
        """Note that a worker begins a job now."""
        # The time is written first, so that a reader never combines a new ticket with an old time.
        self._states[worker, 1] = time.monotonic_ns()
        self._states[worker, 0] = ticket

    def last_job(self, worker: int) -> tuple[int, float]:
        """Return the ticket of the last job that a worker began, and the time since then, in seconds.

        The ticket is 0 if the worker has not begun a job.
        """
        ticket = int(self._states[worker, 0])
        return ticket, (time.monotonic_ns() - int(self._states[worker, 1])) / 1e9

    def count_outcome(self, worker: int) -> None:
        """Count an outcome that a worker sends."""
        self._states[worker, 2] += 1

    def want_outcomes(self, number: int) -> None:
        """Set the number of outcomes at which :meth:`outcomes_suffice`."""
        self._wanted[0] = number

    def outcomes_suffice(self) -> bool:
        """Return whether the workers have sent as many outcomes as the main process waits for."""
        return bool(self._states[:, 2].sum() >= self._wanted[0])

    def reset_worker(self, worker: int) -> None:
        """Forget the last job and the outcomes of a worker that has ended, so that a new one can take its number."""
        self._states[worker] = 0


def _numbers(*values: int) -> bytes:
    return b"".join(value.to_bytes(NUMBER_BYTES, "little") for value in values)


def _file_bytes(slots: int, workers: int) -> int:
    return slots * _SLOT_BYTES + _whole_pages((workers * _STATE_NUMBERS + 1) * NUMBER_BYTES)


def _whole_pages(size: int) -> int:
    """Round a size in bytes up to whole memory pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
