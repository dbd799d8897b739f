"""Calls of a library that may never return: their outcomes, and the end of waiting."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from mgdali.loading.waiting import Waiter
from tests.support.interrupting import ctrl_c_in_another_thread


@pytest.fixture
def waiter() -> Iterator[Waiter]:
    waiter = Waiter()
    yield waiter
    waiter.close()


def test_a_call_runs_in_the_thread_and_returns_its_result_or_raises(waiter: Waiter) -> None:
    assert waiter.call(threading.get_ident, 60) != threading.get_ident()
    assert waiter.call(lambda: waiter.is_current, 60)
    assert not waiter.is_current
    with pytest.raises(ZeroDivisionError):
        waiter.call(lambda: 1 // 0, 60)
    assert not waiter.busy


def test_a_call_that_does_not_return_in_time_goes_on(waiter: Waiter) -> None:
    go = threading.Event()
    with pytest.raises(TimeoutError, match="no result after 0 seconds"):
        waiter.call(go.wait, 0)
    assert waiter.busy
    seen: list[int] = []
    waiter.begin(lambda: seen.append(1))
    with pytest.raises(TimeoutError):
        waiter.wait(0)
    assert not seen
    go.set()
    waiter.wait(60)
    assert seen == [1]


def test_ctrl_c_ends_waiting(waiter: Waiter) -> None:
    go = threading.Event()
    started = time.monotonic()
    with ctrl_c_in_another_thread(after=0.1):
        waiter.call(go.wait, 60)
    assert time.monotonic() - started < 30
    go.set()


def test_calls_that_were_begun_are_made_before_the_thread_ends() -> None:
    waiter, seen = Waiter(), []
    for number in range(3):
        waiter.begin(lambda number=number: seen.append(number))
    waiter.close()
    waiter.wait(60)
    assert seen == [0, 1, 2]


def test_an_error_keeps_nothing_of_the_call_alive(waiter: Waiter) -> None:
    class Failing:
        def __call__(self) -> None:
            raise KeyError

    failing = Failing()
    kept = weakref.ref(failing)
    with pytest.raises(KeyError) as caught:
        waiter.call(failing, 60)
    # As a caller does who handles the error; without garbage collection.
    caught.value.__traceback__ = None
    del failing, caught
    waiter.call(int, 60)
    assert kept() is None
