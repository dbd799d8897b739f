"""Encoding many videos: in worker processes of this machine, in the order of the jobs, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mgdali.errors import VideoDecodeError
from mgdali.packing.job import PackConfig, PackJob, PackResult
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord
from mgdali.workers.pool import start_pool, workers_for
from mgdali.workers.protocols import Outcome, Pool

__all__ = ["Encoded", "Engine", "encode_all", "encode_locally"]

Engine = Literal["local", "ray"]

# Results wait for those before them, so that shards do not depend on the speed of workers. While a worker is busy with
# a long video, the others can encode so many videos each.
_SLOTS_PER_WORKER = 8


@dataclass(frozen=True)
class Encoded:
    """Result of one part of a job.

    Attributes:
        place: Number of the job.
        part: Number of the part.
        content: The encoded file, bytes-like, valid until the next result is requested; empty after an error.
        record: Record of the file; None after an error.
        origin: Fingerprint of the original; None after an error.
        error: Reason why the video is left out; None if it was encoded.
    """

    place: int
    part: int
    content: Any = b""
    record: VideoRecord | None = None
    origin: Fingerprint | None = None
    error: str | None = None


def encode_all(jobs: Sequence[PackJob], engine: Engine, num_workers: int | None, timeout: float) -> Generator[Encoded]:
    """Encode videos with an engine. Yield a result per part; those of the engine ``"local"`` in the order of the jobs.

    Args:
        jobs: The videos.
        engine: ``"local"`` or ``"ray"``.
        num_workers: Number of worker processes; None for the number of cores or CPUs.
        timeout: Longest time that a worker may take for a job, in seconds; 0 for no limit.

    Raises:
        WorkerError: If workers cannot be started, or if several of them die by chance.
    """
    if engine == "ray":
        # Imported late because Ray is an optional dependency.
        from mgdali.packing.ray_jobs import encode_on_ray

        for place, results in encode_on_ray(jobs, num_workers):
            for part, result in enumerate(results):
                if isinstance(result, VideoDecodeError):
                    yield Encoded(place, part, error=result.details)
                else:
                    yield Encoded(place, part, result.content, result.record, result.origin)
        return
    yield from encode_locally(jobs, workers_for(len(jobs), num_workers), timeout)


def encode_locally(jobs: Sequence[PackJob], num_workers: int, timeout: float = 0.0) -> Generator[Encoded]:
    """Encode videos in worker processes and yield a result per part, in the order of the jobs.

    If a job ends two workers, or takes longer than the timeout twice, the result of each of its parts is an error.

    Args:
        jobs: The videos.
        num_workers: Number of worker processes; 0 encodes in this process.
        timeout: Longest time that a worker may take for a job, in seconds; 0 for no limit.

    Raises:
        WorkerError: If workers cannot be started, or if several of them die by chance.
    """
    slots = max(1, _SLOTS_PER_WORKER * num_workers)
    pool = start_pool(PackConfig(), num_workers, slots, timeout=timeout)
    free = list(range(slots))
    under_way: dict[int, int] = {}
    done: dict[int, tuple[int, Outcome]] = {}
    submitted = yielded = 0
    try:
        while yielded < len(jobs):
            while free and submitted < len(jobs):
                slot = free.pop()
                under_way[slot] = submitted
                pool.submit(slot, jobs[submitted])
                submitted += 1
            for slot, outcome in pool.receive():
                done[under_way.pop(slot)] = (slot, outcome)
            while yielded in done:
                slot, outcome = done.pop(yielded)
                yield from _encoded(yielded, outcome, len(jobs[yielded].parts), pool, slot)
                pool.release(slot)
                free.append(slot)
                yielded += 1
    finally:
        pool.close()


def _encoded(place: int, outcome: Outcome, num_parts: int, pool: Pool, slot: int) -> Iterator[Encoded]:
    if not isinstance(outcome, PackResult):
        error = outcome.details if isinstance(outcome, VideoDecodeError) else str(outcome)
        yield from (Encoded(place, part, error=error) for part in range(num_parts))
        return
    memory = pool.memory(slot, outcome.shape) if outcome.shape[0] else b""
    end = 0
    for part, found in enumerate(outcome.parts):
        if isinstance(found, VideoDecodeError):
            yield Encoded(place, part, error=found.details)
        else:
            start, end = end, end + found.length
            yield Encoded(place, part, memory[start:end], found.record, found.origin)
