"""Waiting for calls of a library that may never return."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from mgdali.interrupts import CTRL_C_SECONDS

__all__ = ["Waiter"]

T = TypeVar("T")

_Call = tuple[Callable[[], Any], "Future[Any]"]


class Waiter:
    """Runs calls in a thread, one after another, so that its caller can stop waiting for them.

    It is a daemon thread: a call that never returns does not keep the program from ending.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._last: Future[Any] | None = None
        self._thread = threading.Thread(target=_serve, args=(self._calls,), name="waiter", daemon=True)
        self._thread.start()

    @property
    def is_current(self) -> bool:
        """Whether the thread is the one that asks. It must not wait for itself."""
        return threading.current_thread() is self._thread

    @property
    def busy(self) -> bool:
        """Whether a call has not returned yet."""
        return self._last is not None and not self._last.done()

    def begin(self, call: Callable[[], Any]) -> None:
        """Let the thread make a call after all earlier ones. The outcome of the call is dropped."""
        self._begun(call)

    def call(self, call: Callable[[], T], seconds: float) -> T:
        """Make a call in the thread, and return its result or raise its exception.

        Raises:
            TimeoutError: If the call has not returned after so many seconds. It goes on in the thread.
        """
        future = self._begun(call)
        try:
            self.wait(seconds)
            return future.result()
        finally:
            # An exception refers to this frame; if the frame referred to it too, both would stay until garbage
            # collection, and with them what the call used.
            del future

    def wait(self, seconds: float) -> None:
        """Wait until all calls that were begun have returned.

        Raises:
            TimeoutError: If they have not after so many seconds.
        """
        deadline = time.monotonic() + seconds
        while self._last is not None and wait([self._last], CTRL_C_SECONDS).not_done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no result after {seconds:g} seconds")

    def close(self) -> None:
        """End the thread after the calls that were begun, without waiting for it."""
        self._calls.put(None)

    def _begun(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        self._last = future
        self._calls.put((call, future))
        return future


def _serve(calls: SimpleQueue[_Call | None]) -> None:
    """Make calls until the thread is closed. It has no reference to the object that started it."""
    while (asked := calls.get()) is not None:
        call, future = asked
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)
        # Released now: the next call may come much later, and what a call returned may hold memory of a GPU.
        del asked, call, future
