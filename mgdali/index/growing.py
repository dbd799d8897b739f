"""``index="auto"``: an index that the first epoch makes while it trains, and later epochs use."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from mgdali.cache import cache_folder
from mgdali.index.reader import MotionIndex
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord
from mgdali.video.remote import is_url

__all__ = ["GrowingIndex", "automatic_path"]


class GrowingIndex:
    """An index file that is looked into and added to, by any number of processes at a time.

    What this process measures is in its journal until an epoch ends; then it goes into the file, beside what others
    have put there.

    Args:
        path: the index file, which need not be there yet.

    Raises:
        DatasetError: it is no index, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = IndexWriter(path)
        self._index: MotionIndex | None = None
        self._stamp: tuple[int, int] | None = None
        self._added = 0
        if self._writer.pending:
            # Of runs that did not end their epoch.
            self._writer.commit()
        self.refresh()

    def find(self, path: str) -> VideoRecord | None:
        """The record of a video; of those added since the last refresh none."""
        return None if self._index is None else self._index.find(path)

    def add(self, record: VideoRecord) -> None:
        """Keep a record."""
        self._writer.add(record)
        self._added += 1

    def refresh(self) -> None:
        """Put what was added into the file, and look into it as it now is."""
        if self._added:
            self._writer.commit()
            self._added = 0
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return
        stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp != self._stamp:
            self._index, self._stamp = MotionIndex(self.path), stamp

    def close(self) -> None:
        """Keep what was added for whoever opens the file next."""
        self._writer.close()


def automatic_path(paths: Sequence[str], cache_dir: str | os.PathLike[str] | None) -> Path:
    """Where the index of a data set lies: beside the folder that holds all of its videos, or in ``cache_dir``.

    Args:
        paths: the videos.
        cache_dir: a folder for it; with None, where the data set's own place cannot be written to or is remote, the
            user's cache folder takes it, which is said in one line.
    """
    low, high = min(paths), max(paths)
    remote = is_url(low) or is_url(high)
    root = os.path.commonprefix([low, high]) if remote else os.path.commonpath(map(os.path.abspath, (low, high)))
    if not remote and len(paths) == 1:
        root = os.path.dirname(root)
    digest = hashlib.blake2b(os.fsencode(root), digest_size=6).hexdigest()
    name = f"{os.path.basename(root.rstrip('/')) or 'videos'}-{digest}.index.parquet"
    if cache_dir is not None:
        return Path(cache_dir) / name
    beside = Path(f"{root}.index.parquet")
    if not remote and root != os.sep and os.access(beside.parent, os.W_OK):
        return beside
    place = cache_folder() / "index" / name
    warnings.warn(
        f"the index of {root} is kept as {place}, since it cannot be written beside it; cache_dir= says otherwise",
        RuntimeWarning,
        stacklevel=2,
    )
    return place
