"""Ctrl-C at moments that cannot bear it, and where it would not be noticed."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

__all__ = ["CTRL_C_SECONDS", "ctrl_c_held"]

CTRL_C_SECONDS = 0.2
"""The longest that a wait may last in one call. One without a limit is not ended by a Ctrl-C that another thread of the
process received, or that came just before it: Python then raises KeyboardInterrupt only after it.
"""


@contextlib.contextmanager
def ctrl_c_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; KeyboardInterrupt is raised there.

    For importing compiled packages: interrupted midway, NumPy, matplotlib, torch and DALI say that they cannot be
    imported, lose the signal, or crash the process.
    """
    before = signal.getsignal(signal.SIGINT)
    # Python handles signals in its main thread only, and cannot put back a handler that is not its own.
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield
        return
    held: list[int] = []
    # A handler, not a blocked signal: the threads of libraries that are loaded already would receive that one.
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)
