"""Names of classes, and the class index of each label, with errors that name the video."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mgdali.errors import DatasetError

__all__ = ["ClassNames", "HasClasses", "as_list", "class_indices", "class_names", "shortened", "written_labels"]

# Without names, the classes are numbered up to the largest label. A label above this limit is taken for a mistake.
_MOST_CLASSES = 1_000_000

_NAMES_IN_ERRORS = 5

# "1,5": several class indices.
_SEVERAL = re.compile(r"[0-9]+(?:[,;|][0-9]+)+")
# "1.0", "-1", "1e3": a number, but not a class index.
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class HasClasses(Protocol):
    """An object with the names of classes, such as a :class:`~mgdali.datasets.video_dataset.VideoDataset`."""

    classes: list[str]


ClassNames: TypeAlias = Sequence[str] | HasClasses
"""The names of the classes by index, or another data set that has them."""


def class_names(classes: ClassNames | None) -> list[str] | None:
    """Return the names of the classes, ``[C]``; None if ``classes`` is None.

    Args:
        classes: The names by index, or another data set.

    Raises:
        DatasetError: If ``classes`` is one string, has no order, is empty, contains something other than strings, or
            contains a name twice.
    """
    if classes is None:
        return None
    given: Any = getattr(classes, "classes", classes)
    if isinstance(given, str):
        raise DatasetError(f"classes is one string, {given!r}: give a list of names, such as [{given!r}]")
    # The order of names is the order of class indices. A set has no order, and a dict may map names to other numbers.
    if isinstance(given, Set | Mapping) or not isinstance(given, Iterable):
        raise DatasetError(
            f"classes is a {type(given).__name__}: give a list of names in the order of their class indices, or "
            "another data set"
        )
    names = list(given)
    if not names:
        raise DatasetError("classes is empty: give the name of at least one class, or leave out classes=")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise DatasetError(f"classes[{index}] is {name!r} ({type(name).__name__}): give the classes' names as str")
    numbers = {name: index for index, name in enumerate(names)}
    if len(numbers) < len(names):
        twice = next(name for index, name in enumerate(names) if numbers[name] != index)
        raise DatasetError(f"classes contains {twice!r} twice: give each class its own name")
    return [str(name) for name in names]


def class_indices(
    labels: Iterable[int | str], paths: Sequence[str], classes: Sequence[str] | None
) -> NDArray[np.int64]:
    """Return the class index of each label, int64 ``[N]``.

    Args:
        labels: One label per path, ``[N]``: class indices, or names if ``classes`` is given. A list, array or tensor.
        paths: Paths of the videos, for errors, ``[N]``.
        classes: Names of the classes; None if they have no names.

    Raises:
        DatasetError: If the numbers of labels and paths differ, or a label is not a class.
    """
    given = as_list(labels)
    if len(paths) != len(given):
        raise DatasetError(f"{len(paths)} paths and {len(given)} labels: give each path one label")
    most = _MOST_CLASSES if classes is None else len(classes)
    known = None if classes is None else {name: index for index, name in enumerate(classes)}
    return np.fromiter(
        (
            label if type(label) is int and 0 <= label < most else _index_of(paths[row], label, known, most)
            for row, label in enumerate(given)
        ),
        np.int64,
        len(given),
    )


def written_labels(
    words: Sequence[str], places: Iterable[str], classes: Sequence[str] | None
) -> tuple[list[int], list[str] | None]:
    """Return the class indices of written labels, ``[N]``, and the names of the classes; None if all are numbers.

    Args:
        words: The labels: class indices or names, ``[N]``. Without ``classes``, the classes are the names that occur,
            sorted.
        places: Position of each label, for errors, ``[N]``.
        classes: Names of the classes, if the labels do not define them.

    Raises:
        DatasetError: If a label is unknown, or without ``classes``, if it is a number but not a class index.
    """
    names = None if classes is None else list(classes)
    found_names = names is None and not all(word.lstrip("-").isdecimal() for word in words)
    if found_names:
        names = sorted(set(words))
    known = {name: index for index, name in enumerate(names or ())}
    indices = []
    # A table finds the place of a row only for an error, because it takes long.
    found_places = places if isinstance(places, Sequence) else list(places)
    for row, word in enumerate(words):
        if found_names:
            _check_name(found_places, row, word)
        indices.append(_index_of_word(found_places, row, word, known))
    return indices, names


def shortened(names: Sequence[str]) -> str:
    """Return the first few names, separated by commas, for an error."""
    first = ", ".join(islice(names, _NAMES_IN_ERRORS))
    return first if len(names) <= _NAMES_IN_ERRORS else f"{first}, …"


def as_list(labels: Any) -> list[Any]:
    """Return labels as a list; those in an array or a tensor as Python's own numbers.

    Raises:
        DatasetError: If ``labels`` is not a sequence.
    """
    if isinstance(labels, str | bytes):
        raise DatasetError(f"labels is one string, {labels!r}: give a list with one label per path")
    # NumPy, torch and pandas all have this method.
    given = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(given, Iterable):
        raise DatasetError(f"labels is {given!r} ({type(given).__name__}): give a list with one label per path")
    return list(given)


def _index_of(path: str, label: Any, known: Mapping[str, int] | None, most: int) -> int:
    """Return the class index of one label."""
    # The element of a list may be a scalar of NumPy or torch.
    value = label.tolist() if hasattr(label, "tolist") else label
    if isinstance(value, str):
        return _index_of_name(path, value, known)
    if isinstance(value, Iterable):
        raise DatasetError(
            f"{path}: label {value!r} is a {type(value).__name__}, but a video has one label: give each path one class "
            "index"
        )
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        kind = "None" if value is None else f"{value!r} ({type(value).__name__})"
        raise DatasetError(f"{path}: label {kind} is not a class index: give integers from 0 on")
    index = operator.index(value)
    if not 0 <= index < most:
        advice = "give None for a missing label" if index == -1 else "correct it"
        raise DatasetError(f"{path}: label {index} is outside [0, {most}), the data set's classes: {advice}")
    return index


def _index_of_name(path: str, name: str, known: Mapping[str, int] | None) -> int:
    if known is None:
        raise DatasetError(
            f"{path}: label {name!r} is a name, but the classes have no names: pass their names in classes=, or give "
            "class indices, integers from 0 on"
        )
    if name not in known:
        raise DatasetError(
            f"{path}: label {name!r} is not one of the {len(known)} classes ({shortened(list(known))}): correct it, or "
            "add it to classes="
        )
    return known[name]


def _check_name(places: Sequence[str], row: int, word: str) -> None:
    """Raise an error if a written label is more probably a wrong number than the name of a class."""
    escape = f"or pass classes=[…] if {word!r} is the name of a class"
    if _SEVERAL.fullmatch(word):
        raise DatasetError(
            f"{places[row]}: label {word!r} contains several class indices, but a video has one label: write one class "
            f"index or name, {escape}"
        )
    if _NUMBER.fullmatch(word) and not word.isdecimal():
        raise DatasetError(f"{places[row]}: label {word!r} is not a class index: write an integer from 0 on, {escape}")


def _index_of_word(places: Sequence[str], row: int, word: str, known: Mapping[str, int]) -> int:
    if word in known:
        return known[word]
    most = len(known) or _MOST_CLASSES
    if word.isdecimal() and int(word) < most:
        return int(word)
    expected = f"a number below {most} or one of the classes' names" if known else f"a number from 0 on, below {most}"
    raise DatasetError(f"{places[row]}: label {word!r} is unknown; write {expected}")
