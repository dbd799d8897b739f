"""``index.py build``: frames per second of making a motion index, and of only decoding the same videos."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from figures import heading, in_turn, ratios, spread, table, target, target_rows, with_spread

from mgdali import build_index
from mgdali.bench import machine
from mgdali.index.measure import MeasureJob
from mgdali.samplers import Representation
from mgdali.video.media import Media, find_media
from mgdali.workers.pool import WorkerPool

SLOTS_PER_WORKER = 4
"""Number of jobs queued per worker process. :func:`mgdali.build_index` queues as many."""

LEVELS = {
    "image": (Representation(),),
    "feature": (Representation(motion="feature"),),
    "both": (Representation(), Representation(motion="feature")),
}
"""Representations for which S is measured."""
TARGETS = {"image": 0.9, "feature": 0.5, "both": 0.5}
"""Least frames per second of a build over those of decoding alone."""


@dataclass(frozen=True)
class CountConfig:
    """Settings of worker processes that decode videos and discard the frames."""

    def make_loader(self) -> FrameCounter:
        """Return the object that does a worker's jobs."""
        return FrameCounter()


class FrameCounter:
    """Decoder of all frames of a video; it converts none of them."""

    def load(self, job: MeasureJob, allocate: Callable[..., object]) -> int:
        """Decode a video and return its number of frames."""
        with av.open(job.media.open(), "r", metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            assert isinstance(stream, av.VideoStream)
            stream.thread_type = "NONE"
            return sum(1 for _ in container.decode(stream))


@dataclass
class Run:
    """Times of one pass over all videos, in seconds of ``time.perf_counter``.

    Attributes:
        begin: Start of the pass.
        done: Time at which each video was finished, in this order.
        frames: Number of frames of each video, in the same order.
        end: End of the pass.
    """

    begin: float = field(default_factory=time.perf_counter)
    done: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    end: float = 0.0

    def add(self, frames: int) -> None:
        """Note that a video of so many frames is finished."""
        self.done.append(time.perf_counter())
        self.frames.append(frames)

    def figures(self) -> dict[str, float]:
        """Return rates in frames per second and the share of time after the last video.

        ``frames_per_s_with_start`` covers the whole pass. ``frames_per_s`` covers the time from the first finished
        video to the end, so that it does not contain the start of the worker processes.
        """
        after_first = self.end - self.done[0]
        return {
            "seconds": self.end - self.begin,
            "frames_per_s": sum(self.frames[1:]) / after_first,
            "frames_per_s_with_start": sum(self.frames) / (self.end - self.begin),
            "last_share": (self.end - self.done[-1]) / after_first,
        }


def decode_alone(media: list[Media], workers: int) -> Run:
    """Decode all videos in worker processes that are given their jobs in the same way as in a build."""
    run = Run()
    slots = SLOTS_PER_WORKER * workers
    pool = WorkerPool(workers, slots, CountConfig())
    try:
        waiting = [MeasureJob(each, each.path, ()) for each in reversed(media)]
        free, under_way = list(range(slots)), 0
        while waiting or under_way:
            while waiting and free:
                pool.submit(free.pop(), waiting.pop())
                under_way += 1
            for slot, frames in pool.receive():
                if not isinstance(frames, int):
                    raise SystemExit(f"index.py: a video cannot be decoded: {frames}")
                free.append(slot)
                under_way -= 1
                run.add(frames)
    finally:
        pool.close()
    run.end = time.perf_counter()
    return run


def build(media: list[Media], path: Path, workers: int, motion: str = "image") -> Run:
    """Build an index of all videos, with S of the levels that ``motion``, a key of :data:`LEVELS`, stands for."""
    run = Run()
    report = build_index(
        media,
        path,
        representations=LEVELS[motion],
        num_workers=workers,
        on_record=lambda record: run.add(record.num_frames),
    )
    run.end = time.perf_counter()
    if report.failed:
        raise SystemExit(f"index.py: videos cannot be decoded: {report.failed}")
    return run


def measure_build(folders: list[Path], copies: int, rounds: int, motion: str = "image") -> dict[str, Any]:
    """Return the report: builds and decoding alone take turns on the same files.

    Args:
        folders: Folders of videos.
        copies: Number of copies of each file to measure.
        rounds: Number of timed runs of each.
        motion: Levels of motion in the index, a key of :data:`LEVELS`.
    """
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        media = _copied(folders, Path(scratch) / "videos", copies)
        index = Path(scratch) / "index.parquet"
        runs: dict[str, list[Run]] = {"build": [], "decode alone": []}
        for number in range(rounds + 1):
            for name in in_turn(list(runs), number):
                for old in Path(scratch).glob("index.*"):
                    old.unlink()
                run = build(media, index, workers, motion) if name == "build" else decode_alone(media, workers)
                # The first round is not counted: it reads all files from disk.
                runs[name] += [run] if number else []
        index.unlink(missing_ok=True)
        # The size is measured with one copy of each file, because equal rows would be compressed to nothing.
        built = build(media[: len(media) // copies], index, workers, motion)
        sizes = {name: size / sum(built.frames) for name, size in index_sizes(index).items()}
    frames = {sum(run.frames) for own in runs.values() for run in own}
    if len(frames) != 1:
        raise SystemExit(f"index.py: the number of frames differs from run to run: {sorted(frames)}")
    return _build_report(runs, len(media), frames.pop(), workers, sizes, motion)


def _build_report(
    runs: dict[str, list[Run]], videos: int, frames: int, workers: int, sizes: dict[str, float], motion: str
) -> dict[str, Any]:
    figures = {name: [run.figures() for run in own] for name, own in runs.items()}
    rates = {name: [own["frames_per_s"] for own in each] for name, each in figures.items()}
    whole = {name: [own["frames_per_s_with_start"] for own in each] for name, each in figures.items()}
    share = ratios(rates["build"], rates["decode alone"])
    return {
        "benchmark": "index build",
        "machine": machine.facts(),
        "rounds": len(runs["build"]),
        "workers": workers,
        "motion": motion,
        "videos": videos,
        "frames": frames,
        "rate": "frames/s from the first finished video to the end of the call, without the start of the processes",
        "rows": {name: {key: spread([own[key] for own in each]) for key in each[0]} for name, each in figures.items()},
        "share": share,
        "share_with_start": ratios(whole["build"], whole["decode alone"]),
        "bytes_a_frame": sizes,
        "targets": [
            target(f"frames/s of a build over decoding alone, motion {motion}", share["median"], ">=", TARGETS[motion])
        ],
    }


def _copied(folders: list[Path], to: Path, copies: int) -> list[Media]:
    """Copy the folders several times, because a build measures each file once. Return all copied videos."""
    for number in range(copies):
        for place, folder in enumerate(folders):
            shutil.copytree(folder, to / f"{number:03}-{place}")
    return [Media(path) for path in find_media(to)]


def index_sizes(index: Path) -> dict[str, int]:
    """Return the sizes of an index file and of its memory-mapped copy, in bytes."""
    return {"parquet_bytes": index.stat().st_size, "copy_bytes": index.with_name(f"{index.name}.map").stat().st_size}


def render_build(report: dict[str, Any]) -> str:
    """Return the report as Markdown tables."""
    rows = [
        [
            name,
            with_spread(own["frames_per_s"], ".0f"),
            with_spread(own["frames_per_s_with_start"], ".0f"),
            f"{100 * own['last_share']['median']:.1f} %" if name == "build" else "-",
            f"{own['seconds']['median']:.1f}",
        ]
        for name, own in report["rows"].items()
    ]
    share = [with_spread(report[name], ".3f") for name in ("share", "share_with_start")]
    rows.append(["build over decoding alone", *share, "-", "-"])
    heads = ["", "frames/s", "with the start of processes", "of it merge and copy", "seconds per run"]
    sizes = [f"{report['bytes_a_frame'][key]:.1f}" for key in ("parquet_bytes", "copy_bytes")]
    about = (
        f"motion {report['motion']}, {report['videos']} videos, {report['frames']} frames, {report['workers']} workers"
    )
    about += f"; {sizes[0]} bytes of Parquet and {sizes[1]} bytes of the mapped copy per frame"
    return "\n\n".join([f"{heading(report)}; {about}", table(heads, rows), target_rows(report)])
