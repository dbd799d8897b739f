"""Interfaces between a pool of workers and the jobs that it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Job", "Loader", "LoaderConfig", "Outcome", "Pool"]

Outcome = Any
"""Result of a job: what the loader returned, a VideoDecodeError (a VideoCrashError if its worker died in two tries), a
TransformError, a WorkerError, or None if the job was cancelled."""


class Job(Protocol):
    """A task that concerns one video. It is pickled."""

    @property
    def path(self) -> str:
        """Path of the video, for messages."""
        ...


class Loader(Protocol):
    """Runs jobs, one after another."""

    def load(self, job: Any, allocate: Callable[[tuple[int, ...]], NDArray[np.uint8]]) -> Any:
        """Run a job.

        Args:
            job: The job.
            allocate: Function that returns memory for data that is too large to be pickled: uint8 of the given shape.
                It is called at most once. The result must then have this ``shape`` as an attribute.

        Returns:
            The result, which is pickled.

        Raises:
            VideoDecodeError: If the video cannot be read or decoded.
            TransformError: If the user's function fails.
        """
        ...


class LoaderConfig(Protocol):
    """Settings that all jobs share. They are pickled once for each worker."""

    def make_loader(self) -> Loader:
        """Return the loader of a worker."""
        ...


class Pool(Protocol):
    """Runs jobs, each in a slot. Slots are numbered from 0.

    A job occupies its slot from :meth:`submit` until its outcome was received and, if it allocated memory, released.
    """

    def submit(self, slot: int, job: Job) -> None:
        """Queue a job. What it allocates is stored in the memory of ``slot``.

        Args:
            slot: A slot that no other job occupies.
            job: The job.
        """
        ...

    def cancel(self, slot: int) -> None:
        """Cancel the job of a slot. If no worker began it, :meth:`receive` returns None as its outcome."""
        ...

    def receive(self, count: int = 1) -> list[tuple[int, Outcome]]:
        """Wait for jobs to finish, but only a short time.

        Args:
            count: Number of outcomes to wait for, in ``[1, number of submitted jobs]``. To wake up once for several
                takes less time than to wake up for each.

        Returns:
            The slot and the outcome of each finished job: more or fewer than ``count``, or none.

        Raises:
            WorkerError: If a worker process ended before its first job, or several died by chance.
        """
        ...

    def memory(self, slot: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return what a finished job allocated, uint8 of the given shape. It is valid until :meth:`release`.

        Args:
            slot: The slot of the job.
            shape: The ``shape`` of the job's result.
        """
        ...

    def release(self, slot: int) -> None:
        """Release the memory of a finished job, which must not be used any longer."""
        ...

    def kill(self) -> None:
        """End all workers immediately. A :meth:`receive` in another thread then raises an error.

        Afterwards only :meth:`close` may be called.
        """
        ...

    def close(self) -> None:
        """End all workers immediately and free the shared memory. No other thread may be in a method of the pool."""
        ...
