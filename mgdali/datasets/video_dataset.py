"""A data set of labelled videos: where they lie, labels and the names of the classes. Nothing is decoded here."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets import official
from mgdali.datasets.kinetics import kinetics as read_kinetics
from mgdali.datasets.listing import AnyPath, Listing, read_frame_list, read_lines
from mgdali.datasets.shards import expand_shards, labelled_videos, scan_shards
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, Media, find_media

# Without names, classes are numbered up to the largest label; a larger one is a mistake.
_MOST_CLASSES = 1_000_000

# The span of what is no tar's member.
_NO_SPAN = (-1, -1)

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]


@dataclass(frozen=True, slots=True)
class Video:
    """One video and its label.

    Args:
        path: the file, or what else :class:`mgdali.video.media.Media` takes.
        label: the class's index, in ``[0, len(classes))``.
        span: of a tar's member, where it lies in the tar: offset and length in bytes.
    """

    path: str
    label: int
    span: tuple[int, int] | None = None

    @property
    def media(self) -> Media:
        """Where its bytes lie."""
        return Media(self.path, self.span)


class VideoDataset(Sequence[Video]):
    """Labelled videos, in a fixed order.

    Args:
        paths: the videos, ``[N]``: files, folders of JPEG frames, patterns (``folder/img_%05d.jpg``), URLs, or members
            of tars (``<tar>::<member>``).
        labels: class indices, ``[N]``, in ``[0, len(classes))``.
        classes: the classes' names, ``[C]``; by default the numbers up to the largest label.
        spans: where members lie in their tars, offset and length in bytes, ``[N]`` or integers ``[N, 2]``; None, or
            -1 and -1, of a video that is no member. :meth:`from_shards` finds them.

    Raises:
        DatasetError: no videos, lengths that differ, a label that is no class, or a span that cannot be.

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
        """Videos in one folder a class: ``root/<class>/…/<file>``. Classes and files are sorted by name.

        A folder of JPEG frames within a class's folder is a video too: ``root/<class>/…/<video>/<frame>.jpg``.

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
            class_folder = os.path.join(folder, name)
            # Images in the class's folder itself are no video: one folder a class is not one a video.
            found = [path for path in find_media(class_folder, extensions=endings) if path != class_folder]
            if not found:
                raise DatasetError(
                    f"{folder / name} has no video ({', '.join(sorted(endings))}, or folders of JPEG frames): take the "
                    f"folder out, or name its files' ending in extensions="
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
        lines = read_lines(path, "give a text file with a line 'path label' a video")
        entries = [_split_line(path, number, line) for number, line in enumerate(lines, 1) if _says(line)]
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
        """Videos as JPEG frames, from a text file with a line ``folder frames label`` each, as TSM and MMAction2 have.

        The lists of video files that MMAction2 has, ``path label``, are read by :meth:`from_list`.

        Args:
            path: the list, UTF-8. The number of frames is not used: those that are there count.
            root: a folder that the list's folders start from; absolute ones stay as they are.
            template: the frames' file names, with the place of their number: ``"img_{:05d}.jpg"`` or ``"%06d.jpg"``.
            classes: the classes' names; by default the numbers up to the largest label.

        Raises:
            DatasetError: the list cannot be read, is empty, or has a line of another form, which the message names; or
                the template is none.
        """
        listing = read_frame_list(path, root, template)
        return cls(listing.paths, listing.needed_labels(), classes)

    @classmethod
    def something_something_v1(
        cls, root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
    ) -> VideoDataset:
        """Something-Something V1, of its official files::

            root/something-something-v1-{labels,train,validation,test}.csv
            root/20bn-something-something-v1/<id>/00001.jpg …

        Lists may also lie in ``annotations`` or ``labels``, also without the prefix (``labels/train.csv``).

        Args:
            root: the folder that holds all of it.
            split: ``"train"``, ``"validation"`` (or ``"val"``), or ``"test"``, whose labels are taken from
                ``test-answers.csv``.
            annotations: another folder to look in for lists.
            videos: another folder to look in for videos.

        Raises:
            DatasetError: a file or folder is missing, a line is not as it should be, or the split has no labels.
        """
        listing = official.something_something_v1(root, split, annotations=annotations, videos=videos)
        return cls._of(listing)

    @classmethod
    def something_something_v2(
        cls, root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
    ) -> VideoDataset:
        """Something-Something V2, of its official files::

            root/something-something-v2-{labels,train,validation,test}.json    or root/labels/train.json …
            root/20bn-something-something-v2/<id>.webm

        Args and errors are those of :meth:`something_something_v1`.
        """
        listing = official.something_something_v2(root, split, annotations=annotations, videos=videos)
        return cls._of(listing)

    @classmethod
    def jester(
        cls, root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
    ) -> VideoDataset:
        """Jester V1, of its official files::

            root/jester-v1-{labels,train,validation,test}.csv
            root/20bn-jester-v1/<id>/00001.jpg …

        Args and errors are those of :meth:`something_something_v1`.
        """
        return cls._of(official.jester(root, split, annotations=annotations, videos=videos))

    @classmethod
    def diving48(
        cls,
        root: AnyPath,
        split: str,
        *,
        version: int = 2,
        annotations: AnyPath | None = None,
        videos: AnyPath | None = None,
    ) -> VideoDataset:
        """Diving48, of its official files::

            root/Diving48_V2_{train,test}.json    (version 1: Diving48_{train,test}.json)
            root/Diving48_vocab.json
            root/rgb/<video>.mp4

        Args:
            root: the folder that holds all of it; JSON files may also lie in its ``annotations``.
            split: ``"train"`` or ``"test"``.
            version: of the labels: 2, in which wrong ones were corrected, or 1.
            annotations: another folder to look in for JSON files.
            videos: another folder to look in for videos.

        Raises:
            DatasetError: a file or folder is missing, or an entry is not as it should be.
        """
        listing = official.diving48(root, split, version=version, annotations=annotations, videos=videos)
        return cls._of(listing)

    @classmethod
    def ucf101(
        cls,
        root: AnyPath,
        split: str,
        fold: int = 1,
        *,
        annotations: AnyPath | None = None,
        videos: AnyPath | None = None,
    ) -> VideoDataset:
        """UCF101, of its official files::

            root/ucfTrainTestlist/{classInd,trainlist01,testlist01,…}.txt
            root/UCF-101/<class>/<video>.avi

        Args:
            root: the folder that holds all of it.
            split: ``"train"`` or ``"test"``.
            fold: which of the three official divisions, 1 to 3.
            annotations: another folder to look in for lists.
            videos: another folder to look in for videos, or for the folder that holds them.

        Raises:
            DatasetError: a file or folder is missing, or a line is not as it should be.
        """
        return cls._of(official.ucf101(root, split, fold=fold, annotations=annotations, videos=videos))

    @classmethod
    def hmdb51(
        cls,
        root: AnyPath,
        split: str,
        fold: int = 1,
        *,
        annotations: AnyPath | None = None,
        videos: AnyPath | None = None,
    ) -> VideoDataset:
        """HMDB51, of its official files::

            root/testTrainMulti_7030_splits/<class>_test_split1.txt …
            root/hmdb51_org/<class>/<video>.avi    or root/<class>/<video>.avi

        Args and errors are those of :meth:`ucf101`.
        """
        return cls._of(official.hmdb51(root, split, fold=fold, annotations=annotations, videos=videos))

    @classmethod
    def kinetics(
        cls, root: AnyPath, split: str, *, annotations: AnyPath | None = None, videos: AnyPath | None = None
    ) -> VideoDataset:
        """Kinetics-400, -600 or -700, of the official lists::

            root/annotations/{train,val,test}.csv                      or root/train.csv …
            root/{train,val,test}/<youtube_id>_<start>_<end>.mp4       or …/<class>/<youtube_id>_<start>_<end>.mp4

        Listed clips that are not on disk are left out, with a warning that counts them: some have always left YouTube.

        Args:
            root: the folder that holds all of it.
            split: ``"train"``, ``"validation"`` (or ``"val"``), or ``"test"``, which has labels in some releases only.
            annotations: another folder to look in for lists, or the split's list itself. The training list beside it
                says which classes there are.
            videos: another folder to look in for videos.

        Raises:
            DatasetError: a file or folder is missing, a line is not as it should be, no listed clip is on disk, or the
                split has no labels.
        """
        return cls._of(read_kinetics(root, split, annotations=annotations, videos=videos))

    @classmethod
    def _of(cls, listing: Listing) -> VideoDataset:
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
        """Videos in tar files of WebDataset's layout: files of one sample have the same name up to its first dot.

        Videos are read out of the tars by their places, so that order, ranks and resuming are as with files. For that
        each tar's headers are read once; see :func:`mgdali.datasets.shards.scan_shard` for where the places are kept.

        Args:
            shards: tars, not compressed, as paths or URLs; ``{000..099}`` and ``{train,val}`` stand for each of these,
                and in paths ``*`` for the files there are.
            label: where labels are: the ending of a file beside the video, ``"cls"`` or ``"txt"``, or a field of the
                JSON file beside it, ``"json:<field>"``. A label is a class index or a class's name, as in
                :meth:`from_list`.
            classes: the classes' names, where labels do not define them.
            cache_dir: where the places are kept; by default beside the tars, or where that cannot be and for URLs in
                the user's cache folder.

        Raises:
            DatasetError: a shard cannot be read, is compressed, damaged or without videos; two videos have the same
                key; a label is missing or unknown. The message names shard and member.
        """
        found = [labelled_videos(index, label) for index in scan_shards(expand_shards(shards), cache_dir=cache_dir)]
        paths = [path for part in found for path in part.paths]
        labels, classes = _labels_of([word for part in found for word in part.labels], paths, classes)
        return cls(paths, labels, classes, spans=np.concatenate([part.spans for part in found]))

    @property
    def paths(self) -> Sequence[str]:
        """The videos' paths, in order."""
        return self._paths

    def subset(self, indices: Iterable[int]) -> VideoDataset:
        """The videos at ``indices``, in that order, with the same classes.

        Raises:
            IndexError: an index is outside the data set.
            DatasetError: ``indices`` is empty.
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
    """Spans as int64 ``[N, 2]``: for a million videos tuples would take ten times the memory."""
    rows = spans if isinstance(spans, np.ndarray) else [_NO_SPAN if span is None else span for span in spans]
    try:
        table = np.array(rows)
        fine = table.shape == (len(paths), 2) and np.issubdtype(table.dtype, np.integer)
    except ValueError:
        fine = False
    if not fine:
        raise DatasetError("spans must be an offset and a length, or None, for each path")
    bad = np.flatnonzero((table < 0).any(axis=1) & (table != _NO_SPAN).any(axis=1))
    if len(bad):
        raise DatasetError(f"{paths[bad[0]]}: span {table[bad[0]].tolist()} is no offset and length in bytes")
    return table.astype(np.int64)


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _says(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _split_line(path: str | os.PathLike[str], number: int, line: str) -> tuple[int, str, str]:
    words = line.strip().rsplit(maxsplit=1)
    if len(words) != 2:
        raise DatasetError(f"{path}, line {number}: {line.strip()!r} has no label; each line is 'path label'")
    return number, words[0], words[1]


def _labels_of(
    words: list[str], places: Iterable[str], classes: Sequence[str] | None
) -> tuple[list[int], Sequence[str] | None]:
    """Class indices of labels as they were written, and the classes' names; None where all are numbers.

    Args:
        words: numbers, or names: of ``classes`` where given, else the names that occur, sorted.
        places: where each was written, for errors.
        classes: the classes' names, where labels do not define them.
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
