"""Locks on folders and files, and whether a file system has what writing an index needs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import uuid
from pathlib import Path
from typing import BinaryIO

__all__ = ["locked_file", "locked_folder", "try_folder"]


def try_folder(folder: Path, ending: str) -> None:
    """Create a folder, and try what writing an index needs: files, locks, and a rename.

    Args:
        folder: The folder.
        ending: Ending of the name of a file that is created on trial.

    Raises:
        OSError: If it fails. Files and folders that were created are then removed.
    """
    created = [each for each in (folder, *folder.parents) if not os.path.exists(each)]
    try:
        with locked_file(folder, ending) as file:
            locked = Path(file.name)
            try:
                _try_locks(folder, locked)
                _try_rename(locked, folder.with_name(f"{uuid.uuid4().hex}.trial"))
            finally:
                locked.unlink(missing_ok=True)
    except BaseException:
        for each in created:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def _try_locks(folder: Path, locked: Path) -> None:
    """Raise OSError unless folders can be locked, and a locked file cannot be locked a second time."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Another process may hold this lock.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
    with contextlib.suppress(BlockingIOError), open(locked, "rb+") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        raise OSError("its file system does not keep locks")


def _try_rename(file: Path, target: Path) -> None:
    """Let a file replace another one, as a commit does."""
    try:
        target.touch()
        os.replace(file, target)
    finally:
        target.unlink(missing_ok=True)


def locked_folder(folder: Path) -> int:
    """Return the descriptor of the folder, which is created if missing and locked by this process."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # The previous holder of the lock may have removed the folder, before or after this process opened it.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.samestat(os.fstat(lock), os.stat(folder)):
                    return lock
            except BaseException:
                os.close(lock)
                raise
            os.close(lock)


def locked_file(folder: Path, ending: str) -> BinaryIO:
    """Return a new file with a unique name, locked by this process. The folder is created if missing."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{uuid.uuid4().hex}{ending}"
        try:
            file = open(path, "xb")  # noqa: SIM115
        except FileNotFoundError:
            # Another process removed the folder in between.
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        # Before the lock, another process may have treated the file as abandoned and removed it.
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()
