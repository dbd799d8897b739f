"""Reader of a motion index that looks up single videos without reading the rest.

The index is a Parquet file, in which a single row cannot be read without decoding thousands of others. So a copy of it
is stored next to it as an Arrow file, which is memory-mapped. All processes of a machine share its memory, and only the
requested rows are read. The copy is created again if it does not belong to the current index file. The copy of an index
at a URL is stored in the user's cache folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import os
import time
import uuid
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mgdali.errors import DatasetError
from mgdali.index.locks import locked_folder
from mgdali.index.names import AnyPath, Moved, VideoNames, name_key, path_or_url, root_metadata
from mgdali.index.remote_index import downloaded, index_cache, remote_stamp
from mgdali.index.schema import SCHEMA, Rows, read_batches
from mgdali.index.writer import open_parquet
from mgdali.video.record import VideoRecord

__all__ = ["MotionIndex"]

_KEYS = [pa.field("key", pa.uint64()), pa.field("key_row", pa.int64())]
_STAMP = b"mgdali.source"
# The end of the stamp. Copies of other versions, whose columns are not these, end otherwise and are created again.
_COPY_FORMAT = " copy 3"
# Age of an unfinished copy from which on it may be removed, if no process holds its lock.
_ABANDONED_SECONDS = 60.0


class MotionIndex:
    """An index file, opened for looking up videos.

    Args:
        path: Path or URL of the Parquet file that ``mgdali index build`` wrote.
        moved: Folder or URL of the videos when they were measured, and their current folder or URL; None if they have
            not been moved, or if ``root`` tells their place.
        root: Folder or URL that contains the videos now, if names in the file are relative to a root; None for the root
            in the file. If the file has none, as in a packed data set, relative names start from this one.

    Attributes:
        path: The path or URL of the file; a URL is a str.
        root: Folder or URL that relative names in the file start from; None if all names are absolute paths and URLs.

    Raises:
        DatasetError: If the file is missing, cannot be read or is not an index, or if its mapped copy cannot be
            written.
        ValueError: If ``moved`` is not a pair.
        ImportError: If a URL needs a package that is not installed.

    Example:
        >>> index = MotionIndex("clips.parquet")
        >>> record = index.find("videos/run/a.mp4")
        >>> record.num_frames, record.motion["image"].shape
        (48, (48,))
    """

    def __init__(
        self,
        path: AnyPath,
        *,
        moved: Moved | None = None,
        root: AnyPath | None = None,
    ) -> None:
        self.path: Path | str = path_or_url(path)
        self._file = pa.ipc.open_file(pa.memory_map(str(_current_copy(self.path))))
        self._names = VideoNames.of_file(
            self._file.schema.metadata, self.path, root=root, moved=() if moved is None else (moved,)
        )
        self.root = self._names.root
        batches = [self._file.get_batch(i) for i in range(self._file.num_record_batches)]
        # In addition to its own rows, each batch has a part of the sorted keys, and the rows of these keys.
        self._keys = [memoryview(batch.column("key").to_numpy()) for batch in batches]
        self._key_rows = [memoryview(batch.column("key_row").to_numpy()) for batch in batches]
        self._first_keys = [keys[0] for keys in self._keys]
        self._ends = np.cumsum([batch.num_rows for batch in batches]).tolist()
        self._batches: list[pa.RecordBatch | Rows] = batches

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, row: int) -> VideoRecord:
        """Return the record at a row in ``[0, len(self))``."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside [0, {len(self)})")
        rows, row = self._rows_with(row)
        return rows[row]

    def find(self, path: str) -> VideoRecord | None:
        """Return the record of a video; None if the index does not contain it.

        Args:
            path: Path or URL of the video, as in the data set. If it is not found like this, links of its folder are
                resolved.
        """
        for name in self._names.candidates(path):
            for row in self._candidates(name_key(name)):
                rows, row = self._rows_with(row)
                if rows.path(row) == name:
                    return rows[row]
        return None

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, at most a few thousand at a time. The columns are views of the mapped memory.

        Only one thread may read batches at a time.

        Args:
            columns: Names of columns of :data:`mgdali.index.schema.SCHEMA`.
        """
        for number in range(self._file.num_record_batches):
            yield self._file.get_batch(number).select(list(columns))

    def full_name(self, stored: str) -> str:
        """Return the full name of a video from its name in the file."""
        return self._names.full(stored)

    def __repr__(self) -> str:
        return f"MotionIndex({os.fspath(self.path)!r}, {len(self)} videos)"

    def _candidates(self, key: int) -> Iterator[int]:
        """Yield the rows whose names have a key."""
        for number in range(max(bisect_left(self._first_keys, key) - 1, 0), len(self._keys)):
            keys = self._keys[number]
            first = bisect_left(keys, key)
            last = bisect_right(keys, key, first)
            yield from self._key_rows[number][first:last]
            if last < len(keys):
                return

    def _rows_with(self, row: int) -> tuple[Rows, int]:
        """Return the rows of a batch that contain a row of the index, and its number among them."""
        number = bisect_right(self._ends, row)
        rows = self._batches[number]
        if not isinstance(rows, Rows):
            rows = self._batches[number] = Rows(rows, self._names.full)
        return rows, row - (self._ends[number - 1] if number else 0)


def _current_copy(path: Path | str) -> Path:
    """Return the path of the mapped copy of the current index file; create the copy if it is missing or outdated."""
    return _copy_of_file(path) if isinstance(path, Path) else _copy_of_url(path)


def _copy_of_url(url: str) -> Path:
    copy = _cached_copy(url)
    stamp = remote_stamp(url) + _COPY_FORMAT.encode()
    if _stamp_of(copy) == stamp:
        return copy
    with contextlib.ExitStack() as lock:
        # Of the processes that open the URL at the same time, one downloads it.
        with contextlib.suppress(OSError):
            lock.callback(os.close, locked_folder(copy.parent))
        if _stamp_of(copy) == stamp:
            return copy
        with downloaded(url) as (file, version):
            open_parquet(file, url).close()
            try:
                _make_copy(file, copy, version + _COPY_FORMAT.encode())
            except OSError as error:
                raise DatasetError(_not_copied(url, [_failure(copy, error)])) from error
    return copy


def _copy_of_file(path: Path) -> Path:
    open_parquet(path).close()
    stat = path.stat()
    stamp = f"{stat.st_size} {stat.st_mtime_ns}{_COPY_FORMAT}".encode()
    copies = [path.with_name(f"{path.name}.map"), _cached_copy(os.fspath(path.absolute()))]
    for copy in copies:
        if _stamp_of(copy) == stamp:
            return copy
    reasons = []
    for copy in copies:
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            _make_copy(path, copy, stamp)
            return copy
        except OSError as error:
            reasons.append(_failure(copy, error))
    raise DatasetError(_not_copied(path, reasons))


def _cached_copy(name: str) -> Path:
    """Return the path of an index's mapped copy in the user's cache folder."""
    return index_cache() / f"{hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest()}.map"


def _failure(copy: Path, error: OSError) -> str:
    return f"{copy}: {error.strerror or error}"


def _not_copied(index: Path | str, reasons: list[str]) -> str:
    return f"cannot write the mapped copy of the index {index} ({'; '.join(reasons)}): make one of the folders writable"


def _stamp_of(copy: Path) -> bytes | None:
    """Return the size and modification time of the index that was copied; None if this is not a copy."""
    with contextlib.suppress(OSError, pa.ArrowException), pa.ipc.open_file(pa.memory_map(str(copy))) as file:
        stamp: bytes | None = (file.schema.metadata or {}).get(_STAMP)
        return stamp
    return None


def _make_copy(path: Path, target: Path, stamp: bytes) -> None:
    _remove_abandoned(target)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
    try:
        with (
            _locked_if_possible(temporary),
            open_parquet(path) as parquet,
            pa.OSFile(str(temporary), "wb") as file,
        ):
            root = root_metadata(parquet.schema_arrow.metadata)
            schema = pa.schema([*SCHEMA, *_KEYS], {_STAMP: stamp, **root})
            keys, rows = _sorted_keys(parquet)
            done = 0
            with pa.ipc.new_file(file, schema) as writer:
                for batch in read_batches(parquet):
                    part = slice(done, done + batch.num_rows)
                    arrays = [*batch.columns, pa.array(keys[part]), pa.array(rows[part])]
                    writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                    done += batch.num_rows
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked_if_possible(path: Path) -> Iterator[None]:
    """Create a file and lock it, so that :func:`_remove_abandoned` keeps it."""
    with open(path, "xb") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remove_abandoned(target: Path) -> None:
    """Remove unfinished copies of processes that were killed; each is as large as the index."""
    for path in map(Path, glob.glob(f"{glob.escape(str(target))}.{'?' * 32}")):
        with contextlib.suppress(OSError), open(path, "rb") as file:
            # The age protects a copy on a file system without locks, or one that is created, but not yet locked.
            if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _sorted_keys(parquet: Any) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return all keys in ascending order, uint64, and their rows, int64."""
    keys = np.empty(parquet.metadata.num_rows, np.uint64)
    done = 0
    for batch in parquet.iter_batches(columns=["path"], batch_size=65536):
        for name in batch.column("path").to_pylist():
            keys[done] = name_key(name)
            done += 1
    order = np.argsort(keys, kind="stable")
    return keys[order], order
