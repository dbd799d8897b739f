"""Writer of index files that loses no row if a process ends early, and that allows several writers at once.

Each record is written at once to this process's journal in ``FILE.parts/``. Full journals become Parquet parts in the
same folder. A commit merges the parts of all processes and the existing file into a new file, which replaces the
existing one by a rename. Journals and parts contain full names, and only the file has a root
(:mod:`mgdali.index.names`). A process locks its journal as long as it lives. A journal that can be locked was therefore
left by a process that has ended, and its rows are used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mgdali.errors import DatasetError
from mgdali.index.locks import locked_file, locked_folder, try_folder
from mgdali.index.names import AnyPath, VideoNames, lost_slash, normal_root
from mgdali.index.schema import REQUIRED, SCHEMA, check_format, conform, file_schema, read_batches, to_batch
from mgdali.video.record import VideoRecord
from mgdali.video.remote import is_url

__all__ = ["IndexWriter", "new_parquet", "open_parquet", "renamed"]

_PART_ROWS = 4096
"""Maximum number of rows in a journal, a part, and a row group of the file, and so of rows in memory."""

_JOURNAL, _PART, _MERGING = ".journal", ".part.parquet", ".merging"


class IndexWriter:
    """Adds records to an index file.

    The destination is checked at once, before any video is measured.

    Args:
        path: Path of the index file. It is created if it does not exist, like its folder.
        root: Folder or URL that names in the file are relative to. An existing file with another root gets this one,
            and its rows are renamed. None to keep the root of an existing file.
        new_root: Root of a file that does not exist yet, if ``root`` is None.

    Attributes:
        names: The names of the file.

    Raises:
        DatasetError: If the path is a URL or a folder, if the file exists and is not an index, or if files in its
            folder cannot be created, locked and replaced. Nothing that was created is left then.
    """

    def __init__(self, path: AnyPath, *, root: AnyPath | None = None, new_root: AnyPath | None = None) -> None:
        if is_url(os.fspath(path)) or lost_slash(path):
            raise DatasetError(
                f"cannot write the index to the URL {os.fspath(path)}: build it to a local path, then upload the file"
            )
        self._path = Path(path)
        self._root = None if root is None else normal_root(root)
        self._new_root = None if new_root is None else normal_root(new_root)
        self._place: str | None = None
        self._folder = Path(f"{self._path}.parts")
        self._file: Any = None
        self._journal: Any = None
        self._rows = 0
        with _refusals_of(self._path):
            self.names = self._names_now()
            try_folder(self._folder, _JOURNAL)
        with _errors_of(self._path):
            self._convert_abandoned_journals()

    def add(self, *records: VideoRecord) -> None:
        """Write records, which then survive a kill of the process. Writing several in one call is faster."""
        if not records:
            return
        with _errors_of(self._path):
            if self._journal is None:
                self._start_journal()
            self._journal.write_batch(to_batch(list(records)))
            self._file.flush()
            self._rows += len(records)
            if self._rows >= _PART_ROWS:
                self._end_journal()

    @property
    def pending(self) -> bool:
        """Whether rows of ended processes are not in the file yet."""
        return any(self._folder.glob(f"*{_PART}"))

    def follow(self, videos: Collection[str]) -> None:
        """If only the index file was moved, let its relative names start from the root that it had before.

        Of the root at its new place and the one before, that is used below which more of the videos have rows.

        Args:
            videos: Full names of the videos.
        """
        if not os.path.exists(self._path):
            return
        with _errors_of(self._path), open_parquet(self._path) as parquet:
            roots = self._names_in(parquet).roots
            if len(roots) < 2:
                return
            given = [{VideoNames([root]).stored(video) for video in videos}.difference(videos) for root in roots]
            known = [0] * len(roots)
            for batch in read_batches(parquet, columns=["path"], batch_size=_PART_ROWS):
                paths = set(batch.column("path").to_pylist())
                known = [count + len(paths & names) for count, names in zip(known, given, strict=True)]
        best = max(range(len(roots)), key=lambda i: (known[i], len(given[i])))
        self._place = roots[best]
        self.names = self._names_now()

    def rows(self, columns: list[str]) -> Generator[pa.RecordBatch, None, None]:
        """Yield the given columns of all rows, newest files first: a later row of a path is outdated.

        The column ``path``, if given, contains names of :attr:`names`.
        """
        # A commit of another process removes parts. The lock prevents that.
        with _errors_of(self._path), self._lock():
            self._end_journal()
            self.names = self._names_now()
            for file in self._files():
                with open_parquet(file) as parquet:
                    before = self._names_in(parquet)
                    for batch in read_batches(parquet, columns=columns, batch_size=_PART_ROWS):
                        yield renamed(batch, before, self.names) if "path" in columns else batch

    def commit(self, *, keep: Iterable[str] | None = None) -> int:
        """Merge all written rows into the file.

        Args:
            keep: Full names of the videos whose rows are kept; None to keep all rows.

        Returns:
            The number of rows in the file.
        """
        with _errors_of(self._path), self._lock():
            self._end_journal()
            self._convert_abandoned_journals()
            self.names = self._names_now()
            files = self._files()
            # Without new rows the file is not written, so that mapped copies of it stay valid.
            if files != [self._path] or keep is not None or self._is_renamed():
                kept = None if keep is None else set(map(self.names.stored, keep))
                self._write_anew(lambda temporary: self._merge(files, temporary, kept))
                for file in files:
                    if file != self._path:
                        file.unlink()
            self._remove_folder_if_empty()
            with pq.ParquetFile(self._path) as file:
                return int(file.metadata.num_rows)

    def replace(self, write: Callable[[Path], None]) -> None:
        """Replace the file by a new one. Until it is complete, the old file stays.

        Args:
            write: Function that writes the new file to the given path. It may write more files whose names start with
                this path; those that it leaves are removed.
        """
        with _errors_of(self._path), self._lock():
            self._write_anew(write)
            self._remove_folder_if_empty()

    def close(self) -> None:
        """Turn the journal into a part for a later commit. Without rows, remove the journal and the empty folder."""
        with _errors_of(self._path), self._lock():
            self._end_journal()
            self._remove_folder_if_empty()

    def _names_now(self) -> VideoNames:
        """Return the names that the file has, or will have after the next commit."""
        if self._root is not None:
            if os.path.exists(self._path):
                open_parquet(self._path).close()
            return VideoNames([self._root])
        if not os.path.exists(self._path):
            return VideoNames([] if self._new_root is None else [self._new_root])
        with open_parquet(self._path) as parquet:
            return self._names_in(parquet)

    def _names_in(self, parquet: pq.ParquetFile) -> VideoNames:
        """Return the names of the file or of a part."""
        return VideoNames.of_file(parquet.schema_arrow.metadata, self._path).below(self._place)

    def _is_renamed(self) -> bool:
        """Whether the next commit changes the root of the file."""
        with open_parquet(self._path) as parquet:
            return self._names_in(parquet).root != self.names.root

    def _merge(self, files: list[Path], target: Path, keep: set[str] | None) -> None:
        """Write the newest row of each path to ``target``. The files are sorted, newest first."""
        seen: set[str] = set()
        with new_parquet(target, self.names.metadata(self._path)) as writer:
            for file in files:
                with open_parquet(file) as parquet:
                    before = self._names_in(parquet)
                    for batch in read_batches(parquet, batch_size=_PART_ROWS):
                        batch = renamed(batch, before, self.names)
                        wanted = []
                        # Within a part the later row is the newer one.
                        for path in reversed(batch.column("path").to_pylist()):
                            wanted.append(path not in seen and (keep is None or path in keep))
                            seen.add(path)
                        rows = batch.filter(pa.array(wanted[::-1]))
                        if rows.num_rows:
                            writer.write_batch(rows, row_group_size=_PART_ROWS)

    def _write_anew(self, write: Callable[[Path], None]) -> None:
        for left in self._folder.glob(f"*{_MERGING}*"):
            # Its process was killed: a living one would hold the lock.
            left.unlink()
        temporary = self._folder / f"{uuid.uuid4().hex}{_MERGING}"
        try:
            write(temporary)
            _move(temporary, self._path)
        finally:
            for left in self._folder.glob(f"*{_MERGING}*"):
                left.unlink()

    def _remove_folder_if_empty(self) -> None:
        """Remove the folder of the parts unless another process still uses it."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _files(self) -> list[Path]:
        """Return the parts, newest first, then the file if it exists."""
        parts = sorted(self._folder.glob(f"*{_PART}"), key=lambda part: (part.stat().st_mtime_ns, part), reverse=True)
        return [*parts, self._path] if self._path.exists() else parts

    def _start_journal(self) -> None:
        self._file = locked_file(self._folder, _JOURNAL)
        self._journal = pa.ipc.new_stream(self._file, SCHEMA)
        self._rows = 0

    def _end_journal(self) -> None:
        if self._journal is None:
            return
        self._journal.close()
        self._file.flush()
        _journal_to_part(Path(self._file.name))
        self._file.close()
        self._file = self._journal = None

    def _convert_abandoned_journals(self) -> None:
        for path in sorted(self._folder.glob(f"*{_JOURNAL}")):
            # On NFS, only a file that is open for writing can be locked like this.
            with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Its process is alive, or it is the journal of this writer.
                    continue
                _journal_to_part(path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time list or remove files."""
        lock = locked_folder(self._folder)
        try:
            yield
        finally:
            os.close(lock)


def open_parquet(path: Path, name: str | None = None) -> pq.ParquetFile:
    """Open an index file.

    Args:
        path: Path of the file.
        name: Name of the index in errors; by default the path.

    Raises:
        DatasetError: If the file is missing, cannot be read, is not an index, or has a newer format.
    """
    name = name or os.fspath(path)
    if os.path.exists(path) and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "not a regular file"
        raise DatasetError(f"{name} is not a motion index: it is {what}; give the path of a file")
    try:
        parquet = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    except FileNotFoundError as error:
        raise DatasetError(
            f"the index {name} does not exist: create it with `mgdali index build DATA --out {name}`"
        ) from error
    except PermissionError as error:
        raise DatasetError(f"cannot read the index {name}: {error.strerror}; change the rights of the file") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{name} is not a motion index ({error}): give another path, or remove the file") from error
    try:
        check_format(parquet.schema_arrow, f"the index {name}")
        missing = [column for column in REQUIRED if column not in parquet.schema_arrow.names]
        if missing:
            raise DatasetError(
                f"{name} is not a motion index: it has no column {missing[0]!r}; give another path, or remove the file"
            )
    except DatasetError:
        parquet.close()
        raise
    return parquet


def new_parquet(path: Path, root: Mapping[bytes, bytes] | None = None) -> pq.ParquetWriter:
    """Open a new index file for writing rows of :data:`~mgdali.index.schema.SCHEMA`.

    Args:
        path: Path of the file.
        root: Entries of its metadata that tell the root of its names (:meth:`mgdali.index.names.VideoNames.metadata`);
            None if it has none.

    Raises:
        OSError: If the file cannot be created.
    """
    # Times usually increase by equal steps, and values of S have similar exponents. Both compress well like this.
    steps = ("times", "packets", "packet_offsets", "packet_sizes")
    encodings = {f"{name}.list.element": "DELTA_BINARY_PACKED" for name in steps}
    encodings |= {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in SCHEMA.names if name.startswith("motion_")}
    plain = ["codec", "pixel_format", "container", "filters", "extradata"]
    schema = file_schema(root or {})
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=plain, column_encoding=encodings)


def _journal_to_part(journal: Path) -> None:
    """Convert a journal to a part and remove the journal. A truncated last record is dropped."""
    batches = [conform(batch) for batch in _whole_batches(journal)]
    if batches:
        temporary = journal.with_suffix(".rolling")
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            writer.write_table(pa.Table.from_batches(batches).combine_chunks())
        _move(temporary, journal.with_name(f"{journal.stem}{_PART}"))
    with contextlib.suppress(FileNotFoundError):
        journal.unlink()


def _whole_batches(journal: Path) -> Iterator[pa.RecordBatch]:
    with contextlib.suppress(pa.ArrowException, OSError, EOFError), pa.ipc.open_stream(journal.read_bytes()) as stream:
        yield from stream


def renamed(batch: pa.RecordBatch, before: VideoNames, now: VideoNames) -> pa.RecordBatch:
    """Return rows with the names of another file.

    Args:
        batch: The rows, with the column ``path``.
        before: The names that they have. If videos were moved, their current places count.
        now: The names that they get.
    """
    if before.same_as(now):
        return batch
    names = pa.array([now.stored(before.current(path)) for path in batch.column("path").to_pylist()], pa.string())
    return batch.set_column(batch.schema.get_field_index("path"), "path", names)


def _move(temporary: Path, path: Path) -> None:
    """Move a finished file to its final path. Even after a power failure, the old or the new file is complete."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def _refusals_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(
            f"cannot write the index {path}: {error}. Nothing was measured; use a writable folder with free space, on "
            'a file system that supports locks (with index="auto", set cache_dir=)'
        ) from error


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"cannot write the index {path}: {error}. Measured videos are kept in {path}.parts; use a writable folder "
            "with free space, on a file system that supports locks"
        ) from error
