"""``index="auto"``: an index that is created during the first epoch and used in later epochs."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from mgdali.errors import DatasetError
from mgdali.index.names import AnyPath, common_root, lost_slash
from mgdali.index.reader import MotionIndex
from mgdali.index.remote_index import index_cache
from mgdali.index.writer import IndexWriter
from mgdali.video.record import VideoRecord, index_name
from mgdali.video.remote import is_url

__all__ = ["GrowingIndex", "automatic_path", "automatic_root"]


class GrowingIndex:
    """An index file that several processes read and extend at the same time.

    Records of this process are stored in its journal until the epoch ends. Then they are merged into the file, in
    addition to the records of other processes.

    Args:
        path: Path of the index file. It is created if it does not exist.
        root: Folder or URL that contains the videos, the root of a new file; None to store full names.
        keep_added: Whether :meth:`find` returns added records at once. Needed for segments: many of them may be
            parts of one file, which is then measured only once.

    Raises:
        DatasetError: If the file is not an index or cannot be written.
    """

    def __init__(self, path: Path, *, root: str | None = None, keep_added: bool = False) -> None:
        self.path = path
        self._writer = IndexWriter(path, new_root=root)
        self._index: MotionIndex | None = None
        self._stamp: tuple[int, int] | None = None
        self._added = 0
        self._kept: dict[str, VideoRecord] | None = {} if keep_added else None
        if self._writer.pending:
            # Rows of runs that ended before the end of an epoch.
            self._writer.commit()
        self.refresh()

    def find(self, path: str) -> VideoRecord | None:
        """Return the record of a video. Records added since the last refresh are found only with ``keep_added``."""
        if self._kept and (record := self._kept.get(index_name(path))) is not None:
            return record
        return None if self._index is None else self._index.find(path)

    def add(self, record: VideoRecord) -> None:
        """Store a record in the journal."""
        self._writer.add(record)
        self._added += 1
        if self._kept is not None:
            self._kept[record.path] = record

    def refresh(self) -> None:
        """Merge added records into the file, and open the file again if it has changed."""
        if self._added:
            self._writer.commit()
            self._added = 0
            if self._kept:
                self._kept.clear()
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return
        stamp = (stat.st_size, stat.st_mtime_ns)
        if stamp != self._stamp:
            self._index, self._stamp = MotionIndex(self.path), stamp

    def close(self) -> None:
        """Store added records for the next process that opens the file."""
        self._writer.close()


def automatic_root(paths: Iterable[str]) -> str | None:
    """Return the root of a data set's index: the deepest folder or URL that contains all videos.

    Args:
        paths: Paths of the videos, not empty.

    Returns:
        The folder or URL; None if the videos share only ``/``, or are on several servers.
    """
    return common_root(map(index_name, paths))


def automatic_path(paths: Sequence[str], cache_dir: AnyPath | None) -> Path:
    """Return the path of a data set's index: next to the folder that contains all videos, or in ``cache_dir``.

    Args:
        paths: Paths of the videos, not empty.
        cache_dir: Folder for the index. If None and the videos are remote or their parent folder is not writable, the
            user's cache folder is used, with a warning.

    Raises:
        DatasetError: If ``cache_dir`` is a URL.
    """
    if cache_dir is not None and (is_url(os.fspath(cache_dir)) or lost_slash(cache_dir)):
        raise DatasetError(
            f"cannot write the index to the URL {os.fspath(cache_dir)}: give a local folder as cache_dir, then upload "
            "the index from there"
        )
    low, high = min(paths), max(paths)
    remote = is_url(low) or is_url(high)
    root = os.path.commonprefix([low, high]) if remote else os.path.commonpath(map(os.path.abspath, (low, high)))
    if not remote and len(paths) == 1:
        root = os.path.dirname(root)
    digest = hashlib.blake2b(os.fsencode(root), digest_size=6).hexdigest()
    name = f"{os.path.basename(root.rstrip('/')) or 'videos'}-{digest}.index.parquet"
    if cache_dir is not None:
        return Path(cache_dir) / name
    next_to_videos = Path(f"{root}.index.parquet")
    if not remote and root != os.sep and os.access(next_to_videos.parent, os.W_OK):
        return next_to_videos
    path = index_cache() / name
    warnings.warn(
        f"the index of {root} is stored as {path} because it cannot be stored next to the videos; "
        "set cache_dir= to choose another folder",
        RuntimeWarning,
        stacklevel=2,
    )
    return path
