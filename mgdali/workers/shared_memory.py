"""Memory that the main process and its workers share: one slot for each job and its result."""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle

import numpy as np
from numpy.typing import NDArray

from mgdali.workers.protocols import Job

__all__ = ["RECORD_BYTES", "SlotMemory"]

RECORD_BYTES = 8
"""Bytes of a number that processes exchange: a slot's number, or the size of a job."""

_SLOT_ROOM = 4 << 30
_KEPT = 8 << 20


class SlotMemory:
    """One anonymous file in memory, mapped whole by every process and cut into slots of far more room than they use.

    The file is sparse: a slot takes what was written to it. It counts against no limit of /dev/shm, needs no name
    that could be left behind, and one mapping serves any number of slots.
    """

    def __init__(self, file: int, slots: int, workers: int) -> None:
        self.file = file
        self.slots = slots
        self.workers = workers
        self._map = mmap.mmap(file, slots * _SLOT_ROOM + _page_up(workers * RECORD_BYTES))
        self._current = np.frombuffer(self._map, np.int64, workers, offset=slots * _SLOT_ROOM)
        self._used = [0] * slots

    @classmethod
    def create(cls, slots: int, workers: int) -> SlotMemory:
        file = os.memfd_create("mgdali")
        os.ftruncate(file, slots * _SLOT_ROOM + _page_up(workers * RECORD_BYTES))
        return cls(file, slots, workers)

    def close(self) -> None:
        """Close the file. The mapping goes when the last array in it does."""
        os.close(self.file)

    def write_job(self, slot: int, job: Job) -> None:
        body = pickle.dumps(job)
        start = slot * _SLOT_ROOM
        self._map[start : start + RECORD_BYTES + len(body)] = len(body).to_bytes(RECORD_BYTES, "little") + body

    def clear_job(self, slot: int) -> None:
        """Of a job not yet read; of one that was, this touches only a clip that nobody will look at."""
        self._map[slot * _SLOT_ROOM : slot * _SLOT_ROOM + RECORD_BYTES] = bytes(RECORD_BYTES)

    def read_job(self, slot: int) -> Job | None:
        """The slot's job, or None where it was cleared."""
        start = slot * _SLOT_ROOM + RECORD_BYTES
        size = int.from_bytes(self._map[start - RECORD_BYTES : start], "little")
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
