"""Folds: each video is tested once, by heads that are trained on the videos of the other folds."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from mgdali.choices import Purpose, generator
from mgdali.errors import DatasetError

__all__ = ["block_folds", "check_folds", "column_folds", "random_folds"]

_NUMBER = re.compile(r"([0-9]+)")


def column_folds(values: Sequence[Hashable], folds: int, column: str) -> NDArray[np.int64]:
    """Return the fold of each video, int64 ``[V]``: videos with equal values are in one fold.

    The values with the most videos come first, each into the fold that has the fewest videos until then.

    Args:
        values: Value of each video, ``[V]``.
        folds: Number of folds, >= 2.
        column: Name of the column, for errors.

    Raises:
        DatasetError: If a value is missing, or there are fewer values than folds.
    """
    missing = sum(value is None or value != value for value in values)
    if missing:
        raise DatasetError(f"the column {column!r} is empty for {missing} videos: fill it in, or use other folds")
    counts: dict[Hashable, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if len(counts) < folds:
        raise DatasetError(
            f"the column {column!r} has {len(counts)} different values, which cannot fill {folds} folds: give at most "
            f"--folds {len(counts)}" + ("" if len(counts) >= 2 else ", or another column")
        )
    filled = [0] * folds
    fold_of: dict[Hashable, int] = {}
    for value in sorted(counts, key=lambda value: (-counts[value], str(value))):
        fold_of[value] = filled.index(min(filled))
        filled[fold_of[value]] += counts[value]
    return np.array([fold_of[value] for value in values], np.int64)


def block_folds(names: Sequence[str], labels: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """Return the fold of each video, int64 ``[V]``: each class is cut into blocks of neighbouring names.

    Names are in the order of the numbers in them, so that ``clip_2`` comes before ``clip_10``. Neighbours often show
    the same person or scene. Videos with equal names, such as segments of a file, are in one fold.

    Args:
        names: Name of each video, ``[V]``.
        labels: Class index of each video, ``[V]``.
        folds: Number of folds, >= 2.

    Raises:
        DatasetError: If there are fewer names than folds.
    """
    return _dealt(names, labels, folds, lambda own: sorted(own, key=_natural))


def random_folds(names: Sequence[str], labels: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return the fold of each video, int64 ``[V]``, at random: each class is spread evenly over the folds.

    Args:
        names, labels, folds: As in :func:`block_folds`.
        seed: Seed of the random choice, >= 0.

    Raises:
        DatasetError: As in :func:`block_folds`.
    """
    rng = generator(Purpose.SPLIT, seed, 0)
    return _dealt(names, labels, folds, lambda own: [own[i] for i in rng.permutation(len(own))])


def check_folds(assigned: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Check that each class can be learned: its videos are in at least two folds.

    Raises:
        DatasetError: If the videos of a class are all in one fold.
    """
    for label in np.unique(labels):
        own = assigned[labels == label]
        name = classes[int(label)]
        if len(own) == 1:
            raise DatasetError(
                f"the class {name!r} has one video, which cannot be both learned and tested: add videos of this class, "
                "or remove it"
            )
        if len(np.unique(own)) == 1:
            raise DatasetError(
                f"all {len(own)} videos of the class {name!r} are in one fold, so no head can learn it: make folds in "
                "another way, or remove the class"
            )


def _dealt(
    names: Sequence[str],
    labels: NDArray[np.int64],
    folds: int,
    in_order: Callable[[list[str]], list[str]],
) -> NDArray[np.int64]:
    """Cut the names of each class into blocks, one per fold."""
    # A file whose segments have different classes belongs to the class of the first of them.
    class_of: dict[str, int] = {}
    for name, label in zip(names, labels.tolist(), strict=True):
        class_of.setdefault(name, label)
    if len(class_of) < folds:
        raise DatasetError(
            f"{len(class_of)} videos cannot fill {folds} folds: give more videos, or at most --folds {len(class_of)}"
        )
    fold_of: dict[str, int] = {}
    for rank, label in enumerate(sorted(set(class_of.values()))):
        own = in_order([name for name, its in class_of.items() if its == label])
        # The first blocks are the larger ones. Each class begins with another fold, so that folds have similar sizes.
        for block, part in enumerate(np.array_split(np.arange(len(own)), folds)):
            fold_of |= {own[i]: (block + rank) % folds for i in part}
    return np.array([fold_of[name] for name in names], np.int64)


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which names are sorted by the numbers in them."""
    # Texts and numbers take turns in the parts, beginning with a text.
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(_NUMBER.split(name))]
