"""Names of the videos in an index file, which stay valid if the videos are moved.

An index file may have a root, a folder or a URL. A video below the root is stored under its path relative to it, any
other video under its full name, which is its absolute path or its URL (:func:`mgdali.video.record.index_name`). If the
videos are moved, another root is enough to find them all. If the root is the folder of the index file or a folder below
it, the root itself is stored relative to the index file, so that both can be moved together.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from mgdali.errors import DatasetError
from mgdali.video.record import index_name
from mgdali.video.remote import is_url

__all__ = [
    "AnyPath",
    "Moved",
    "VideoNames",
    "common_root",
    "lost_slash",
    "name_key",
    "normal_root",
    "path_or_url",
    "root_metadata",
]

AnyPath: TypeAlias = str | os.PathLike[str]

Moved: TypeAlias = tuple[AnyPath, AnyPath]
"""Folder or URL of the videos when they were measured, and their current folder or URL."""

# Entries of the metadata of an index file. The second is the absolute root, if the first is relative.
_ROOT, _ROOT_WHEN_WRITTEN = b"mgdali.root", b"mgdali.root_when_written"

# The video is the root itself, which may be a folder of JPEG frames.
_ITSELF = "."

# Folders whose links are resolved once. An entry takes a few hundred bytes.
_FOLDERS_KEPT = 1 << 16


class VideoNames:
    """The names of an index file.

    Args:
        roots: Roots of the names, from :func:`normal_root`: that of full names, and others that videos are looked up
            below, for example the root that the file had before it was moved. Empty if all names are full names.
        moved: Folders or URLs of videos that have been moved.

    Attributes:
        root: The first of the roots; None if all names are full names.
        roots: The roots, each once.

    Raises:
        ValueError: If ``moved`` does not consist of pairs.
        DatasetError: If ``pathlib.Path`` has removed a slash of a URL.
    """

    def __init__(self, roots: Sequence[str] = (), moved: Sequence[Moved] = ()) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self.root = roots[0] if roots else None
        resolved = [os.path.realpath(root) for root in self.roots if not is_url(root)]
        self._prefixes = [_prefix(root) for root in dict.fromkeys([*self.roots, *resolved])]
        self._moved = [_moved_prefixes(pair) for pair in moved]
        self._real_folder = lru_cache(_FOLDERS_KEPT)(os.path.realpath)

    @classmethod
    def of_file(
        cls,
        metadata: Mapping[bytes, bytes] | None,
        index: Path | str,
        *,
        root: AnyPath | None = None,
        moved: Sequence[Moved] = (),
    ) -> VideoNames:
        """Return the names of an index file.

        If the file's root is relative, and this folder does not exist, the root is that of the time when the file was
        written: only the file was moved.

        Args:
            metadata: Metadata of the file's schema.
            index: Path or URL of the file.
            root: Root instead of that of the file; None for that of the file.
            moved: Folders or URLs of videos that have been moved.
        """
        entries = metadata or {}
        if root is not None:
            return cls([normal_root(root)], moved)
        if _ROOT not in entries:
            return cls([], moved)
        stored = os.fsdecode(entries[_ROOT])
        if is_url(stored) or os.path.isabs(stored):
            return cls([stored], moved)
        here = normal_root(f"{index_name(os.fspath(index)).rpartition('/')[0]}/{'' if stored == _ITSELF else stored}")
        written = [os.fsdecode(entries[_ROOT_WHEN_WRITTEN])] if _ROOT_WHEN_WRITTEN in entries else []
        found = is_url(here) or os.path.isdir(here)
        return cls([here, *written] if found else [*written, here], moved)

    def metadata(self, index: Path) -> dict[bytes, bytes]:
        """Return the entries for the metadata of an index file at a local path; empty without a root."""
        if self.root is None:
            return {}
        if not is_url(self.root):
            relative = os.path.relpath(self.root, os.path.abspath(index.parent))
            if relative.split(os.sep)[0] != os.pardir:
                return {_ROOT: os.fsencode(relative), _ROOT_WHEN_WRITTEN: os.fsencode(self.root)}
        return {_ROOT: os.fsencode(self.root)}

    def stored(self, name: str) -> str:
        """Return the name in the file of a video with a full name."""
        for prefix in self._prefixes:
            if name.startswith(prefix) and is_relative(name[len(prefix) :]):
                return name[len(prefix) :]
            if name == prefix[:-1]:
                return _ITSELF
        return name

    def full(self, stored: str) -> str:
        """Return the full name of a video, below :attr:`root` if its name in the file is relative."""
        if self.root is None:
            return stored
        if stored == _ITSELF:
            return self.root
        return self._prefixes[0] + stored if is_relative(stored) else stored

    def current(self, stored: str) -> str:
        """Return the full name of a video at its current place, if it has been moved (``moved``)."""
        name = self.full(stored)
        for measured, now in self._moved:
            if _is_below(name, measured):
                return _below(name, measured, now)
        return name

    def same_as(self, other: VideoNames) -> bool:
        """Whether each video has the same name in both files."""
        return self.root == other.root and self._moved == other._moved

    def candidates(self, path: str) -> Iterator[str]:
        """Yield the names under which a video may be stored, the most probable first.

        The links of the video's folder are resolved last. Up to there, nothing asks the system.

        Args:
            path: Path or URL of the video. A relative path starts from the working directory.
        """
        name = index_name(path)
        yield from self._spellings(name)
        if not is_url(name):
            resolved = self._resolved(name)
            if resolved != name:
                yield from self._spellings(resolved)

    def below(self, root: str | None) -> VideoNames:
        """Return the names whose first root is another of the roots; unchanged if ``root`` is none of them."""
        if root is None or root not in self.roots:
            return self
        return VideoNames([root, *self.roots])

    def _spellings(self, name: str) -> list[str]:
        """Return the names under which a video may be stored: moved back and as it is, relative and full."""
        if not self._moved:
            return self._with_and_without_root(name)
        before = [_below(name, now, measured) for measured, now in self._moved if _is_below(name, now)]
        return [stored for place in (*before, name) for stored in self._with_and_without_root(place)]

    def _with_and_without_root(self, name: str) -> list[str]:
        found = []
        for prefix in self._prefixes:
            if name.startswith(prefix) and is_relative(name[len(prefix) :]):
                found.append(name[len(prefix) :])
            elif name == prefix[:-1]:
                found.append(_ITSELF)
        found.append(name)
        return found

    def _resolved(self, name: str) -> str:
        tar, member = _split_member(name)
        folder, file = os.path.split(tar)
        return os.path.join(self._real_folder(folder), file) + member


def normal_root(root: AnyPath) -> str:
    """Return the absolute path of a folder or the URL of one, without a slash at the end.

    Raises:
        DatasetError: If ``pathlib.Path`` has removed a slash of a URL.
    """
    name = index_name(os.fspath(path_or_url(root)))
    protocol, separator, place = name.rpartition("://")
    return f"{protocol}{separator}{place.rstrip('/')}" if separator else name


def common_root(names: Iterable[str]) -> str | None:
    """Return the deepest folder or URL that contains all videos.

    Args:
        names: Full names of the videos, at least one.

    Returns:
        The folder or URL; None if the videos share only ``/``, or are on several servers.
    """
    files = [_split_member(name)[0] for name in names]
    root = os.path.commonprefix([min(files), max(files)]).rpartition("/")[0]
    # "s3://bucket" is a folder, "s3:/" is what two buckets share.
    return root if not root.endswith(("/", ":")) and root else None


def is_relative(name: str) -> bool:
    """Whether a name in a file is relative to its root, and not that of the root itself."""
    return bool(name) and name[0] != "/" and name != _ITSELF and not is_url(name)


def root_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes]:
    """Return those entries of an index file's metadata that tell its root."""
    return {key: value for key, value in (metadata or {}).items() if key in (_ROOT, _ROOT_WHEN_WRITTEN)}


def lost_slash(path: AnyPath) -> bool:
    """Return whether a path was a URL before ``pathlib.Path`` merged its two slashes, such as ``s3:/bucket/a``.

    PyArrow takes such a path for a URL even if the folder ``s3:`` exists.
    """
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)", os.fspath(path)) is not None


def path_or_url(path: AnyPath) -> Path | str:
    """Return a URL as text, and any other path as a ``Path``.

    Raises:
        DatasetError: If ``pathlib.Path`` has removed a slash of a URL.
    """
    given = os.fspath(path)
    if lost_slash(given):
        raise DatasetError(f"{given} is a URL without its second slash, which pathlib.Path removes: give it as a str")
    return given if is_url(given) else Path(path)


def name_key(name: str) -> int:
    """Return a number of 64 bits for looking up a name. Different names very rarely have the same number."""
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest(), "little")


def _moved_prefixes(pair: Moved) -> tuple[str, str]:
    if isinstance(pair, str) or len(pair) != 2:
        raise ValueError(f"moved must be a pair (old folder or URL, new folder or URL), got {pair!r}")
    old, new = pair
    return _prefix(normal_root(old)), _prefix(normal_root(new))


def _prefix(root: str) -> str:
    return root if root.endswith("/") else f"{root}/"


def _is_below(name: str, prefix: str) -> bool:
    """Whether a video is below a folder or URL, or is the folder itself."""
    return name.startswith(prefix) or name == prefix[:-1]


def _below(name: str, prefix: str, other: str) -> str:
    """Return the name of a video after a move of the folder or URL that contains it."""
    return other + name[len(prefix) :] if name.startswith(prefix) else other[:-1]


def _split_member(name: str) -> tuple[str, str]:
    """Return the path of a file, and ``::<member>`` if the name is that of a member of a tar file, else ``""``."""
    tar, separator, member = name.rpartition("::")
    return (tar, separator + member) if separator else (name, "")
