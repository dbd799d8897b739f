"""A limit of the number of decodings at a time, for which others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["DecoderSlots"]

# A waiting thread looks this often, in seconds, whether its work is still wanted.
_LOOK_EVERY = 0.2


class DecoderSlots:
    """Slots for decodings: as many as may run at a time. Short work gets a free slot before long work.

    Args:
        count: Number of slots, >= 1.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._short_waiting = 0
        self._change = threading.Condition()

    @contextmanager
    def one(self, check: Callable[[], None], *, short: bool) -> Iterator[None]:
        """Wait for a slot, and occupy it during the ``with`` block.

        Args:
            check: Function that is called several times a second during the wait. It raises an error to end the wait.
            short: Whether the work is short, such as a few pictures, so that it goes first.
        """
        self._wait(check, short)
        try:
            yield
        finally:
            with self._change:
                self._free += 1
                self._change.notify_all()

    def _wait(self, check: Callable[[], None], short: bool) -> None:
        with self._change:
            self._short_waiting += short
        try:
            while True:
                # Called before the condition is locked, because the function may lock something else.
                check()
                with self._change:
                    if self._free and (short or not self._short_waiting):
                        self._free -= 1
                        return
                    self._change.wait(_LOOK_EVERY)
        finally:
            with self._change:
                self._short_waiting -= short
                self._change.notify_all()
