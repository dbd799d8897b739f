"""A data set of labelled videos: paths, labels and the names of the classes. Nothing is decoded here."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np

from mgdali.errors import DatasetError

# fmt: off
VIDEO_EXTENSIONS = frozenset([
    ".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
])
# fmt: on
"""File endings that count as videos."""

# Without names, classes are numbered up to the largest label; a larger one is a mistake.
_MOST_CLASSES = 1_000_000

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]


@dataclass(frozen=True, slots=True)
class Video:
    """One encoded video file and its label.

    Args:
        path: the file.
        label: the class's index, in ``[0, len(classes))``.
    """

    path: str
    label: int


class VideoDataset(Sequence[Video]):
    """Labelled videos, in a fixed order.

    Args:
        paths: the files, ``[N]``.
        labels: class indices, ``[N]``, in ``[0, len(classes))``.
        classes: the classes' names, ``[C]``; by default the numbers up to the largest label.

    Raises:
        DatasetError: no videos, lengths that differ, or a label that is no class.

    Example:
        >>> dataset = VideoDataset(["a.mp4", "b.mp4"], [0, 1], ["run", "jump"])
        >>> len(dataset), dataset[1]
        (2, Video(path='b.mp4', label=1))
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], labels: Iterable[int], classes: Sequence[str] | None = None
    ) -> None:
        self._paths = [os.fspath(path) for path in paths]
        given = list(labels)
        if not self._paths:
            raise DatasetError("a data set needs at least one video, got none")
        if len(self._paths) != len(given):
            raise DatasetError(f"{len(self._paths)} paths and {len(given)} labels: give each path one label")
        most = _MOST_CLASSES if classes is None else len(classes)
        for path, label in zip(self._paths, given, strict=True):
            if not _is_index(label, most):
                raise DatasetError(f"{path}: label {label!r} is outside [0, {most}), the data set's classes")
        self._labels = np.fromiter(map(operator.index, given), np.int64)
        if classes is None:
            classes = [str(label) for label in range(int(self._labels.max()) + 1)]
        self.classes: list[str] = list(classes)

    @classmethod
    def from_folder(cls, root: str | os.PathLike[str], *, extensions: Iterable[str] = VIDEO_EXTENSIONS) -> VideoDataset:
        """Videos in one folder a class: ``root/<class>/…/<file>``. Classes and files are sorted by name.

        Args:
            root: the folder. Folders within a class's folder are searched too, links followed, hidden files passed
                over.
            extensions: file endings that count as videos, in lower case, with the dot.

        Raises:
            DatasetError: the folder is missing, or it or one of its classes has no video.
        """
        folder = Path(root)
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DatasetError(f"{folder} {what}: give the folder that holds one folder of videos a class")
        endings = tuple(extensions)
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))
        if not classes:
            raise DatasetError(
                f"{folder} has no folders: put each video into a folder named for its class "
                f"({folder}/<class>/<file>), or list the videos and use VideoDataset.from_list"
            )
        paths: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            found = _videos_below(os.path.join(folder, name), endings)
            if not found:
                raise DatasetError(
                    f"{folder / name} has no video ({', '.join(sorted(endings))}): take the folder out, "
                    f"or name its files' ending in extensions="
                )
            paths += found
            labels += [label] * len(found)
        return cls(paths, labels, classes)

    @classmethod
    def from_list(
        cls,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] = "",
        classes: Sequence[str] | None = None,
    ) -> VideoDataset:
        """Videos from a text file with a line ``path label`` each.

        The label is the last word of its line, so paths may hold spaces. Blank lines and lines that begin with ``#``
        are passed over. Labels are class indices, or names: of ``classes`` where given, else the names that occur,
        sorted.

        Args:
            path: the list, UTF-8.
            root: a folder that the list's paths start from; absolute paths stay as they are.
            classes: the classes' names, where the list does not define them.

        Raises:
            DatasetError: the list cannot be read, is empty, or has a line without a label or with an unknown one; the
                message names the line.
        """
        entries = [_split_line(path, number, line) for number, line in enumerate(_read_lines(path), 1) if _says(line)]
        if not entries:
            raise DatasetError(f"{path} lists no video: each line is a path, a space and a label")
        by_number = all(word.lstrip("-").isdecimal() for _, _, word in entries)
        if classes is None and not by_number:
            classes = sorted({word for _, _, word in entries})
        known = {name: index for index, name in enumerate(classes or ())}
        labels = [_label_of(path, number, word, known) for number, _, word in entries]
        return cls([os.path.join(root, file) for _, file, _ in entries], labels, classes)

    def subset(self, indices: Iterable[int]) -> VideoDataset:
        """The videos at ``indices``, in that order, with the same classes.

        Raises:
            IndexError: an index is outside the data set.
            DatasetError: ``indices`` is empty.
        """
        chosen = [self[int(index)] for index in indices]
        return VideoDataset([v.path for v in chosen], [v.label for v in chosen], self.classes)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> VideoDataset: ...
    def __getitem__(self, index: int | slice) -> Video | VideoDataset:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        return Video(self._paths[index], int(self._labels[index]))

    def __repr__(self) -> str:
        return f"VideoDataset({len(self)} videos, {len(self.classes)} classes)"


def _is_index(label: SupportsIndex, count: int) -> bool:
    try:
        return 0 <= operator.index(label) < count
    except TypeError:
        return False


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _videos_below(folder: str, endings: tuple[str, ...], above: tuple[str, ...] = ()) -> list[str]:
    real = os.path.realpath(folder)
    if real in above:
        # A link that leads back up would repeat its videos without end.
        return []
    entries = sorted((entry for entry in os.scandir(folder) if not _hidden(entry.name)), key=lambda entry: entry.name)
    found = [entry.path for entry in entries if entry.name.lower().endswith(endings) and entry.is_file()]
    for entry in entries:
        if entry.is_dir():
            found += _videos_below(entry.path, endings, (*above, real))
    return found


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _read_lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(
            f"cannot read the list {path}: {error.strerror}; give a text file with a line 'path label' a video"
        ) from error
    try:
        return content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{path}, line {number}: it is not UTF-8 text ({error.reason}); save the list as UTF-8"
        ) from error


def _split_line(path: str | os.PathLike[str], number: int, line: str) -> tuple[int, str, str]:
    words = line.strip().rsplit(maxsplit=1)
    if len(words) != 2:
        raise DatasetError(f"{path}, line {number}: {line.strip()!r} has no label; each line is 'path label'")
    return number, words[0], words[1]


def _label_of(path: str | os.PathLike[str], number: int, word: str, known: dict[str, int]) -> int:
    if word in known:
        return known[word]
    most = len(known) or _MOST_CLASSES
    if word.isdecimal() and int(word) < most:
        return int(word)
    expected = f"a number below {most} or one of the classes' names" if known else f"a number from 0 on, below {most}"
    raise DatasetError(f"{path}, line {number}: label {word!r} is unknown; write {expected}")
