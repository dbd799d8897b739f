"""Measuring videos on a Ray cluster: Ray Data spreads them over its nodes, and rows stream back as they are done.

A task measures a block of videos. Where its worker or node dies, Ray gives the block to another, as often as it takes.
So a video that was begun before is left out there, and what is left is measured with a task for each video, which may
fail: one that ends every worker takes no other's row with it.
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
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import cloudpickle
import pyarrow as pa

from mgdali.errors import WorkerError, check_integer
from mgdali.index.measure import MeasureJob, failed_record, measure_video
from mgdali.video.frames import keep_decoder_messages
from mgdali.video.record import VideoRecord

try:
    import ray
    import ray.data
    import ray.exceptions
except ImportError as error:
    raise ImportError(f"engine='ray' needs Ray Data ({error}): pip install 'mgdali[ray]'") from error

__all__ = ["measure_on_ray"]

# Videos a task: enough that a task's overhead is small, few enough that a killed worker's work is soon done again.
_BLOCK = 16
_BLOCKS_A_WORKER = 8
# So that nodes that come and go do not make a video a bad one.
_RETRIES = 2
_USAGE = "RAY_USAGE_STATS_ENABLED"
_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)


def measure_on_ray(jobs: Sequence[MeasureJob], num_workers: int | None) -> Iterator[list[VideoRecord]]:
    """Measure videos on a Ray cluster; records come as they are done, some at a time, each video's once, in any order.

    The cluster is the one that this process is connected to; else that of ``RAY_ADDRESS`` or, as ``ray.init()`` finds
    it, of this machine; else one is started here and ended afterwards. Its nodes must see the videos under the same
    paths and have mgdali installed.

    Nodes may have GPUs; they are not used. Videos are decoded by the same code on each node's CPU, which is what makes
    a row the same to the byte wherever it is measured. (The feature level is torch's float32, whose last bits may
    differ between kinds of CPU, here as without Ray.)

    A video that ends its worker each time, as decoders with a bug do, gets a record of that.

    Args:
        jobs: the videos, of different names.
        num_workers: tasks at a time, >= 1; None for as many as the cluster has CPUs.

    Raises:
        WorkerError: no cluster can be reached or started, or its nodes cannot run tasks.
    """
    if num_workers is not None:
        check_integer("num_workers", num_workers, least=1)
    return _measure_all(jobs, num_workers) if jobs else iter(())


def _measure_all(jobs: Sequence[MeasureJob], num_workers: int | None) -> Iterator[list[VideoRecord]]:
    left = {job.name: job for job in jobs}
    with _connected(), _quiet():
        for measure in (_in_blocks, _one_by_one):
            # Closed before the connection is: that cancels what runs.
            with contextlib.closing(measure(list(left.values()), num_workers)) as blocks:
                for records in blocks:
                    # A block that was done again after a node's loss may repeat rows.
                    yield [record for record in records if left.pop(record.path, None) is not None]


def _in_blocks(jobs: Sequence[MeasureJob], num_workers: int | None) -> Generator[list[VideoRecord]]:
    """Measure through Ray Data; what ends its worker is left out."""
    size = min(_BLOCK, max(1, len(jobs) // (_tasks_at_a_time(num_workers) * _BLOCKS_A_WORKER)))
    run = uuid.uuid4().bytes
    rows = [{"mark": _digest(run + job.name.encode()), "job": cloudpickle.dumps(job)} for job in jobs]
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // size)).map(
        _measure_unless_begun, num_cpus=1, concurrency=num_workers
    )
    context = dataset.context
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # One block's failure is no reason to end the others', nor is a long video.
    context.max_errored_blocks = -1
    context.execution_no_progress_timeout_s = -1
    with contextlib.suppress(ray.exceptions.RayError):
        # Nothing is fetched ahead: that would hold each block back until the next one is there.
        for batch in dataset.iter_batches(prefetch_batches=0, batch_size=None, batch_format="pyarrow"):
            records = cast("pa.Table", batch).column("record").to_pylist()
            yield [pickle.loads(record) for record in records if record]


def _one_by_one(jobs: Sequence[MeasureJob], num_workers: int | None) -> Generator[list[VideoRecord]]:
    """Measure with a task for each video; one that its workers do not survive gets a record of that."""
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_measure)
    at_a_time = _tasks_at_a_time(num_workers)
    waiting = list(reversed(jobs))
    under_way: dict[ray.ObjectRef[bytes], MeasureJob] = {}
    try:
        while waiting or under_way:
            while waiting and len(under_way) < at_a_time:
                job = waiting.pop()
                under_way[task.remote(cloudpickle.dumps(job))] = job
            (done, *_), _ = ray.wait(list(under_way), num_returns=1)
            yield [_outcome(under_way.pop(done), done)]
    finally:
        for reference in under_way:
            ray.cancel(reference, force=True)


def _outcome(job: MeasureJob, done: ray.ObjectRef[bytes]) -> VideoRecord:
    try:
        record: VideoRecord = pickle.loads(ray.get(done))
        return record
    except _DEATHS as error:
        reason = str(error).strip().partition("\n")[0]
        return failed_record(job, f"its worker ended each time it was decoded: {reason}")
    except ray.exceptions.RayError as error:
        raise WorkerError(
            f"the Ray cluster cannot measure videos; each of its nodes must have mgdali installed:\n{error}"
        ) from error


def _measure_unless_begun(row: dict[str, Any]) -> dict[str, bytes]:
    """A worker's job for one video of a block; empty if the video was begun on this node before, by a worker that died.

    Marks are files, for they outlive the worker; Ray does not tell a task that it is done again.
    """
    mark = Path(tempfile.gettempdir(), f"mgdali-begun-{row['mark']}")
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        # It stays: the next video may end this worker too, and then this one comes again.
        return {"record": b""}
    try:
        return {"record": _measure(row["job"])}
    finally:
        mark.unlink(missing_ok=True)


def _measure(pickled: bytes) -> bytes:
    """The record of a job, pickled so that nothing is lost on the way: None and an empty array, types and bits."""
    _keep_messages()
    job: MeasureJob = pickle.loads(pickled)
    try:
        record = measure_video(job.media, job.name, job.representations)
    except Exception:
        record = failed_record(job, f"a decoding worker failed:\n{traceback.format_exc()}")
    return pickle.dumps(record)


@functools.cache
def _keep_messages() -> None:
    """Once a process: Ray's workers are used for task after task."""
    keep_decoder_messages()


def _tasks_at_a_time(num_workers: int | None) -> int:
    return num_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """A connection to a cluster; one that was there before is left as it is."""
    if ray.is_initialized():
        yield
        return
    with _unless_set(_USAGE, "0"):
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"cannot reach or start a Ray cluster: {error}. Set RAY_ADDRESS to a cluster that runs, or leave it "
                "unset for one on this machine"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _unless_set(name: str, value: str) -> Iterator[None]:
    """An environment variable for a while, unless the user has set it."""
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
    """Without Ray Data's log: what went wrong with a video stands in its record."""
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
