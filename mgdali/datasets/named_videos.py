"""The videos that an argument names: a folder, a list, tar shards, a data set, or paths."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias

from mgdali.datasets.listing import FRAME_TEMPLATE, AnyPath, read_frame_list
from mgdali.datasets.pack_format import is_pack
from mgdali.datasets.shards import expand_shards, scan_shards
from mgdali.datasets.tables.endings import DELIMITERS, JSON_ENDINGS, PARQUET_ENDINGS
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.datasets.video_list import check_one_label, lists_frame_folders, read_entries
from mgdali.errors import DatasetError, VideoDecodeError
from mgdali.video.media import VIDEO_EXTENSIONS, Media, find_media
from mgdali.video.remote import is_url

__all__ = ["TAR_ENDINGS", "ListKind", "Videos", "is_table", "media_exists", "media_of", "shard_videos", "videos_named"]

ListKind: TypeAlias = Literal["videos", "frames"]
"""The lines of a list: ``path label``, or ``folder frames label``."""

Videos: TypeAlias = VideoDataset | Video | Media | AnyPath | Iterable[Video | Media | AnyPath]
"""What :func:`media_of` accepts."""

# The last number in the name of a JPEG file.
_LAST_NUMBER = re.compile(r"([0-9]+)(?=[^0-9]*\.jpe?g$)", re.IGNORECASE)

TAR_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of names of tar files, in lower case."""


def media_of(data: Videos) -> list[Media]:
    """Return the videos of a data set or folder, or the given ones, each once.

    Args:
        data: A data set; the path of a folder, for all videos in it and its subfolders; one video; or several videos,
            as paths, :class:`Video` or :class:`Media`.

    Raises:
        DatasetError: If there are no videos, a path is not a folder, or something is not a video.
    """
    if isinstance(data, str | os.PathLike):
        return _videos_below(os.fspath(data))
    if isinstance(data, Video | Media):
        return [_media(data)]
    if not isinstance(data, Iterable):
        raise DatasetError(
            f"the videos to index are {data!r} ({type(data).__name__}): give a VideoDataset, a folder, or a list of "
            "paths"
        )
    media = list(dict.fromkeys(map(_media, data)))
    if not media:
        raise DatasetError("there are no videos to index: give at least one")
    return media


def videos_named(
    data: str, *, root: AnyPath | None = None, kind: ListKind | None = None, template: str | None = None
) -> list[Media]:
    """Return the videos of a folder, a list, a table, or tar shards.

    Args:
        data: The path of a folder, for all videos in it and its subfolders; the path of a list or a table; or shards:
            the path or URL of a tar, or a pattern such as ``train-{000..099}.tar``. A list is a text file with one line
            ``path label`` or ``folder frames label`` per video. Any label will do. A table has a column ``path``, as
            :meth:`VideoDataset.from_table` reads it; rows may be segments of the same file.
        root: Folder that relative paths in a list or a table start from; None for the working directory.
        kind: Lines of a list: ``"videos"`` for ``path label``, ``"frames"`` for ``folder frames label``. None to detect
            it: a list is one of frame folders if ``template`` is given, or if each line ends with two numbers and is
            not the path of a file and a label.
        template: File names of the frames, as in :meth:`VideoDataset.from_frame_list`; None for ``img_{:05d}.jpg``, or
            for paths of files in a table.

    Raises:
        DatasetError: If ``data`` is none of these, cannot be read, or contains no videos; if none of the videos in a
            list exists; or if an argument does not apply to ``data``.
    """
    if kind is None and is_table(data):
        return _videos_of_table(data, root, template)
    if os.path.isfile(data) and not data.lower().endswith(TAR_ENDINGS):
        if data.lower().endswith(tuple(VIDEO_EXTENSIONS)):
            raise DatasetError(f"{data} is a video: give the folder that contains it, or a list of videos")
        return _videos_listed(data, root, kind, template)
    if root is not None or kind is not None or template is not None:
        what = "is not a list" if os.path.exists(data) else "does not exist, or is not a list"
        raise DatasetError(f"{data} {what}: --root, --list and --template apply only to a list of videos; remove them")
    if os.path.isdir(data):
        return media_of(data)
    if not (os.path.exists(data) or is_url(data) or "{" in data or glob.has_magic(data)):
        raise DatasetError(f"{data} does not exist: give a folder of videos, a list of them, or tar shards")
    found = shard_videos(expand_shards(data))
    if not found:
        endings = ", ".join(sorted(VIDEO_EXTENSIONS))
        raise DatasetError(f"{data} contains no videos: give tars with files that end in {endings}")
    return found


def is_table(path: str) -> bool:
    """Return whether a path or URL names a table. A list of videos has no row of column names."""
    name = path.lower().removesuffix(".gz")
    if name.endswith((*JSON_ENDINGS, *PARQUET_ENDINGS)):
        return not os.path.isdir(path)
    # Lists of videos may end in .csv too.
    delimiter = DELIMITERS.get(name[-4:])
    if delimiter is None or is_url(path) or name != path.lower():
        return delimiter is not None
    try:
        with open(path, encoding="utf-8-sig") as file:
            return "path" in (cell.strip(' "\n') for cell in file.readline().split(delimiter))
    except (OSError, ValueError):
        return False


def shard_videos(shards: Iterable[str]) -> list[Media]:
    """Return the videos in tars, with or without labels.

    Args:
        shards: Paths or URLs of the tars.

    Raises:
        DatasetError: If a shard cannot be read or is not a tar.
    """
    return [
        Media(f"{index.shard}::{member.name}", (member.offset, member.length))
        for index in scan_shards(list(shards))
        for member in index.members
        if member.name.lower().endswith(tuple(VIDEO_EXTENSIONS))
    ]


def _videos_below(folder: str) -> list[Media]:
    if is_pack(folder):
        return [video.media for video in VideoDataset.from_pack(folder)]
    if not Path(folder).is_dir():
        raise DatasetError(
            f"{folder} is not a folder: give a folder of videos, a list of paths such as [{folder!r}], or a "
            "VideoDataset"
        )
    found = [Media(path) for path in find_media(folder)]
    if not found:
        raise DatasetError(f"{folder} and its subfolders contain no videos: give a folder of videos")
    return found


def _media(video: Video | Media | AnyPath) -> Media:
    if isinstance(video, Media):
        return video
    if isinstance(video, Video):
        return video.media
    path = os.fspath(video) if isinstance(video, os.PathLike) else video
    if not isinstance(path, str):
        raise DatasetError(
            f"{video!r} ({type(video).__name__}) is not a video: give paths as str or pathlib.Path, or Video or Media"
        )
    return Media(path)


def _videos_of_table(data: str, root: AnyPath | None, template: str | None) -> list[Media]:
    dataset = VideoDataset.from_table(
        data, label=None, columns=(), start=None, end=None, root="" if root is None else root, template=template
    )
    return _check_existing(media_of(dataset), data, root)


def _videos_listed(data: str, root: AnyPath | None, kind: ListKind | None, template: str | None) -> list[Media]:
    folder = "" if root is None else os.fspath(root)
    if template is not None and kind == "videos":
        raise DatasetError(f"template {template!r} applies only to lists of frames: remove it, or use --list frames")
    if kind is None and template is not None:
        kind = "frames"
    if kind is None and lists_frame_folders(read_entries(data), folder):
        kind = "frames"
    paths = _paths_of_files(data, folder) if kind != "frames" else _paths_of_frames(data, folder, template)
    return _check_existing(media_of(paths), data, root)


def _check_existing(media: list[Media], data: str, root: AnyPath | None) -> list[Media]:
    """Return the videos of a list, after a check that at least one of them exists."""
    if not any(map(media_exists, media)):
        raise DatasetError(f"none of the {len(media)} videos in {data} exists, {_missing_example(media, root)}")
    return media


def _paths_of_files(data: str, folder: str) -> list[str]:
    entries = read_entries(data)
    check_one_label(data, entries, folder)
    return [os.path.join(folder, entry.path) for entry in entries]


def _paths_of_frames(data: str, folder: str, template: str | None) -> list[str]:
    return read_frame_list(data, folder, FRAME_TEMPLATE if template is None else template).paths


def media_exists(media: Media) -> bool:
    """Return whether a file or the frames of a video exist. Videos at URLs count as existing."""
    if is_url(media.path) or os.path.exists(media.path):
        return True
    try:
        return media.frame_files() is not None
    except VideoDecodeError:
        return False


def _missing_example(media: list[Media], root: AnyPath | None) -> str:
    """Return the end of the error for a list whose videos do not exist: an example, and what to do."""
    for each in media:
        folder, name = os.path.split(each.path)
        frames = (
            sorted(filter(_LAST_NUMBER.search, os.listdir(folder))) if "%" in name and os.path.isdir(folder) else []
        )
        if frames:
            template = _LAST_NUMBER.sub(lambda number: f"{{:0{len(number[1])}d}}", frames[0])
            return f"for example {each.path}: its folder contains {frames[0]}; pass --template '{template}'"
    path = media[0].path
    if os.path.isabs(path) and root is None:
        return f"for example {path}: correct the paths, or write relative ones and pass their folder with --root"
    start = "the working directory" if root is None else os.fspath(root)
    return f"for example {path}: relative paths start at {start}; pass the folder of the videos with --root"
