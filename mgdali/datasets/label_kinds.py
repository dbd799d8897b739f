"""Labels of every kind: class indices, names, numbers, vectors, sets of classes, and missing labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.labels import as_list, class_indices, written_labels
from mgdali.errors import DatasetError

__all__ = ["Labels", "read_labels", "stored_labels"]

_MISSING, _NAN, _NAME, _NUMBER, _INDEX, _SEVERAL = range(6)


@dataclass(frozen=True)
class Labels:
    """The labels of a data set.

    Attributes:
        values: Class indices int64 ``[N]``, -1 for a missing label; numbers float32 ``[N]``, NaN for a missing label;
            or vectors float32 ``[N, C]``, a row of NaN for a missing label.
        classes: Names of the classes, ``[C]``; empty for numbers, for vectors without names, and if all labels are
            missing.
    """

    values: NDArray[Any]
    classes: list[str]


def read_labels(
    labels: Any, places: Sequence[str], classes: list[str] | None, *, names_may_be_numbers: bool = False
) -> Labels:
    """Return labels as an array, with the names of the classes.

    All labels together decide their kind. None, NaN and empty names are missing labels and decide nothing.

    - Integers are class indices. Without ``classes``, the classes are the numbers up to the largest one.
    - Names are names of classes. Without ``classes``, the classes are the names that occur, sorted; names that are all
      written integers are class indices.
    - Numbers with at least one float, without ``classes``, are numbers.
    - An array or tensor with two dimensions, and lists with at least one float or bool, are vectors of one length.
    - Other lists are sets of class indices or names. They become vectors of 0 and 1. An empty list is a video without
      any class.

    Args:
        labels: One label per video, ``[N]``; None if there are no labels.
        places: What errors call each video, ``[N]``.
        classes: Names of the classes; None if the labels define them.
        names_may_be_numbers: Whether a name may be the written index of one of ``classes``.

    Raises:
        DatasetError: If the numbers of labels and videos differ, labels have different kinds, a label is not a class,
            or a number is infinite.
    """
    if labels is None:
        return _missing(len(places), classes)
    if getattr(labels, "ndim", None) == 2:
        return _from_matrix(labels, places, classes)
    given = as_list(labels)
    if len(places) != len(given):
        raise DatasetError(f"{len(places)} paths and {len(given)} labels: give each path one label")
    if any(hasattr(kind, "tolist") for kind in set(map(type, given))):
        given = [value.tolist() if hasattr(value, "tolist") else value for value in given]
    kinds = _kinds(given)
    if _SEVERAL in kinds:
        return _from_lists(given, places, classes, names_may_be_numbers)
    present = kinds - {_MISSING, _NAN}
    if not present:
        return _missing(len(places), classes)
    if _NUMBER in present and classes is None:
        return _numbers(given, places)

    def indices(some: list[Any], places: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
        if present == {_NAME} and (classes is None or names_may_be_numbers):
            return _named(some, places, classes)
        found = class_indices(some, places, classes)
        return found, _numbered(found) if classes is None else classes

    return _scattered(given, places, indices) if kinds - present else Labels(*indices(given, places))


def stored_labels(labels: Any, paths: Sequence[str], classes: Sequence[str]) -> Labels:
    """Return labels that were stored as an array, with -1 and NaN for missing ones.

    Args:
        labels: Values as in :class:`Labels`.
        paths: Paths of the videos, for errors, ``[N]``.
        classes: Names of the classes.

    Raises:
        DatasetError: If a class index is not the index of a class.
    """
    values = np.asarray(labels)
    outside = (values < -1) | (values >= len(classes)) if values.dtype.kind == "i" else np.zeros(0, np.bool_)
    bad = np.flatnonzero(outside)
    if len(bad):
        raise DatasetError(
            f"{paths[bad[0]]}: label {values[bad[0]]} is outside [0, {len(classes)}), the data set's classes"
        )
    return Labels(values, list(classes))


def _missing(count: int, classes: list[str] | None) -> Labels:
    return Labels(np.full(count, -1, np.int64), classes or [])


def _kinds(given: list[Any]) -> set[int]:
    types = set(map(type, given))
    if types == {int}:
        return {_INDEX}
    return {_kind(value) for value in (set(given) if types <= {int, str, type(None)} else given)}


def _kind(value: Any) -> int:
    if value is None or (isinstance(value, str) and not value):
        return _MISSING
    if isinstance(value, str):
        return _NAME
    if isinstance(value, float):
        return _NAN if math.isnan(value) else _NUMBER
    return _SEVERAL if isinstance(value, Iterable) and not isinstance(value, bytes) else _INDEX


def _scattered(
    given: list[Any],
    places: Sequence[str],
    indices: Callable[[list[Any], Sequence[str]], tuple[NDArray[np.int64], list[str]]],
) -> Labels:
    """Return class indices, with -1 for missing labels."""
    rows = [row for row, value in enumerate(given) if _kind(value) > _NAN]
    found, classes = indices([given[row] for row in rows], _Some(places, rows))
    values = np.full(len(given), -1, np.int64)
    values[rows] = found
    return Labels(values, classes)


def _named(words: list[str], places: Sequence[str], classes: list[str] | None) -> tuple[NDArray[np.int64], list[str]]:
    """Return the class indices of names. Each name is looked up once."""
    first: dict[str, int] = {}
    for row, word in enumerate(words):
        first.setdefault(word, row)
    numbers, names = written_labels(list(first), _Some(places, list(first.values())), classes)
    known = dict(zip(first, numbers, strict=True))
    found = np.fromiter((known[word] for word in words), np.int64, len(words))
    return found, _numbered(found) if names is None else names


def _numbered(indices: NDArray[np.int64]) -> list[str]:
    return [str(number) for number in range(int(indices.max(initial=-1)) + 1)]


def _numbers(given: list[Any], places: Sequence[str]) -> Labels:
    """Return labels that are numbers, float32 ``[N]``."""
    if not set(map(type, given)) <= {int, float}:
        for row, value in enumerate(given):
            if _kind(value) != _MISSING and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise DatasetError(
                    f"{places[row]}: label {value!r} ({type(value).__name__}) is not a number, but other labels are: "
                    "give only numbers, or only class indices and names"
                )
    values = np.fromiter((_float(value) for value in given), np.float64, len(given))
    return Labels(_finite(values, places), [])


def _float(value: Any) -> float:
    """Return a number; NaN for a missing one, infinity for an integer that is too large."""
    try:
        return math.nan if _kind(value) == _MISSING else float(value)
    except OverflowError:
        return math.inf


def _finite(values: NDArray[np.float64], places: Sequence[str]) -> NDArray[np.float32]:
    """Return numbers in float32."""
    with np.errstate(over="ignore"):
        found = values.astype(np.float32)
    bad = np.argwhere(np.isinf(found))
    if len(bad):
        value = values[tuple(bad[0])]
        raise DatasetError(f"{places[bad[0][0]]}: label {value} is not a finite float32: correct it")
    return found


def _from_matrix(labels: Any, places: Sequence[str], classes: list[str] | None) -> Labels:
    """Return the labels of an array or a tensor ``[N, C]``."""
    matrix = np.asarray(labels if isinstance(labels, np.ndarray) else labels.tolist())
    if len(matrix) != len(places):
        raise DatasetError(f"{len(places)} paths and {len(matrix)} labels: give each path one label")
    if matrix.dtype.kind not in "biuf":
        raise DatasetError(f"labels is an array of {matrix.dtype}: give numbers [N, C], or lists of names")
    return _vectors(matrix.astype(np.float64), places, classes)


def _vectors(values: NDArray[np.float64], places: Sequence[str], classes: list[str] | None) -> Labels:
    if classes is not None and len(classes) != values.shape[1]:
        raise DatasetError(
            f"the labels are vectors of {values.shape[1]} numbers, but there are {len(classes)} classes: give one name "
            "per number, or leave out classes="
        )
    return Labels(_finite(values, places), classes or [])


def _from_lists(
    given: list[Any], places: Sequence[str], classes: list[str] | None, names_may_be_numbers: bool
) -> Labels:
    """Return the labels of lists: vectors if they contain floats or bools, otherwise sets of classes."""
    lists: list[list[Any] | None] = []
    for row, value in enumerate(given):
        kind = _kind(value)
        if kind not in (_SEVERAL, _MISSING, _NAN):
            raise DatasetError(
                f"{places[row]}: label {value!r} ({type(value).__name__}) is not a list, but other labels are: give "
                "each video a list"
            )
        lists.append([_plain(each) for each in value] if kind == _SEVERAL else None)
    if any(isinstance(each, float | bool) for found in lists if found for each in found):
        return _from_vectors(lists, places, classes, sets=[isinstance(value, Set) for value in given])
    return _from_sets(lists, places, classes, names_may_be_numbers)


def _from_vectors(
    lists: list[list[Any] | None], places: Sequence[str], classes: list[str] | None, sets: list[bool]
) -> Labels:
    length = next(len(found) for found in lists if found is not None)
    values = np.full((len(lists), length), math.nan)
    for row, found in enumerate(lists):
        if found is None:
            continue
        if sets[row] or len(found) != length:
            raise DatasetError(
                f"{places[row]}: label {found!r} has {len(found)} numbers, but the first label has {length}: give each "
                "video a list of as many numbers. For sets of classes, give lists of integers or names"
            )
        if not all(isinstance(each, int | float) or each is None for each in found):
            raise DatasetError(f"{places[row]}: label {found!r} is not a list of numbers, but other labels are")
        values[row] = [_float(each) for each in found]
    return _vectors(values, places, classes)


def _from_sets(
    lists: list[list[Any] | None], places: Sequence[str], classes: list[str] | None, names_may_be_numbers: bool
) -> Labels:
    """Return vectors of 0 and 1, float32 ``[N, C]``."""
    rows = [row for row, found in enumerate(lists) for _ in found or ()]
    flat = [each for found in lists for each in found or ()]
    flat_places = _Some(places, rows)
    for position, each in enumerate(flat):
        if _kind(each) in (_MISSING, _NAN, _SEVERAL):
            raise DatasetError(f"{flat_places[position]}: label {lists[rows[position]]!r} contains {each!r}: remove it")
    names = all(isinstance(each, str) for each in flat)
    if flat and names and (classes is None or names_may_be_numbers):
        indices, found_classes = _named(flat, flat_places, classes)
    else:
        indices = class_indices(flat, flat_places, classes)
        found_classes = _numbered(indices) if classes is None else classes
    values = np.zeros((len(lists), len(found_classes)), np.float32)
    np.add.at(values, (np.array(rows, np.int64), indices), 1)
    twice = np.argwhere(values > 1)
    if len(twice):
        row, number = twice[0]
        raise DatasetError(
            f"{places[row]}: label {lists[row]!r} contains the class {found_classes[number]!r} twice. A list of "
            "integers or names is a set of classes; for a vector of 0 and 1, give floats or an array [N, C]"
        )
    values[[row for row, found in enumerate(lists) if found is None]] = math.nan
    return Labels(values, found_classes)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


class _Some(Sequence[str]):
    """The places of some rows, which are only needed for an error."""

    def __init__(self, places: Sequence[str], rows: Sequence[int]) -> None:
        self._places = places
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._places[self._rows[index]]
