"""Building a motion index: what is new or has changed is measured, the rest is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError, VideoDecodeError, WorkerError, check_integer
from mgdali.index.measure import MeasureConfig, MeasureJob, failed_record
from mgdali.index.reader import MotionIndex
from mgdali.index.writer import IndexWriter
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint, Media, find_media
from mgdali.video.record import VideoRecord, index_name, representation_key, was_measured
from mgdali.workers.pool import LocalPool, WorkerPool
from mgdali.workers.protocols import Pool

Engine = Literal["local", "ray"]

__all__ = ["BuildReport", "Engine", "KnownVideo", "build_index", "media_of", "read_known", "measure_locally"]

# Enough that no worker waits for its next video.
_SLOTS_A_WORKER = 4
_LOOKED_AT_ONCE = 16
_SECONDS_A_GROUP = 0.1


@dataclass(frozen=True)
class BuildReport:
    """What a build did.

    Attributes:
        measured: videos that were measured now.
        kept: videos whose rows still held.
        frames: frames decoded for it.
        failed: of all videos those that could not be decoded, path to reason.
        rows: rows of the index.
    """

    measured: int
    kept: int
    frames: int
    failed: dict[str, str]
    rows: int


@dataclass
class KnownVideo:
    """The part of a video's index row that decides whether the video must be measured again.

    Attributes:
        fingerprint: Fingerprint of the file when it was measured; None if it could not be read.
        error: Reason the video could not be decoded; None if it could.
        measured: Keys of the representations that the row contains S for.
        filters: Digest of the filters with which feature-level S was measured; None without feature-level S.
    """

    fingerprint: Fingerprint | None
    error: str | None
    measured: frozenset[str]
    filters: str | None

    def has(self, representation: Representation) -> bool:
        """Whether S was measured in this way."""
        return was_measured(representation, self.measured, self.filters)


@dataclass
class _Plan:
    """Which videos are to be measured, and of the others the failures."""

    jobs: list[MeasureJob] = field(default_factory=list)
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def build_index(
    data: VideoDataset | str | os.PathLike[str] | Iterable[Media],
    path: str | os.PathLike[str],
    *,
    representations: Sequence[Representation] = (Representation(),),
    engine: Engine = "local",
    num_workers: int | None = None,
    prune: bool = False,
    retry_failed: bool = False,
    on_start: Callable[[int, int], None] = lambda todo, kept: None,
    on_record: Callable[[VideoRecord], None] = lambda record: None,
) -> BuildReport:
    """Make a motion index, or bring one up to date.

    A build that was ended, however, goes on where it was when it is started again: what was measured is kept in
    ``<path>.parts/`` until the end, when the new file takes the old one's place.

    Args:
        data: the videos: a data set, a folder (all videos below it, folders of JPEG frames too), or media.
        path: the index, a Parquet file.
        representations: how S is to be measured; each of its own kind.
        engine: ``"local"`` measures in processes of this machine, ``"ray"`` on a Ray cluster
            (``pip install 'mgdali[ray]'``).
        num_workers: processes; by default the cores this process may use, on Ray as many as it has CPUs.
        prune: drop rows of videos that are not in ``data``.
        retry_failed: measure videos again that could not be decoded, though they have not changed.
        on_start: called with the number of videos to measure and the number kept.
        on_record: called with each record as it comes.

    Raises:
        DatasetError: there are no videos, or the index cannot be read or written.
        WorkerError: workers cannot be started.
    """
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {get_args(Engine)}, got {engine!r}")
    if num_workers is not None:
        check_integer("num_workers", num_workers, least=0)
    wanted = tuple(representations)
    if len({representation_key(each) for each in wanted}) != len(wanted):
        raise ValueError(f"representations must differ in kind, got {wanted!r}")
    media = {index_name(each.path): each for each in media_of(data)}
    writer = IndexWriter(path)
    frames = 0
    try:
        plan = _plan(media, writer, wanted, retry_failed)
        on_start(len(plan.jobs), plan.kept)
        for records in _measure_all(plan.jobs, engine, num_workers):
            writer.add(*records)
            for record in records:
                frames += record.num_frames
                if record.error is not None:
                    plan.failed[record.path] = record.error
                on_record(record)
        rows = writer.commit(keep=media.__contains__ if prune else None)
    finally:
        # Ended by Ctrl-C in a notebook, this process would otherwise keep its journal from the next build.
        writer.close()
    # So that the first run need not make the copy that is mapped.
    MotionIndex(path)
    return BuildReport(len(plan.jobs), plan.kept, frames, plan.failed, rows)


def media_of(data: VideoDataset | str | os.PathLike[str] | Iterable[Media]) -> list[Media]:
    """The videos of a data set, a folder, or as given, each once.

    Raises:
        DatasetError: there are none.
    """
    if isinstance(data, str | os.PathLike):
        if not Path(data).is_dir():
            raise DatasetError(f"{os.fspath(data)} is no folder: give a folder of videos, or a VideoDataset")
        found = [Media(path) for path in find_media(data)]
        if not found:
            raise DatasetError(f"{os.fspath(data)} has no videos: give the folder that they lie in or below")
        return found
    media = list(dict.fromkeys(each.media if isinstance(each, Video) else each for each in data))
    if not media:
        raise DatasetError("there are no videos to index: give at least one")
    return media


def measure_locally(jobs: Sequence[MeasureJob], num_workers: int) -> Iterator[list[VideoRecord]]:
    """Measure videos in worker processes; records come as they are done, and for a while there may be none.

    A video that ends its worker, as decoders with a bug do, gets a record of that, and the others go on.
    """
    waiting = list(reversed(jobs))
    while waiting:
        slots = max(1, _SLOTS_A_WORKER * num_workers)
        pool: Pool = WorkerPool(num_workers, slots, MeasureConfig()) if num_workers else LocalPool(MeasureConfig())
        under_way: dict[int, MeasureJob] = {}
        free = list(range(slots))
        try:
            while waiting or under_way:
                while waiting and free:
                    slot = free.pop()
                    under_way[slot] = waiting.pop()
                    pool.submit(slot, under_way[slot])
                records = []
                for slot, outcome in pool.receive():
                    job = under_way.pop(slot)
                    free.append(slot)
                    records.append(outcome if isinstance(outcome, VideoRecord) else failed_record(job, str(outcome)))
                yield records
        except WorkerError as error:
            guilty = next((job for job in under_way.values() if job.path == error.path), None)
            if guilty is None:
                raise
            waiting += [job for job in under_way.values() if job is not guilty]
            yield [failed_record(guilty, str(error))]
        finally:
            pool.close()


def _grouped(arrivals: Iterator[list[VideoRecord]]) -> Iterator[list[VideoRecord]]:
    """Records to be written together: those that come within a tenth of a second, so that a kill loses no more.

    Writing one alone takes a good part of the time in which a short video is decoded.
    """
    group: list[VideoRecord] = []
    written = 0.0
    try:
        for records in arrivals:
            group += records
            if group and time.monotonic() - written > _SECONDS_A_GROUP:
                yield group
                group, written = [], time.monotonic()
    except (Exception, KeyboardInterrupt):
        yield group
        raise
    yield group


def _measure_all(jobs: Sequence[MeasureJob], engine: Engine, num_workers: int | None) -> Iterator[list[VideoRecord]]:
    """Records, in lists to be written together."""
    if engine == "ray":
        # Not above: Ray is an extra.
        from mgdali.index.ray_engine import measure_on_ray

        return measure_on_ray(jobs, num_workers)
    cores = len(os.sched_getaffinity(0))
    return _grouped(measure_locally(jobs, min(len(jobs), cores) if num_workers is None else num_workers))


def _plan(
    media: Mapping[str, Media], writer: IndexWriter, wanted: tuple[Representation, ...], retry_failed: bool
) -> _Plan:
    known = read_known(writer)
    plan = _Plan()
    rows = [known.get(name) for name in media]
    # Over a network each look takes milliseconds, of which many can be under way.
    with ThreadPoolExecutor(_LOOKED_AT_ONCE) as pool:
        held = list(pool.map(lambda row, each: _holds(row, each, wanted, retry_failed), rows, media.values()))
    for (name, each), row, holds in zip(media.items(), rows, held, strict=True):
        if row is None or not holds:
            plan.jobs.append(MeasureJob(each, name, wanted + _others(row, wanted)))
            continue
        plan.kept += 1
        if row.error is not None:
            plan.failed[name] = row.error
    return plan


def _holds(row: KnownVideo | None, media: Media, wanted: tuple[Representation, ...], retry_failed: bool) -> bool:
    """Whether a video need not be measured again."""
    if row is None or row.fingerprint is None or (row.error is not None and retry_failed):
        return False
    try:
        if not media.unchanged(row.fingerprint):
            return False
    except VideoDecodeError:
        # It cannot be read any more, which its new record will say.
        return False
    return row.error is not None or all(row.has(each) for each in wanted)


def _others(row: KnownVideo | None, wanted: tuple[Representation, ...]) -> tuple[Representation, ...]:
    """What a row has beside what is wanted, so that measuring anew takes nothing away."""
    if row is None:
        return ()
    every = (Representation(), Representation(channels="rgb"), Representation(motion="feature"))
    keys = {representation_key(each) for each in wanted}
    return tuple(each for each in every if representation_key(each) not in keys and row.has(each))


def read_known(writer: IndexWriter) -> dict[str, KnownVideo]:
    """Return the videos in an index and in its unmerged parts, by name.

    A video that has several rows is described by its newest row.
    """
    kinds = ["image", "image_rgb", "feature"]
    known: dict[str, KnownVideo] = {}
    for batch in writer.rows(["path", "size", "mtime_ns", "head", "error", "filters", *(f"motion_{k}" for k in kinds)]):
        there = {kind: batch.column(f"motion_{kind}").is_valid().to_pylist() for kind in kinds}
        plain = [batch.column(name).to_pylist() for name in ("path", "size", "mtime_ns", "head", "error", "filters")]
        # Within a part the later row is the newer one.
        for i in range(batch.num_rows - 1, -1, -1):
            path, size, mtime_ns, head, error, filters = (column[i] for column in plain)
            if path not in known:
                fingerprint = None if size is None else Fingerprint(size, mtime_ns, head)
                measured = frozenset(kind for kind in kinds if there[kind][i])
                known[path] = KnownVideo(fingerprint, error, measured, filters)
    return known
