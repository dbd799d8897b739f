"""Making what is asked for next in a thread, while the caller works with what it has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Generic, TypeVar

from mgdali.interrupts import CTRL_C_SECONDS

__all__ = ["ReadAhead"]

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Calls ``source`` in a thread of its own, at most one call ahead of the caller.

    There is no lock: what ``source`` touches is the thread's while a call is under way, and the caller's otherwise:
    from a result or :meth:`rest` until the next :meth:`begin` or call. After Ctrl-C only :meth:`close` may follow.
    """

    def __init__(self, source: Callable[[], T]) -> None:
        self._asked: SimpleQueue[Future[T] | None] = SimpleQueue()
        self._next: Future[T] | None = None
        # A daemon, as a program may end without closing its loader.
        self._thread = threading.Thread(target=_serve, args=(source, self._asked), name="read-ahead", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Have the next call made, where it is not under way."""
        self._begun()

    def __call__(self) -> T:
        """The next call's result, waited for if need be; what the call raises, this raises."""
        try:
            return _finished(self._begun()).result()
        finally:
            self._next = None

    def rest(self) -> BaseException | None:
        """Wait for the call under way, if there is one, and drop its result; what it raised, or None."""
        error = None if self._next is None else _finished(self._next).exception()
        self._next = None
        return error

    def close(self) -> None:
        """End the thread, when a call under way has ended."""
        self._asked.put(None)
        # The garbage collector may have found a loader in this very thread.
        if threading.current_thread() is not self._thread:
            while self._thread.is_alive():
                self._thread.join(CTRL_C_SECONDS)

    def _begun(self) -> Future[T]:
        if self._next is None:
            self._next = Future()
            self._asked.put(self._next)
        return self._next


def _finished(future: Future[T]) -> Future[T]:
    """The future, once its call has ended."""
    while wait([future], CTRL_C_SECONDS).not_done:
        pass
    return future


def _serve(source: Callable[[], T], asked: SimpleQueue[Future[T] | None]) -> None:
    """The thread's life. It holds nothing of the object that began it."""
    while (future := asked.get()) is not None:
        try:
            future.set_result(source())
        except BaseException as error:
            future.set_exception(error)
        # The next may be long in coming, and a traceback holds the caller's frames.
        del future
