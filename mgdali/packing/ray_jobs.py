"""Encoding videos on a Ray cluster. The process that packs writes the shards from the results."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from mgdali.errors import VideoDecodeError
from mgdali.index.ray_engine import run_on_ray
from mgdali.packing.encode import EncodedVideo
from mgdali.packing.job import PackJob

__all__ = ["encode_on_ray"]

_Result = list[EncodedVideo | VideoDecodeError]


def encode_on_ray(jobs: Sequence[PackJob], num_workers: int | None) -> Generator[tuple[int, _Result]]:
    """Encode videos on a Ray cluster. Yield the number of each finished job and the results of its parts, in any
    order.

    Args:
        jobs: The videos.
        num_workers: Number of tasks at a time, >= 1; None for the number of CPUs of the cluster.

    Raises:
        ImportError: If Ray is not installed.
        ValueError: If ``num_workers`` is not an integer >= 1.
        WorkerError: If no cluster can be reached or started, or if its nodes cannot run tasks.
    """
    for results in run_on_ray({str(place): job for place, job in enumerate(jobs)}, _encode, _failed, num_workers):
        for place, result in results:
            yield int(place), result


def _encode(job: PackJob) -> _Result:
    return job.encode()


def _failed(job: PackJob, error: VideoDecodeError) -> _Result:
    return [error] * len(job.parts)
