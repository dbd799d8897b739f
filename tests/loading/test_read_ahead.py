"""Calls made in advance in a thread: their order, their errors, and how they end."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mgdali.loading.read_ahead import ReadAhead
from tests.support.interrupting import ctrl_c_in_another_thread


class Source:
    """A function that returns or raises the items of a list, waits for events first, and records its callers."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.threads: list[int] = []
        self.done = threading.Semaphore(0)

    def __call__(self) -> Any:
        self.threads.append(threading.get_ident())
        item = self.items.pop(0)
        if isinstance(item, threading.Event):
            item.wait(60)
            item = self.items.pop(0)
        self.done.release()
        if isinstance(item, BaseException):
            raise item
        return item


@pytest.fixture
def ahead_of() -> Iterator[Callable[[Callable[[], Any]], ReadAhead[Any]]]:
    made: list[ReadAhead[Any]] = []

    def make(source: Callable[[], Any]) -> ReadAhead[Any]:
        made.append(ReadAhead(source))
        return made[-1]

    yield make
    for ahead in made:
        ahead.close()
        assert not ahead._thread.is_alive()


def test_results_and_errors_come_in_order(ahead_of: Any) -> None:
    source = Source(1, 2, ValueError("three"), 4, StopIteration(), 6)
    ahead = ahead_of(source)
    seen = []
    for begin in (True, False) * 3:
        if begin:
            ahead.begin()
        try:
            seen.append(ahead())
        except (ValueError, StopIteration) as error:
            seen.append(type(error))
    assert seen == [1, 2, ValueError, 4, StopIteration, 6]
    assert set(source.threads) == {ahead._thread.ident} != {threading.get_ident()}


def test_an_outcome_that_was_waited_for_is_kept_for_the_next_call(ahead_of: Any) -> None:
    go = threading.Event()
    ahead = ahead_of(Source(go, 1, ValueError("two"), 3))
    ahead.settle(0)
    ahead.begin()
    with pytest.raises(TimeoutError):
        ahead.settle(time.monotonic() - 1)
    go.set()
    ahead.settle(time.monotonic() + 60)
    assert ahead() == 1
    ahead.begin()
    ahead.settle(time.monotonic() + 60)
    with pytest.raises(ValueError, match="two"):
        ahead()
    assert ahead() == 3


def test_one_call_is_made_while_the_caller_works_and_no_more(ahead_of: Any) -> None:
    source = Source(1, 2, 3)
    ahead = ahead_of(source)
    assert ahead() == 1
    assert len(source.threads) == 1, "nobody asked for a second"
    for _ in range(3):
        ahead.begin()
    assert source.done.acquire(timeout=60)
    assert source.done.acquire(timeout=60)
    assert ahead() == 2
    assert len(source.threads) == 2


def test_rest_waits_for_the_running_call_and_discards_its_result(ahead_of: Any) -> None:
    event = threading.Event()
    source = Source(event, 1, 2, ValueError("three"), 4)
    ahead = ahead_of(source)
    assert ahead.rest() is None
    assert not source.threads
    ahead.begin()
    threading.Timer(0.2, event.set).start()
    assert ahead.rest() is None
    assert source.items[0] == 2
    assert ahead() == 2
    ahead.begin()
    assert isinstance(ahead.rest(), ValueError)
    assert ahead() == 4


@pytest.mark.parametrize("step", ["__call__", "rest"])
def test_ctrl_c_ends_a_wait(ahead_of: Any, step: str) -> None:
    event = threading.Event()
    source = Source(event, 1)
    ahead = ahead_of(source)
    ahead.begin()
    with ctrl_c_in_another_thread(after=0.3):
        getattr(ahead, step)()
    assert source.items == [1], "the call is still under way"
    event.set()


def test_an_error_does_not_keep_its_callers_alive(ahead_of: Any) -> None:
    class Caller:
        def ask(self) -> None:
            ahead()

    def source() -> None:
        raise ValueError

    ahead = ahead_of(source)
    caller = Caller()
    there = weakref.ref(caller)
    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            caller.ask()
        del caller
        assert there() is None
    finally:
        gc.enable()


def test_its_own_thread_can_close_it() -> None:
    # The garbage collector does this if it collects a loader in that thread.
    ahead: ReadAhead[None] = ReadAhead(lambda: ahead.close())
    assert ahead() is None
    ahead._thread.join(60)
    assert not ahead._thread.is_alive()


def test_a_forked_process_does_not_wait_for_a_thread_that_it_lacks() -> None:
    event = threading.Event()
    ahead = ReadAhead(Source(event, 1))
    ahead.begin()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        ahead.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    event.set()
    assert ahead() == 1
    ahead.close()
