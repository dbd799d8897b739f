"""Lists with one line ``path label`` per video."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from mgdali.datasets.labels import written_labels
from mgdali.datasets.listing import AnyPath, Listing, read_lines
from mgdali.datasets.tables.endings import DELIMITERS
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS

__all__ = ["Entry", "check_one_label", "lists_frame_folders", "read_entries", "read_video_list"]

# The path of a line "folder 60 3", without its last word: the folder and a number.
_ENDS_WITH_NUMBER = re.compile(r"(.*?\S)(?:\s+[0-9]+)+")

# Number of paths to look up on disk before a list is taken for a list of frame folders.
_MOST_LOOKED_UP = 100


class Entry(NamedTuple):
    """A line ``path label`` of a list.

    Attributes:
        line: Number of the line, from 1.
        path: The path as written. It may contain spaces.
        label: The last word of the line.
    """

    line: int
    path: str
    label: str


def read_entries(path: AnyPath) -> list[Entry]:
    """Return the lines of a list with one line ``path label`` per video.

    Blank lines and lines that begin with ``#`` are ignored.

    Args:
        path: The list, in UTF-8.

    Raises:
        DatasetError: If the list cannot be read, is empty, or has a line without a label; the message names the line.
    """
    is_csv = os.fspath(path).lower().endswith(tuple(DELIMITERS))
    table = ". To be read as a table, its first row needs a column 'path'" if is_csv else ""
    entries: list[Entry] = []
    for number, line in enumerate(read_lines(path, "give a text file with one line 'path label' per video"), 1):
        words = line.strip().rsplit(maxsplit=1)
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            raise DatasetError(
                f"{path}, line {number}: {line.strip()!r} has no label; each line is 'path label'{table}"
            )
        entries.append(Entry(number, words[0], words[1]))
    if not entries:
        raise DatasetError(f"{path} lists no video: each line is a path, a space and a label{table}")
    return entries


def read_video_list(path: AnyPath, root: AnyPath, classes: Sequence[str] | None) -> Listing:
    """Read a list with one line ``path label`` per video. Labels are class indices or class names.

    Args:
        path: The list, in UTF-8.
        root: Folder that relative paths in the list start from.
        classes: Names of the classes; None if the list defines them.

    Raises:
        DatasetError: If the list cannot be read, is empty, has a line without a label, with several or with an unknown
            one, or contains lines ``folder frames label``; the message names the line.
    """
    entries = read_entries(path)
    if lists_frame_folders(entries, root):
        line, folder, label = entries[0]
        raise DatasetError(
            f"{path}, line {line}: '{folder} {label}' has the form 'folder frames label', and "
            f"{os.path.join(root, folder)} does not exist: read lists of frame folders with "
            "VideoDataset.from_frame_list. If this is the path of a video, correct root="
        )
    check_one_label(path, entries, root)
    places = (f"{path}, line {entry.line}" for entry in entries)
    labels, names = written_labels([entry.label for entry in entries], places, classes)
    return Listing(str(path), str(root), [os.path.join(root, entry.path) for entry in entries], labels, names)


def lists_frame_folders(entries: Sequence[Entry], root: AnyPath) -> bool:
    """Return whether the lines of a list seem to be ``folder frames label``: none is the path of a file and a label.

    Args:
        entries: The lines, as :func:`read_entries` returns them.
        root: Folder that relative paths in the list start from.
    """
    for entry in entries:
        if not (entry.label.isdecimal() and _ENDS_WITH_NUMBER.fullmatch(entry.path)) or _several_labels(entry, root):
            return False
    return not any(os.path.exists(os.path.join(root, entry.path)) for entry in entries[:_MOST_LOOKED_UP])


def check_one_label(path: AnyPath, entries: Sequence[Entry], root: AnyPath) -> None:
    """Raise an error if a line of a list has several labels: ``path label label``.

    Args:
        path: The list, for the error.
        entries: Its lines, as :func:`read_entries` returns them.
        root: Folder that relative paths in the list start from.

    Raises:
        DatasetError: If a line has several labels; the message names the line.
    """
    for entry in entries:
        if _several_labels(entry, root):
            raise DatasetError(
                f"{path}, line {entry.line}: '{entry.path} {entry.label}' has several labels, which is not supported: "
                "write 'path label' with one class index or name. A line 'folder frames label' of a list of frame "
                "folders is read by VideoDataset.from_frame_list, and by mgdali index with --list frames"
            )


def _several_labels(entry: Entry, root: AnyPath) -> bool:
    """Return whether a line is the path of a video file and several numbers. The name of a file may end in a number."""
    match = _ENDS_WITH_NUMBER.fullmatch(entry.path)
    if match is None or not match[1].lower().endswith(tuple(VIDEO_EXTENSIONS)):
        return False
    return not os.path.exists(os.path.join(root, entry.path)) and not os.path.isdir(os.path.join(root, match[1]))
