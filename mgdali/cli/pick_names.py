"""The videos that the arguments of ``mgdali pick`` name, and a folder for the output of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mgdali.cli.pick_output import is_output
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, find_media
from mgdali.video.remote import is_url

__all__ = ["NamedVideo", "name_videos"]

# A folder whose name looks like a file of the output could be in the way of such a file.
_OUTPUT_ENDINGS = (".jpg", ".png", ".json")

_Parts = tuple[str, ...]


@dataclass(frozen=True)
class NamedVideo:
    """A video and the folder of its output.

    Attributes:
        path: Path or URL of the video.
        folder: Folder for its images.
    """

    path: str
    folder: Path


def name_videos(arguments: Sequence[str], out: Path) -> tuple[list[NamedVideo], dict[str, str]]:
    """Find the videos that arguments name, and choose a folder for the output of each.

    The output of a single video goes to ``out`` itself. With several arguments, or with a folder that is searched for
    videos, each video has its own folder in ``out``. The name of the folder is the path of the video below the folder
    that contains all arguments, without the file's extension. The extension is kept if two videos would otherwise have
    the same folder. Output of an earlier run is not a video.

    Args:
        arguments: Paths and URLs of videos, and folders that are searched (:func:`mgdali.video.media.find_media`).
        out: Folder of the output.

    Returns:
        The videos, each once, and the reasons of arguments without videos, by argument.
    """
    videos: dict[_Parts, str] = {}
    roots: list[_Parts] = []
    failed: dict[str, str] = {}
    searched = False
    for argument in arguments:
        try:
            paths = _videos_of(argument)
        except DatasetError as error:
            failed[argument] = str(error)
            continue
        # A folder of JPEG frames is itself a video.
        below = argument not in paths
        searched |= below
        roots.append(_parts(argument) if below else _parts(argument)[:-1])
        for path in paths:
            videos.setdefault((*_parts(path), urlsplit(path).query if is_url(path) else ""), path)
    if len(arguments) == 1 and not searched:
        return [NamedVideo(path, out) for path in videos.values()], failed
    shared = len(os.path.commonprefix(roots)) if roots else 0
    names = _names([parts[shared:-1] for parts in videos])
    return [NamedVideo(path, out / name) for path, name in zip(videos.values(), names, strict=True)], failed


def _videos_of(argument: str) -> list[str]:
    """Return the videos that an argument names.

    Raises:
        DatasetError: If it is a folder that cannot be searched or contains no videos.
    """
    if is_url(argument) or not os.path.isdir(argument):
        return [argument]
    paths = [path for path in find_media(argument) if not is_output(Path(path))]
    if not paths:
        raise DatasetError("the folder and its subfolders contain no videos")
    return paths


def _parts(path: str) -> _Parts:
    """Return the folders of a path and its name; for a pattern of JPEG frames, the name is that of their folder."""
    if is_url(path):
        address = urlsplit(path)
        parts = [address.netloc, *address.path.split("/")]
    else:
        parts = os.path.abspath(path).split(os.sep)
        if "%" in parts[-1] and not os.path.exists(path):
            del parts[-1]
    return tuple(part for part in parts if part not in ("", ".", ".."))


def _names(videos: Sequence[_Parts]) -> list[str]:
    """Return a different name for each video, from its path below the folder of all."""
    full = ["/".join(parts) for parts in videos]
    short = [_without_extension(name) for name in full]
    counts, others, used = Counter(short), set(full), set()
    names = []
    for with_extension, without in zip(full, short, strict=True):
        unique = counts[without] == 1 and (without == with_extension or without not in others)
        first = name = without if unique else with_extension
        number = 1
        while name in used:
            number += 1
            name = f"{first}-{number}"
        used.add(name)
        names.append(name)
    return names


def _without_extension(name: str) -> str:
    stem, extension = os.path.splitext(name)
    if extension.lower() in VIDEO_EXTENSIONS and not stem.lower().endswith(_OUTPUT_ENDINGS):
        return stem
    return name
