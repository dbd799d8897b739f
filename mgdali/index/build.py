"""Building a motion index: new and changed videos are measured, all other rows are kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

from mgdali.datasets.named_videos import Videos, media_of
from mgdali.errors import VideoDecodeError, check_integer, check_timeout
from mgdali.index.measure import MeasureConfig, MeasureJob, failed_record
from mgdali.index.packed_rows import copy_rows, packs_of
from mgdali.index.reader import MotionIndex
from mgdali.index.writer import IndexWriter
from mgdali.samplers import Representation
from mgdali.video.media import Fingerprint, Media
from mgdali.video.record import VideoRecord, index_name, representation_key, was_measured
from mgdali.workers.pool import start_pool, workers_for
from mgdali.workers.protocols import Outcome

Engine = Literal["local", "ray"]

__all__ = ["BuildReport", "Engine", "KnownVideo", "build_index", "read_known", "measure_locally"]

# Enough jobs that no worker waits for its next video.
_SLOTS_PER_WORKER = 4
_COMPARED_AT_ONCE = 16
_GROUP_SECONDS = 0.1


@dataclass(frozen=True)
class BuildReport:
    """Result of a build.

    Attributes:
        measured: Number of videos measured in this build.
        kept: Number of videos whose rows are still valid.
        frames: Number of frames decoded in this build.
        failed: Videos that could not be decoded, in this build or before: path to reason.
        rows: Number of rows in the index.
        copied: Number of rows that were copied from packed data sets, whose videos are not measured.
    """

    measured: int
    kept: int
    frames: int
    failed: dict[str, str]
    rows: int
    copied: int = 0


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
    """The videos to measure, rows of packed videos, the number of kept rows, and the kept failures."""

    jobs: list[MeasureJob] = field(default_factory=list)
    copies: list[VideoRecord] = field(default_factory=list)
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def build_index(
    data: Videos,
    path: str | os.PathLike[str],
    *,
    representations: Sequence[Representation] = (Representation(),),
    engine: Engine = "local",
    num_workers: int | None = None,
    timeout: float = 0.0,
    prune: bool = False,
    retry_failed: bool = False,
    on_start: Callable[[int, int], None] = lambda todo, kept: None,
    on_record: Callable[[VideoRecord], None] = lambda record: None,
) -> BuildReport:
    """Create a motion index or update it.

    Videos of a packed data set are not measured: their rows are copied from its index, because S is that of the
    originals.

    If a build ends early for any reason, the next build resumes it: records are stored in ``<path>.parts/`` until the
    end, when the new file replaces the old one.

    Args:
        data: The videos: a data set; a folder (all videos below it, including folders of JPEG frames); or one or more
            videos, as paths, :class:`~mgdali.datasets.video_dataset.Video` or :class:`~mgdali.video.media.Media`. A
            single path names a folder.
        path: Path of the index, a Parquet file.
        representations: Representations for which S is measured, all of different kinds.
        engine: ``"local"`` measures in processes of this machine, ``"ray"`` on a Ray cluster
            (``pip install 'mgdali[ray]'``).
        num_workers: Number of worker processes; 0 measures in this process. By default the number of cores that this
            process may use; on Ray the number of CPUs of the cluster.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit. A video that takes longer
            twice counts as failed, and the next build tries it again. Not possible on Ray or without workers.
        prune: Whether to remove rows of videos that are not in ``data``.
        retry_failed: Whether to measure videos again that have not changed and could not be decoded.
        on_start: Function called with the number of videos to measure and the number of kept videos.
        on_record: Function called with each new record.

    Raises:
        DatasetError: If there are no videos, if the index cannot be read or written, or if a packed data set lacks a
            representation.
        ValueError: If an argument is out of range.
        WorkerError: If workers cannot be started, or if several of them die by chance. Measured videos are kept.
    """
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {get_args(Engine)}, got {engine!r}")
    if num_workers is not None:
        check_integer("num_workers", num_workers, least=0)
    check_timeout(timeout, num_workers)
    if timeout and engine == "ray":
        raise ValueError(f'timeout={timeout!r} is not possible with engine="ray": use engine="local"')
    wanted = tuple(representations)
    if len({representation_key(each) for each in wanted}) != len(wanted):
        raise ValueError(f"representations must differ in kind, got {wanted!r}")
    media = {index_name(each.path): each for each in media_of(data)}
    writer = IndexWriter(path)
    frames = 0
    try:
        plan = _plan(media, writer, wanted, retry_failed)
        writer.add(*plan.copies)
        on_start(len(plan.jobs), plan.kept)
        for records in _measure_all(plan.jobs, engine, num_workers, timeout):
            writer.add(*records)
            for record in records:
                frames += record.num_frames
                if record.error is not None:
                    plan.failed[record.path] = record.error
                on_record(record)
        rows = writer.commit(keep=media.__contains__ if prune else None)
    finally:
        # After Ctrl-C in a notebook, the process lives on. Its locked journal would be ignored by the next build.
        writer.close()
    # Creates the mapped copy now, so that the first run does not have to.
    MotionIndex(path)
    return BuildReport(len(plan.jobs), plan.kept, frames, plan.failed, rows, len(plan.copies))


def measure_locally(jobs: Sequence[MeasureJob], num_workers: int, timeout: float = 0.0) -> Iterator[list[VideoRecord]]:
    """Measure videos in worker processes. Yield lists of finished records; a list may be empty.

    If a video ends two workers, for example because of a bug in a decoder, its record contains that reason, and the
    other videos are measured. The same applies to a video that takes longer than the timeout twice.

    Args:
        jobs: The videos.
        num_workers: Number of worker processes; 0 measures in this process.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit.

    Raises:
        WorkerError: If workers cannot be started, or if several of them die by chance.
    """
    slots = max(1, _SLOTS_PER_WORKER * num_workers)
    pool = start_pool(MeasureConfig(), num_workers, slots, timeout=timeout)
    waiting = list(reversed(jobs))
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
                records.append(
                    outcome if isinstance(outcome, VideoRecord) else failed_record(job, _as_error(job, outcome))
                )
            yield records
    finally:
        pool.close()


def _as_error(job: MeasureJob, outcome: Outcome) -> VideoDecodeError:
    return outcome if isinstance(outcome, VideoDecodeError) else VideoDecodeError(job.path, 0, str(outcome))


def _grouped(arrivals: Iterator[list[VideoRecord]]) -> Iterator[list[VideoRecord]]:
    """Group the records that arrive within 0.1 s, so that each group is written in one call.

    Writing a single record takes a considerable part of the time in which a short video is decoded. A kill of the
    process loses at most one group.
    """
    group: list[VideoRecord] = []
    written = 0.0
    try:
        for records in arrivals:
            group += records
            if group and time.monotonic() - written > _GROUP_SECONDS:
                yield group
                group, written = [], time.monotonic()
    except (Exception, KeyboardInterrupt):
        yield group
        raise
    yield group


def _measure_all(
    jobs: Sequence[MeasureJob], engine: Engine, num_workers: int | None, timeout: float
) -> Iterator[list[VideoRecord]]:
    """Yield records in lists to be written together."""
    if engine == "ray":
        # Imported late because Ray is an optional dependency.
        from mgdali.index.ray_engine import measure_on_ray

        return measure_on_ray(jobs, num_workers)
    return _grouped(measure_locally(jobs, workers_for(len(jobs), num_workers), timeout))


def _plan(
    media: Mapping[str, Media], writer: IndexWriter, wanted: tuple[Representation, ...], retry_failed: bool
) -> _Plan:
    known = read_known(writer)
    plan = _Plan()
    rows = [known.get(name) for name in media]
    # Over a network, each comparison takes milliseconds of waiting, so many run at once.
    with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
        valid = list(pool.map(lambda row, each: _is_valid(row, each, wanted, retry_failed), rows, media.values()))
    packs = packs_of(media.values())
    to_copy: dict[str, list[str]] = {}
    for (name, each), row, row_is_valid in zip(media.items(), rows, valid, strict=True):
        if not row_is_valid and name in packs:
            to_copy.setdefault(packs[name], []).append(name)
            continue
        if row is None or not row_is_valid:
            plan.jobs.append(MeasureJob(each, name, wanted + _other_representations(row, wanted)))
            continue
        plan.kept += 1
        if row.error is not None:
            plan.failed[name] = row.error
    for folder, names in to_copy.items():
        plan.copies += copy_rows(folder, names, wanted)
    return plan


def _is_valid(row: KnownVideo | None, media: Media, wanted: tuple[Representation, ...], retry_failed: bool) -> bool:
    """Whether a row is still valid, so that its video need not be measured again."""
    if row is None or row.fingerprint is None or (row.error is not None and retry_failed):
        return False
    try:
        if not media.unchanged(row.fingerprint):
            return False
    except VideoDecodeError:
        # It can no longer be read. It is measured again, so that its new record contains the error.
        return False
    return row.error is not None or all(row.has(each) for each in wanted)


def _other_representations(row: KnownVideo | None, wanted: tuple[Representation, ...]) -> tuple[Representation, ...]:
    """Return the other representations that a row contains, so that measuring again keeps them."""
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
