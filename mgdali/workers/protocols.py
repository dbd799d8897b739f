"""Interfaces between a pool of workers and the jobs that it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Job", "Loader", "LoaderConfig", "Outcome", "Pool"]

Outcome = Any
"""Result of a job: what the loader returned, a VideoDecodeError, a WorkerError, or None if the job was cancelled."""


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
