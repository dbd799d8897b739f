"""Handling of Ctrl-C during imports and callbacks, which must not be interrupted, and during blocking waits."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any

__all__ = ["CTRL_C_SECONDS", "ctrl_c_after", "ctrl_c_held"]

CTRL_C_SECONDS = 0.2
"""Maximum duration of a single blocking wait, in seconds.

If another thread of the process receives the Ctrl-C, or if it comes just before the wait, Python raises
KeyboardInterrupt only after the wait. An unlimited wait would then not end.
"""

# By then, the callback has usually returned.
_RETRY_SECONDS = 0.001


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


@contextlib.contextmanager
def ctrl_c_after(callback: Callable[..., Any]) -> Iterator[None]:
    """Delay a Ctrl-C that comes during a callback until the callback has returned to the library that called it.

    Use it around a library that drops a KeyboardInterrupt raised in its callback. In the rest of the block, Ctrl-C has
    its usual effect.

    Args:
        callback: Function written in Python, in which the library waits for nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    code = callback.__code__
    _AROUND_CALLBACKS.enter(code)
    try:
        yield
    finally:
        _AROUND_CALLBACKS.leave(code)


class _AroundCallbacks:
    """The signal handler during the blocks of :func:`ctrl_c_after`, which need not end in reverse order."""

    def __init__(self) -> None:
        self._callbacks: list[CodeType] = []
        self._before: Any = None

    def enter(self, code: CodeType) -> None:
        if not self._callbacks:
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self._handle)
        self._callbacks.append(code)

    def leave(self, code: CodeType) -> None:
        self._callbacks.remove(code)
        # Another handler may have been installed in the meantime, for longer than the block.
        if not self._callbacks and signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        caller = frame
        while caller is not None:
            if caller.f_code in self._callbacks:
                # Sent again by a thread: a signal that is sent here would call this handler before it returns.
                threading.Timer(_RETRY_SECONDS, os.kill, (os.getpid(), number)).start()
                return
            caller = caller.f_back
        self._before(number, frame)


_AROUND_CALLBACKS = _AroundCallbacks()
