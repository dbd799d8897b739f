"""Videos in tar shards of WebDataset's layout: where each lies in its shard, found once by reading the tar's headers.

Files of one sample share a key, which is their path up to the first dot of the name: ``000/a.mp4`` and ``000/a.cls``.
"""

from __future__ import annotations

import glob
import hashlib
import io
import itertools
import json
import os
import posixpath
import re
import tarfile
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mgdali.cache import cache_folder
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS
from mgdali.video.remote import is_url, read_part, remote_info

__all__ = ["Member", "ShardIndex", "ShardVideos", "expand_shards", "labelled_videos", "scan_shard", "scan_shards"]

AnyPath = str | os.PathLike[str]

_INDEX_ENDING = ".index.json"
_INDEX_FORMAT = 1

# Files of these endings may hold labels: what they say is kept in the index, where they are no larger than this.
_LABEL_ENDINGS = (".cls", ".txt", ".json")
_LONGEST_LABEL = 64 << 10
_LABEL = re.compile(r"(?:[^:]+\.)?(?:cls|txt|json:.+)")

_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"([0-9]+)\.\.([0-9]+)")

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "Zstandard"}

# From one header to the next is a request, unless both lie within one of these: large enough for a sample's labels.
_REQUEST_BYTES = 64 << 10
_SCANS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Member:
    """One file in a tar.

    Attributes:
        name: its path in the tar.
        offset, length: where its content lies in the tar, in bytes.
        text: what it says, of files that may hold a label and are no larger than 64 KiB; else None.
    """

    name: str
    offset: int
    length: int
    text: str | None = None


@dataclass(frozen=True)
class ShardIndex:
    """What is in a shard: its files in their order, without hidden ones.

    Attributes:
        shard: the tar, a file or a URL.
        members: its files.
    """

    shard: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class ShardVideos:
    """A shard's videos with their labels.

    Attributes:
        paths: ``<shard>::<member>`` each, ``[N]``.
        spans: offset and length in bytes, int64 ``[N, 2]``.
        labels: as written, ``[N]``: numbers or names.
    """

    paths: list[str]
    spans: NDArray[np.int64]
    labels: list[str]


def expand_shards(shards: AnyPath | Iterable[AnyPath]) -> list[str]:
    """Each shard's path or URL.

    Args:
        shards: one or several. ``{000..099}`` and ``{train,val}`` stand for each of these, not nested; ``*``, ``?`` and
            ``[…]`` in paths, not in URLs, for the files there are, sorted by name.

    Raises:
        DatasetError: none are given, or no file is there for a pattern.
    """
    given = [shards] if isinstance(shards, (str, os.PathLike)) else list(shards)
    found = [file for shard in given for file in _files_of(os.fspath(shard))]
    if not found:
        raise DatasetError("a data set needs at least one shard, got none")
    return found


def scan_shards(shards: Sequence[str], *, cache_dir: AnyPath | None = None) -> list[ShardIndex]:
    """:func:`scan_shard` of several, some at a time."""
    with ThreadPoolExecutor(min(len(shards), _SCANS_AT_ONCE)) as pool:
        return list(pool.map(lambda shard: scan_shard(shard, cache_dir=cache_dir), shards))


def scan_shard(shard: str, *, cache_dir: AnyPath | None = None) -> ShardIndex:
    """What is in a shard, by its headers; bodies are passed over, but for labels.

    The index is kept: in ``cache_dir``, or else beside a local shard as ``<shard>.index.json`` where that can be
    written, or else in the user's cache folder (``mgdali/shards`` in ``$XDG_CACHE_HOME`` or ``~/.cache``). It is made
    anew once the shard's size or time, or the store's ETag, is another.

    Args:
        shard: a tar, not compressed: a file or a URL.
        cache_dir: where indices are kept.

    Raises:
        DatasetError: the shard cannot be read, is no tar, is compressed, or is not whole.
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
            f"cannot read the shard {shard}: {error.strerror or error}; give a tar that can be read, or take it out"
        ) from error
    any(_store(place, stamp, members) for place in places)
    return ShardIndex(shard, members)


def labelled_videos(index: ShardIndex, label: str) -> ShardVideos:
    """A shard's videos with what their label files say. Samples without a video are passed over.

    Args:
        index: what is in the shard.
        label: the ending of the label files, ``"cls"`` or ``"txt"``, or ``"json:<field>"``.

    Raises:
        DatasetError: such a label cannot be; or, naming shard and member: no videos, a video without a label, or two
            videos with the same key.
    """
    if not _LABEL.fullmatch(label):
        raise DatasetError(f"label {label!r} is not known: give 'cls' or 'txt', or 'json:<field>'")
    videos: dict[str, Member] = {}
    others: dict[str, dict[str, Member]] = {}
    for member in index.members:
        key, ending = _key_and_ending(member.name)
        if not _is_video(member.name):
            others.setdefault(key, {})[ending] = member
        elif videos.setdefault(key, member) is not member:
            raise DatasetError(
                f"{index.shard}: {videos[key].name} and {member.name} are two videos of one sample, as names are the "
                "same up to the first dot: write the shard with another name for one of them"
            )
    if not videos:
        raise DatasetError(
            f"{index.shard} has no video ({', '.join(sorted(VIDEO_EXTENSIONS))}): take the shard out, or name the "
            "files in it so"
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
        # A pattern such as "shards/*" finds the indices of an earlier run too.
        files = sorted(file for file in glob.glob(path) if not file.endswith(_INDEX_ENDING))
        if not files:
            raise DatasetError(f"no shard is there for {path}: correct the pattern")
        found += files
    return found


def _expand_braces(pattern: str) -> list[str]:
    parts = _BRACES.split(pattern)
    choices = [_alternatives(part) if i % 2 else [part] for i, part in enumerate(parts)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _alternatives(braced: str) -> list[str]:
    ends = _RANGE.fullmatch(braced)
    if ends is None:
        # As a shell does, leave braces alone that hold nothing to choose from.
        return braced.split(",") if "," in braced else [f"{{{braced}}}"]
    first, last = int(ends[1]), int(ends[2])
    padded = any(end.startswith("0") and len(end) > 1 for end in ends.groups())
    width = max(map(len, ends.groups())) if padded else 0
    step = 1 if first <= last else -1
    return [f"{number:0{width}d}" for number in range(first, last + step, step)]


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
        there = ", ".join(sorted(others)) or "nothing"
        raise DatasetError(
            f"{video} has no label: beside it there is {there}, no file with the ending {ending!r}; write it into the "
            "shard, or say in label= where labels are"
        )
    if member.text is None:
        raise DatasetError(f"{video}: its label file {member.name} has {member.length} bytes, too many for a label")
    word = _json_field(video, member, field) if field else member.text.strip()
    if not word:
        raise DatasetError(f"{video}: its label file {member.name} says nothing; write a number or a class's name")
    return word


def _json_field(video: str, member: Member, field: str) -> str:
    try:
        content = json.loads(member.text or "")
    except ValueError as error:
        raise DatasetError(f"{video}: {member.name} is not JSON ({error}); write the shard again") from error
    value = content.get(field) if isinstance(content, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise DatasetError(
            f"{video}: {member.name} has {value!r} for {field!r}, not a number or a class's name; "
            "say in label= which field has"
        )
    return str(value).strip()


def _read_members(shard: str, file: BinaryIO) -> tuple[Member, ...]:
    start = file.read(6)
    for magic, packer in _COMPRESSED.items():
        if start.startswith(magic):
            raise DatasetError(
                f"{shard} is compressed ({packer}), so that single videos cannot be read out of it: unpack it to a "
                "plain .tar (videos are compressed themselves, so it grows little)"
            )
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            members = tuple(_member(shard, entry, file) for entry in tar if _wanted(entry))
            end = tar.offset
    except (tarfile.TarError, EOFError) as error:
        raise _not_whole(shard, str(error)) from error
    # tarfile takes whatever is no header for the tar's end. Without the mark of the end, something is missing.
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise _not_whole(shard, f"no header and no end of a tar at byte {end}, after {len(members)} files")
    return members


def _not_whole(shard: str, reason: str) -> DatasetError:
    return DatasetError(f"{shard} is no tar, or a damaged or cut one: {reason}; copy or write it again")


def _wanted(entry: tarfile.TarInfo) -> bool:
    return not entry.isdir() and not posixpath.basename(entry.name).startswith(".")


def _member(shard: str, entry: tarfile.TarInfo, file: BinaryIO) -> Member:
    if _is_video(entry.name) and (not entry.isreg() or entry.issparse() or "::" in entry.name):
        raise DatasetError(
            f"{shard}: {entry.name} is a link, a sparse file or has '::' in its name, so that it cannot be read by "
            "its place in the shard: write the shard with plain files (tar --dereference --hard-dereference)"
        )
    text = None
    if entry.name.lower().endswith(_LABEL_ENDINGS) and entry.isreg() and entry.size <= _LONGEST_LABEL:
        file.seek(entry.offset_data)
        text = file.read(entry.size).decode("utf-8-sig", errors="replace")
    return Member(entry.name, entry.offset_data, entry.size, text)


class _RemoteFile(io.RawIOBase):
    """What a URL names as a file that can be read anywhere; each read is a request, with its own tries."""

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
    """What changes when a shard is written anew."""
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
    """An index that was kept, or None where there is none for the shard as it is now."""
    try:
        content = json.loads(place.read_bytes())
        if content["format"] != _INDEX_FORMAT or content["stamp"] != stamp:
            return None
        columns = (content[name] for name in ("names", "offsets", "lengths", "texts"))
        return tuple(Member(*row) for row in zip(*columns, strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        # Whatever is wrong with it, it is made anew.
        return None


def _store(place: Path, stamp: dict[str, Any], members: tuple[Member, ...]) -> bool:
    """Keep an index, where it can be written there. Others see the old one or the whole new one."""
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
