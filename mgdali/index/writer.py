"""Writing an index file so that no row is lost, whatever ends the process, and however many write at a time.

Each record is written at once to this process's journal in ``FILE.parts/``; full journals become Parquet parts there.
A commit merges the parts of all processes, and the file as it was, into a new file, which takes the old one's place by
a rename. A journal is locked for as long as its process lives: one that can be locked is left over, and is taken in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from mgdali.errors import DatasetError
from mgdali.index.schema import SCHEMA, to_batch
from mgdali.video.record import VideoRecord

__all__ = ["IndexWriter", "open_parquet"]

_PART_ROWS = 4096
"""Rows of a journal, a part and a row group of the file: what is in memory at a time."""

_JOURNAL, _PART, _MERGING = ".journal", ".part.parquet", ".merging"


class IndexWriter:
    """Adds records to an index file.

    Args:
        path: the index file, which need not be there yet.

    Raises:
        DatasetError: the folder cannot be written to, or what is there is no index.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._folder = Path(f"{self._path}.parts")
        self._file: Any = None
        self._journal: Any = None
        self._rows = 0
        if self._path.exists():
            open_parquet(self._path).close()
        with _errors_of(self._path):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._take_in_left_journals()

    def add(self, *records: VideoRecord) -> None:
        """Write records; from here on they are not lost when the process is killed. Several at a time cost less."""
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
        """Whether there are rows of ended processes that are not in the file yet."""
        return any(self._folder.glob(f"*{_PART}"))

    def rows(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of all rows written, newest files first: a later row of a path is outdated."""
        # Locked, as a commit takes parts away.
        with _errors_of(self._path), self._lock():
            self._end_journal()
            for file in self._files():
                with open_parquet(file) as parquet:
                    yield from parquet.iter_batches(columns=columns, batch_size=_PART_ROWS)

    def commit(self, *, keep: Callable[[str], bool] | None = None) -> int:
        """Merge all that was written into the file.

        Args:
            keep: whether the row of a path is to stay; None for all.

        Returns:
            Rows of the file.
        """
        with _errors_of(self._path), self._lock():
            self._end_journal()
            self._take_in_left_journals()
            files = self._files()
            # With nothing new the file stays as it is, and copies of it stay good.
            if files != [self._path] or keep is not None:
                self._merge(files, keep)
            self._remove_folder_if_empty()
            with pq.ParquetFile(self._path) as file:
                return int(file.metadata.num_rows)

    def close(self) -> None:
        """Turn the journal into a part, for a later commit; without a row nothing is left behind."""
        with _errors_of(self._path), self._lock():
            self._end_journal()
            self._remove_folder_if_empty()

    def _merge(self, files: list[Path], keep: Callable[[str], bool] | None) -> None:
        for left in self._folder.glob(f"*{_MERGING}"):
            # Of a process that was killed: we hold the lock.
            left.unlink()
        temporary = self._folder / f"{uuid.uuid4().hex}{_MERGING}"
        _merge(files, temporary, keep)
        _replace(temporary, self._path)
        for file in files:
            if file != self._path:
                file.unlink()

    def _remove_folder_if_empty(self) -> None:
        """Another process may still write there."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _files(self) -> list[Path]:
        """The parts, newest first, and the file itself where it is there."""
        parts = sorted(self._folder.glob(f"*{_PART}"), key=lambda part: (part.stat().st_mtime_ns, part), reverse=True)
        return [*parts, self._path] if self._path.exists() else parts

    def _start_journal(self) -> None:
        self._file = _locked_file(self._folder)
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

    def _take_in_left_journals(self) -> None:
        for path in sorted(self._folder.glob(f"*{_JOURNAL}")):
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    # Its process lives, or this is our own.
                    continue
                _journal_to_part(path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """One process at a time looks at all files, or takes some away."""
        lock = _locked_folder(self._folder)
        try:
            yield
        finally:
            os.close(lock)


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open an index file.

    Raises:
        DatasetError: it is missing, or no index.
    """
    try:
        parquet = pq.ParquetFile(path, memory_map=False, pre_buffer=False)
    except FileNotFoundError as error:
        raise DatasetError(f"there is no index {path}: `mgdali index build DATA --out {path}` makes one") from error
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} is no motion index ({error}): give another file, or take it away") from error
    lacking = [name for name in SCHEMA.names if name not in parquet.schema_arrow.names]
    if lacking:
        parquet.close()
        raise DatasetError(f"{path} is no motion index: it has no column {lacking[0]!r}; give another file")
    return parquet


def _locked_folder(folder: Path) -> int:
    """The folder, made where it is not there, opened and locked by this process."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever had it before may have taken it away, before or after we opened it.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(lock), os.stat(folder)):
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def _locked_file(folder: Path) -> BinaryIO:
    """A new journal, locked by this process."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = open(folder / f"{uuid.uuid4().hex}{_JOURNAL}", "xb")  # noqa: SIM115
        except FileNotFoundError:
            # In between, another process took the folder away.
            continue
        fcntl.flock(file, fcntl.LOCK_EX)
        # In between, another process may have taken it for one that was left over.
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _journal_to_part(journal: Path) -> None:
    """Make a journal a part, then remove it. A last record that was cut off is left out."""
    batches = list(_whole_batches(journal))
    if batches:
        temporary = journal.with_suffix(".rolling")
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
            writer.write_table(pa.Table.from_batches(batches).combine_chunks())
        _replace(temporary, journal.with_name(f"{journal.stem}{_PART}"))
    with contextlib.suppress(FileNotFoundError):
        journal.unlink()


def _whole_batches(journal: Path) -> Iterator[pa.RecordBatch]:
    with contextlib.suppress(pa.ArrowException, OSError, EOFError), pa.ipc.open_stream(journal.read_bytes()) as stream:
        yield from stream


def _merge(files: list[Path], target: Path, keep: Callable[[str], bool] | None) -> None:
    """Write each path's newest row; files come newest first."""
    seen: set[str] = set()
    # Times rise evenly as a rule, and S shares its exponents: both shrink well in these encodings.
    encodings = {"times.list.element": "DELTA_BINARY_PACKED", "packets.list.element": "DELTA_BINARY_PACKED"}
    encodings |= {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in SCHEMA.names if name.startswith("motion_")}
    plain = [name for name in SCHEMA.names if name in ("codec", "pixel_format", "container", "filters")]
    with pq.ParquetWriter(
        target, SCHEMA, compression="zstd", use_dictionary=plain, column_encoding=encodings
    ) as writer:
        for file in files:
            with open_parquet(file) as parquet:
                for batch in parquet.iter_batches(batch_size=_PART_ROWS):
                    wanted = []
                    # Within a part the later row is the newer one.
                    for path in reversed(batch.column("path").to_pylist()):
                        wanted.append(path not in seen and (keep is None or keep(path)))
                        seen.add(path)
                    rows = batch.filter(pa.array(wanted[::-1]))
                    if rows.num_rows:
                        writer.write_batch(rows, row_group_size=_PART_ROWS)


def _replace(temporary: Path, path: Path) -> None:
    """Put a finished file in its place: after a power cut, too, the old one or the new one is there, whole."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextlib.contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"cannot write the index {path}: {error}. What was measured stays in {path}.parts; give a folder that can "
            "be written to, with room, on a file system with locks"
        ) from error
