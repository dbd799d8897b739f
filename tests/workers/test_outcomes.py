"""Outcomes on their way from the workers to the main process, and when it wakes up for them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from mgdali.errors import VideoDecodeError
from mgdali.workers.outcomes import OutcomePipe, OutcomeSender, OutcomeWaiter
from mgdali.workers.shared_memory import SlotMemory


@dataclass
class Ends:
    """Two workers' ends of their pipes, and the main process's ends."""

    senders: list[OutcomeSender]
    files: list[int]
    pipes: list[OutcomePipe]
    waiter: OutcomeWaiter

    def received(self) -> list[Any]:
        return [outcome for pipe in self.pipes if pipe.unread for _, outcome in pipe.read()]


@pytest.fixture
def ends() -> Iterator[Ends]:
    memory = SlotMemory.create(slots=1, workers=2)
    waiter = OutcomeWaiter(memory)
    pipes, files = zip(*(os.pipe() for _ in range(2)), strict=True)
    senders = [OutcomeSender(file, waiter.wake, memory, number) for number, file in enumerate(files)]
    made = Ends(senders, list(files), [OutcomePipe(pipe) for pipe in pipes], waiter)
    for pipe in made.pipes:
        waiter.add(pipe)
    yield made
    for pipe in made.pipes:
        pipe.close()
    for file in made.files:
        os.close(file)
    waiter.close()
    memory.close()


def test_outcomes_come_in_order_however_they_are_cut(ends: Ends) -> None:
    outcomes: list[Any] = [1, "two", b"3" * 200_000, 4]
    thread = threading.Thread(target=lambda: [ends.senders[0].send(i, each) for i, each in enumerate(outcomes)])
    thread.start()
    found: list[Any] = []
    while len(found) < len(outcomes):
        found += ends.pipes[0].read()
    thread.join()
    assert found == list(enumerate(outcomes))
    assert ends.pipes[0].received == 4
    assert not ends.pipes[0].unread


def test_the_last_of_the_outcomes_that_are_waited_for_ends_the_wait_and_no_earlier_one(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgdali.workers.outcomes.CTRL_C_SECONDS", 60.0)
    steps: list[str] = []

    def send() -> None:
        for number in (0, 1, 1):
            time.sleep(0.1)
            steps.append("sent")
            ends.senders[number].send(1, None)

    threads = [threading.Thread(target=send) for _ in range(2)]
    for count, thread in enumerate(threads):
        thread.start()
        assert ends.waiter.wait(3)
        steps.append("woken")
        thread.join()
        assert len(ends.received()) == 3, count
    assert steps == ["sent"] * 3 + ["woken"] + ["sent"] * 3 + ["woken"]


def test_outcomes_that_came_before_the_wait_end_it_at_once(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgdali.workers.outcomes.CTRL_C_SECONDS", 60.0)
    ends.senders[0].send(1, None)
    began = time.monotonic()
    assert ends.waiter.wait(5)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("outcome", [b"x" * 1_000, b"x" * 1_000_000, VideoDecodeError("a.mp4", 0, "broken")])
def test_a_large_outcome_and_an_error_do_not_wait_for_the_last(
    ends: Ends, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mgdali.workers.outcomes.CTRL_C_SECONDS", 60.0)
    threading.Timer(0.1, ends.senders[1].send, (1, outcome)).start()
    began = time.monotonic()
    found: list[Any] = []
    while not found:
        ends.waiter.wait(5)
        found += ends.received()
    assert time.monotonic() - began < 30
    assert type(found[0]) is type(outcome)


def test_the_end_of_a_worker_ends_the_wait(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mgdali.workers.outcomes.CTRL_C_SECONDS", 60.0)
    threading.Timer(0.1, os.close, (ends.files.pop(),)).start()
    began = time.monotonic()
    assert ends.waiter.wait(1)
    assert time.monotonic() - began < 30
    with pytest.raises(EOFError):
        ends.pipes[1].read()


def test_a_wait_for_nothing_is_short(ends: Ends) -> None:
    assert not ends.waiter.wait(1)


def test_as_many_small_outcomes_as_are_waited_for_fit_into_a_pipe(ends: Ends) -> None:
    # Otherwise the worker would wait for the main process, which waits for the worker.
    for number in range(64):
        ends.senders[0].send(number, b"x" * 470)
    assert len(ends.pipes[0].read()) == 64
