"""Building a motion index: new and changed videos are measured, all other rows are kept.

The row of a video that was moved, renamed or copied is copied too, if the index contains its size and its head.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

from mgdali.datasets.named_videos import Videos, media_of
from mgdali.errors import VideoDecodeError, check_integer, check_timeout
from mgdali.index.known import KnownContents, KnownVideo, Renaming, copy_renamed, read_known
from mgdali.index.measure import MeasureConfig, MeasureJob, failed_record
from mgdali.index.names import AnyPath, VideoNames, common_root
from mgdali.index.packed_rows import copy_rows, packs_of
from mgdali.index.reader import MotionIndex
from mgdali.index.report_lines import short_repr
from mgdali.index.video_progress import VideoProgress
from mgdali.index.writer import IndexWriter
from mgdali.samplers import Representation
from mgdali.video.media import Media
from mgdali.video.record import VideoRecord, index_name, representation_key
from mgdali.workers.pool import start_pool, workers_for
from mgdali.workers.protocols import Outcome

Engine = Literal["local", "ray"]

__all__ = ["BuildReport", "Engine", "build_index", "measure_locally"]

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
        matched: Number of videos that the index contained under another name, with the same size and the same first 64
            KiB. They are not measured.
    """

    measured: int
    kept: int
    frames: int
    failed: dict[str, str]
    rows: int
    copied: int = 0
    matched: int = 0

    def __repr__(self) -> str:
        return short_repr(self)


@dataclass
class _Plan:
    """The videos to measure, rows of packed videos, rows to copy, all full names, and what is kept."""

    jobs: list[MeasureJob] = field(default_factory=list)
    copies: list[VideoRecord] = field(default_factory=list)
    renamings: list[Renaming] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def build_index(
    data: Videos,
    path: AnyPath,
    *,
    representations: Sequence[Representation] = (Representation(),),
    root: AnyPath | None = None,
    engine: Engine = "local",
    num_workers: int | None = None,
    timeout: float = 0.0,
    prune: bool = False,
    retry_failed: bool = False,
    progress: bool = False,
    on_start: Callable[[int, int], None] = lambda todo, kept: None,
    on_record: Callable[[VideoRecord], None] = lambda record: None,
) -> BuildReport:
    """Create a motion index or update it.

    A video that is not in the index, but has the size and the first 64 KiB of one that is, gets a copy of its row.

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
        root: Folder or URL that names in the index are relative to, as far as videos are below it. If the videos are
            moved, :class:`~mgdali.MotionIndex` finds them with another root. By default an existing file keeps its
            root; that of a new file is ``data`` if it is a folder, otherwise the deepest folder or URL that contains
            all videos. If it differs from the root of an existing file, the rows are renamed.
        engine: ``"local"`` measures in processes of this machine, ``"ray"`` on a Ray cluster
            (``pip install 'mgdali[ray]'``).
        num_workers: Number of worker processes; 0 measures in this process. By default the number of cores that this
            process may use; on Ray the number of CPUs of the cluster.
        timeout: Longest time that a worker may take for a video, in seconds; 0 for no limit. A video that takes longer
            twice counts as failed, and the next build tries it again. Not possible on Ray or without workers.
        prune: Whether to remove rows of videos that are not in ``data``.
        retry_failed: Whether to measure videos again that have not changed and could not be decoded.
        progress: Whether to show a progress bar: in a notebook's cell, or as one line on stderr.
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
    new_root = data if isinstance(data, str | os.PathLike) else common_root(media)
    writer = IndexWriter(path, root=root, new_root=new_root)
    frames = 0
    try:
        with VideoProgress("Measuring", "Measured", shown=progress) as bar:
            writer.follow(media)
            plan = _plan(media, writer, wanted, retry_failed)
            writer.add(*plan.copies)
            copy_renamed(writer, plan.renamings)
            on_start(len(plan.jobs), plan.kept)
            bar.start(len(plan.jobs), plan.kept)
            for records in _measure_all(plan.jobs, engine, num_workers, timeout):
                writer.add(*records)
                for record in records:
                    frames += record.num_frames
                    if record.error is not None:
                        plan.failed[record.path] = record.error
                    bar.count(record)
                    on_record(record)
            rows = writer.commit(keep=plan.names if prune else None)
    finally:
        # After Ctrl-C in a notebook, the process lives on. Its locked journal would be ignored by the next build.
        writer.close()
    # Creates the mapped copy now, so that the first run does not have to.
    MotionIndex(path)
    return BuildReport(
        len(plan.jobs), plan.kept, frames, plan.failed, rows, copied=len(plan.copies), matched=len(plan.renamings)
    )


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
    videos = _by_stored_name(media, writer.names, known)
    plan = _Plan(names=list(map(writer.names.full, videos)))
    rows = [known.get(stored) for stored in videos]
    packs = packs_of(videos.values())
    is_packed = [index_name(each.path) in packs for each in videos.values()]
    contents = KnownContents(known, wanted)
    # Over a network, each comparison takes milliseconds of waiting, so many run at once.
    with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
        valid = list(pool.map(lambda row, each: _is_valid(row, each, wanted, retry_failed), rows, videos.values()))
        new = [row is None and not packed for row, packed in zip(rows, is_packed, strict=True)]
        found = list(pool.map(lambda is_new, each: contents.find(each) if is_new else None, new, videos.values()))
    to_copy: dict[str, list[str]] = {}
    for i, (name, each) in enumerate(zip(plan.names, videos.values(), strict=True)):
        row, match = rows[i], found[i]
        if is_packed[i] and not valid[i]:
            own = index_name(each.path)
            to_copy.setdefault(packs[own], []).append(own)
        elif row is not None and valid[i]:
            plan.kept += 1
            if row.error is not None:
                plan.failed[name] = row.error
        elif match is not None and all(map(known[match[0]].has, wanted)):
            plan.renamings.append(Renaming(match[0], name, match[1]))
        else:
            known_row = row if match is None else known[match[0]]
            plan.jobs.append(MeasureJob(each, name, wanted + _other_representations(known_row, wanted)))
    for folder, names in to_copy.items():
        plan.copies += copy_rows(folder, names, wanted)
    return plan


def _by_stored_name(media: Mapping[str, Media], names: VideoNames, known: Container[str]) -> dict[str, Media]:
    """Return the videos by their names in the file, where each video has one name even if links lead to it."""
    found: dict[str, Media] = {}
    for name, each in media.items():
        stored = next((stored for stored in names.candidates(name) if stored in known), names.stored(name))
        found.setdefault(stored, each)
    return found


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
