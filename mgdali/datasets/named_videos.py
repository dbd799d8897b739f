"""The videos that an argument names: a folder, a list, tar shards, or a data set."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from mgdali.datasets.shards import expand_shards, scan_shards
from mgdali.datasets.video_dataset import Video, VideoDataset
from mgdali.errors import DatasetError
from mgdali.video.media import VIDEO_EXTENSIONS, Media, find_media
from mgdali.video.remote import is_url

__all__ = ["media_of", "shard_videos", "videos_named"]

_TAR_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def media_of(data: VideoDataset | str | os.PathLike[str] | Iterable[Media]) -> list[Media]:
    """Return the videos of a data set or folder, or the given ones, each once.

    Args:
        data: A data set; the path of a folder, for all videos in it and its subfolders; or media.

    Raises:
        DatasetError: If there are no videos, or a path is not a folder.
    """
    if isinstance(data, str | os.PathLike):
        if not Path(data).is_dir():
            raise DatasetError(f"{os.fspath(data)} is not a folder: give a folder of videos, or a VideoDataset")
        found = [Media(path) for path in find_media(data)]
        if not found:
            raise DatasetError(f"{os.fspath(data)} and its subfolders contain no videos: give a folder of videos")
        return found
    media = list(dict.fromkeys(each.media if isinstance(each, Video) else each for each in data))
    if not media:
        raise DatasetError("there are no videos to index: give at least one")
    return media


def videos_named(data: str) -> list[Media]:
    """Return the videos of a folder, a list, or tar shards.

    Args:
        data: The path of a folder, for all videos in it and its subfolders; the path of a text file with one line
            ``path label`` per video; or shards: the path or URL of a tar, or a pattern such as
            ``train-{000..099}.tar``.

    Raises:
        DatasetError: If it is none of these, cannot be read, or contains no videos.
    """
    if os.path.isdir(data):
        return media_of(data)
    if os.path.isfile(data) and not data.lower().endswith(_TAR_ENDINGS):
        if data.lower().endswith(tuple(VIDEO_EXTENSIONS)):
            raise DatasetError(f"{data} is a video: give the folder that contains it, or a list of videos")
        return media_of(VideoDataset.from_list(data))
    if not (os.path.exists(data) or is_url(data) or "{" in data or glob.has_magic(data)):
        raise DatasetError(f"{data} does not exist: give a folder of videos, a list of them, or tar shards")
    found = shard_videos(expand_shards(data))
    if not found:
        endings = ", ".join(sorted(VIDEO_EXTENSIONS))
        raise DatasetError(f"{data} contains no videos: give tars with files that end in {endings}")
    return found


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
