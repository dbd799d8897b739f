"""The lock of a folder for unfinished files: one process at a time writes a pack."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

from mgdali.errors import DatasetError

__all__ = ["LOCK", "StagingLock"]

LOCK = "lock"
"""Name of the lock file."""


class StagingLock:
    """The lock of a folder, which is created. The lock ends with the process at the latest.

    Args:
        folder: The folder.
        name: Name of the pack, for errors.

    Raises:
        DatasetError: If another process has the lock.
        OSError: If the folder or the lock file cannot be created.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._file = _locked(folder, name)

    def close(self) -> None:
        """Release the lock. A folder with nothing else in it is removed."""
        if self._file < 0:
            return
        # If this process has removed the folder, another one may have created and locked it again.
        with contextlib.suppress(FileNotFoundError):
            own = os.path.samestat(os.fstat(self._file), os.stat(self._folder / LOCK))
            if own and os.listdir(self._folder) == [LOCK]:
                shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._file)
        self._file = -1


def _locked(folder: Path, name: str) -> int:
    """Return the descriptor of the folder's lock file, locked by this process."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Another process may remove the folder before or after this process opens the file.
        with contextlib.suppress(FileNotFoundError):
            # On NFS, only a file that is open for writing can be locked.
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), os.stat(path)):
                    return lock
            except BlockingIOError as error:
                os.close(lock)
                raise DatasetError(
                    f"another process is packing into {name}: wait until it has ended, or give another folder"
                ) from error
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)
