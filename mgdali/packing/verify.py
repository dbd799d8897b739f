"""Comparing the shards of a pack with its table and its index, byte by byte."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av.error
import numpy as np
import pyarrow as pa

from mgdali.datasets.pack_format import (
    INDEX,
    TABLE,
    PackManifest,
    Shard,
    join,
    label_of,
    member_name,
    part_columns,
    part_of,
    read_manifest,
)
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.index.schema import records_of
from mgdali.packing.rows import TAR_END_BYTES, CompleteRows, Records, origin_bytes, segments_in
from mgdali.packing.shard_writer import as_json
from mgdali.video.containers import open_container
from mgdali.video.packets import read_packets
from mgdali.video.record import VideoRecord
from mgdali.video.remote import download, is_url, remote_info

__all__ = ["PackCheck", "Problem", "check_pack", "local_file"]

_AT_ONCE = 8


@dataclass(frozen=True)
class Problem:
    """Something wrong in a pack.

    Attributes:
        name: A file of the pack, or a video in it.
        reason: What is wrong.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class PackCheck:
    """Result of checking a pack.

    Attributes:
        path: Folder or URL of the pack.
        videos: Number of videos according to the manifest.
        segments: Number of videos that are segments of files.
        shards: Number of shards according to the manifest.
        bytes: Size of all shards according to the manifest.
        problems: What is wrong, by shard.
        complete: Whether nothing is wrong.
    """

    path: str
    videos: int
    segments: int
    shards: int
    bytes: int
    problems: tuple[Problem, ...]
    complete: bool


def check_pack(
    path: str | os.PathLike[str], *, on_shard: Callable[[int, int], None] = lambda done, total: None
) -> PackCheck:
    """Compare each shard with the manifest, the table and the index. Every byte is read, and nothing is decoded.

    Checked are the size of the shard, the headers of the tar, the hash of each video, its JSON file, and the positions
    and sizes of its packets.

    Args:
        path: Folder or URL of the pack. Shards at a URL are downloaded one by one to the temporary folder.
        on_shard: Function called with the number of checked shards and the number of all shards.

    Raises:
        DatasetError: If it is not a complete pack, or its table or index cannot be read.
        ImportError: If a URL needs a package that is not installed.
    """
    root = os.fspath(path)
    manifest = read_manifest(root)
    with contextlib.ExitStack() as files:
        table, index = (files.enter_context(local_file(join(root, name))) for name in (TABLE, INDEX))
        source = CompleteRows(table, lambda: index, len(manifest.shards))
        problems = list(_whole(root, manifest, source))
        shards = _Shards(root, source, manifest)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            results = pool.map(shards.problems, range(len(manifest.shards)))
            for done, found in enumerate(results, start=1):
                problems += found
                on_shard(done, len(manifest.shards))
        segments = segments_in(source.videos())
    return PackCheck(
        root,
        manifest.videos,
        segments,
        len(manifest.shards),
        manifest.total_bytes,
        tuple(problems),
        complete=not problems,
    )


@contextlib.contextmanager
def local_file(path: str) -> Iterator[Path]:
    """Provide a file of a pack as a local file; one at a URL as a copy in the temporary folder.

    Raises:
        DatasetError: If it is missing or cannot be read.
    """
    if not is_url(path):
        yield Path(path)
        return
    with tempfile.NamedTemporaryFile(prefix="mgdali-") as file:
        try:
            download(path, file, remote_info(path))
            file.flush()
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error}") from error
        yield Path(file.name)


class _Shards:
    """The shards of a pack, with the rows of their videos."""

    def __init__(self, root: str, source: CompleteRows, manifest: PackManifest) -> None:
        self._root = root
        self._shards = manifest.shards
        self._manifest = manifest
        self._videos = source.videos()
        self._numbers = self._videos.column("shard").to_numpy()
        self._records = Records([source])
        # The records of a group of rows are read once for several shards.
        self._lock = threading.Lock()

    def problems(self, number: int) -> list[Problem]:
        """Return what is wrong with a shard."""
        shard = self._shards[number]
        rows = np.flatnonzero(self._numbers == number)
        videos = self._videos.take(pa.array(rows)).to_pylist()
        with self._lock:
            records = self._records.take(rows.tolist()).combine_chunks().to_batches()
        found = [record for batch in records for record in records_of(batch)]
        try:
            with local_file(join(self._root, shard.name)) as path, open(path, "rb") as file:
                return list(self._compare(shard, file, sorted(zip(videos, found, strict=True), key=_offset)))
        except (OSError, DatasetError) as error:
            return [Problem(shard.name, f"cannot be read: {getattr(error, 'strerror', None) or error}")]

    def _compare(
        self, shard: Shard, file: BinaryIO, entries: list[tuple[dict[str, Any], VideoRecord]]
    ) -> Iterator[Problem]:
        size = os.fstat(file.fileno()).st_size
        if size != shard.bytes:
            yield Problem(shard.name, f"has {size} bytes instead of {shard.bytes}")
        if len(entries) != shard.videos:
            yield Problem(shard.name, f"has {len(entries)} videos in {TABLE} instead of {shard.videos}")
        end = 0
        for video, record in entries:
            name = member_name(shard.name, video["key"])
            try:
                end = _sample_end(file, video, end, _expected_fields(video, self._manifest))
                _compare_record(file, video, record, name)
            except _Wrong as wrong:
                yield Problem(name, str(wrong))
                end = -1
        file.seek(max(end, 0))
        if end >= 0 and file.read(TAR_END_BYTES + 1) != bytes(TAR_END_BYTES):
            yield Problem(shard.name, "does not end after its last video")


class _Wrong(Exception):
    """What is wrong with a video."""


def _whole(root: str, manifest: PackManifest, source: CompleteRows) -> Iterator[Problem]:
    """Yield what is wrong with the files as a whole."""
    videos = source.videos()
    if videos.num_rows != manifest.videos:
        yield Problem(TABLE, f"has {videos.num_rows} rows, but the shards have {manifest.videos} videos")
    keys = videos.column("key").to_pylist()
    if len(set(keys)) < len(keys):
        yield Problem(TABLE, "has two rows with the same key")
    if origin_bytes(videos) != manifest.origin_bytes:
        yield Problem(TABLE, "has other sizes of the originals than the manifest")
    if not is_url(root):
        known = {shard.name for shard in manifest.shards}
        for file in sorted(Path(root).glob("shard-*.tar")):
            if file.name not in known:
                yield Problem(file.name, "is not in the manifest")


def _offset(entry: tuple[dict[str, Any], VideoRecord]) -> int:
    offset: int = entry[0]["offset"]
    return offset


def _expected_fields(video: dict[str, Any], manifest: PackManifest) -> dict[str, Any]:
    """Return what the JSON file of a video contains according to the table."""
    try:
        label = label_of(video, manifest.label_shape)
        is_class = manifest.label_shape is None and label >= 0
        fields = {"label": label, "class": manifest.classes[label] if is_class else None, "path": video["origin"]}
        part = part_of(video)
    except (IndexError, TypeError, ValueError) as error:
        raise _Wrong(f"has a label, or a part of the original, that is not possible in {TABLE} ({error})") from error
    if part is not None:
        fields |= part_columns(part)
    # In JSON, numbers that are not finite are null.
    found: dict[str, Any] = json.loads(as_json(fields))
    return found


def _sample_end(file: BinaryIO, video: dict[str, Any], start: int, expected: dict[str, Any]) -> int:
    """Check the two files of a sample in a shard, and return the position after them.

    Args:
        file: The shard.
        video: The video's row of the table.
        start: Position after the sample before it; -1 if unknown.
        expected: Fields of its JSON file.
    """
    first = video["offset"] - tarfile.BLOCKSIZE
    if start not in (-1, first):
        raise _Wrong(f"begins at byte {first} according to {TABLE}, but the video before it ends at byte {start}")
    if _size_in_header(file, first, f"{video['key']}.mp4") != video["length"]:
        raise _Wrong(f"has another size in the tar than in {TABLE}")
    digest = hashlib.blake2b(_read(file, video["offset"], video["length"]), digest_size=16).hexdigest()
    if digest != video["digest"]:
        raise _Wrong(f"has other bytes than when it was packed (hash {digest} instead of {video['digest']})")
    second = video["offset"] + _whole_blocks(video["length"])
    length = _size_in_header(file, second, f"{video['key']}.json")
    try:
        fields = json.loads(_read(file, second + tarfile.BLOCKSIZE, length))
        same = all(fields[name] == value for name, value in expected.items())
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise _Wrong(f"has a JSON file with another label, class, path or part of the original than {TABLE}")
    return int(second + tarfile.BLOCKSIZE + _whole_blocks(length))


def _size_in_header(file: BinaryIO, position: int, name: str) -> int:
    """Return the size of a file from its header in a tar."""
    try:
        entry = tarfile.TarInfo.frombuf(_read(file, position, tarfile.BLOCKSIZE), "utf-8", "replace")
    except tarfile.HeaderError as error:
        raise _Wrong(f"has a damaged tar header at byte {position} ({error})") from error
    if entry.name != name or not entry.isreg():
        raise _Wrong(f"has the file {entry.name!r} at byte {position} instead of {name!r}")
    return entry.size


def _compare_record(file: BinaryIO, video: dict[str, Any], record: VideoRecord, name: str) -> None:
    """Check that the index describes a video."""
    if record.path != name:
        raise _Wrong(f"has the row of {record.path} in {INDEX} at its place")
    if record.fingerprint is None or record.fingerprint.size != video["length"] or record.origin != video["origin"]:
        raise _Wrong(f"has another size or original in {INDEX} than in {TABLE}")
    content = _read(file, video["offset"], video["length"])
    try:
        with open_container(io.BytesIO(content), name) as container:
            stream = container.streams.video[0]
            packets = [(packet.pos, packet.size) for packet in read_packets(container, stream) if packet.size]
    except (VideoDecodeError, av.error.FFmpegError, IndexError) as error:
        raise _Wrong(f"is not a video that can be opened ({error})") from error
    offsets, sizes = (() if part is None else part.tolist() for part in (record.packet_offsets, record.packet_sizes))
    if [offset for offset, _ in packets] != offsets or [size for _, size in packets] != sizes:
        raise _Wrong(f"has packets at other positions than {INDEX} says")
    lengths = {len(values) for values in record.motion.values()} | {len(packets), record.num_frames}
    if len(lengths) != 1:
        raise _Wrong(f"has {len(packets)} packets, but {record.num_frames} frames and other numbers of S in {INDEX}")


def _read(file: BinaryIO, position: int, length: int) -> bytes:
    content = os.pread(file.fileno(), length, position)
    if len(content) < length:
        raise _Wrong(f"is incomplete: the shard ends before byte {position + length}")
    return content


def _whole_blocks(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
