"""Running jobs on a Ray cluster: Ray Data distributes the videos, and results return as they are finished.

A task runs the jobs of a block of videos. If its worker or node dies, Ray repeats the block on another worker without
limit. A video that always ends its worker would then repeat forever. So a repeated block skips videos that were begun
before. The skipped videos are tried at the end in one task per video, which may fail without affecting other videos.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import tempfile
import traceback
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import cloudpickle
import pyarrow as pa

from mgdali.errors import VideoCrashError, VideoDecodeError, WorkerError, check_integer
from mgdali.index.measure import MeasureJob, failed_record, measure_video
from mgdali.video.frames import keep_decoder_messages
from mgdali.video.record import VideoRecord
from mgdali.workers.protocols import Job

try:
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise ImportError(f"engine='ray' needs Ray Data ({error}): pip install 'mgdali[ray]'") from error

__all__ = ["measure_on_ray", "run_on_ray"]

_T = TypeVar("_T")
_Work = Callable[[Any], _T]
_Failed = Callable[[Any, VideoDecodeError], _T]
_Results = list[tuple[str, _T]]

# Videos per task: enough to make the overhead of a task small, few enough to repeat a lost task quickly.
_BLOCK = 16
_BLOCKS_PER_WORKER = 8
# Retries prevent that the loss of a node marks a video as failed.
_RETRIES = 2
_USAGE = "RAY_USAGE_STATS_ENABLED"
_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)


def measure_on_ray(jobs: Sequence[MeasureJob], num_workers: int | None) -> Iterator[list[VideoRecord]]:
    """Measure videos on a Ray cluster. Yield lists of finished records, one record per video, in any order.

    GPUs of the nodes are not used. All nodes decode with the same code on the CPU, so that a row is equal byte for byte
    wherever it is measured. (At the feature level, this holds for the default filters. With other filters, the
    last bits of S may differ between types of CPU, with and without Ray.)

    If a video ends its worker each time, for example because of a bug in a decoder, its record contains that reason.

    Args:
        jobs: The videos, with different names.
        num_workers: Number of tasks at a time, as in :func:`run_on_ray`.

    Raises:
        ValueError: If ``num_workers`` is not an integer >= 1.
        WorkerError: If no cluster can be reached or started, or if its nodes cannot run tasks.
    """
    results = run_on_ray({job.name: job for job in jobs}, _measure, failed_record, num_workers)
    return ([record for _, record in block] for block in results)


def run_on_ray(
    jobs: Mapping[str, Job], work: _Work[_T], failed: _Failed[_T], num_workers: int | None
) -> Iterator[_Results[_T]]:
    """Run jobs on a Ray cluster. Yield lists of finished results with the names of their jobs, in any order.

    The cluster is the first available of: the cluster that this process is connected to; the cluster that
    ``ray.init()`` finds, by ``RAY_ADDRESS`` or on this machine; a new cluster on this machine, which is shut down at
    the end. All nodes need mgdali installed and the videos under the same paths.

    Args:
        jobs: The jobs, by different names.
        work: Function that runs a job on a node. It is pickled by name, and so is its result.
        failed: Function of a job and an error that returns the result of a job whose worker failed. It is called on a
            node if ``work`` raises an exception, and in this process if the job ends its worker each time.
        num_workers: Number of tasks at a time, >= 1; None for the number of CPUs of the cluster.

    Raises:
        ValueError: If ``num_workers`` is not an integer >= 1.
        WorkerError: If no cluster can be reached or started, or if its nodes cannot run tasks.
    """
    if num_workers is not None:
        check_integer("num_workers", num_workers, least=1)
    return _run_all(jobs, cloudpickle.dumps((work, failed)), failed, num_workers) if jobs else iter(())


def _run_all(
    jobs: Mapping[str, Job], functions: bytes, failed: _Failed[_T], num_workers: int | None
) -> Iterator[_Results[_T]]:
    left = dict(jobs)
    with _connected(), _quiet():
        blocks: Generator[_Results[_T]]
        # Closing a generator cancels running tasks. It must happen before the connection is closed.
        with contextlib.closing(_in_blocks(dict(left), functions, num_workers)) as blocks:
            for results in blocks:
                # A block that was repeated after the loss of a node may repeat results.
                yield [(name, result) for name, result in results if left.pop(name, None) is not None]
        with contextlib.closing(_one_by_one(dict(left), functions, failed, num_workers)) as blocks:
            yield from blocks


def _in_blocks(jobs: Mapping[str, Job], functions: bytes, num_workers: int | None) -> Generator[_Results[Any]]:
    """Run jobs with Ray Data. Videos that end their worker are skipped."""
    size = min(_BLOCK, max(1, len(jobs) // (_tasks_at_a_time(num_workers) * _BLOCKS_PER_WORKER)))
    run = uuid.uuid4().bytes
    rows = [
        {"mark": _digest(run + name.encode()), "name": name, "job": cloudpickle.dumps(job)}
        for name, job in jobs.items()
    ]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map(
        cast("Any", _run_unless_begun), fn_kwargs={"functions": functions}, num_cpus=1, concurrency=num_workers
    )
    context = dataset.context
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A failed block must not stop the other blocks, and a long video is not a lack of progress.
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = -1
    with contextlib.suppress(ray.exceptions.RayError):
        # Prefetching would delay each block until the next one is available.
        for batch in dataset.iter_batches(prefetch_batches=0, batch_size=None, batch_format="pyarrow"):
            table = cast("pa.Table", batch)
            results = zip(table.column("name").to_pylist(), table.column("result").to_pylist(), strict=True)
            yield [(name, pickle.loads(result)) for name, result in results if result]


def _one_by_one(
    jobs: Mapping[str, Job], functions: bytes, failed: _Failed[_T], num_workers: int | None
) -> Generator[_Results[_T]]:
    """Run one task per job. If a video ends its worker each time, its result contains that reason."""
    if not jobs:
        return
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_run)
    at_a_time = _tasks_at_a_time(num_workers)
    waiting = list(jobs.items())[::-1]
    under_way: dict[ray.ObjectRef[bytes], tuple[str, Job]] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < at_a_time:
                name, job = waiting.pop()
                under_way[task.remote(cloudpickle.dumps(job), functions)] = (name, job)
            (done, *_), _ = ray.wait(list(under_way), num_returns=1)
            name, job = under_way.pop(done)
            yield [(name, _outcome(job, done, failed))]
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)


def _outcome(job: Job, done: ray.ObjectRef[bytes], failed: _Failed[_T]) -> _T:
    try:
        result: _T = pickle.loads(ray.get(done))
        return result
    except _DEATHS as error:
        reason = str(error).strip().partition("\n")[0]
        return failed(job, VideoCrashError(job.path, 0, f"its worker ended each time it was decoded: {reason}"))
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"the Ray cluster cannot run tasks; each of its nodes must have mgdali installed:\n{error}"
        ) from error


def _run_unless_begun(row: dict[str, Any], functions: bytes) -> dict[str, str | bytes]:
    """Run one job of a block; return an empty result if a worker on this node died while it ran the job before.

    Ray does not inform a task that it is repeated. So each job that has been begun is marked by a file, which remains
    if the worker dies.
    """
    mark = Path(tempfile.gettempdir(), f"mgdali-begun-{row['mark']}")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        # The mark is kept: if another video of the block ends this worker too, the block is repeated once more.
        return {"name": row["name"], "result": b""}
    try:
        return {"name": row["name"], "result": _run(row["job"], functions)}
    finally:
        mark.unlink(missing_ok=True)


def _run(pickled: bytes, functions: bytes) -> bytes:
    """Run a pickled job and return its pickled result. Pickle keeps None, empty arrays, dtypes and all bits."""
    _keep_messages()
    job: Job = pickle.loads(pickled)
    work, failed = pickle.loads(functions)
    try:
        result = work(job)
    except Exception:
        error = VideoDecodeError(job.path, 0, f"a decoding worker failed:\n{traceback.format_exc()}")
        result = failed(job, error)
    return pickle.dumps(result)


def _measure(job: MeasureJob) -> VideoRecord:
    return measure_video(job.media, job.name, job.representations)


@functools.cache
def _keep_messages() -> None:
    """Redirect the decoder's messages, once per process: Ray uses a worker for many tasks."""
    keep_decoder_messages()


def _tasks_at_a_time(num_workers: int | None) -> int:
    return num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Connect to a cluster for the block. An existing connection is used and kept."""
    if ray.is_initialized():
        yield
        return
    with _unless_set(_USAGE, "0"):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"cannot reach or start a Ray cluster: {error}. Set RAY_ADDRESS to a running cluster, or leave it "
                "unset to start one on this machine"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _unless_set(name: str, value: str) -> Iterator[None]:
    """Set an environment variable during the block, unless the user has set it."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Turn off Ray Data's log during the block: errors of videos are in their records."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
