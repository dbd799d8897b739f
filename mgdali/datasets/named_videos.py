"""The videos that a word of the command line stands for: those of a folder, of a list, or of tar shards."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from mgdali.datasets.shards import expand_shards, scan_shards
from mgdali.datasets.video_dataset import VideoDataset
from mgdali.errors import DatasetError
from mgdali.index.build import media_of
from mgdali.video.media import VIDEO_EXTENSIONS, Media
from mgdali.video.remote import is_url

__all__ = ["shard_videos", "videos_named"]

_TAR_ENDINGS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def videos_named(data: str) -> list[Media]:
    """The videos of a folder, of a list, or of tar shards.

    Args:
        data: a folder, all videos below it; a text file with a line ``path label`` a video; or shards: a tar, a URL, or
            a pattern of them, as ``train-{000..099}.tar``.

    Raises:
        DatasetError: it is none of these, cannot be read, or has no videos.
    """
    if os.path.isdir(data):
        return media_of(data)
    if os.path.isfile(data) and not data.lower().endswith(_TAR_ENDINGS):
        if data.lower().endswith(tuple(VIDEO_EXTENSIONS)):
            raise DatasetError(f"{data} is a video: give the folder that it lies in, or a list of videos")
        return media_of(VideoDataset.from_list(data))
    if not (os.path.exists(data) or is_url(data) or "{" in data or glob.has_magic(data)):
        raise DatasetError(f"{data} does not exist: give a folder of videos, a list of them, or tar shards")
    found = shard_videos(expand_shards(data))
    if not found:
        raise DatasetError(f"{data} has no videos: give tars that hold files as {', '.join(sorted(VIDEO_EXTENSIONS))}")
    return found


def shard_videos(shards: Iterable[str]) -> list[Media]:
    """The videos in tars, with or without labels.

    Raises:
        DatasetError: a shard cannot be read or is no tar.
    """
    return [
        Media(f"{index.shard}::{member.name}", (member.offset, member.length))
        for index in scan_shards(list(shards))
        for member in index.members
        if member.name.lower().endswith(tuple(VIDEO_EXTENSIONS))
    ]
