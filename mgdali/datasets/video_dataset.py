"""A data set of labelled videos: their paths, their labels and the names of the classes. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.class_folders import read_class_folders
from mgdali.datasets.labels import ClassNames, class_indices, class_names, written_labels
from mgdali.datasets.listing import FRAME_TEMPLATE, AnyPath, Listing, read_frame_list
from mgdali.datasets.registry import PublishedDataSets
from mgdali.datasets.segments import SegmentTable
from mgdali.datasets.shards import expand_shards, labelled_videos, scan_shards
from mgdali.datasets.video_list import read_video_list
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, Media
from mgdali.video.time_range import TimeRange

if TYPE_CHECKING:
    from mgdali.datasets.packs import Pack

# The span of a video that is not a member of a tar.
_NO_SPAN = (-1, -1)

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]

_T = TypeVar("_T", bound="VideoDataset")


@dataclass(frozen=True, slots=True)
class Video:
    """One video and its label.

    Args:
        path: Path of the file, or any other form that :class:`mgdali.video.media.Media` accepts.
        label: Index of the class, in ``[0, len(classes))``; -1 if the video has no label. In a data set whose labels
            are numbers or vectors: float, or float32 ``[C]``.
        span: Offset and length in bytes of a member within its tar; otherwise None.
        time_range: The part of the video that belongs to the data set; None for the whole video.
    """

    path: str
    label: Any
    span: tuple[int, int] | None = None
    time_range: TimeRange | None = None

    @property
    def media(self) -> Media:
        """Location of the video's bytes."""
        return Media(self.path, self.span)


class VideoDataset(PublishedDataSets, Sequence[Video]):
    """Labelled videos, in a fixed order.

    Args:
        paths: Paths of the videos, ``[N]``: files, folders of JPEG frames, patterns (``folder/img_%05d.jpg``), URLs, or
            members of tars (``<tar>::<member>``).
        labels: Class indices, ``[N]``, in ``[0, len(classes))``; or names, if ``classes`` is given.
        classes: Names of the classes by index, ``[C]``, or another data set, whose classes are used; by default the
            numbers up to the largest label. A class need not have a video.
        spans: Offset and length in bytes of each member within its tar, ``[N]`` or integers ``[N, 2]``; None, or -1 and
            -1, for a video that is not a member. :meth:`from_shards` finds them.
        columns: Further values of each video, such as ids or captions: lists ``[N]`` by name.
        time_ranges: The part of each file that is the video, ``[N]``; None for a whole file. Several videos may be
            segments of the same file.

    Attributes:
        classes: Names of the classes by index, ``[C]``.
        columns: Further values of each video: lists ``[N]`` by name.
        pack: The packed data set of the videos, which has their index (:meth:`from_pack`); otherwise None.

    Raises:
        DatasetError: If there are no videos, the lengths differ, a label is not a class, ``classes`` contains a name
            twice, or a span is invalid.

    Published data sets have their own constructors, such as :meth:`ucf101`; ``docs/datasets.md`` lists them.

    Example:
        >>> dataset = VideoDataset(["a.mp4", "b.mp4"], [0, 1], ["run", "jump"])
        >>> len(dataset), dataset[1]
        (2, Video(path='b.mp4', label=1, span=None, time_range=None))
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        labels: Iterable[int | str],
        classes: ClassNames | None = None,
        *,
        spans: Iterable[tuple[int, int] | None] | NDArray[np.int64] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        time_ranges: Iterable[TimeRange | None] | None = None,
    ) -> None:
        self._paths = _path_strings(paths)
        if not self._paths:
            raise DatasetError("a data set needs at least one video, got none")
        names = class_names(classes)
        self._labels = class_indices(labels, self._paths, names)
        self._spans = None if spans is None else _span_table(spans, self._paths)
        if names is None:
            names = [str(label) for label in range(int(self._labels.max()) + 1)]
        self.classes: list[str] = names
        self.columns = _column_lists(columns or {}, len(self._paths))
        self._time_ranges = None if time_ranges is None else SegmentTable.of(time_ranges, self._paths)
        self.pack: Pack | None = None

    @classmethod
    def from_folder(
        cls,
        root: str | os.PathLike[str],
        *,
        extensions: Iterable[str] = VIDEO_EXTENSIONS,
        classes: ClassNames | None = None,
    ) -> VideoDataset:
        """Create a data set from a folder with one subfolder per class: ``root/<class>/…/<file>``.

        Classes and files are sorted by name. A folder of JPEG frames is a video too:
        ``root/<class>/…/<video>/<frame>.jpg``.

        The classes of two folders have equal labels only if both folders have the same subfolders. Pass the classes of
        the training set to its other splits, so that a class without videos in a split does not shift the labels.

        Args:
            root: Path of the folder. Subfolders of a class's folder are searched, links are followed, and hidden files
                are ignored.
            extensions: Endings of video files, in lower case, with the dot.
            classes: Names of the classes by index, or another data set, whose classes are used; by default the names of
                the subfolders. A class of ``classes`` need not have a subfolder or videos.

        Raises:
            DatasetError: If the folder is missing or contains no video, a subfolder is not one of ``classes``, or,
                without ``classes``, a subfolder contains no video.

        Example:
            >>> train = VideoDataset.from_folder("train")  # doctest: +SKIP
            >>> val = VideoDataset.from_folder("val", classes=train)  # doctest: +SKIP
        """
        return cls._from_listing(read_class_folders(root, extensions, class_names(classes)))

    @classmethod
    def from_list(
        cls,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] = "",
        classes: ClassNames | None = None,
    ) -> VideoDataset:
        """Create a data set from a text file with one line ``path label`` per video.

        The label is the last word of its line, so paths may contain spaces. Blank lines and lines that begin with ``#``
        are ignored. Labels are class indices or class names. The names are those of ``classes``; without ``classes``,
        they are the names in the list, sorted.

        Args:
            path: Path of the list, UTF-8.
            root: Folder to which the list's relative paths refer.
            classes: Names of the classes by index, or another data set, whose classes are used. A class need not have a
                video.

        Raises:
            DatasetError: If the list cannot be read, is empty, has a line without a label, with several or with an
                unknown one, or is a list of frame folders; the message names the line.
        """
        return cls._from_listing(read_video_list(path, root, class_names(classes)))

    @classmethod
    def from_frame_list(
        cls,
        path: AnyPath,
        *,
        root: AnyPath = "",
        template: str = FRAME_TEMPLATE,
        classes: ClassNames | None = None,
    ) -> VideoDataset:
        """Create a data set of JPEG frames from a text file with one line ``folder frames label`` per video.

        TSM and MMAction2 use this format. For MMAction2's lists of video files, ``path label``, use :meth:`from_list`.

        Args:
            path: Path of the list, UTF-8. Its numbers of frames are ignored: the loader uses the frames on disk.
            root: Folder to which the list's relative folders refer.
            template: File names of the frames, with a placeholder for the number: ``"img_{:05d}.jpg"`` or
                ``"%06d.jpg"``.
            classes: Names of the classes by index, or another data set, whose classes are used; by default the numbers
                up to the largest label. A class need not have a video.

        Raises:
            DatasetError: If the list cannot be read, is empty, or has a malformed line, which the message names; if a
                label is not a class; or if the template has no placeholder.
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
        classes: ClassNames | None = None,
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
            classes: Names of the classes by index, or another data set, whose classes are used; by default as in
                :meth:`from_list`. A class need not have a video.
            cache_dir: Folder in which the positions are stored; by default next to the tars, or in the user's cache
                folder for URLs and read-only folders.

        Raises:
            DatasetError: If a shard cannot be read, is compressed or damaged, or contains no videos; if two videos have
                the same key; or if a label is missing or unknown. The message names the shard and the member.
        """
        found = [labelled_videos(index, label) for index in scan_shards(expand_shards(shards), cache_dir=cache_dir)]
        paths = [path for part in found for path in part.paths]
        words = [word for part in found for word in part.labels]
        labels, names = written_labels(words, paths, class_names(classes))
        return cls(paths, labels, names, spans=np.concatenate([part.spans for part in found]))

    @classmethod
    def from_pack(cls, root: str | os.PathLike[str]) -> VideoDataset:
        """Create a data set from a packed data set, which ``mgdali pack`` or :func:`mgdali.pack` wrote.

        The order, labels, classes and columns are those of the data set that was packed. The loader uses the motion
        index of the packed data set, so S is that of the original videos, and reads and decodes only the bytes that the
        picks need.

        Args:
            root: Path of the folder, or its URL.

        Raises:
            DatasetError: If a file is missing, cannot be read, does not fit the manifest, or has a newer format.
            ImportError: If a URL needs a package that is not installed.

        Example:
            >>> dataset = VideoDataset.from_pack("kinetics-packed")  # doctest: +SKIP
        """
        # Imported here because it imports pyarrow, which other data sets do not need.
        from mgdali.datasets.packs import read_pack

        found = read_pack(root)
        dataset = cls(found.paths, found.labels, found.pack.manifest.classes, spans=found.spans, columns=found.columns)
        dataset.pack = found.pack
        return dataset

    @property
    def labels(self) -> NDArray[Any]:
        """Labels, in order: class indices int64 ``[N]``, numbers float32 ``[N]``, or vectors float32 ``[N, C]``."""
        return self._labels

    @property
    def has_segments(self) -> bool:
        """Whether videos of the data set are segments of files."""
        return self._time_ranges is not None

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
        rows = [int(index) for index in indices]
        chosen = [self[row] for row in rows]
        spans = None if self._spans is None else [v.span for v in chosen]
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        time_ranges = None if self._time_ranges is None else [v.time_range for v in chosen]
        dataset = VideoDataset(
            [v.path for v in chosen],
            [v.label for v in chosen],
            self.classes,
            spans=spans,
            columns=columns,
            time_ranges=time_ranges,
        )
        dataset.pack = self.pack
        return dataset

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> VideoDataset: ...
    def __getitem__(self, index: int | slice) -> Video | VideoDataset:
        if isinstance(index, slice):
            return self.subset(range(*index.indices(len(self))))
        time_range = None if self._time_ranges is None else self._time_ranges[index]
        return Video(self._paths[index], self._label(index), self._span(index), time_range)

    def _label(self, index: int) -> Any:
        label = self._labels[index]
        return label.item() if self._labels.ndim == 1 else label

    def _span(self, index: int) -> tuple[int, int] | None:
        if self._spans is None:
            return None
        offset, length = self._spans[index].tolist()
        return None if (offset, length) == _NO_SPAN else (offset, length)

    def __repr__(self) -> str:
        return f"VideoDataset({len(self)} videos, {len(self.classes)} classes)"


def _path_strings(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    if isinstance(paths, str | bytes | os.PathLike):
        raise DatasetError(f"paths is one path, {paths!r}: give a list of paths, such as [{paths!r}]")
    return [path if isinstance(path, str) else _path_string(path) for path in paths]


def _path_string(path: os.PathLike[str]) -> str:
    found = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(found, str):
        raise DatasetError(f"path {path!r} is a {type(path).__name__}: give paths as str or pathlib.Path")
    return found


def _column_lists(columns: Mapping[str, Sequence[Any]], length: int) -> dict[str, list[Any]]:
    lists = {name: list(values) for name, values in columns.items()}
    for name, values in lists.items():
        if len(values) != length:
            raise DatasetError(f"column {name!r} has {len(values)} values for {length} videos: give one per video")
    return lists


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
