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
        threading.Thread(target=_serve, args=(self._calls,), name="waiter", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a call has not returned yet."""
        return self._last is not None and not self._last.done()

    def begin(self, call: Callable[[], T]) -> Future[T]:
        """Let the thread make a call after those that were begun before, and return its future."""
        future: Future[T] = Future()
        self._last = future
        self._calls.put((call, future))
        return future

    def call(self, call: Callable[[], T], seconds: float) -> T:
        """Make a call in the thread, and return its result or raise its exception.

        Raises:
            TimeoutError: If the call has not returned after so many seconds. It goes on in the thread.
        """
        future = self.begin(call)
        deadline = time.monotonic() + seconds
        while wait([future], CTRL_C_SECONDS).not_done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no result after {seconds:g} seconds")
        return future.result()

    def close(self) -> None:
        """End the thread after the calls that were begun, without waiting for it."""
        self._calls.put(None)


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
