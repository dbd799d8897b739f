"""A data set of labelled videos: their paths, their labels and the names of the classes. Nothing is decoded here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from mgdali.datasets.combine import Condition, indices_where, joined, split_indices
from mgdali.datasets.constructors import Constructors
from mgdali.datasets.dataset_view import as_html, as_text
from mgdali.datasets.label_kinds import Labels, read_labels, stored_labels
from mgdali.datasets.labels import ClassNames, class_names
from mgdali.datasets.registry import PublishedDataSets
from mgdali.datasets.rows import NO_SPAN, Rows, check_members, column_lists, path_strings, span_table
from mgdali.datasets.segments import SegmentTable
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, Media
from mgdali.video.time_range import TimeRange

if TYPE_CHECKING:
    from mgdali.datasets.packs import Pack

__all__ = ["VIDEO_EXTENSIONS", "Video", "VideoDataset"]


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

    def __eq__(self, other: object) -> bool:
        # The comparison that dataclasses generate fails for vectors. Missing labels, which are NaN, are equal.
        if not isinstance(other, Video):
            return NotImplemented
        mine, theirs = (self.path, self.span, self.time_range), (other.path, other.span, other.time_range)
        labels = np.asarray(self.label), np.asarray(other.label)
        return mine == theirs and np.array_equal(*labels, equal_nan=all(each.dtype.kind == "f" for each in labels))

    def __hash__(self) -> int:
        return hash((self.path, self.span, self.time_range))


class VideoDataset(Constructors, PublishedDataSets, Sequence[Video]):
    """Labelled videos, in a fixed order.

    Args:
        paths: Paths of the videos, ``[N]``: files, folders of JPEG frames, patterns (``folder/img_%05d.jpg``), URLs, or
            members of tars (``<tar>::<member>``).
        labels: One label per video, ``[N]``, in a list, an array or a tensor; None if there are no labels. All labels
            have one kind; None, NaN and empty names are missing labels.

            - Integers in ``[0, len(classes))`` are class indices, and strings are names of classes.
            - Floats, without ``classes``, are numbers to be predicted.
            - Lists of integers or strings are sets of classes (multi-label); they become vectors of 0 and 1.
            - Lists of floats or bools, and arrays ``[N, C]``, are vectors of one length.
        classes: Names of the classes by index, ``[C]``, or another data set, whose classes are used; by default the
            names that occur, sorted, or the numbers up to the largest label. A class need not have a video.
        spans: Offset and length in bytes of each member within its tar, ``[N]`` or integers ``[N, 2]``; None, or -1 and
            -1, for a video that is not a member. :meth:`from_shards` finds them.
        columns: Further values of each video, such as ids or captions: lists ``[N]`` by name.
        time_ranges: The part of each file that is the video, ``[N]``; None for a whole file. Several videos may be
            segments of the same file.

    Attributes:
        classes: Names of the classes by index, ``[C]``. Empty if labels are numbers or vectors without names, or if
            there are no labels.
        columns: Further values of each video: sequences ``[N]`` by name.
        pack: The packed data set of the videos, which has their index (:meth:`from_pack`); otherwise None.

    Raises:
        DatasetError: If there are no videos, the lengths differ, labels have different kinds, a label is not a class,
            ``classes`` contains a name twice, or a span is invalid.

    Published data sets have their own constructors, such as :meth:`ucf101`; ``docs/datasets.md`` lists them.

    Example:
        >>> dataset = VideoDataset(["a.mp4", "b.mp4"], [0, 1], ["run", "jump"])
        >>> len(dataset), dataset[1]
        (2, Video(path='b.mp4', label=1, span=None, time_range=None))
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        labels: Labels | Iterable[Any] | None,
        classes: ClassNames | None = None,
        *,
        spans: Iterable[tuple[int, int] | None] | NDArray[np.int64] | None = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        time_ranges: SegmentTable | Iterable[TimeRange | None] | None = None,
    ) -> None:
        self._paths = path_strings(paths)
        if not self._paths:
            raise DatasetError("a data set needs at least one video, got none")
        # Other constructors have checked these objects already.
        found = labels if isinstance(labels, Labels) else read_labels(labels, self._paths, class_names(classes))
        self._labels = found.values
        self.classes: list[str] = found.classes
        self._spans = None if spans is None else span_table(spans, self._paths)
        check_members(self._paths, self._spans)
        self.columns = column_lists(columns or {}, len(self._paths))
        if time_ranges is None or isinstance(time_ranges, SegmentTable):
            self._time_ranges = time_ranges
        else:
            self._time_ranges = SegmentTable.of(time_ranges, self._paths)
        self.pack: Pack | None = None

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
        labels = stored_labels(found.labels, found.paths, found.pack.manifest.classes)
        dataset = cls(found.paths, labels, spans=found.spans, columns=found.columns)
        dataset.pack = found.pack
        return dataset

    @property
    def labels(self) -> NDArray[Any]:
        """Labels, in order: class indices int64 ``[N]``, numbers float32 ``[N]``, or vectors float32 ``[N, C]``.

        A missing label is -1, NaN, or a row of NaN.
        """
        return self._labels

    @property
    def num_classes(self) -> int:
        """Number of classes, or the length C of vectors. 0 if labels are numbers."""
        return self._labels.shape[1] if self._labels.ndim == 2 else len(self.classes)

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
            DatasetError: If ``indices`` is empty, or contains something other than integers.
        """
        rows = np.asarray(indices if hasattr(indices, "__array__") else list(indices))
        if rows.dtype == np.bool_:
            raise DatasetError("subset got bools: give indices, or use filter(bools)")
        if rows.size and (rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer)):
            raise DatasetError(f"subset got {rows.dtype} of shape {list(rows.shape)}: give a list of indices, integers")
        rows = rows.astype(np.int64)
        outside = np.flatnonzero((rows < -len(self)) | (rows >= len(self)))
        if len(outside):
            raise IndexError(f"index {rows[outside[0]]} is outside a data set of {len(self)} videos")
        return self._taken(np.where(rows < 0, rows + len(self), rows))

    def filter(self, keep: Condition) -> VideoDataset:
        """Return a data set of the videos that satisfy a condition, in order, with the same classes.

        Args:
            keep: A function that takes a video as a dict and returns whether to keep it; or bools, ``[N]``. The dict
                contains the columns and ``path``, ``label``, ``class`` (name of the class, or None) and ``time_range``.

        Raises:
            DatasetError: If no video satisfies the condition, or there is not one bool per video.

        Example:
            >>> dataset = VideoDataset(["a.mp4", "b.mp4"], ["run", "jump"], columns={"seconds": [2.5, 40.0]})
            >>> dataset.filter(lambda row: row["seconds"] < 10 and row["class"] == "run").paths
            ['a.mp4']
        """
        return self._taken(indices_where(self._rows(), keep))

    def concat(self, *others: VideoDataset) -> VideoDataset:
        """Return a data set of these videos, followed by those of other data sets.

        Class indices are united by the names of the classes: this data set's classes keep their numbers, and classes
        that only others have follow. Vectors need equal classes. A data set without labels gets missing labels. A
        column that a data set lacks is None for its videos, or NaN if it is a table's column of floats.

        Args:
            others: The other data sets.

        Raises:
            DatasetError: If labels are of different kinds, if only some of the data sets have names for their classes,
                or if a data set is packed and the others are not from the same pack.
        """
        strange = next((each for each in others if not isinstance(each, VideoDataset)), None)
        if strange is not None:
            raise DatasetError(
                f"concat got a {type(strange).__name__}: give data sets, as in first.concat(second, third)"
            )
        if any(each.pack != self.pack for each in others):
            raise DatasetError(
                "videos of a packed data set cannot be joined with others, because they have their own index: join the "
                "data sets before packing"
            )
        return self._of(joined([self._rows(), *(each._rows() for each in others)]))

    def split(
        self, fraction: float, by: str | None = None, *, stratify: bool = False, seed: int = 0
    ) -> tuple[VideoDataset, VideoDataset]:
        """Split the videos at random into two data sets, in order, with the same classes.

        The result depends on nothing but the arguments and the data set.

        Args:
            fraction: Share of the videos in the first data set, in (0, 1).
            by: A column, such as the person or the source: videos with equal values stay together. ``"path"`` keeps the
                segments of a file together. The share is then met as closely as the groups allow.
            stratify: Whether each class has the same share, rounded.
            seed: Seed of the random choice, >= 0.

        Raises:
            ValueError: If an argument is out of range, or ``by`` is not a column.
            DatasetError: If one of the data sets would be empty, or ``stratify`` is given for labels that are not class
                indices.

        Example:
            >>> dataset = VideoDataset([f"{i}.mp4" for i in range(10)], [0] * 10)
            >>> [len(part) for part in dataset.split(0.8)]
            [8, 2]
        """
        first, second = split_indices(self._rows(), fraction, by, stratify, seed)
        return self._taken(first), self._taken(second)

    def __len__(self) -> int:
        return len(self._paths)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> VideoDataset: ...
    def __getitem__(self, index: int | slice) -> Video | VideoDataset:
        if isinstance(index, slice):
            return self._taken(np.arange(*index.indices(len(self))))
        label = self._labels[index]
        value = label.item() if self._labels.ndim == 1 else label
        time_range = None if self._time_ranges is None else self._time_ranges[index]
        return Video(self._paths[index], value, self._span(index), time_range)

    def _span(self, index: int) -> tuple[int, int] | None:
        if self._spans is None:
            return None
        offset, length = self._spans[index].tolist()
        return None if (offset, length) == NO_SPAN else (offset, length)

    def _rows(self) -> Rows:
        return Rows(self._paths, self._labels, self.classes, self._spans, self.columns, self._time_ranges)

    def _taken(self, rows: NDArray[np.int64]) -> VideoDataset:
        return self._of(self._rows().take(rows))

    def _of(self, rows: Rows) -> VideoDataset:
        labels = Labels(rows.labels, rows.classes)
        dataset = VideoDataset(rows.paths, labels, spans=rows.spans, columns=rows.columns, time_ranges=rows.segments)
        dataset.pack = self.pack
        return dataset

    def __repr__(self) -> str:
        return as_text(self._rows())

    def _repr_html_(self) -> str:
        return as_html(self._rows())
