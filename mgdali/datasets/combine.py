"""Choosing rows of a data set by a condition or at random, and joining the rows of data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Purpose, generator
from mgdali.datasets.labels import shortened
from mgdali.datasets.rows import NO_SPAN, Rows
from mgdali.datasets.segments import SegmentTable
from mgdali.errors import DatasetError

__all__ = ["Condition", "indices_where", "joined", "split_indices"]

Condition = Callable[[dict[str, Any]], Any] | Sequence[bool] | NDArray[np.bool_]
"""A function that takes a row as a dict and returns whether to keep it; or bools, ``[N]``."""


def indices_where(rows: Rows, keep: Condition) -> NDArray[np.int64]:
    """Return the indices of the rows that satisfy a condition.

    Raises:
        DatasetError: If bools have another number or type, or no row satisfies the condition.
    """
    count = len(rows.paths)
    if callable(keep):
        mask = np.fromiter((bool(keep(row)) for row in rows.dicts()), np.bool_, count)
    else:
        mask = np.asarray(keep)
    if mask.dtype != np.bool_ or mask.shape != (count,):
        raise DatasetError(
            f"filter got {mask.dtype} of shape {list(mask.shape)}: give a function, or {count} bools, one per video. "
            "subset(indices) takes indices"
        )
    if not mask.any():
        raise DatasetError(f"filter keeps none of the {count} videos: a data set needs at least one video")
    return np.flatnonzero(mask)


def split_indices(
    rows: Rows, fraction: float, by: str | None, stratify: bool, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the rows of two parts, each in increasing order.

    The arguments are those of :meth:`~mgdali.datasets.video_dataset.VideoDataset.split`.
    """
    if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.floating) or not 0 < fraction < 1:
        raise ValueError(f"fraction must be a number in (0, 1), got {fraction!r}")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed must be an integer >= 0, got {seed!r}")
    if by is not None and stratify:
        raise ValueError(f"by={by!r} and stratify=True exclude each other: give one of them")
    if stratify:
        first = _stratified(rows, fraction, seed)
    else:
        groups = np.arange(len(rows.paths)) if by is None else _groups(rows, by)
        first = _grouped(groups, fraction, seed)
    for part, mask in (("first", first), ("second", ~first)):
        if not mask.any():
            unit = "videos" if by is None else f"groups of equal {by!r}"
            raise DatasetError(
                f"split({fraction}) leaves no video for the {part} part, because there are too few {unit}: change the "
                "fraction" + ("" if by is None else ", or by=")
            )
    return np.flatnonzero(first), np.flatnonzero(~first)


def _groups(rows: Rows, by: str) -> NDArray[np.int64]:
    """Return the number of each row's group, ``[N]``, in order of first occurrence."""
    if by not in rows.columns and by != "path":
        raise ValueError(f"by must be 'path' or one of the columns {list(rows.columns)}, got {by!r}")
    numbers: dict[Any, int] = {}
    values = rows.columns.get(by, rows.paths)
    try:
        return np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, len(values))
    except TypeError as error:
        raise DatasetError(f"column {by!r} contains lists or dicts: split by a column of plain values") from error


def _grouped(groups: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows belong to the first part. Groups are added in random order, as long as this brings the number
    of rows closer to the fraction.
    """
    sizes = np.bincount(groups)
    order = generator(Purpose.SPLIT, seed, 0).permutation(len(sizes))
    totals = np.concatenate([[0], np.cumsum(sizes[order])])
    count = int(np.argmin(np.abs(totals - fraction * len(groups))))
    # A part without groups is an error only if there is a single group.
    count = min(max(count, 1), len(sizes) - 1)
    chosen = np.zeros(len(sizes), np.bool_)
    chosen[order[:count]] = True
    return chosen[groups]


def _stratified(rows: Rows, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows belong to the first part, so that each class has the fraction, rounded.

    The classes with the largest remainders are rounded up, so that the whole part has the fraction too.
    """
    if rows.labels.dtype != np.int64:
        raise DatasetError("stratify=True needs labels that are class indices: leave it out, or split by a column")
    _, classes, sizes = np.unique(rows.labels, return_inverse=True, return_counts=True)
    shares = fraction * sizes
    counts = np.floor(shares).astype(np.int64)
    missing = round(fraction * len(classes)) - int(counts.sum())
    counts[np.argsort(counts - shares, kind="stable")[: max(missing, 0)]] += 1
    random = generator(Purpose.SPLIT, seed, 0).random(len(classes))
    # Within its class, each row has a random rank.
    order = np.lexsort((random, classes))
    ranks = np.empty(len(classes), np.int64)
    ranks[order] = np.arange(len(classes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.asarray(ranks < counts[classes])


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several data sets, one after another.

    Raises:
        DatasetError: If the labels or the classes do not fit together.
    """
    labels, classes = _joined_labels(parts)
    lengths = [len(part.paths) for part in parts]
    return Rows(
        [path for part in parts for path in part.paths],
        labels,
        classes,
        _joined_spans(parts),
        {
            name: _joined_column(parts, name, lengths)
            for name in dict.fromkeys(n for part in parts for n in part.columns)
        },
        _joined_segments(parts),
    )


def _joined_spans(parts: Sequence[Rows]) -> NDArray[np.int64] | None:
    if all(part.spans is None for part in parts):
        return None
    return np.concatenate(
        [np.tile(np.array(NO_SPAN), (len(part.paths), 1)) if part.spans is None else part.spans for part in parts]
    )


def _joined_segments(parts: Sequence[Rows]) -> SegmentTable | None:
    if all(part.segments is None for part in parts):
        return None
    found = [part.segments or SegmentTable.whole(len(part.paths)) for part in parts]
    table = found[0]
    for each in found[1:]:
        table = table.extended(each)
    return table


def _joined_column(parts: Sequence[Rows], name: str, lengths: Sequence[int]) -> Sequence[Any]:
    """Return a column of all rows, with None for the rows of data sets without this column."""
    first = parts[0].columns.get(name)
    values: Any = [None] * lengths[0] if first is None else first
    for part, length in zip(parts[1:], lengths[1:], strict=True):
        other = part.columns.get(name)
        if hasattr(values, "extended"):
            values = values.extended(other, length)
        else:
            values = [*values, *([None] * length if other is None else other)]
    return values  # type: ignore[no-any-return]


def _joined_labels(parts: Sequence[Rows]) -> tuple[NDArray[Any], list[str]]:
    labelled = [part for part in parts if not _without_labels(part)]
    shapes = {(part.labels.dtype.kind, part.labels.shape[1:]) for part in labelled}
    if len(shapes) > 1:
        kinds = sorted({_kind(part) for part in labelled})
        raise DatasetError(f"data sets whose labels are {' and '.join(kinds)} cannot be joined: give them equal labels")
    if not labelled or labelled[0].labels.dtype == np.int64:
        classes = _united_classes([part.classes for part in parts])
        return np.concatenate([_renumbered(part, classes) for part in parts]), classes
    named = [part.classes for part in labelled]
    if any(classes != named[0] for classes in named):
        raise DatasetError(
            "data sets whose labels are vectors need the same classes in the same order to be joined: give each the "
            "same classes="
        )
    width = labelled[0].labels.shape[1:]
    filled = [np.full((len(p.paths), *width), np.nan, np.float32) if _without_labels(p) else p.labels for p in parts]
    return np.concatenate(filled), list(named[0])


def _without_labels(part: Rows) -> bool:
    return part.labels.dtype == np.int64 and bool((part.labels == -1).all())


def _kind(part: Rows) -> str:
    if part.labels.ndim == 2:
        return f"vectors of {part.labels.shape[1]}"
    return "class indices" if part.labels.dtype == np.int64 else "numbers"


def _united_classes(lists: Sequence[list[str]]) -> list[str]:
    """Return the first data set's classes, followed by the classes that only other data sets have."""
    named = [classes for classes in lists if classes]
    numbered = [classes == [str(number) for number in range(len(classes))] for classes in named]
    if any(numbered) and not all(numbered):
        names = named[numbered.index(False)]
        raise DatasetError(
            f"a data set with classes without names cannot be joined with one that has names ({shortened(names)}): "
            "give both the same classes="
        )
    return list(dict.fromkeys(name for classes in named for name in classes))


def _renumbered(part: Rows, classes: list[str]) -> NDArray[np.int64]:
    if part.classes == classes[: len(part.classes)]:
        return part.labels
    known = {name: number for number, name in enumerate(classes)}
    # The last entry is for missing labels, whose index is -1.
    numbers = np.array([*(known[name] for name in part.classes), -1], np.int64)
    return np.asarray(numbers[part.labels])
