"""Constructors of a data set that read a folder, a list, tar shards or a table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from mgdali.datasets.class_folders import read_class_folders
from mgdali.datasets.label_kinds import Labels
from mgdali.datasets.labels import ClassNames, class_names, written_labels
from mgdali.datasets.listing import FRAME_TEMPLATE, AnyPath, Listing, read_frame_list
from mgdali.datasets.shards import expand_shards, labelled_videos, scan_shards
from mgdali.datasets.video_list import read_video_list
from mgdali.video.media import VIDEO_EXTENSIONS
from mgdali.video.time_range import TimeUnit

__all__ = ["Constructors"]


class _DataSet(Protocol):
    """A class that is created from paths and labels."""

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        labels: Any,
        classes: ClassNames | None = None,
        *,
        spans: Any = None,
        columns: Mapping[str, Sequence[Any]] | None = None,
        time_ranges: Any = None,
    ) -> None: ...


_T = TypeVar("_T", bound=_DataSet)


class Constructors:
    """The constructors, as class methods."""

    @classmethod
    def from_folder(
        cls: type[_T],
        root: str | os.PathLike[str],
        *,
        extensions: Iterable[str] = VIDEO_EXTENSIONS,
        classes: ClassNames | None = None,
    ) -> _T:
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
        return _of_listing(cls, read_class_folders(root, extensions, class_names(classes)))

    @classmethod
    def from_list(
        cls: type[_T],
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] = "",
        classes: ClassNames | None = None,
    ) -> _T:
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
        return _of_listing(cls, read_video_list(path, root, class_names(classes)))

    @classmethod
    def from_frame_list(
        cls: type[_T],
        path: AnyPath,
        *,
        root: AnyPath = "",
        template: str = FRAME_TEMPLATE,
        classes: ClassNames | None = None,
    ) -> _T:
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
        return _of_listing(cls, listing)

    @classmethod
    def from_shards(
        cls: type[_T],
        shards: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        label: str = "cls",
        classes: ClassNames | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> _T:
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
    def from_table(
        cls: type[_T],
        table: Any,
        *,
        path: str = "path",
        label: str | Sequence[str] | None = "label",
        columns: Sequence[str] | None = None,
        start: str | None = "start",
        end: str | None = "end",
        unit: TimeUnit = "seconds",
        first_frame: int = 0,
        root: AnyPath = "",
        template: str | None = None,
        classes: ClassNames | None = None,
        names: Sequence[str] | None = None,
        delimiter: str | None = None,
    ) -> _T:
        """Create a data set from a table with one row per video. ``docs/tables.md`` has examples.

        Args:
            table: Path or URL of a file (``.csv``, ``.tsv``, ``.jsonl``, ``.ndjson``, ``.json``, ``.parquet``, ``.pq``;
                CSV and JSON also with ``.gz``); a table of pandas, Arrow or Polars; a ``Dataset`` of Hugging Face; a
                list of dicts; or a dict of lists.
            path: Column of the paths; or a pattern with columns in braces, such as ``"{person}/{id}.mp4"`` or
                ``"{id}_{start:06d}.mp4"``.
            label: Column of the labels, which are of any kind that the constructor accepts. Names may also be written
                class indices. A list of columns of numbers gives vectors, whose classes are the columns. None: no
                labels.
            columns: Columns to keep (:attr:`columns`), in the batches' metadata; by default all that no other argument
                names. The columns of a pattern in ``path`` are kept too.
            start: Column of the beginnings of segments; None to ignore it. The table may lack the default column. A
                missing value is the beginning of the file.
            end: Column of the ends of segments, which do not belong to them, as ``start``. A missing value is the end
                of the file.
            unit: Unit of numbers in ``start`` and ``end``: ``"seconds"`` after the video's first frame, or
                ``"frames"``. Times such as ``00:01:02.5`` are seconds.
            first_frame: Number of a video's first frame in the table, if ``unit`` is ``"frames"``.
            root: Folder or URL that relative paths start from.
            template: File names of the frames, if the paths are folders of JPEG frames: ``"img_{:05d}.jpg"``.
            classes: Names of the classes by index, or another data set, whose classes are used; by default as in the
                constructor, or the names that the table stores (``ClassLabel`` of Hugging Face).
            names: Names of the columns of a CSV file without a header.
            delimiter: Character between the cells of a CSV file; by default a comma, or a tab in ``.tsv``.

        Raises:
            DatasetError: If the table cannot be read, is empty or lacks a column, or if a value is wrong; the message
                names the file and the line, or the row, and the column.
            ValueError: If ``unit`` or ``first_frame`` is not one of its values.
            ImportError: If a URL needs a package that is not installed.

        Example:
            >>> from mgdali import VideoDataset
            >>> rows = [{"path": "a.mp4", "start": 2.5, "end": 4.0, "label": "run", "id": 7}]
            >>> dataset = VideoDataset.from_table(rows)
            >>> dataset[0].time_range, dataset.classes, dataset.columns["id"]
            (TimeRange(start=2.5, end=4.0, unit='seconds'), ['run'], [7])
        """
        # Imported here because it imports pyarrow, which other data sets do not need.
        from mgdali.datasets.tables.videos import TableLayout, read_table_videos

        layout = TableLayout(
            path=path,
            label=label,
            columns=columns,
            start=start,
            end=end,
        )
        rows = read_table_videos(
            table,
            layout,
            unit=unit,
            first_frame=first_frame,
            root=root,
            template=template,
            classes=classes,
            names=names,
            delimiter=delimiter,
        )
        labels = Labels(rows.labels, rows.classes)
        return cls(rows.paths, labels, columns=rows.columns, time_ranges=rows.segments)


def _of_listing(cls: type[_T], listing: Listing) -> _T:
    return cls(listing.paths, listing.needed_labels(), listing.classes)
