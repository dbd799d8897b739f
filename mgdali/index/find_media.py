"""The media of the videos in an index, from their names."""

from __future__ import annotations

import os
from threading import Lock

from mgdali.datasets.named_videos import shard_videos
from mgdali.errors import DatasetError
from mgdali.video.media import Media
from mgdali.video.record import index_name, path_named

__all__ = ["MediaFinder"]


class MediaFinder:
    """Finds the media of rows of an index. Several threads may use it.

    The index does not contain the position of a member in its tar file. It is read from the headers of the tar file,
    once per file.
    """

    def __init__(self) -> None:
        self._known: dict[str, Media] = {}
        self._shards: set[str] = set()
        self._lock = Lock()

    def __call__(self, name: str) -> Media | None:
        """Return the media with a full name; None if the tar file is missing or no longer contains the member."""
        path = path_named(name)
        if "::" not in name or os.path.exists(path):
            return Media(path)
        shard = name.rpartition("::")[0]
        with self._lock:
            if name not in self._known and shard not in self._shards:
                self._shards.add(shard)
                self._known |= _members(shard)
            return self._known.get(name)


def _members(shard: str) -> dict[str, Media]:
    try:
        return {index_name(member.path): member for member in shard_videos([shard])}
    except DatasetError:
        return {}
