"""The videos that ``mgdali explore`` shows: files, folders, lists, tables, shards, packs and motion indexes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mgdali.choices import draw
from mgdali.datasets.video_dataset import Video
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.explore.named_sources import open_sources
from mgdali.explore.sources import Facts, Source, shown
from mgdali.explore.table import Page, Query, VideoTable
from mgdali.index.reader import MotionIndex
from mgdali.index.still import mean_motion
from mgdali.video.record import VideoRecord
from mgdali.workers.clip_job import ClipJob, reason_unindexed

__all__ = ["Collection", "Entry", "open_collection"]

# Opening waits so long for the motion of at most so many videos, in seconds, so that their first page is complete.
_FIRST_WAIT = 0.2
_FEW_VIDEOS = 50_000
# Lists are sorted again after each update, so updates are not more frequent than this, in seconds.
_UPDATE_EVERY = 0.5
# Videos that are looked up when the collection is opened, to see whether the index belongs to them.
_LOOKED_UP = 1000
_NAMED_IN_TITLE = 3
# In place of the id of a video that another source, or an earlier row, contains too.
_NOT_SHOWN = -1


@dataclass(frozen=True, eq=False)
class Entry:
    """One video of a collection.

    Attributes:
        id: Position in the collection, counted from 0.
        name: Name for the user: the path below the named folder, or the path or URL.
        class_name: Name of the folder or of the label; None if unknown.
        video: The video. Its label is not used.
        record: Its record in an index or a pack, which was compared with the file; None if there is no valid one. It
            need not contain S of every level.
    """

    id: int
    name: str
    class_name: str | None
    video: Video
    record: VideoRecord | None


class Collection:
    """Videos of several sources, each once. Several threads may use it.

    Args:
        title: Text for the user that says what is shown.
        sources: The sources, at least one video together.

    Attributes:
        title: The argument.
        warning: Text for the user, if the index contains none of the videos; otherwise None.
    """

    def __init__(self, title: str, sources: Sequence[Source]) -> None:
        self.title = title
        self.warning: str | None = None
        self._sources = list(sources)
        self._starts = np.cumsum([0, *map(len, sources)])
        names = pa.chunked_array([chunk for source in sources for chunk in source.names.chunks], pa.string())
        classes = pa.chunked_array([chunk for source in sources for chunk in source.classes.chunks], pa.string())
        self._rows = _first_of_each(sources)
        self._ids: NDArray[np.int64] | None = None
        if self._rows is not None:
            self._ids = np.full(len(names), _NOT_SHOWN)
            self._ids[self._rows] = np.arange(len(self._rows))
            names, classes = names.take(pa.array(self._rows)), classes.take(pa.array(self._rows))
        self._table = VideoTable(names, classes)
        self._closed = Event()
        self._computing = Thread(target=self._compute, name="mgdali-explore-motion", daemon=True)
        if any(source.has_index for source in sources):
            self._table.complete = False
            self._computing.start()
            if len(self) <= _FEW_VIDEOS:
                self._computing.join(_FIRST_WAIT)

    def __len__(self) -> int:
        return len(self._table)

    @property
    def classes(self) -> list[str]:
        """Names of the classes, sorted."""
        return self._table.classes

    def entry(self, id: int) -> Entry:
        """Return a video with its record, which is compared with the file.

        Raises:
            IndexError: If the number is out of range.
        """
        self._check(id)
        source, row = self._place(id)
        video = source.video(row)
        return Entry(id, self._table.name(id), self._table.class_name(id), video, _valid(video, source.record(row)))

    def has_record(self, id: int) -> bool:
        """Return whether an index or a pack contains a video. The record is not compared with the file."""
        source, row = self._place(id)
        return source.record(row) is not None

    def query(self, query: Query) -> Page:
        """Return the rows that a query asks for. Their motion may belong to an earlier content of a file."""
        return self._table.query(query)

    def place(self, id: int, query: Query) -> int | None:
        """Return the position of a video among all that a query finds; None if it is not one of them.

        Args:
            id: Number of the video.
            query: The question. Its ``first`` and ``count`` have no influence.

        Raises:
            IndexError: If the number is out of range.
        """
        self._check(id)
        return self._table.place(id, query)

    def measured(self, id: int, motion: NDArray[np.floating[Any]], *, width: int, height: int) -> None:
        """Show the motion of a video that was measured, in place of what an index tells.

        Args:
            id: Number of the video.
            motion: S at the image level of the video or segment, ``[T]``.
            width, height: Size of the picture in pixels.

        Raises:
            IndexError: If the number is out of range.
        """
        self._check(id)
        mean, still = mean_motion(motion, [0], [len(motion)], [width * height])
        values = {"frames": np.array([len(motion)], np.float64), "motion": mean, "still": still}
        self._table.update(np.array([id]), values, {})

    def failed(self, id: int, error: str) -> None:
        """Show the reason that a video cannot be decoded.

        Raises:
            IndexError: If the number is out of range.
        """
        self._check(id)
        self._table.update(np.array([id]), {}, {id: error})

    def close(self) -> None:
        """End the computation of motion. Other methods may still be called."""
        self._closed.set()
        if self._computing.is_alive():
            self._computing.join()

    def _check(self, id: int) -> None:
        if not 0 <= id < len(self):
            raise IndexError(f"video {id} is outside [0, {len(self)})")

    def _place(self, id: int) -> tuple[Source, int]:
        row = id if self._rows is None else int(self._rows[id])
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._sources[number], row - int(self._starts[number])

    def _compute(self) -> None:
        """Sort all names, and compute the motion of all videos that are in an index."""
        self._table.sort_names()
        updated = monotonic()
        pending: list[tuple[int, Facts]] = []
        for source, start in zip(self._sources, self._starts.tolist(), strict=False):
            for facts in source.facts():
                if self._closed.is_set():
                    return
                pending.append((start, facts))
                if monotonic() - updated > _UPDATE_EVERY:
                    self._show(pending)
                    updated, pending = monotonic(), []
        self._show(pending)
        self._table.complete = True

    def _show(self, pending: Sequence[tuple[int, Facts]]) -> None:
        """Write what an index tells into the table."""
        for start, facts in pending:
            rows = np.arange(start + facts.first, start + facts.first + len(facts.frames))
            ids = rows if self._ids is None else self._ids[rows]
            once = ids >= 0
            columns = {"frames": facts.frames, "motion": facts.motion, "still": facts.still}
            values = {key: column[once] for key, column in columns.items() if column is not None}
            errors = {int(ids[row - facts.first]): error for row, error in facts.errors.items()}
            errors.pop(_NOT_SHOWN, None)
            self._table.update(ids[once], values, errors)


def open_collection(sources: Sequence[str], *, index: str | None = None) -> Collection:
    """Open videos to be explored.

    Args:
        sources: Paths and URLs: video files, folders that are searched, folders of JPEG frames, lists, tables, tar
            shards, packs, and motion indexes. A video that is named twice appears once.
        index: Path or URL of a motion index that contains the videos; None for none. Packs and motion indexes have
            their own.

    Raises:
        DatasetError: If a source or the index cannot be read, or a source contains no videos.
        ImportError: If a URL needs a package that is not installed.
    """
    if not sources:
        raise DatasetError(
            "there is nothing to explore: give videos, folders, lists, tables, tar shards, packs or indexes"
        )
    records = None if index is None else MotionIndex(index)
    collection = Collection(_title(sources), open_sources(sources, records))
    if records is not None and not _some_record(collection):
        collection.warning = (
            f"the index {index} contains none of the videos that were looked up: build it from these videos with "
            "`mgdali index build`, or leave it out"
        )
    return collection


def _title(sources: Sequence[str]) -> str:
    more = len(sources) - _NAMED_IN_TITLE
    return ", ".join(map(shown, sources[:_NAMED_IN_TITLE])) + (f" and {more} more" if more > 0 else "")


def _some_record(collection: Collection) -> bool:
    return any(collection.has_record(id) for id in range(0, len(collection), -(-len(collection) // _LOOKED_UP)))


def _first_of_each(sources: Sequence[Source]) -> NDArray[np.int64] | None:
    """Return the rows of the sources together without repeated videos, increasing; None if nothing is repeated."""
    if len(sources) == 1 and sources[0].unique:
        return None
    keys = pa.chunked_array([pa.array(source.keys(), pa.large_string()) for source in sources])
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()
    first = np.sort(np.unique(codes, return_index=True)[1])
    return None if len(first) == len(codes) else first


def _valid(video: Video, record: VideoRecord | None) -> VideoRecord | None:
    """Return a record if it belongs to the present content of the video; else None."""
    if record is None:
        return None
    job = ClipJob(video.media, draw(0, 0, 0, 1, training=False), record)
    try:
        return record if reason_unindexed(job, None) is None else None
    except VideoDecodeError:
        # The video is missing. Decoding it gives the error for the user.
        return None
