"""Calls of a function for many items in threads, which end soon after Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from mgdali.interrupts import CTRL_C_SECONDS

__all__ = ["Ended", "in_threads"]

T = TypeVar("T")
R = TypeVar("R")


class Ended(Exception):
    """Raised in a thread whose result nobody needs any more."""


def in_threads(
    function: Callable[[T, Callable[[], None]], R], items: Sequence[T], num_threads: int
) -> Generator[tuple[T, R]]:
    """Yield each item and its result, in the order in which they are ready.

    Ctrl-C or an error ends the iteration early. Waiting calls are then dropped, and running calls end at their next
    check.

    Args:
        function: Function of an item and of ``check``. It calls ``check()`` often, which raises :class:`Ended` if the
            result is not needed any more.
        items: The items.
        num_threads: Number of threads, >= 1.
    """
    ended = threading.Event()

    def check() -> None:
        if ended.is_set():
            raise Ended

    with ThreadPoolExecutor(num_threads, thread_name_prefix="mgdali-evaluate") as pool:
        try:
            waiting = {pool.submit(function, item, check): item for item in items}
            while waiting:
                done, _ = wait(waiting, timeout=CTRL_C_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            # The waiting calls are dropped first: a thread whose call ends would begin the next one.
            pool.shutdown(wait=False, cancel_futures=True)
            ended.set()
