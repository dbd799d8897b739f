"""Packing a data set: each video is decoded once, and a copy that is cheap to decode in parts is put into a shard."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from mgdali.datasets.named_videos import Videos
from mgdali.datasets.pack_format import FORMAT, INDEX, TABLE, LeftOut, PackManifest, format_needed
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError, check_integer, check_timeout
from mgdali.index.report_lines import short_repr
from mgdali.index.video_progress import VideoProgress
from mgdali.packing.destination import Destination, open_destination
from mgdali.packing.encoding import Encoding
from mgdali.packing.engines import Encoded, Engine, encode_all
from mgdali.packing.estimate import estimate_bytes
from mgdali.packing.job import PackJob
from mgdali.packing.plan import Known, Plan, columns_of, make_plan
from mgdali.packing.rows import RowSource, origin_bytes, write_index, write_table
from mgdali.packing.settings import check_manifest, common_settings, label_shape_of, mgdali_version, united_classes
from mgdali.packing.shard_writer import OpenShard, Sample, refusing_full_disks
from mgdali.packing.sources import check_outside, labelled_videos
from mgdali.samplers import Representation
from mgdali.video.record import VideoRecord, representation_key
from mgdali.workers.pool import workers_for

__all__ = ["DEFAULT_SHARD_SIZE", "PackReport", "PackStart", "pack"]

DEFAULT_SHARD_SIZE = 256 << 20
"""Largest size of a shard in bytes. A shard with a single larger video is larger."""

_SMALLEST_SHARD = 1 << 20
# An estimate may be wrong by so much.
_ESTIMATE_MARGIN = 0.7


@dataclass(frozen=True)
class PackStart:
    """What a run has found before it packs the first video.

    Attributes:
        todo: Number of videos to pack.
        kept: Number of videos that are packed already, or that could not be decoded before.
        estimated_bytes: Estimated size of the copies of the videos to pack; None if no video could be tried.
        free_bytes: Free space at the destination; None if it is a URL.
    """

    todo: int
    kept: int
    estimated_bytes: int | None
    free_bytes: int | None


@dataclass(frozen=True)
class PackReport:
    """Result of a run.

    Attributes:
        packed: Number of videos packed in this run.
        kept: Number of videos that were packed before, or that could not be decoded before.
        frames: Number of frames of the videos packed in this run.
        failed: Videos of the data set that could not be decoded, in this run or before: path to reason. The path of a
            segment is followed by its start and end.
        changed: Originals that have changed since they were packed: their content, label or columns. Their copies are
            kept.
        videos: Number of videos in the pack.
        shards: Number of shards in the pack.
        bytes: Size of all shards in bytes.
        origin_bytes: Size of the originals of the videos in the pack, in bytes. The segments of a file count once.
    """

    packed: int
    kept: int
    frames: int
    failed: dict[str, str]
    changed: tuple[str, ...]
    videos: int
    shards: int
    bytes: int
    origin_bytes: int

    def __repr__(self) -> str:
        return short_repr(self)


def pack(
    data: Videos,
    out: str | os.PathLike[str],
    *,
    encoding: Encoding | None = None,
    representations: Sequence[Representation] = (Representation(),),
    engine: Engine = "local",
    num_workers: int | None = None,
    timeout: float = 0.0,
    shard_size: int = DEFAULT_SHARD_SIZE,
    retry_failed: bool = False,
    work_dir: str | os.PathLike[str] | None = None,
    progress: bool = False,
    on_start: Callable[[PackStart], None] = lambda start: None,
    on_record: Callable[[VideoRecord], None] = lambda record: None,
) -> PackReport:
    """Write a data set as tar shards whose videos are cheap to decode in parts, with a motion index and a table.

    If a run ends early for any reason, the same call resumes it. It repeats only videos that were begun and were not in
    a shard yet. On one machine these are at most 8 per worker process, because encoded videos wait for earlier ones of
    the data set; up to 32 segments of a file count as one video. After a power failure, videos that the system had not
    written to the disk are repeated too.

    If the pack is complete, only videos that it does not contain are packed, into further shards.

    The files are the same, byte for byte, for any number of workers and of interruptions. With ``engine="ray"`` the
    videos are the same, but their order within the shards may differ.

    A segment of a file (:class:`~mgdali.video.time_range.TimeRange`) becomes a separate video: its frames, whose
    times begin at 0, and its S. The segments of a file come together in the shards, because the file is decoded once
    for them.

    Args:
        data: A data set, or what :func:`mgdali.packing.sources.labelled_videos` accepts: a folder, a list, tar shards.
        out: Folder of the pack, which is created, or a URL that fsspec can write.
        encoding: How the videos are encoded; by default ``Encoding()``, the preset ``small``.
        representations: Representations for which S is measured on the originals, all of different kinds.
        engine: ``"local"`` encodes in processes of this machine, ``"ray"`` on a Ray cluster
            (``pip install 'mgdali[ray]'``).
        num_workers: Number of worker processes; 0 encodes in this process. By default the number of cores that this
            process may use; on Ray the number of CPUs of the cluster.
        timeout: Longest time that a worker may take for a video, or for up to 32 segments of a file, in seconds; 0 for
            no limit. A video that takes longer twice counts as failed. Not possible on Ray or without workers.
        shard_size: Largest size of a shard in bytes, at least 1 MiB; by default 256 MiB.
        retry_failed: Whether to try videos again that could not be decoded in an earlier run.
        work_dir: Local folder for unfinished shards if ``out`` is a URL; by default in the user's cache folder.
        progress: Whether to show a progress bar: in a notebook's cell, or as one line on stderr.
        on_start: Function called before the first video is packed.
        on_record: Function called with the record of each new video; with an error if it could not be decoded.

    Raises:
        DatasetError: If there are no videos; if the encoder is missing; if the destination cannot be written, has too
            little space, or is written by another process; or if it was begun with other settings.
        ValueError: If an argument is out of range.
        WorkerError: If workers cannot be started, or if several of them die by chance. Packed videos are kept.
    """
    wanted = tuple(representations)
    _check_arguments(wanted, engine, num_workers, timeout, shard_size)
    encoding = Encoding() if encoding is None else encoding
    encoding.check_encoder()
    if isinstance(data, str | os.PathLike):
        check_outside(data, out)
    dataset = labelled_videos(data)
    destination = open_destination(out, work_dir)
    try:
        run = _Run(dataset, destination, encoding, wanted, shard_size, retry_failed)
        try:
            run.check_space(num_workers, timeout, on_start)
            with VideoProgress("Packing", "Packed", shown=progress) as bar:
                run.encode(engine, num_workers, timeout, on_record, bar)
                return run.complete()
        finally:
            run.close()
    finally:
        destination.close()


class _Run:
    """One run of :func:`pack`: what is known at its beginning, and the shard that is being written."""

    def __init__(
        self,
        dataset: VideoDataset,
        destination: Destination,
        encoding: Encoding,
        representations: tuple[Representation, ...],
        shard_size: int,
        retry_failed: bool,
    ) -> None:
        self._dataset = dataset
        self._destination = destination
        self._encoding = encoding
        self._representations = representations
        self._shard_size = shard_size
        self._manifest = destination.manifest()
        self._label_shape = label_shape_of(dataset)
        settings = common_settings(encoding, representations, self._label_shape)
        if self._manifest is not None:
            check_manifest(destination.name, self._manifest, settings)
        shards = () if self._manifest is None else self._manifest.shards
        begun = destination.check_settings(
            {**settings, "shard_size": shard_size, "version": mgdali_version(), "format": FORMAT},
            dataset.classes,
            first=len(shards),
        )
        self._classes = united_classes(destination.name, begun, dataset.classes)
        complete = [] if self._manifest is None else [destination.complete_rows(self._manifest)]
        if self._manifest is not None:
            self._classes = united_classes(destination.name, list(self._manifest.classes), self._classes)
        finished = destination.finished_rows()
        self._sources: list[RowSource] = [*complete, *finished]
        self._shards = [*shards, *(rows.shard() for rows in finished)]
        self._shard: OpenShard = destination.open_shard(len(self._shards))
        left_out = () if self._manifest is None else self._manifest.left_out
        self._known = Known.of(complete, finished, self._shard, left_out)
        self._plan: Plan = make_plan(dataset, self._known, retry_failed)
        self._packed = self._frames = 0

    def check_space(self, num_workers: int | None, timeout: float, on_start: Callable[[PackStart], None]) -> None:
        """Estimate the space that the pack needs, and report it.

        Raises:
            DatasetError: If there is clearly too little space.
        """
        todo = [self._dataset[index] for job in self._plan.jobs for index in job]
        media = [video.media for video in todo]
        workers = workers_for(len(media), num_workers)
        packed = [
            (row.fingerprint.size, row.length)
            for row in self._known.packed.values()
            if row.fingerprint and row.identity.part is None
        ]
        parts = [video.time_range for video in todo]
        estimate = estimate_bytes(media, self._encoding, parts, num_workers=workers, timeout=timeout, packed=packed)
        free = self._destination.free_bytes
        on_start(PackStart(len(todo), self._plan.kept, estimate, free))
        if estimate is not None and free is not None and estimate * _ESTIMATE_MARGIN > free:
            raise DatasetError(
                f"{self._destination.name} has {free / 1e9:.2f} GB of free space, but the copies of {len(media)} "
                f"videos need about {estimate / 1e9:.2f} GB (an estimate): free space, give another folder, or choose "
                "a smaller encoding"
            )

    def encode(
        self,
        engine: Engine,
        num_workers: int | None,
        timeout: float,
        on_record: Callable[[VideoRecord], None],
        bar: VideoProgress,
    ) -> None:
        """Pack all videos that are not packed yet."""
        bar.start(sum(map(len, self._plan.jobs)), self._plan.kept)
        if not self._plan.jobs:
            return
        jobs = [self._job(indices) for indices in self._plan.jobs]
        # The workers must end before the shard is closed.
        with contextlib.closing(encode_all(jobs, engine, num_workers, timeout)) as results:
            for encoded in results:
                record = self._store(self._plan.jobs[encoded.place][encoded.part], encoded)
                bar.count(record)
                on_record(record)

    def _job(self, indices: Sequence[int]) -> PackJob:
        videos = [self._dataset[index] for index in indices]
        parts = tuple(video.time_range for video in videos)
        return PackJob(videos[0].media, self._encoding, self._representations, parts)

    def complete(self) -> PackReport:
        """Publish the last shard, the index, the table and the manifest."""
        failures = dict(self._known.failures) | self._plan.failed
        if self._shard.videos:
            self._end_shard()
        rows = [row for source in self._sources for row in source.rows()]
        numbers = {row.identity: number for number, row in enumerate(rows) if row.error is None}
        position = {identity: place for place, identity in enumerate(self._plan.identities)}
        left = [identity for identity in failures if identity not in numbers]
        left.sort(key=lambda identity: position.get(identity, -1))
        manifest = self._new_manifest(tuple(identity.left_out(failures[identity]) for identity in left))
        if self._is_new(manifest):
            # Rows of other data sets come first, so that their places do not change.
            order = sorted(numbers, key=lambda identity: position.get(identity, -1))
            manifest = self._write([numbers[identity] for identity in order], manifest)
        else:
            self.close()
            self._destination.discard()
        return PackReport(
            packed=self._packed,
            kept=self._plan.kept,
            frames=self._frames,
            failed={identity.name: failures[identity] for identity in left if identity in position},
            changed=self._plan.changed,
            videos=manifest.videos,
            shards=len(manifest.shards),
            bytes=manifest.total_bytes,
            origin_bytes=manifest.origin_bytes,
        )

    def close(self) -> None:
        """Close the shard that is being written, which the next run continues."""
        self._shard.close()

    def _store(self, index: int, encoded: Encoded) -> VideoRecord:
        """Add one result to the shard."""
        identity = self._plan.identities[index]
        if encoded.record is None or encoded.origin is None:
            error = encoded.error or "the worker returned nothing"
            self._shard.add_failure(identity, error)
            self._plan.failed[identity] = error
            return VideoRecord(path=identity.name, error=error)
        video = self._dataset[index]
        sample = Sample(
            key=self._plan.keys[index],
            content=encoded.content,
            record=encoded.record,
            label=video.label,
            class_name=self._class_name(video.label),
            identity=identity,
            fingerprint=encoded.origin,
            columns=columns_of(self._dataset, index),
        )
        if not self._shard.fits(sample, self._shard_size):
            self._end_shard()
            self._shard = self._destination.open_shard(len(self._shards))
        record = self._shard.add(sample)
        self._packed += 1
        self._frames += record.num_frames
        return record

    def _class_name(self, label: Any) -> str | None:
        """Return the name of a label's class; None if the label is a number, a vector, or missing."""
        return self._classes[label] if self._label_shape is None and label >= 0 else None

    def _end_shard(self) -> None:
        self._shard.finish()
        rows = self._destination.publish_shard(self._shard.number)
        self._sources.append(rows)
        self._shards.append(rows.shard())

    def _is_new(self, manifest: PackManifest) -> bool:
        known = self._manifest
        if known is None:
            return True
        return (known.shards, known.left_out, known.classes) != (manifest.shards, manifest.left_out, manifest.classes)

    def _new_manifest(self, left_out: tuple[LeftOut, ...]) -> PackManifest:
        """Return the manifest; the numbers of frames and of bytes of the originals are those of the known manifest."""
        known = self._manifest
        settings = common_settings(self._encoding, self._representations, self._label_shape)
        return PackManifest(
            **{**settings, "motion": tuple(settings["motion"]), "label_shape": self._label_shape},
            version=mgdali_version(),
            classes=tuple(self._classes),
            frames=0 if known is None else known.frames,
            origin_bytes=0 if known is None else known.origin_bytes,
            shards=tuple(self._shards),
            left_out=left_out,
        )

    def _write(self, order: list[int], manifest: PackManifest) -> PackManifest:
        """Write the index, the table and the manifest, and return the manifest."""
        self.close()
        index, table = (self._destination.staging / f"new-{name}" for name in (INDEX, TABLE))
        with refusing_full_disks(index):
            frames = write_index(index, self._sources, order)
            videos = write_table(table, self._sources, order)
        manifest = replace(manifest, frames=frames, origin_bytes=origin_bytes(videos), format=format_needed(videos))
        self._destination.complete(index, table, manifest)
        return manifest


def _check_arguments(
    representations: tuple[Representation, ...], engine: str, num_workers: int | None, timeout: float, shard_size: int
) -> None:
    if engine not in get_args(Engine):
        raise ValueError(f"engine must be one of {get_args(Engine)}, got {engine!r}")
    if num_workers is not None:
        check_integer("num_workers", num_workers, least=0)
    check_timeout(timeout, num_workers)
    if timeout and engine == "ray":
        raise ValueError(f'timeout={timeout!r} is not possible with engine="ray": use engine="local"')
    check_integer("shard_size", shard_size, least=_SMALLEST_SHARD)
    if not representations or len({representation_key(each) for each in representations}) != len(representations):
        raise ValueError(f"representations must be at least one and differ in kind, got {representations!r}")
