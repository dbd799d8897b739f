"""Handling of Ctrl-C during imports, which must not be interrupted, and during blocking waits."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["CTRL_C_SECONDS", "ctrl_c_held"]

CTRL_C_SECONDS = 0.2
"""Maximum duration of a single blocking wait, in seconds.

If another thread of the process receives the Ctrl-C, or if it comes just before the wait, Python raises
KeyboardInterrupt only after the wait. An unlimited wait would then not end.
"""


@contextlib.contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Delay Ctrl-C until the end of the block, where KeyboardInterrupt is raised.

    Use it to import compiled packages. If Ctrl-C interrupts their import, NumPy, matplotlib, torch and DALI raise an
    ImportError, lose the signal, or crash the process.
    """
    before = signal.getsignal(signal.SIGINT)
    # Python handles signals in its main thread only, and cannot restore a handler that was not installed from Python.
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    held: list[int] = []
    # Blocking the signal would not be enough: threads of libraries that are already loaded would receive it.
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
