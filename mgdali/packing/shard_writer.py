"""Writing one shard of a packed data set so that a process that ends early loses no finished video.

The shard grows in a staging folder. After a video is in the shard, its row is added to a journal beside it. A process
that continues the shard reads the journal, and cuts off whatever comes after the last journalled video.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mgdali.datasets.pack_format import label_columns, member_name, part_columns, shard_name
from mgdali.errors import DatasetError
from mgdali.packing.rows import ROW_SCHEMA, TAR_END_BYTES, Identity, failed_batch, packed_batch
from mgdali.video.media import Fingerprint
from mgdali.video.record import VideoRecord

__all__ = ["OpenShard", "Sample", "as_json", "refusing_full_disks", "replace_file", "rows_path"]

_END = bytes(TAR_END_BYTES)


@dataclass(frozen=True)
class Sample:
    """One video to be added to a shard.

    Attributes:
        key: Name of its files.
        content: The encoded file, bytes-like.
        record: Its record for the index; its name and origin are set here.
        label: Its label: class index, number, or vector.
        class_name: Name of its class; None if it has none.
        identity: Its original.
        fingerprint: Fingerprint of its original.
        columns: Its values of the data set's columns.
    """

    key: str
    content: Any
    record: VideoRecord
    label: Any
    class_name: str | None
    identity: Identity
    fingerprint: Fingerprint
    columns: Mapping[str, Any]

    def fields(self) -> dict[str, Any]:
        """Return the content of the sample's JSON file."""
        own = {"label": self.label, "class": self.class_name, "path": self.identity.origin}
        if self.identity.part is not None:
            own |= part_columns(self.identity.part)
        return {**self.columns, **own}

    def members(self) -> tuple[list[Any], int]:
        """Return the parts of the tar that contain the sample, and the position of the video in them, in bytes."""
        text = as_json(self.fields()).encode()
        video = memoryview(self.content).cast("B")
        parts = [_header(f"{self.key}.mp4", len(video)), video, _padding(len(video))]
        parts += [_header(f"{self.key}.json", len(text)), text, _padding(len(text))]
        return parts, tarfile.BLOCKSIZE


class OpenShard:
    """A shard that is being written. If its files exist, it is continued after its last journalled video.

    Args:
        folder: The staging folder.
        number: Number of the shard, which its name contains.

    Raises:
        DatasetError: If the files cannot be read or written.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.number = number
        self.name = shard_name(number)
        self.path = folder / self.name
        self.size = self.videos = 0
        self._journal_path = folder / f"{self.name}.journal"
        self._batches: list[pa.RecordBatch] = []
        self._file = -1
        self._journal: Any = None
        self._stream: Any = None
        with refusing_full_disks(self.path):
            try:
                self._open()
            except BaseException:
                self.close()
                raise

    @property
    def table(self) -> pa.Table:
        """The journalled rows, :data:`~mgdali.packing.rows.ROW_SCHEMA`."""
        return pa.Table.from_batches(self._batches, ROW_SCHEMA)

    def fits(self, sample: Sample, shard_size: int) -> bool:
        """Whether the shard stays within a size in bytes with one more video. The first video always fits."""
        added = sum(map(len, sample.members()[0]))
        return not self.videos or self.size + added + len(_END) <= shard_size

    def add(self, sample: Sample) -> VideoRecord:
        """Add a video, which then survives a kill of the process, and return its record.

        Raises:
            DatasetError: If the disk is full, or the shard cannot be written for another reason. A new process can
                continue it.
        """
        parts, offset = sample.members()
        offset += self.size
        record = replace(sample.record, path=member_name(self.name, sample.key), origin=sample.identity.origin)
        video = {
            "key": sample.key,
            "shard": self.number,
            "offset": offset,
            "length": len(parts[1]),
            "origin": sample.identity.origin,
            "origin_size": sample.fingerprint.size,
            "origin_mtime_ns": sample.fingerprint.mtime_ns,
            "origin_head": sample.fingerprint.head,
            "digest": _digest(sample.content),
            "columns": as_json(sample.columns),
            **label_columns(sample.label),
            **part_columns(sample.identity.part),
        }
        end = self.size + sum(map(len, parts))
        with refusing_full_disks(self.path):
            checksum = 0
            for part in parts:
                _write(self._file, part)
                checksum = zlib.crc32(part, checksum)
            self._note(packed_batch(sample.identity.occurrence, end, checksum, video, record))
        self.size = end
        self.videos += 1
        return record

    def add_failure(self, identity: Identity, error: str) -> None:
        """Note that a video could not be decoded.

        Raises:
            DatasetError: If the journal cannot be written.
        """
        with refusing_full_disks(self.path):
            self._note(failed_batch(identity, self.size, error))

    def finish(self) -> None:
        """End the tar and write its rows. From then on the shard counts as finished.

        Raises:
            DatasetError: If the files cannot be written.
        """
        with refusing_full_disks(self.path):
            _write(self._file, _END)
            os.fsync(self._file)
            path = rows_path(self.path.parent, self.number)
            temporary = path.with_suffix(".unfinished")
            with pq.ParquetWriter(temporary, ROW_SCHEMA, compression="zstd") as writer:
                writer.write_table(self.table.combine_chunks())
            replace_file(temporary, path)
            self.close()
            self._journal_path.unlink()

    def close(self) -> None:
        """Close the files, which stay as they are."""
        if self._stream is not None:
            # The end mark of the stream is not needed, and the disk may be full.
            with contextlib.suppress(OSError, pa.ArrowException):
                self._stream.close()
            self._stream = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> None:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        for row in _whole_rows(self._journal_path):
            # After a power failure the journal may be on the disk and the video not.
            if not self._take(row):
                break
        os.ftruncate(self._file, self.size)
        os.lseek(self._file, self.size, os.SEEK_SET)
        temporary = self._journal_path.with_suffix(".unfinished")
        self._journal = open(temporary, "wb", buffering=0)  # noqa: SIM115
        self._stream = pa.ipc.new_stream(self._journal, ROW_SCHEMA)
        for batch in self._batches:
            self._stream.write_batch(batch)
        os.replace(temporary, self._journal_path)

    def _take(self, row: pa.RecordBatch) -> bool:
        """Continue after a journalled row, if its video is in the shard as it was journalled."""
        end, checksum, error = (row.column(name)[0].as_py() for name in ("end", "checksum", "error"))
        if error is None:
            if zlib.crc32(os.pread(self._file, end - self.size, self.size)) != checksum:
                return False
            self.videos += 1
        self.size = end
        self._batches.append(row)
        return True

    def _note(self, row: pa.RecordBatch) -> None:
        self._stream.write_batch(row)
        self._batches.append(row)


def rows_path(folder: Path, number: int) -> Path:
    """Return the path of the rows of a finished shard in the staging folder."""
    return folder / f"{shard_name(number)}.rows.parquet"


def as_json(fields: Mapping[str, Any]) -> str:
    """Return values as a JSON object. NumPy's scalars become numbers, and numbers that are not finite become null."""
    return json.dumps({str(name): _plain(value) for name, value in fields.items()}, default=str)


def replace_file(temporary: Path, path: Path) -> None:
    """Move a finished file to its final path. Even after a power failure, the old or the new file is complete."""
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def refusing_full_disks(path: Path) -> Iterator[None]:
    """Raise errors of the system, such as a full disk, as a DatasetError that says how to resume."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"cannot write {path}: {error}. Packed videos are kept: free space or change the rights of the folder, "
            "then run the same command again, which resumes"
        ) from error


def _whole_rows(journal: Path) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a journal, one per batch, without a last one that was not written completely."""
    with contextlib.suppress(pa.ArrowException, OSError, EOFError), pa.ipc.open_stream(journal.read_bytes()) as stream:
        yield from stream


def _header(name: str, size: int) -> bytes:
    """Return the header of a file in a tar. It depends on nothing else, so that equal files give equal shards."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _write(file: int, content: Any) -> None:
    left = memoryview(content)
    while len(left):
        left = left[os.write(file, left) :]


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple):
        return [_plain(each) for each in plain]
    if isinstance(plain, dict):
        return {str(key): _plain(each) for key, each in plain.items()}
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
