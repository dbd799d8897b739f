"""Videos in tar shards with WebDataset's layout, and the position of each video in its shard.

The files of one sample share a key: their path up to the first dot of the name, as in ``000/a.mp4`` and ``000/a.cls``.
The positions are found once, by reading the headers of the tar.
"""

from __future__ import annotations

import glob
import hashlib
import io
import json
import os
import posixpath
import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from braceexpand import braceexpand
from numpy.typing import NDArray

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS
from mgdali.video.remote import is_url, read_part, remote_info

__all__ = ["Member", "ShardIndex", "ShardVideos", "expand_shards", "labelled_videos", "scan_shard", "scan_shards"]

AnyPath = str | os.PathLike[str]

_INDEX_ENDING = ".index.json"
_INDEX_FORMAT = 1

# Files with these endings may contain labels. Their text is stored in the index if they are not larger than this.
_LABEL_ENDINGS = (".cls", ".txt", ".json")
_LONGEST_LABEL = 64 << 10
_LABEL = re.compile(r"(?:[^:]+\.)?(?:cls|txt|json:.+)")

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "Zstandard"}

# Number of bytes per request. It is large enough to read the headers of a sample's label files in one request.
_REQUEST_BYTES = 64 << 10
_SCANS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar.

    Attributes:
        name: Path in the tar.
        offset, length: Position and size of its content in the tar, in bytes.
        text: Content of a file that may contain a label and is not larger than 64 KiB; otherwise None.
    """

    name: str
    offset: int
    length: int
    text: str | None = None


@dataclass(frozen=True)
class ShardIndex:
    """Files in a shard, in their order, without hidden ones.

    Attributes:
        shard: Path or URL of the tar.
        members: The files.
    """

    shard: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class ShardVideos:
    """Videos in a shard with their labels.

    Attributes:
        paths: ``<shard>::<member>`` of each video, ``[N]``.
        spans: Offset and length in bytes, int64 ``[N, 2]``.
        labels: Labels as written, ``[N]``: numbers or names.
    """

    paths: list[str]
    spans: NDArray[np.int64]
    labels: list[str]


def expand_shards(shards: AnyPath | Iterable[AnyPath]) -> list[str]:
    """Return the path or URL of each shard.

    Args:
        shards: One or several patterns. ``{000..099}`` and ``{train,val}`` are expanded. In paths, but not in URLs,
            ``*``, ``?`` and ``[…]`` match the files that exist, sorted by name.

    Raises:
        DatasetError: If there are no shards, no file matches a pattern, or its braces are unbalanced.
    """
    given = [shards] if isinstance(shards, (str, os.PathLike)) else list(shards)
    found = [file for shard in given for file in _files_of(os.fspath(shard))]
    if not found:
        raise DatasetError("a data set needs at least one shard, got none")
    return found


def scan_shards(shards: Sequence[str], *, cache_dir: AnyPath | None = None) -> list[ShardIndex]:
    """Return the result of :func:`scan_shard` for each shard, reading several at a time."""
    with ThreadPoolExecutor(min(len(shards), _SCANS_AT_ONCE)) as pool:
        return list(pool.map(lambda shard: scan_shard(shard, cache_dir=cache_dir), shards))


def scan_shard(shard: str, *, cache_dir: AnyPath | None = None) -> ShardIndex:
    """Return the files in a shard, from its headers. Contents are skipped, except for labels.

    The result is stored as an index file: in ``cache_dir`` if given; else next to a local shard as
    ``<shard>.index.json`` if the folder is writable; else in the user's cache folder (``mgdali/shards`` in
    ``$XDG_CACHE_HOME`` or ``~/.cache``). The shard is read again if its size or time, or the store's ETag, has changed.

    Args:
        shard: Path or URL of an uncompressed tar.
        cache_dir: Folder in which the indices are stored.

    Raises:
        DatasetError: If the shard cannot be read, is not a tar, is compressed, or is incomplete.
    """
    try:
        stamp = _stamp(shard)
        places = _index_places(shard, cache_dir)
        for place in places:
            members = _load(place, stamp)
            if members is not None:
                return ShardIndex(shard, members)
        with _open(shard, stamp["size"]) as file:
            members = _read_members(shard, file)
    except OSError as error:
        raise DatasetError(
            f"cannot read the shard {shard}: {error.strerror or error}; give a readable tar, or remove it from the list"
        ) from error
    any(_store(place, stamp, members) for place in places)
    return ShardIndex(shard, members)


def labelled_videos(index: ShardIndex, label: str) -> ShardVideos:
    """Return a shard's videos with their labels. Samples without a video are ignored.

    Args:
        index: Files in the shard.
        label: Ending of the label files, ``"cls"`` or ``"txt"``, or ``"json:<field>"``.

    Raises:
        DatasetError: If ``label`` has another form; or if there are no videos, a video has no label, or two videos have
            the same key. The message names the shard and the member.
    """
    if not _LABEL.fullmatch(label):
        raise DatasetError(f"label {label!r} is unknown: use 'cls' or 'txt', or 'json:<field>'")
    videos: dict[str, Member] = {}
    others: dict[str, dict[str, Member]] = {}
    for member in index.members:
        key, ending = _key_and_ending(member.name)
        if not _is_video(member.name):
            others.setdefault(key, {})[ending] = member
        elif videos.setdefault(key, member) is not member:
            raise DatasetError(
                f"{index.shard}: {videos[key].name} and {member.name} are two videos of one sample, because their "
                "names are equal up to the first dot: write the shard again with another name for one of them"
            )
    if not videos:
        raise DatasetError(
            f"{index.shard} contains no video ({', '.join(sorted(VIDEO_EXTENSIONS))}): remove the shard from the list, "
            "or write it again with such file names"
        )
    return ShardVideos(
        [f"{index.shard}::{video.name}" for video in videos.values()],
        np.array([(video.offset, video.length) for video in videos.values()], np.int64),
        [_label_of(f"{index.shard}::{video.name}", others.get(key, {}), label) for key, video in videos.items()],
    )


def _files_of(pattern: str) -> list[str]:
    if not is_url(pattern) and os.path.exists(pattern):
        return [pattern]
    found: list[str] = []
    for path in _expand_braces(pattern):
        if is_url(path) or os.path.exists(path) or not glob.has_magic(path):
            found.append(path)
            continue
        # A pattern such as "shards/*" also matches the index files of an earlier run.
        files = sorted(file for file in glob.glob(path) if not file.endswith(_INDEX_ENDING))
        if not files:
            raise DatasetError(f"no shard matches {path}: correct the pattern")
        found += files
    return found


def _expand_braces(pattern: str) -> Iterator[str]:
    try:
        # Without escapes, because names may contain backslashes.
        yield from braceexpand(pattern, escape=False)
    except ValueError as error:
        raise DatasetError(f"the shards {pattern!r} have unbalanced braces ({error}): correct the pattern") from error


def _key_and_ending(name: str) -> tuple[str, str]:
    folder, file = posixpath.split(name)
    stem, _, ending = file.partition(".")
    return posixpath.join(folder, stem), ending.lower()


def _is_video(name: str) -> bool:
    return name.lower().endswith(tuple(VIDEO_EXTENSIONS))


def _label_of(video: str, others: dict[str, Member], label: str) -> str:
    ending, _, field = label.partition(":")
    member = others.get(ending.lower())
    if member is None:
        existing = ", ".join(sorted(others)) or "none"
        raise DatasetError(
            f"{video} has no label: its sample has no file with the ending {ending!r} (other endings: {existing}). "
            "Add the file to the shard, or pass the location of the labels in label="
        )
    if member.text is None:
        raise DatasetError(f"{video}: its label file {member.name} is too large for a label ({member.length} bytes)")
    word = _json_field(video, member, field) if field else member.text.strip()
    if not word:
        raise DatasetError(f"{video}: its label file {member.name} is empty; write a number or a class name")
    return word


def _json_field(video: str, member: Member, field: str) -> str:
    try:
        content = json.loads(member.text or "")
    except ValueError as error:
        raise DatasetError(f"{video}: {member.name} is not JSON ({error}); write the shard again") from error
    value = content.get(field) if isinstance(content, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise DatasetError(
            f"{video}: {member.name} has {value!r} for {field!r}, which is not a number or a class name; "
            "pass the right field in label="
        )
    return str(value).strip()


def _read_members(shard: str, file: BinaryIO) -> tuple[Member, ...]:
    start = file.read(6)
    for magic, packer in _COMPRESSED.items():
        if start.startswith(magic):
            raise DatasetError(
                f"{shard} is compressed ({packer}), so single videos cannot be read from it: decompress it to a "
                "plain .tar (it grows little, because videos are compressed already)"
            )
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members = tuple(_member(shard, entry, file) for entry in tar if _wanted(entry))
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(shard, str(error)) from error
    # tarfile treats everything that is not a header as the end of the tar. Without the end marker, data is missing.
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise _damaged(shard, f"neither a header nor the end of the tar at byte {end}, after {len(members)} files")
    return members


def _damaged(shard: str, reason: str) -> DatasetError:
    return DatasetError(f"{shard} is not a tar, or it is damaged or incomplete: {reason}; copy it or write it again")


def _wanted(entry: tarfile.TarInfo) -> bool:
    return not entry.isdir() and not posixpath.basename(entry.name).startswith(".")


def _member(shard: str, entry: tarfile.TarInfo, file: BinaryIO) -> Member:
    if _is_video(entry.name) and (not entry.isreg() or entry.issparse() or "::" in entry.name):
        raise DatasetError(
            f"{shard}: {entry.name} is a link or a sparse file, or has '::' in its name, so it cannot be read at a "
            "position in the shard: write the shard with plain files (tar --dereference --hard-dereference)"
        )
    text = None
    if entry.name.lower().endswith(_LABEL_ENDINGS) and entry.isreg() and entry.size <= _LONGEST_LABEL:
        file.seek(entry.offset_data)
        text = file.read(entry.size).decode("utf-8-sig", errors="replace")
    return Member(entry.name, entry.offset_data, entry.size, text)


class _RemoteFile(io.RawIOBase):
    """A remote file with random access. Each read is one request, which is retried if it fails."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._size - self._position))
        buffer[:length] = read_part(self._url, (self._position, length))
        self._position += length
        return length


def _open(shard: str, size: int) -> BinaryIO:
    return io.BufferedReader(_RemoteFile(shard, size), _REQUEST_BYTES) if is_url(shard) else open(shard, "rb")


def _stamp(shard: str) -> dict[str, Any]:
    """Return values that change when a shard is written again."""
    if not is_url(shard):
        stat = os.stat(shard)
        return {"size": stat.st_size, "version": stat.st_mtime_ns}
    info = remote_info(shard)
    versions = (info.get(name) for name in ("ETag", "etag", "Last-Modified", "LastModified"))
    return {"size": info["size"], "version": next((str(version) for version in versions if version), "")}


def _index_places(shard: str, cache_dir: AnyPath | None) -> list[Path]:
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "shards"
    full = shard if is_url(shard) else os.path.abspath(shard)
    cached = folder / (hashlib.blake2b(os.fsencode(full), digest_size=16).hexdigest() + _INDEX_ENDING)
    return [cached] if is_url(shard) or cache_dir is not None else [Path(shard + _INDEX_ENDING), cached]


def _load(place: Path, stamp: dict[str, Any]) -> tuple[Member, ...] | None:
    """Return the members from a stored index; None if it is missing or belongs to another version of the shard."""
    try:
        content = json.loads(place.read_bytes())
        if content["format"] != _INDEX_FORMAT or content["stamp"] != stamp:
            return None
        columns = (content[name] for name in ("names", "offsets", "lengths", "texts"))
        return tuple(Member(*row) for row in zip(*columns, strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        # A broken index is written again.
        return None


def _store(place: Path, stamp: dict[str, Any], members: tuple[Member, ...]) -> bool:
    """Store an index and return whether it could be written. Other processes never see a part of it."""
    content = {
        "format": _INDEX_FORMAT,
        "stamp": stamp,
        "names": [member.name for member in members],
        "offsets": [member.offset for member in members],
        "lengths": [member.length for member in members],
        "texts": [member.text for member in members],
    }
    unfinished = place.with_name(f".{place.name}.{uuid.uuid4().hex}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(content), encoding="ascii")
        os.replace(unfinished, place)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        return False
    return True
