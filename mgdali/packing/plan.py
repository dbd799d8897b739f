"""The remaining work: the videos of a data set that a pack does not contain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mgdali.datasets.pack_format import LeftOut
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import VideoDecodeError
from mgdali.packing.keys import make_keys
from mgdali.packing.rows import Identity, PackedRow, RowSource, rows_of
from mgdali.packing.shard_writer import OpenShard, as_json
from mgdali.video.media import Media
from mgdali.video.record import index_name

__all__ = ["Known", "Plan", "columns_of", "identities_of", "make_plan"]

_COMPARED_AT_ONCE = 16


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
        todo: Indices of the videos to pack, increasing.
        kept: Number of the other videos.
        failed: Videos that could not be decoded and are not tried again: reasons.
        changed: Originals that have changed since they were packed.
    """

    identities: list[Identity]
    keys: list[str]
    todo: list[int] = field(default_factory=list)
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
    identities = identities_of(dataset.paths)
    present = set(identities)
    # All keys are computed again, so that they do not depend on the moment at which an earlier run ended.
    taken = known.complete | {row.key for identity, row in known.packed.items() if identity not in present}
    plan = Plan(identities, make_keys(dataset.paths, taken))
    packed: list[int] = []
    for index, identity in enumerate(identities):
        if identity in known.packed:
            packed.append(index)
        elif identity in known.failures and not retry_failed:
            plan.failed[identity] = known.failures[identity]
        else:
            plan.todo.append(index)
    plan.kept = len(identities) - len(plan.todo)
    # Over a network, each comparison takes milliseconds of waiting, so many run at once.
    with ThreadPoolExecutor(_COMPARED_AT_ONCE) as pool:
        rows = [known.packed[identities[index]] for index in packed]
        differ = list(pool.map(lambda index, row: _differs(dataset, index, row), packed, rows))
    plan.changed = tuple(identities[index][0] for index, differs in zip(packed, differ, strict=True) if differs)
    return plan


def identities_of(paths: Iterable[str]) -> list[Identity]:
    """Return the names of originals, and how many earlier ones are the same."""
    counts: dict[str, int] = {}
    found = []
    for path in paths:
        # Names of files need not be valid text, but columns of tables must be.
        name = index_name(path).encode(errors="surrogateescape").decode(errors="replace")
        found.append((name, counts.get(name, 0)))
        counts[name] = counts.get(name, 0) + 1
    return found


def columns_of(dataset: VideoDataset, index: int) -> dict[str, Any]:
    """Return a video's values of the data set's columns."""
    return {name: values[index] for name, values in dataset.columns.items()}


def _numbered(left_out: Sequence[LeftOut]) -> list[Identity]:
    return identities_of(each.path for each in left_out)


def _differs(dataset: VideoDataset, index: int, row: PackedRow) -> bool:
    """Whether a video differs from what was packed."""
    video = dataset[index]
    if (video.label, as_json(columns_of(dataset, index))) != (row.label, row.columns):
        return True
    return row.fingerprint is not None and not _unchanged(video.media, row)


def _unchanged(media: Media, row: PackedRow) -> bool:
    try:
        return row.fingerprint is None or media.unchanged(row.fingerprint)
    except VideoDecodeError:
        # The original may have been removed: its copy remains.
        return True
