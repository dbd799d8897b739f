"""Calls in threads: their results, and their end after an error or Ctrl-C."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import pytest

from mgdali.evaluate.threads import Ended, in_threads


def test_every_item_gets_its_result() -> None:
    assert dict(in_threads(lambda item, check: item * item, range(20), 3)) == {item: item * item for item in range(20)}


def test_an_error_of_a_call_is_raised_and_the_waiting_calls_are_dropped() -> None:
    called = []

    def fail(item: int, check: Callable[[], None]) -> None:
        called.append(item)
        if item == 0:
            raise OSError("the disk is full")
        # The iteration ends at some time after the error: until then, the thread is busy with the next item.
        while True:
            check()
            time.sleep(0.001)

    with pytest.raises(OSError, match="the disk is full"):
        list(in_threads(fail, range(1000), 1))
    assert len(called) <= 2


def test_running_calls_end_at_their_next_check() -> None:
    started, ended = threading.Event(), threading.Event()

    def work(item: int, check: Callable[[], None]) -> None:
        if item == 0:
            assert started.wait(10)
            return
        started.set()
        try:
            while True:
                check()
                time.sleep(0.001)
        except Ended:
            ended.set()
            raise

    with closing(in_threads(work, [0, 1], 2)) as results:
        assert next(results) == (0, None)
    assert ended.is_set()
