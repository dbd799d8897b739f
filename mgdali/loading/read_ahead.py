"""Preparing the next result in a thread while the caller uses the current one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
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
        self._asked: SimpleQueue[_Call[T] | None] = SimpleQueue()
        self._next: _Call[T] | None = None
        # A daemon thread, because a program may end without closing its loader.
        self._thread = threading.Thread(target=_serve, args=(source, self._asked), name="read-ahead", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Start the next call, unless it is running already."""
        self._begun()

    def __call__(self) -> T:
        """Return the result of the next call, or raise its exception. Waits until the call has ended."""
        call = self._ended()
        self._next = None
        return call.result()

    def settle(self, deadline: float) -> None:
        """Wait for a running call, and keep its outcome for the next call of this object.

        Args:
            deadline: Time on the monotonic clock at which to stop waiting, in seconds.

        Raises:
            TimeoutError: If the call has not ended by the deadline.
        """
        while self._next is not None and not self._next.wait(CTRL_C_SECONDS):
            if time.monotonic() > deadline:
                raise TimeoutError

    def rest(self) -> BaseException | None:
        """Wait for a running call, drop its result, and return the exception that it raised, or None."""
        error = None if self._next is None else self._ended().error
        self._next = None
        return error

    def close(self) -> None:
        """End the thread, after a running call has ended."""
        self._asked.put(None)
        # The garbage collector may close a loader from within this thread, which cannot wait for itself.
        if threading.current_thread() is not self._thread:
            while self._thread.is_alive():
                self._thread.join(CTRL_C_SECONDS)

    def _begun(self) -> _Call[T]:
        if self._next is None:
            self._next = _Call()
            self._asked.put(self._next)
        return self._next

    def _ended(self) -> _Call[T]:
        """Return the next call, after it has ended."""
        call = self._begun()
        while not call.wait(CTRL_C_SECONDS):
            pass
        return call


class _Call(Generic[T]):
    """A call in the thread, which another thread waits for. It takes a tenth of the time of a Future.

    Attributes:
        error: The exception that the call raised; None if it raised none or has not ended.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._value: T
        self._running = threading.Lock()
        self._running.acquire()

    def run(self, function: Callable[[], T]) -> None:
        """Call the function, and keep its result or its exception."""
        try:
            self._value = function()
        except BaseException as error:
            self.error = error
        self._running.release()

    def wait(self, seconds: float) -> bool:
        """Wait until the call has ended, at most so many seconds, and return whether it has ended."""
        ended = self._running.acquire(timeout=seconds)
        if ended:
            self._running.release()
        return ended

    def result(self) -> T:
        """Return the result of a call that has ended, or raise its exception."""
        if self.error is None:
            return self._value
        try:
            raise self.error
        finally:
            # The traceback refers to this object, and its frames would live until the next garbage collection.
            self.error = None


def _serve(source: Callable[[], T], asked: SimpleQueue[_Call[T] | None]) -> None:
    """Serve calls until the thread is closed. It has no reference to the object that started it."""
    while (call := asked.get()) is not None:
        call.run(source)
        # Release it now: the next call may come much later, and a traceback keeps the caller's frames alive.
        del call
