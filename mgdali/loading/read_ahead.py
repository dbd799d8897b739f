"""Preparing the next result in a thread while the caller uses the current one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

from mgdali.interrupts import CTRL_C_SECONDS

__all__ = ["ReadAhead"]

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Calls ``source`` in a thread, at most one call ahead of the caller.

    No lock is needed: while a call is running, only the thread uses the source's data. Between a result (or
    :meth:`rest`) and the next :meth:`begin` (or call), only the caller does. After Ctrl-C only :meth:`close` may be
    called.
    """

    def __init__(self, source: Callable[[], T]) -> None:
        self._asked: SimpleQueue[Future[T] | None] = SimpleQueue()
        self._next: Future[T] | None = None
        # A daemon thread, because a program may end without closing its loader.
        self._thread = threading.Thread(target=_serve, args=(source, self._asked), name="read-ahead", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Start the next call, unless it is running already."""
        self._begun()

    def __call__(self) -> T:
        """Return the result of the next call, or raise its exception. Waits until the call has ended."""
        try:
            return _finished(self._begun()).result()
        finally:
            self._next = None

    def settle(self, deadline: float) -> None:
        """Wait for a running call, and keep its outcome for the next call of this object.

        Args:
            deadline: Time on the monotonic clock at which to stop waiting, in seconds.

        Raises:
            TimeoutError: If the call has not ended by the deadline.
        """
        while self._next is not None and wait([self._next], CTRL_C_SECONDS).not_done:
            if time.monotonic() > deadline:
                raise TimeoutError

    def rest(self) -> BaseException | None:
        """Wait for a running call, drop its result, and return the exception that it raised, or None."""
        error = None if self._next is None else _finished(self._next).exception()
        self._next = None
        return error

    def close(self) -> None:
        """End the thread, after a running call has ended."""
        self._asked.put(None)
        # The garbage collector may close a loader from within this thread, which cannot wait for itself.
        if threading.current_thread() is not self._thread:
            while self._thread.is_alive():
                self._thread.join(CTRL_C_SECONDS)

    def _begun(self) -> Future[T]:
        if self._next is None:
            self._next = Future()
            self._asked.put(self._next)
        return self._next


def _finished(future: Future[T]) -> Future[T]:
    """Wait until the future's call has ended, and return the future."""
    while wait([future], CTRL_C_SECONDS).not_done:
        pass
    return future


def _serve(source: Callable[[], T], asked: SimpleQueue[Future[T] | None]) -> None:
    """Serve calls until the thread is closed. It has no reference to the object that started it."""
    while (future := asked.get()) is not None:
        try:
            future.set_result(source())
        except BaseException as error:
            future.set_exception(error)
        # Release it now: the next call may come much later, and a traceback keeps the caller's frames alive.
        del future
