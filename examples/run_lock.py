"""The lock of a run's folder: one process at a time trains there."""

from __future__ import annotations

import fcntl
from io import TextIOWrapper
from pathlib import Path

__all__ = ["lock_run"]


def lock_run(folder: Path) -> TextIOWrapper:
    """Lock a folder until the returned file is closed or the process ends.

    Raises:
        ValueError: If another process has locked it.
    """
    file = (folder / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(
            f"another process is training in {folder}: wait for its end or stop it, then run the same command again"
        ) from None
    except OSError:
        # The file system has no locks, so two processes cannot be told apart. One is the usual case.
        pass
    return file
