"""What limits the loader, and the advice, on invented measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mgdali.bench import advice
from mgdali.bench.advice import Measurements, Reading, WorkerTimes, advise, bound

BUSY = Measurements(
    cores=4,
    num_workers=4,
    batch_size=16,
    clips_per_s=100.0,
    workers_busy=0.9,
    main_busy=0.2,
    decoding_busy=0.95,
    index_gain=1.0,
    decoded_per_pick=2.0,
    mean_frames=100.0,
    longest_frames=120,
    short_side=256.0,
    reading=Reading(first=1e9, again=1e9, clip_bytes=1e5),
    videos=8,
)
"""Measurements that suggest no change."""
WAITING = replace(BUSY, workers_busy=0.5)
MAIN = replace(BUSY, workers_busy=0.3, main_busy=1.1)


def arguments_of(measured: Measurements) -> list[str]:
    return [each.argument for each in advise(measured)]


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, "workers"),
        ({"workers_busy": 0.75, "decoding_busy": 0.9}, "workers"),
        ({"workers_busy": 0.7, "decoding_busy": 0.9}, "waiting"),
        ({"workers_busy": 0.7, "decoding_busy": None}, "waiting"),
        ({"workers_busy": 0.5, "main_busy": 0.9}, "main process"),
        ({"workers_busy": 0.7, "main_busy": 0.85}, "cores"),
        # Two processes share a core: half of the time is all that is possible.
        ({"cores": 2, "workers_busy": 0.48, "decoding_busy": 0.49}, "workers"),
        ({"workers_busy": 0.4, "decoding_busy": 0.45}, "unclear"),
    ],
)
def test_the_limit_follows_from_the_shares_of_time(changes: dict[str, float], limit: str) -> None:
    assert bound(replace(BUSY, **changes)).limit == limit  # type: ignore[arg-type]


def test_the_text_contains_the_shares_and_the_stages() -> None:
    text = bound(replace(BUSY, worker=WorkerTimes(decode=0.006, motion=0.003, rest=0.001))).text
    assert "90 % of the time" in text
    assert "10.0 ms" in text
    assert "60 % are decoding, 30 % measuring motion, and 10 %" in text
    assert "Measure again" not in text
    assert "Measure again" in bound(replace(BUSY, decoding_busy=0.6)).text


def test_measurements_that_suggest_nothing_give_no_advice() -> None:
    assert advise(BUSY) == []


@pytest.mark.parametrize(
    ("cores", "workers", "change"),
    [(4, 4, None), (8, 4, "num_workers=8"), (2, 4, "num_workers=2")],
)
def test_one_worker_per_core(cores: int, workers: int, change: str | None) -> None:
    share = min(1.0, cores / workers)
    found = advice.workers_rule(
        replace(BUSY, cores=cores, num_workers=workers, workers_busy=0.95 * share, decoding_busy=share)
    )
    assert (found and found.change) == change
    assert advice.workers_rule(replace(WAITING, cores=8)) is None


def test_an_index_is_advised_if_it_is_faster_and_pays_for_itself() -> None:
    # 100 clips/s take 10 ms per clip, and 200 clips/s 5 ms: building takes as long as 4 epochs save.
    found = advice.index_rule(replace(BUSY, index_gain=2.0, index_seconds=0.02))
    assert found is not None
    assert "2.00 times as fast" in found.reason
    assert "within 4 epochs" in found.reason
    assert advice.index_rule(replace(BUSY, index_gain=1.09)) is None
    assert advice.index_rule(replace(BUSY, index_gain=2.0, index_seconds=0.3)) is None
    assert advice.index_rule(replace(BUSY, index_gain=None)) is None


@pytest.mark.parametrize(
    ("changes", "advised"),
    [
        ({"decoded_per_pick": 5.0}, True),
        ({"decoded_per_pick": 4.9}, False),
        ({"short_side": 1080.0}, True),
        ({"short_side": 1080.0, "is_pack": True}, False),
        ({"short_side": 1080.0, "workers_busy": 0.3, "main_busy": 1.0}, False),
    ],
)
def test_a_pack_is_advised_for_long_groups_and_large_frames(changes: dict[str, float], advised: bool) -> None:
    assert (advice.pack_rule(replace(BUSY, **changes)) is not None) == advised  # type: ignore[arg-type]


def test_more_batches_ahead_are_advised_if_workers_wait_for_long_videos() -> None:
    assert arguments_of(replace(WAITING, longest_frames=400)) == ["prefetch_factor"]
    assert arguments_of(replace(WAITING, longest_frames=399)) == []
    assert arguments_of(replace(BUSY, longest_frames=400)) == []


def test_larger_batches_are_advised_if_the_main_process_is_the_limit() -> None:
    assert arguments_of(replace(MAIN, batch_size=7)) == ["batch_size"]
    assert arguments_of(replace(MAIN, batch_size=8)) == []


def test_a_larger_memory_budget_is_advised_if_videos_were_decoded_twice() -> None:
    (found,) = advise(replace(BUSY, decoded_twice=2, largest_bytes=600 * 2.0**20))
    assert found.change == "memory_budget=660 << 20"
    assert "2 of 8 videos" in found.reason


@pytest.mark.parametrize(
    ("first", "again", "advised"),
    # The loader takes 100 clips/s of 100 kB: 10 MB/s.
    [(9e6, 1e9, True), (11e6, 1e9, False), (9e6, 17e6, False)],
    ids=["slower than the loader", "faster than the loader", "as slow again"],
)
def test_the_disk_is_named_if_it_is_slower_than_the_loader(first: float, again: float, advised: bool) -> None:
    measured = replace(BUSY, reading=Reading(first=first, again=again, clip_bytes=1e5))
    assert (arguments_of(measured) == ["storage"]) == advised
