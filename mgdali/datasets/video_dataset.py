"""A data set of labelled videos: their paths, their labels and the names of the classes. Nothing is decoded here."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.listing import AnyPath, Listing, read_frame_list, read_lines
from mgdali.datasets.registry import PublishedDataSets
from mgdali.datasets.shards import expand_shards, labelled_videos, scan_shards
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, Media, find_media

# Without names, the classes are numbered up to the largest label. A label above this limit is taken for a mistake.
_MOST_CLASSES = 1_000_000

# The span of a video that is not a member of a tar.
_NO_SPAN = (-1, -1)

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]

_T = TypeVar("_T", bound="VideoDataset")


@dataclass(frozen=True, slots=True)
class Video:
    """One video and its label.

    Args:
        path: Path of the file, or any other form that :class:`mgdali.video.media.Media` accepts.
        label: Index of the class, in ``[0, len(classes))``.
        span: Offset and length in bytes of a member within its tar; otherwise None.
    """

    path: str
    label: int
    span: tuple[int, int] | None = None

    @property
    def media(self) -> Media:
        """Location of the video's bytes."""
        return Media(self.path, self.span)


class VideoDataset(PublishedDataSets, Sequence[Video]):
    """Labelled videos, in a fixed order.

    Args:
        paths: Paths of the videos, ``[N]``: files, folders of JPEG frames, patterns (``folder/img_%05d.jpg``), URLs, or
            members of tars (``<tar>::<member>``).
        labels: Class indices, ``[N]``, in ``[0, len(classes))``.
        classes: Names of the classes, ``[C]``; by default the numbers up to the largest label.
        spans: Offset and length in bytes of each member within its tar, ``[N]`` or integers ``[N, 2]``; None, or -1 and
            -1, for a video that is not a member. :meth:`from_shards` finds them.

    Raises:
        DatasetError: If there are no videos, the lengths differ, a label is not a class, or a span is invalid.

    Published data sets have their own constructors, such as :meth:`ucf101`; ``docs/datasets.md`` lists them.

    Example:
        >>> dataset = VideoDataset(["a.mp4", "b.mp4"], [0, 1], ["run", "jump"])
        >>> len(dataset), dataset[1]
        (2, Video(path='b.mp4', label=1, span=None))
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        labels: Iterable[int],
        classes: Sequence[str] | None = None,
        *,
        spans: Iterable[tuple[int, int] | None] | NDArray[np.int64] | None = None,
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
        self._spans = None if spans is None else _span_table(spans, self._paths)
        if classes is None:
            classes = [str(label) for label in range(int(self._labels.max()) + 1)]
        self.classes: list[str] = list(classes)

    @classmethod
    def from_folder(cls, root: str | os.PathLike[str], *, extensions: Iterable[str] = VIDEO_EXTENSIONS) -> VideoDataset:
        """Create a data set from a folder with one subfolder per class: ``root/<class>/…/<file>``.

        Classes and files are sorted by name. A folder of JPEG frames is a video too:
        ``root/<class>/…/<video>/<frame>.jpg``.

        Args:
            root: Path of the folder. Subfolders of a class's folder are searched, links are followed, and hidden files
                are ignored.
            extensions: Endings of video files, in lower case, with the dot.

        Raises:
            DatasetError: If the folder is missing, or it or one of its classes contains no video.
        """
        folder = Path(root)
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "does not exist"
            raise DatasetError(f"{folder} {what}: give a folder with one subfolder of videos per class")
        endings = tuple(extensions)
        classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not _hidden(entry.name))
        if not classes:
            raise DatasetError(
                f"{folder} has no subfolders: put each video into a subfolder named after its class "
                f"({folder}/<class>/<file>), or list the videos in a file and use VideoDataset.from_list"
            )
        paths: list[str] = []
        labels: list[int] = []
        for label, name in enumerate(classes):
            class_folder = os.path.join(folder, name)
            # JPEG files directly in the class's folder are not a video: it is the folder of a class, not of a video.
            found = [path for path in find_media(class_folder, extensions=endings) if path != class_folder]
            if not found:
                raise DatasetError(
                    f"{folder / name} contains no video ({', '.join(sorted(endings))}, or folders of JPEG frames): "
                    f"remove the folder, or pass the ending of its files in extensions="
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
        """Create a data set from a text file with one line ``path label`` per video.

        The label is the last word of its line, so paths may contain spaces. Blank lines and lines that begin with ``#``
        are ignored. Labels are class indices or class names. The names are those of ``classes``; without ``classes``,
        they are the names in the list, sorted.

        Args:
            path: Path of the list, UTF-8.
            root: Folder to which the list's relative paths refer.
            classes: Names of the classes, if the list does not define them.

        Raises:
            DatasetError: If the list cannot be read, is empty, or has a line without a label or with an unknown one;
                the message names the line.
        """
        lines = read_lines(path, "give a text file with one line 'path label' per video")
        entries = [_split_line(path, number, line) for number, line in enumerate(lines, 1) if _has_entry(line)]
        if not entries:
            raise DatasetError(f"{path} lists no video: each line is a path, a space and a label")
        words = [word for _, _, word in entries]
        labels, classes = _labels_of(words, (f"{path}, line {number}" for number, _, _ in entries), classes)
        return cls([os.path.join(root, file) for _, file, _ in entries], labels, classes)

    @classmethod
    def from_frame_list(
        cls,
        path: AnyPath,
        *,
        root: AnyPath = "",
        template: str = "img_{:05d}.jpg",
        classes: Sequence[str] | None = None,
    ) -> VideoDataset:
        """Create a data set of JPEG frames from a text file with one line ``folder frames label`` per video.

        TSM and MMAction2 use this format. For MMAction2's lists of video files, ``path label``, use :meth:`from_list`.

        Args:
            path: Path of the list, UTF-8. Its numbers of frames are ignored: the loader uses the frames on disk.
            root: Folder to which the list's relative folders refer.
            template: File names of the frames, with a placeholder for the number: ``"img_{:05d}.jpg"`` or
                ``"%06d.jpg"``.
            classes: Names of the classes; by default the numbers up to the largest label.

        Raises:
            DatasetError: If the list cannot be read, is empty, or has a malformed line, which the message names; or if
                the template has no placeholder.
        """
        listing = read_frame_list(path, root, template)
        return cls(listing.paths, listing.needed_labels(), classes)

    @classmethod
    def _from_listing(cls: type[_T], listing: Listing) -> _T:
        return cls(listing.paths, listing.needed_labels(), listing.classes)

    @classmethod
    def from_shards(
        cls,
        shards: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        label: str = "cls",
        classes: Sequence[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> VideoDataset:
        """Create a data set from tar files in WebDataset's layout.

        In this layout, the files of one sample have the same name up to the first dot. Each video is read directly from
        its position in the tar, so order, ranks and resuming work as with files. To find the positions, the headers of
        each tar are read once. They are then stored; :func:`mgdali.datasets.shards.scan_shard` names the files.

        Args:
            shards: Paths or URLs of uncompressed tars. ``{000..099}`` and ``{train,val}`` are expanded; in paths, ``*``
                matches the files that exist.
            label: Location of the labels: the ending of a file next to the video, ``"cls"`` or ``"txt"``, or a field of
                the JSON file next to it, ``"json:<field>"``. A label is a class index or a class name, as in
                :meth:`from_list`.
            classes: Names of the classes, if the labels do not define them.
            cache_dir: Folder in which the positions are stored; by default next to the tars, or in the user's cache
                folder for URLs and read-only folders.

        Raises:
            DatasetError: If a shard cannot be read, is compressed or damaged, or contains no videos; if two videos have
                the same key; or if a label is missing or unknown. The message names the shard and the member.
        """
        found = [labelled_videos(index, label) for index in scan_shards(expand_shards(shards), cache_dir=cache_dir)]
        paths = [path for part in found for path in part.paths]
        labels, classes = _labels_of([word for part in found for word in part.labels], paths, classes)
        return cls(paths, labels, classes, spans=np.concatenate([part.spans for part in found]))

    @property
    def paths(self) -> Sequence[str]:
        """Paths of the videos, in order."""
        return self._paths

    def subset(self, indices: Iterable[int]) -> VideoDataset:
        """Return a data set of the videos at ``indices``, in that order, with the same classes.

        Raises:
            IndexError: If an index is outside the data set.
            DatasetError: If ``indices`` is empty.
        """
        chosen = [self[int(index)] for index in indices]
        spans = None if self._spans is None else [v.span for v in chosen]
        return VideoDataset([v.path for v in chosen], [v.label for v in chosen], self.classes, spans=spans)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> VideoDataset: ...
    def __getitem__(self, index: int | slice) -> Video | VideoDataset:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        return Video(self._paths[index], int(self._labels[index]), self._span(index))

    def _span(self, index: int) -> tuple[int, int] | None:
        if self._spans is None:
            return None
        offset, length = self._spans[index].tolist()
        return None if (offset, length) == _NO_SPAN else (offset, length)

    def __repr__(self) -> str:
        return f"VideoDataset({len(self)} videos, {len(self.classes)} classes)"


def _is_index(label: SupportsIndex, count: int) -> bool:
    try:
        return 0 <= operator.index(label) < count
    except TypeError:
        return False


def _span_table(spans: Iterable[tuple[int, int] | None] | NDArray[np.int64], paths: list[str]) -> NDArray[np.int64]:
    """Return the spans as int64 ``[N, 2]``. For a million videos, tuples would take ten times the memory."""
    rows = spans if isinstance(spans, np.ndarray) else [_NO_SPAN if span is None else span for span in spans]
    try:
        table = np.array(rows)
        fine = table.shape == (len(paths), 2) and np.issubdtype(table.dtype, np.integer)
    except ValueError:
        fine = False
    if not fine:
        raise DatasetError("spans must contain an offset and a length, or None, for each path")
    bad = np.flatnonzero((table < 0).any(axis=1) & (table != _NO_SPAN).any(axis=1))
    if len(bad):
        raise DatasetError(f"{paths[bad[0]]}: span {table[bad[0]].tolist()} is not an offset and a length in bytes")
    return table.astype(np.int64)


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _has_entry(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _split_line(path: str | os.PathLike[str], number: int, line: str) -> tuple[int, str, str]:
    words = line.strip().rsplit(maxsplit=1)
    if len(words) != 2:
        raise DatasetError(f"{path}, line {number}: {line.strip()!r} has no label; each line is 'path label'")
    return number, words[0], words[1]


def _labels_of(
    words: list[str], places: Iterable[str], classes: Sequence[str] | None
) -> tuple[list[int], Sequence[str] | None]:
    """Return the class indices of written labels, and the names of the classes; None if all labels are numbers.

    Args:
        words: The labels: numbers or names. Without ``classes``, the classes are the names that occur, sorted.
        places: Position of each label, for errors.
        classes: Names of the classes, if the labels do not define them.
    """
    if classes is None and not all(word.lstrip("-").isdecimal() for word in words):
        classes = sorted(set(words))
    known = {name: index for index, name in enumerate(classes or ())}
    return [_label_of(place, word, known) for place, word in zip(places, words, strict=True)], classes


def _label_of(place: str, word: str, known: dict[str, int]) -> int:
    if word in known:
        return known[word]
    most = len(known) or _MOST_CLASSES
    if word.isdecimal() and int(word) < most:
        return int(word)
    expected = f"a number below {most} or one of the classes' names" if known else f"a number from 0 on, below {most}"
    raise DatasetError(f"{place}: label {word!r} is unknown; write {expected}")
