"""Numbers of an epoch: shares of time by a clock that the tests move, counts, and the sentence about the limit."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict

import pytest

from mgdali.loading.order import WHOLE, Share
from mgdali.loading.stats import BUSY, WAITING, ClipWork, EpochMeter, LoaderStats, SlowVideo, route_name
from mgdali.loading.tally import Tally

WHOLE_VIDEO = route_name(on_gpu=False, indexed=False, packed=False)


class Clock:
    """A clock that the tests move, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def clip(name: str, seconds: float = 0.5, reason: str | None = None, *, replaced: bool = False) -> ClipWork:
    return ClipWork(name, WHOLE_VIDEO, reason, 10, seconds, replaced)


def run_epoch(meter: EpochMeter, clock: Clock, tally: Tally, epoch: int = 3, share: Share = WHOLE) -> None:
    """Run two batches of two clips: wait 2 s, train 3 s, wait 1 s, train 4 s."""
    meter.begin(epoch, share, num_workers=2)
    for wait, train in ((2, 3), (1, 4)):
        meter.request()
        clock.now += wait
        tally.job_seconds += 5
        meter.count([clip("a.mp4"), clip("b.mp4", replaced=True)])
        clock.now += train
    meter.request()


def test_shares_are_those_of_the_time_from_the_first_request_to_the_last_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock, tally = Clock(), Tally(job_seconds=70.0)
    meter = EpochMeter(tally, clock)
    assert (meter.stats(), meter.stats().limit) == (LoaderStats(), "No batch was yielded yet.")
    run_epoch(meter, clock, tally)
    running = meter.stats()
    assert (running.batches, running.clips, running.seconds, running.waiting) == (2, 4, 6.0, 0.5)
    assert running.workers_busy == pytest.approx(10 / 12)
    clock.now += 2
    with caplog.at_level(logging.INFO, "mgdali"):
        meter.end()
    clock.now += 1000
    ended = meter.stats()
    assert (ended.epoch, ended.seconds, ended.waiting, ended.workers_busy) == (3, 12.0, 5 / 12, 10 / 24)
    assert (ended.clips_per_second, ended.frames_decoded, ended.replaced) == (4 / 12, 40, 2)
    assert caplog.messages == [
        "epoch 3: 4 clips in 12.0 s (0.3 clips/s), waited 42 % of the time, workers busy 42 %, 40 frames decoded, "
        "2 clips replaced"
    ]
    run_epoch(meter, clock, tally, 4, Share(1, 4))
    assert (meter.stats().clips, meter.stats().seconds, meter.stats().workers_busy) == (4, 6.0, 10 / 12)
    assert meter.stats().line.startswith("epoch 4 (rank 1 of 4): 4 clips in 6.0 s")


def test_the_slowest_videos_and_the_reasons_are_few() -> None:
    meter = EpochMeter(Tally(), Clock())
    meter.begin(0, WHOLE, 1)
    meter.request()
    times = [3.0, 9.0, 1.0, 8.0, 2.0, 7.0, 6.0, 0.5]
    meter.count([clip(f"{i}.mp4", time, f"reason {i}") for i, time in enumerate(times)])
    meter.count([clip("1.mp4", 4.0), clip("5.mp4", 8.5)])
    slowest = [("1.mp4", 9.0), ("5.mp4", 8.5), ("3.mp4", 8.0), ("6.mp4", 6.0), ("0.mp4", 3.0)]
    assert meter.stats().slowest == tuple(SlowVideo(*each) for each in slowest)
    meter.count([clip(f"{i}.mp4", 0.0, f"reason {i}") for i in range(40)])
    assert meter.stats().pyav_reasons["reason 0"] == 2
    assert meter.stats().pyav_reasons["other reasons"] == 20
    assert sum(meter.stats().pyav_reasons.values()) == 48
    assert json.loads(json.dumps(asdict(meter.stats())))["slowest"][1] == {"path": "5.mp4", "seconds": 8.5}
    lines = str(meter.stats()).splitlines()
    assert lines[0] == meter.stats().line
    assert lines[1:3] == [f"  {meter.stats().limit}", "  decoded by: PyAV, whole video: 50"]
    assert lines[-5:][0] == "    9.000 s  1.mp4"


@pytest.mark.parametrize(
    ("expected", "waiting", "busy", "workers", "route"),
    [
        ("Training is the limit", WAITING - 0.01, 1.0, 4, "PyAV, whole video"),
        ("use more workers, an index or a pack.", WAITING, BUSY, 4, "PyAV, whole video"),
        ("use more workers.", WAITING, BUSY, 4, "PyAV, index"),
        ("This process decodes", 0.9, 0.9, 0, "PyAV, index"),
        ("The GPU's decoder", 0.9, BUSY - 0.01, 4, "NVDEC, index"),
        ("Neither training nor the workers", 0.9, BUSY - 0.01, 4, "PyAV, index"),
    ],
)
def test_the_limit_follows_from_waiting_and_from_how_busy_the_workers_are(
    expected: str, waiting: float, busy: float, workers: int, route: str
) -> None:
    stats = LoaderStats(
        epoch=0, clips=9, seconds=1.0, waiting=waiting, workers_busy=busy, num_workers=workers, by_route={route: 9}
    )
    assert expected in stats.limit
