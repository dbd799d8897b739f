"""Keys of videos in a packed data set: unique, readable names of letters, digits, ``_`` and ``-``."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import unicodedata
from collections.abc import Collection, Sequence

from mgdali.video.media import VIDEO_EXTENSIONS
from mgdali.video.time_range import TimeRange

__all__ = ["make_keys"]

# A name in a tar header has at most 100 bytes. "<key>.json" must fit.
_LONGEST = 80
_DIGEST_BYTES = 4
# The number of a frame in a pattern such as img_%05d.jpg.
_PLACEHOLDER = re.compile(r"%(?:0[1-9][0-9]*)?d")
_OTHER_CHARACTERS = re.compile(r"[^A-Za-z0-9_-]+")


def make_keys(
    paths: Sequence[str], taken: Collection[str] = (), time_ranges: Sequence[TimeRange | None] = ()
) -> list[str]:
    """Return a key for each video.

    A key is the path below the folder that all paths share, without the file's extension and with ``_`` in place of
    ``/``. Start and end follow if the video is a segment of the file: in milliseconds, ``talk_1500ms-3000ms``, or as
    indices of frames, ``talk_45-90``. If characters had to be replaced, if times are not whole milliseconds, or if an
    earlier video or ``taken`` has the key already, a hash of the path, start and end follows. Keys depend on the paths,
    the segments and their order only.

    Args:
        paths: Paths, URLs or members of tars, ``[N]``. A path may occur several times.
        taken: Keys that must not be used.
        time_ranges: The part of each file that is the video, ``[N]``; empty if all videos are whole files.

    Returns:
        The keys, ``[N]``, of at most 80 characters each.
    """
    parts = [_parts(path) for path in paths]
    shared = _shared_length(parts)
    used = set(taken)
    keys = []
    for each, part in zip(parts, time_ranges or [None] * len(parts), strict=True):
        suffix, whole_units = _suffix(part)
        words = [*each[shared:-1], each[-1] + suffix]
        name = "/".join(each[shared:]) if part is None else f"{'/'.join(each[shared:])}\0{part}"
        key, exact = _readable(words)
        exact &= whole_units
        repetition = 0
        if not exact:
            key = _with_digest(key, name, repetition)
        while key in used:
            key = _with_digest(_readable(words)[0], name, repetition)
            repetition += 1
        used.add(key)
        keys.append(key)
    return keys


def _parts(path: str) -> list[str]:
    """Return the folders and the name of a video, without the extension of its file."""
    folder, name = posixpath.split(path.replace(os.sep, "/").replace("::", "/"))
    stem, extension = posixpath.splitext(name)
    if _PLACEHOLDER.search(name):
        folder, stem = posixpath.split(folder)
    elif extension.lower() not in VIDEO_EXTENSIONS:
        stem = name
    return [*filter(None, folder.split("/")), stem]


def _shared_length(parts: Sequence[list[str]]) -> int:
    """Return the number of folders at the start that all paths share."""
    if not parts:
        return 0
    first, last = min(parts), max(parts)
    shared = 0
    while shared < min(len(first), len(last)) - 1 and first[shared] == last[shared]:
        shared += 1
    return shared


def _suffix(part: TimeRange | None) -> tuple[str, bool]:
    """Return what a key says about the part of a file, and whether this tells start and end exactly."""
    if part is None:
        return "", True
    scale, unit = (1000, "ms") if part.unit == "seconds" else (1, "")
    bounds = [part.start] if part.end is None else [part.start, part.end]
    numbers = [round(bound * scale) for bound in bounds]
    words = [f"{number}{unit}" for number in numbers] + ["end"] * (part.end is None)
    return f"_{'-'.join(words)}", all(number / scale == bound for number, bound in zip(numbers, bounds, strict=True))


def _readable(parts: Sequence[str]) -> tuple[str, bool]:
    """Return the key of a path, and whether it contains all of its characters."""
    name = "_".join(parts)
    # "é" becomes "e" and an accent, which is left out. Other alphabets have no such form.
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    key = _OTHER_CHARACTERS.sub("_", plain)
    if key == name and 0 < len(key) <= _LONGEST:
        return key, True
    # The end of a long path says more than its beginning.
    return key[-(_LONGEST - 2 * _DIGEST_BYTES - 1) :] or "video", False


def _with_digest(key: str, name: str, repetition: int) -> str:
    content = f"{name}\0{repetition}" if repetition else name
    digest = hashlib.blake2b(os.fsencode(content), digest_size=_DIGEST_BYTES).hexdigest()
    return f"{key[-(_LONGEST - len(digest) - 1) :]}-{digest}"
