"""Running loaders in turn: what happens after Ctrl-C, and if a loader takes too long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mgdali.bench import machine
from mgdali.bench.peers.process import Epoch, PeerProcess, Refusal
from mgdali.bench.peers.registry import PEERS
from mgdali.bench.peers.task import Task
from mgdali.bench.peers.usage import tree
from mgdali.bench.run import BenchOptions, _Entrant, _take_turns, _too_large
from tests.support.index_records import make_record


class Loader:
    """A process of a loader whose epochs are calls of a function with their number."""

    def __init__(self, name: str, epoch: Callable[[int], None]) -> None:
        self.peer, self.closed = PEERS[name], False
        self._epoch, self._epochs = epoch, 0

    def epoch(self) -> Epoch:
        self._epochs += 1
        self._epoch(self._epochs)
        return Epoch(1.0, 0.5)

    def close(self, *, at_once: bool = False) -> None:
        self.closed = True


def entrants(**epochs: Callable[[int], None]) -> dict[str, Any]:
    return {name: _Entrant(Loader(name, epoch), {}) for name, epoch in epochs.items()}  # type: ignore[arg-type]


def interrupt(on: int) -> Callable[[int], None]:
    def epoch(number: int) -> None:
        if number == on:
            raise KeyboardInterrupt

    return epoch


def test_after_ctrl_c_the_complete_rounds_are_kept() -> None:
    entered = entrants(mgdali=interrupt(9), spdl=interrupt(3))
    assert _take_turns(entered, 5, lambda *_: None) == ({}, True)
    assert [len(each.epochs) for each in entered.values()] == [2, 2]
    assert all(each.process.closed for each in entered.values())


def test_ctrl_c_in_the_first_round_ends_the_run() -> None:
    with pytest.raises(KeyboardInterrupt):
        _take_turns(entrants(mgdali=interrupt(1)), 5, lambda *_: None)


def test_a_loader_that_fails_is_left_out_and_its_reason_reported() -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise Refusal("a.mp4: no frames")

    entered = entrants(mgdali=interrupt(9), spdl=fail)
    assert _take_turns(entered, 3, lambda *_: None) == ({"spdl": "failed: a.mp4: no frames"}, False)
    assert [len(each.epochs) for each in entered.values()] == [3]


def test_a_loader_that_takes_too_long_is_killed() -> None:
    process = PeerProcess(PEERS["decode-only"], Task(), ["a.mp4"], limit=0.0)
    pid = process._process.pid
    with pytest.raises(Refusal, match=r"^it did not answer within 0 s$"):
        process.prepare()
    assert process._process.returncode is not None
    assert tree(pid) == [pid]
    process.close()


@pytest.mark.parametrize(
    ("name", "available", "refused"),
    [
        ("spdl", 3 << 30, True),
        # Half of the memory is left to others.
        ("spdl", 4 << 30, False),
        ("spdl", None, False),
        ("dataloader-pyav-luma", 3 << 30, True),
        ("mgdali", 1, False),
        ("decode-only", 1, False),
    ],
)
def test_a_loader_that_keeps_all_frames_is_not_started_if_they_do_not_fit_into_memory(
    name: str, available: int | None, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: available)
    # As RGB, 1 GiB each. Two workers load two of them at a time.
    records = [make_record(f"{i}.mp4", num_frames=1024, width=1024, height=341) for i in range(3)]
    reason = _too_large(PEERS[name], records, 2)
    assert (reason is not None) == refused
    assert reason is None or "2.0 GiB for the 2 largest videos, and only 3.0 GiB" in reason


def test_the_available_memory_is_limited_by_the_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    assert machine.available_memory() is None
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 5 kB\n")
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.available_memory() == 5 * 1024
    (tmp_path / "memory.max").write_text("3000\n")
    assert machine.available_memory() == 2000


@pytest.mark.parametrize(
    ("name", "value"),
    [("batch_size", 0), ("num_frames", 0), ("num_workers", 0), ("rounds", 0), ("max_videos", 0), ("seconds", 0.0)],
)
def test_options_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*, got {value}"):
        BenchOptions(data="videos", **{name: value})  # type: ignore[arg-type]
