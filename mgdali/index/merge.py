"""Merging index files into one: of machines that measured different videos, or different motion of the same videos.

Rows whose video is in one file only are copied in batches. All other rows are written to a temporary Arrow file, which
is mapped, so that any number of them can be compared without keeping them in memory. Per row, only an 8-byte key is
kept in memory.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mgdali.errors import DatasetError
from mgdali.index.names import AnyPath, Moved, VideoNames, common_root, is_relative, name_key, normal_root, path_or_url
from mgdali.index.reader import MotionIndex
from mgdali.index.remote_index import local_file
from mgdali.index.schema import SCHEMA, Rows, read_batches, to_batch
from mgdali.index.writer import IndexWriter, new_parquet, open_parquet, renamed
from mgdali.video.record import VideoRecord

__all__ = ["MergeReport", "merge_indices"]

_BATCH_ROWS = 4096


@dataclass(frozen=True)
class MergeReport:
    """Result of merging index files.

    Attributes:
        read: Number of rows in all given files together.
        rows: Number of rows in the new file.
        united: Number of rows in the new file with S from several rows.
        root: Root of the names in the new file; None if it has none.
    """

    read: int
    rows: int
    united: int
    root: str | None


def merge_indices(
    paths: Sequence[AnyPath], out: AnyPath, *, root: AnyPath | None = None, moved: Sequence[Moved] = ()
) -> MergeReport:
    """Merge index files into one that contains each video once.

    If several rows have the same name:

    - Rows of the same content (size and first 64 KiB) become one row with S of all their representations; of S in the
      same representation, that of the later file is kept. A row with S is kept instead of one with an error.
    - Of rows of different contents, that of the newer video file is kept (``mtime_ns``); if the times are equal, or if
      one is unknown, that of the later index file.

    The new file replaces an old one when it is complete. Rows of builds that have not ended (``<file>.parts``) are not
    merged.

    Args:
        paths: Paths or URLs of the index files, at least one.
        out: Path of the new file, which does not exist or is one of ``paths``.
        root: Folder or URL that names in the new file are relative to. By default the deepest folder or URL that
            contains the roots of all files; without a root, the videos of a file.
        moved: Folders or URLs of videos when they were measured, and their current ones. The new file contains the
            current ones.

    Raises:
        DatasetError: If a file is missing, cannot be read, or is not an index; or if ``out`` cannot be written, or
            exists and is not one of ``paths``.
        ImportError: If a URL needs a package that is not installed.
        ValueError: If there are no files, or ``moved`` does not consist of pairs.
    """
    if isinstance(paths, (str, os.PathLike)) or not paths:
        raise ValueError(f"paths must be one or more index files in a list, got {paths!r}")
    VideoNames(moved=moved)
    if os.path.exists(out) and os.path.realpath(out) not in [os.path.realpath(path) for path in paths]:
        raise DatasetError(
            f"{os.fspath(out)} exists and is not one of the files to merge: name it as one of them, remove it, or give "
            "another path"
        )
    for path in map(path_or_url, paths):
        # Before anything is created at the destination.
        if isinstance(path, Path):
            open_parquet(path).close()
    writer = IndexWriter(out)
    try:
        with contextlib.ExitStack() as files:
            local = [files.enter_context(local_file(path_or_url(path))) for path in paths]
            # The files are opened while the new one is locked, so that no build can change the new one in between.
            merging = _Merging(
                [(file, os.fspath(path)) for file, path in zip(local, paths, strict=True)], Path(out), root, moved
            )
            writer.replace(merging.write)
    finally:
        writer.close()
    # Creates the mapped copy now, so that the first run does not have to.
    MotionIndex(out)
    return merging.report


class _Source:
    """An index file that is merged."""

    def __init__(self, parquet: pq.ParquetFile, name: str, moved: Sequence[Moved]) -> None:
        self._parquet = parquet
        self._name = name
        self.names = VideoNames.of_file(parquet.schema_arrow.metadata, name, moved=moved)
        self.rows: int = parquet.metadata.num_rows

    def paths(self) -> Iterator[list[str]]:
        """Yield the paths of all rows.

        Raises:
            DatasetError: If they are relative, and the file does not tell to what.
        """
        for batch in self.batches(["path"]):
            paths: list[str] = batch.column("path").to_pylist()
            if self.names.root is None and (relative := next(filter(is_relative, paths), None)) is not None:
                raise DatasetError(
                    f"the index {self._name} contains relative paths ({relative}) and no root, as that of a packed "
                    "data set: build an index of the packed data set with `mgdali index build`, and merge that one"
                )
            yield paths

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the given columns of all rows; None for all columns."""
        batches = read_batches(self._parquet, columns=columns, batch_size=_BATCH_ROWS)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as error:
                raise DatasetError(
                    f"cannot read the index {self._name} ({error}): it is damaged; copy it again, or leave it out"
                ) from error
            if batch is None:
                return
            yield batch

    def root(self) -> str | None:
        """Return the folder or URL that contains its videos."""
        if self.names.root is not None:
            return self.names.current(self.names.stored(self.names.root))
        return _common(common_root(map(self.names.current, paths)) for paths in self.paths())


class _Merging:
    """One merge.

    Args:
        files: Local path of each file, and its name in errors.
        out: Path of the new file.
        root: Root of the new file; None to find it.
        moved: Folders or URLs of videos that have been moved.

    Attributes:
        report: The result of :meth:`write`.
    """

    def __init__(
        self, files: Sequence[tuple[Path, str]], out: Path, root: AnyPath | None, moved: Sequence[Moved]
    ) -> None:
        self._files = files
        self._out = out
        self._root = root
        self._moved = moved
        self.report: MergeReport

    def write(self, target: Path) -> None:
        """Write the new file to ``target``, and a temporary file next to it."""
        with contextlib.ExitStack() as stack:
            sources = [
                _Source(stack.enter_context(open_parquet(file, name)), name, self._moved) for file, name in self._files
            ]
            root = (
                _common(source.root() for source in sources if source.rows)
                if self._root is None
                else normal_root(self._root)
            )
            names = VideoNames([] if root is None else [root])
            keys = np.concatenate([_keys(source, names) for source in sources])
            several = _repeated(keys)
            spilled = Path(f"{target}.several")
            with new_parquet(target, names.metadata(self._out)) as writer:
                rows = _copy_single_rows(sources, names, several, writer, spilled)
                united = 0
                for records in _in_groups(_united_records(spilled, keys[several]), _BATCH_ROWS):
                    writer.write_batch(to_batch([record for record, _ in records]), row_group_size=_BATCH_ROWS)
                    rows += len(records)
                    united += sum(of_several for _, of_several in records)
        self.report = MergeReport(len(keys), rows, united, root)


def _common(roots: Iterable[str | None]) -> str | None:
    """Return the deepest folder or URL that contains several; None if any of them is None, or all share only ``/``."""
    known = list(roots)
    return common_root(f"{root}/video" for root in known) if known and None not in known else None


def _keys(source: _Source, names: VideoNames) -> NDArray[np.uint64]:
    """Return the key of each row's name in the new file."""
    paths = itertools.chain.from_iterable(source.paths())
    keys = (name_key(names.stored(source.names.current(path))) for path in paths)
    return np.fromiter(keys, np.uint64, source.rows)


def _repeated(keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which keys exist several times."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    repeated = np.zeros(len(keys), np.bool_)
    repeated[order[1:][same]] = True
    repeated[order[:-1][same]] = True
    return repeated


def _copy_single_rows(
    sources: Sequence[_Source],
    names: VideoNames,
    several: NDArray[np.bool_],
    writer: pq.ParquetWriter,
    spilled: Path,
) -> int:
    """Write rows whose key exists once to the new file, and return their number. Write all others to ``spilled``."""
    done = written = 0
    with pa.OSFile(os.fspath(spilled), "wb") as file, pa.ipc.new_file(file, SCHEMA) as others:
        for source in sources:
            for batch in source.batches():
                batch = renamed(batch, source.names, names)
                mask = several[done : done + batch.num_rows]
                done += batch.num_rows
                single = batch.filter(pa.array(~mask))
                if single.num_rows:
                    writer.write_batch(single, row_group_size=_BATCH_ROWS)
                    written += single.num_rows
                if single.num_rows < batch.num_rows:
                    others.write_batch(batch.filter(pa.array(mask)))
    return written


def _united_records(spilled: Path, keys: NDArray[np.uint64]) -> Iterator[tuple[VideoRecord, bool]]:
    """Yield one record per name, and whether it contains S from several rows.

    Args:
        spilled: Arrow file with the rows, those of earlier index files first.
        keys: Key of the name of each row.
    """
    with pa.memory_map(os.fspath(spilled)) as memory, pa.ipc.open_file(memory) as file:
        batches = [file.get_batch(i) for i in range(file.num_record_batches)]
        ends = np.cumsum([batch.num_rows for batch in batches])
        rows = [Rows(batch) for batch in batches]

        def record(row: int) -> VideoRecord:
            number = int(np.searchsorted(ends, row, side="right"))
            return rows[number][row - (int(ends[number - 1]) if number else 0)]

        order = np.argsort(keys, kind="stable").tolist()
        for _, group in itertools.groupby(order, key=lambda row: keys[row]):
            by_name: dict[str, list[VideoRecord]] = {}
            for each in map(record, group):
                by_name.setdefault(each.path, []).append(each)
            for records in by_name.values():
                kept = records[0]
                for later in records[1:]:
                    kept = _merged(kept, later)
                yield kept, all(kept.motion.keys() > each.motion.keys() for each in records)


def _merged(earlier: VideoRecord, later: VideoRecord) -> VideoRecord:
    """Return the record of a video that has a record in two files."""
    one, other = earlier.fingerprint, later.fingerprint
    if one is None or other is None:
        return earlier if other is None and one is not None else later
    if (one.size, one.head) != (other.size, other.head):
        return earlier if one.mtime_ns and other.mtime_ns and one.mtime_ns > other.mtime_ns else later
    if later.error is not None and earlier.error is None:
        return earlier
    # S of a packed video is that of its original, so it cannot be mixed with S of the video itself.
    if earlier.error is not None or (earlier.origin, earlier.num_frames) != (later.origin, later.num_frames):
        return later
    return replace(later, motion={**earlier.motion, **later.motion}, filters=later.filters or earlier.filters)


def _in_groups(records: Iterator[tuple[VideoRecord, bool]], size: int) -> Iterator[list[tuple[VideoRecord, bool]]]:
    while group := list(itertools.islice(records, size)):
        yield group
