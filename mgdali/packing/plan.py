"""The remaining work: the videos of a data set that a pack does not contain."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mgdali.datasets.pack_format import LeftOut, label_columns
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import VideoDecodeError
from mgdali.packing.keys import make_keys
from mgdali.packing.rows import Identity, PackedRow, RowSource, identities_of, rows_of
from mgdali.packing.shard_writer import OpenShard, as_json
from mgdali.video.media import Media
from mgdali.video.record import index_name

__all__ = ["Known", "Plan", "columns_of", "make_plan"]

_COMPARED_AT_ONCE = 16
# The copies of a job wait in memory until they are in the shard, and a run that is killed repeats them.
_PARTS_PER_JOB = 32


@dataclass(frozen=True)
class Known:
    """Videos that a pack contains, or that could not be decoded.

    Attributes:
        packed: Rows of packed videos.
        failures: Reasons of videos that could not be decoded and are not packed.
        complete: Keys of the videos that were in the pack when the run began that is continued now.
    """

    packed: Mapping[Identity, PackedRow]
    failures: Mapping[Identity, str]
    complete: frozenset[str]

    @classmethod
    def of(
        cls,
        complete: Sequence[RowSource],
        finished: Sequence[RowSource],
        shard: OpenShard,
        left_out: Sequence[LeftOut],
    ) -> Known:
        """Return what the files of a pack contain.

        Args:
            complete: Rows of the complete pack.
            finished: Rows of the shards that the run has finished.
            shard: The shard that is being written.
            left_out: The videos that the manifest lists as left out.
        """
        before = [row for source in complete for row in source.rows()]
        rows = [*before, *(row for source in finished for row in source.rows()), *rows_of(shard.table)]
        packed = {row.identity: row for row in rows if row.error is None}
        failures = {identity: each.error for identity, each in zip(_numbered(left_out), left_out, strict=True)}
        # The error of the last try.
        failures |= {row.identity: row.error for row in rows if row.error is not None}
        return cls(
            packed,
            {identity: error for identity, error in failures.items() if identity not in packed},
            frozenset(row.key for row in before),
        )


@dataclass
class Plan:
    """What a run does with each video of a data set.

    Attributes:
        identities: The originals, ``[N]``.
        keys: Keys, ``[N]``.
        jobs: Indices of the videos to pack, a list per job: one video, or segments of one file in one unit, which are
            decoded in one pass.
        kept: Number of the other videos.
        failed: Videos that could not be decoded and are not tried again: reasons.
        changed: Originals that have changed since they were packed.
    """

    identities: list[Identity]
    keys: list[str]
    jobs: list[list[int]] = field(default_factory=list)
    kept: int = 0
    failed: dict[Identity, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()


def make_plan(dataset: VideoDataset, known: Known, retry_failed: bool) -> Plan:
    """Return what is left to do.

    Args:
        dataset: The data set.
        known: What the pack contains.
        retry_failed: Whether to try videos again that could not be decoded.
    """
    parts = [dataset[index].time_range for index in range(len(dataset))] if dataset.has_segments else []
    parts = parts or [None] * len(dataset)
    identities = identities_of([index_name(path) for path in dataset.paths], parts)
    present = set(identities)
    # All keys are computed again, so that they do not depend on the moment at which an earlier run ended.
    taken = known.complete | {row.key for identity, row in known.packed.items() if identity not in present}
    plan = Plan(identities, make_keys(dataset.paths, taken, parts))
    packed: list[int] = []
    todo: list[int] = []
    for index, identity in enumerate(identities):
        if identity in known.packed:
            packed.append(index)
        elif identity in known.failures and not retry_failed:
            plan.failed[identity] = known.failures[identity]
        else:
            todo.append(index)
    plan.jobs = _jobs(dataset, todo)
    plan.kept = len(identities) - len(todo)
    # Over a network, each comparison takes milliseconds of waiting, so many run at once.
    with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
        rows = [known.packed[identities[index]] for index in packed]
        differ = list(pool.map(lambda index, row: _differs(dataset, index, row), packed, rows))
    plan.changed = tuple(identities[index].name for index, differs in zip(packed, differ, strict=True) if differs)
    return plan


def columns_of(dataset: VideoDataset, index: int) -> dict[str, Any]:
    """Return a video's values of the data set's columns."""
    return {name: values[index] for name, values in dataset.columns.items()}


def _numbered(left_out: Sequence[LeftOut]) -> list[Identity]:
    return identities_of([each.path for each in left_out], [each.part for each in left_out])


def _jobs(dataset: VideoDataset, todo: Sequence[int]) -> list[list[int]]:
    """Return the jobs of the videos to pack, in the order in which these are put into shards.

    The segments of a file come together, sorted by their start, at the place of its first segment in the data set. This
    segment counts even if it is packed already, so that the order does not depend on the moment at which an earlier run
    ended.
    """
    if not dataset.has_segments:
        return [[index] for index in todo]
    wanted = frozenset(todo)
    groups: dict[Hashable, list[tuple[float, int]]] = {}
    for index, video in enumerate(dataset):
        part = video.time_range
        group = groups.setdefault(index if part is None else (video.path, video.span, part.unit), [])
        if index in wanted:
            group.append((0.0 if part is None else part.start, index))
    # Each job decodes its file from the beginning, so those of the first segments end soon.
    ordered = ([index for _, index in sorted(group)] for group in groups.values())
    return [
        group[first : first + _PARTS_PER_JOB] for group in ordered for first in range(0, len(group), _PARTS_PER_JOB)
    ]


def _differs(dataset: VideoDataset, index: int, row: PackedRow) -> bool:
    """Whether a video differs from what was packed."""
    video = dataset[index]
    if as_json(label_columns(video.label)) != as_json(dict(zip(("label", "label_values"), row.label, strict=True))):
        return True
    if as_json(columns_of(dataset, index)) != row.columns:
        return True
    return row.fingerprint is not None and not _unchanged(video.media, row)


def _unchanged(media: Media, row: PackedRow) -> bool:
    try:
        return row.fingerprint is None or media.unchanged(row.fingerprint)
    except VideoDecodeError:
        # The original may have been removed: its copy remains.
        return True
