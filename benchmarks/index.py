"""What a motion index gains, what it costs, and how large it can be: ``python benchmarks/index.py --help``.

``loading`` compares the loader with and without an index, ``build`` compares making one with decoding alone, and
``scale`` makes the index of a million made-up videos and looks into it. ``project`` computes from the files of the
last two what more videos would take. Things compared take turns in one run, so that what disturbs the machine disturbs
all of them. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

# The package beside this folder is the one to measure.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from command import write_report

from mgdali import MotionGuided, MotionIndex, Segment, VideoDataset, build_index
from mgdali.index.measure import SurveyJob
from mgdali.index.schema import SCHEMA, from_batch
from mgdali.index.writer import IndexWriter
from mgdali.samplers import Sampler
from mgdali.video.media import Media, find_media
from mgdali.video.record import VideoRecord
from mgdali.workers.pool import WorkerPool

if TYPE_CHECKING:
    from mgdali import MGDaliIterator

BATCH_SIZE = 8
NUM_FRAMES = 8
LONG = 100
"""Frames from which on a video counts as long."""
LEAST_CLIPS = 64
"""Clips an epoch at least: fewer videos are taken over and over."""
SAMPLERS: dict[str, Sampler] = {
    "motion-guided": MotionGuided(num_frames=NUM_FRAMES),
    "segment": Segment(num_frames=NUM_FRAMES),
}
SLOTS_A_WORKER = 4
"""Jobs ahead of a worker that only decodes, as many as a build gives it."""
PART_ROWS = 4096
PROCESSES = 4


# --- Arithmetic and tables -------------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values), "values": list(values)}


def ratios(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """The spread of the rounds' own ratios."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def target(figure: str, value: float, relation: str, bound: float) -> dict[str, Any]:
    met = value <= bound if relation == "<=" else value >= bound
    return {"figure": figure, "value": value, "target": f"{relation} {bound:g}", "met": met}


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _with_spread(values: dict[str, Any], form: str = ".1f") -> str:
    return f"{values['median']:{form}} ({values['least']:{form}} to {values['most']:{form}})"


def _targets(report: dict[str, Any]) -> str:
    rows = [
        [own["figure"], f"{own['value']:.2f}", own["target"], "met" if own["met"] else "missed"]
        for own in report["targets"]
    ]
    return table(["figure", "value", "target", ""], rows)


def _in_turn(names: Sequence[str], number: int) -> list[str]:
    """Another one first each round."""
    return [*names[number % len(names) :], *names[: number % len(names)]]


def _heading(report: dict[str, Any]) -> str:
    facts = report["machine"]
    return (
        f"{facts['date'][:10]}, {facts['cpu']}, {facts['cpu_cores']} cores, Python {facts['python']}, "
        f"mgdali {facts['mgdali']}"
    )


# --- Loading with an index -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clips:
    """A data set to load: videos taken in turn, over and over."""

    name: str
    paths: list[str]
    frames: int
    """Of an epoch's videos together."""
    distinct: int


@dataclass
class Epochs:
    """What one loader took, an entry an epoch."""

    seconds: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def row(self, clips: int) -> dict[str, Any]:
        """In short."""
        return {"clips_per_s": spread([clips / each for each in self.seconds]), "frames_decoded": spread(self.frames)}


def measure_loading(folders: list[Path], long: list[Path], rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        media = [Media(path) for folder in (*folders, *long) for path in find_media(folder)]
        build_index(media, Path(scratch) / "clips.parquet")
        index = MotionIndex(Path(scratch) / "clips.parquet")
        compared = [
            _compare_loaders(clips, name, index, rounds)
            for clips in _data_sets(index, folders, long)
            for name in SAMPLERS
        ]
    return {
        "benchmark": "index loading",
        "machine": machine.facts(),
        "rounds": rounds,
        "batch_size": BATCH_SIZE,
        "picks": NUM_FRAMES,
        "loaders": "both alive all the time, after a warm-up epoch whose batches were the same to the byte",
        "compared": compared,
        "targets": [
            target(
                f"{own['data']}, motion-guided, clips/s with an index over without", own["ratio"]["median"], ">=", 1.3
            )
            for own in compared
            if own["sampler"] == "motion-guided"
        ],
    }


def _data_sets(index: MotionIndex, folders: list[Path], long: list[Path]) -> list[Clips]:
    """The videos of the folders, the long ones of the others, and both."""
    own = [record for folder in folders for record in _records(index, folder)]
    others = [record for folder in long for record in _records(index, folder) if record.num_frames >= LONG]
    sets = [_clips(", ".join(folder.name for folder in folders), own)]
    if others:
        sets.append(_clips(f"{', '.join(folder.name for folder in long)} from {LONG} frames on", others))
        sets.append(_clips("both", own + others))
    return sets


def _records(index: MotionIndex, folder: Path) -> Iterator[VideoRecord]:
    found = (index.find(path) for path in find_media(folder))
    return (record for record in found if record is not None and record.error is None)


def _clips(name: str, records: list[VideoRecord]) -> Clips:
    taken = records * -(-LEAST_CLIPS // len(records))
    return Clips(name, [record.path for record in taken], sum(record.num_frames for record in taken), len(records))


def _compare_loaders(clips: Clips, sampler: str, index: MotionIndex, rounds: int) -> dict[str, Any]:
    # Not above: the measuring processes of `scale` shall not carry torch.
    from mgdali import MGDaliIterator

    dataset = VideoDataset(clips.paths, [0] * len(clips.paths))
    with ExitStack() as stack:
        loaders = {
            name: stack.enter_context(
                MGDaliIterator(
                    dataset,
                    sampler=SAMPLERS[sampler],
                    batch_size=BATCH_SIZE,
                    shuffle=True,
                    training=True,
                    device="cpu",
                    index=given,
                )
            )
            for name, given in (("without", None), ("with", index))
        }
        _check_batches(loaders["without"], loaders["with"], clips)
        epochs = {name: Epochs() for name in loaders}
        for number in range(1, rounds + 1):
            for name in _in_turn(list(loaders), number):
                _time_epoch(loaders[name], number, epochs[name])
    return {
        "data": clips.name,
        "sampler": sampler,
        "clips": len(clips.paths),
        "distinct_videos": clips.distinct,
        "frames": clips.frames,
        **{name: own.row(len(clips.paths)) for name, own in epochs.items()},
        "ratio": ratios(epochs["without"].seconds, epochs["with"].seconds),
    }


def _check_batches(plain: MGDaliIterator, indexed: MGDaliIterator, clips: Clips) -> None:
    """The warm-up epoch; ends with one line where the batches differ, or the index was not used."""
    import torch

    for ours, theirs in zip(plain, indexed, strict=True):
        if not all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)):
            raise SystemExit(f"index.py: {clips.name}: batches with an index differ from those without")
    if plain.frames_decoded != clips.frames:
        raise SystemExit(f"index.py: {clips.name}: {plain.frames_decoded} frames were decoded, not {clips.frames}")
    if indexed.unindexed:
        raise SystemExit(f"index.py: {clips.name}: the index was of no use for {indexed.unindexed}")


def _time_epoch(loader: MGDaliIterator, number: int, epochs: Epochs) -> None:
    loader.set_epoch(number)
    before, start = loader.frames_decoded, time.perf_counter()
    for clips, _ in loader:
        del clips
    epochs.seconds.append(time.perf_counter() - start)
    epochs.frames.append(loader.frames_decoded - before)


def render_loading(report: dict[str, Any]) -> str:
    rows = [
        [
            f"{own['data']}, {own['sampler']}",
            f"{own['clips']} of {own['distinct_videos']} videos",
            *(_with_spread(own[name]["clips_per_s"]) for name in ("without", "with")),
            _with_spread(own["ratio"], ".2f"),
            *(f"{own[name]['frames_decoded']['median']:.0f}" for name in ("without", "with")),
        ]
        for own in report["compared"]
    ]
    heads = ["data, sampler", "clips", "clips/s without", "with", "ratio", "frames decoded without", "with"]
    return "\n\n".join([_heading(report), table(heads, rows), _targets(report)])


# --- Building against decoding alone ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class CountConfig:
    """What worker processes need to know to decode videos and drop the frames."""

    def make_loader(self) -> FrameCounter:
        """What a worker does its jobs with."""
        return FrameCounter()


class FrameCounter:
    """Decodes videos, every frame, and converts none."""

    def load(self, job: SurveyJob, allocate: Callable[..., object]) -> int:
        """How many frames a video has."""
        with av.open(job.media.open(), "r", metadata_errors="ignore") as container:
            stream = container.streams.best("video")
            assert isinstance(stream, av.VideoStream)
            stream.thread_type = "NONE"
            return sum(1 for _ in container.decode(stream))


@dataclass
class Run:
    """One pass over all videos: when it began and ended, and when each video was done, in seconds."""

    begin: float = field(default_factory=time.perf_counter)
    done: list[float] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    end: float = 0.0

    def add(self, frames: int) -> None:
        """A video is done."""
        self.done.append(time.perf_counter())
        self.frames.append(frames)

    def figures(self) -> dict[str, float]:
        """Rates with the start of processes and, from the first video done to the end, without it."""
        after_first = self.end - self.done[0]
        return {
            "seconds": self.end - self.begin,
            "frames_per_s": sum(self.frames[1:]) / after_first,
            "frames_per_s_with_start": sum(self.frames) / (self.end - self.begin),
            "last_share": (self.end - self.done[-1]) / after_first,
        }


def decode_alone(media: list[Media], workers: int) -> Run:
    """As a build feeds its workers, but they only decode."""
    run = Run()
    slots = SLOTS_A_WORKER * workers
    pool = WorkerPool(workers, slots, CountConfig())
    try:
        waiting = [SurveyJob(each, each.path, ()) for each in reversed(media)]
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


def build(media: list[Media], path: Path, workers: int) -> Run:
    run = Run()
    report = build_index(media, path, num_workers=workers, on_record=lambda record: run.add(record.num_frames))
    run.end = time.perf_counter()
    if report.failed:
        raise SystemExit(f"index.py: videos cannot be decoded: {report.failed}")
    return run


def measure_build(folders: list[Path], copies: int, rounds: int) -> dict[str, Any]:
    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as scratch:
        media = _copied(folders, Path(scratch) / "videos", copies)
        index = Path(scratch) / "index.parquet"
        runs: dict[str, list[Run]] = {"build": [], "decode alone": []}
        for number in range(rounds + 1):
            for name in _in_turn(list(runs), number):
                for old in Path(scratch).glob("index.*"):
                    old.unlink()
                run = build(media, index, workers) if name == "build" else decode_alone(media, workers)
                # The first round reads all files into memory.
                runs[name] += [run] if number else []
        index.unlink(missing_ok=True)
        # Of one copy: equal rows would shrink to nothing.
        built = build(media[: len(media) // copies], index, workers)
        sizes = {name: size / sum(built.frames) for name, size in _sizes(index).items()}
    frames = {sum(run.frames) for own in runs.values() for run in own}
    if len(frames) != 1:
        raise SystemExit(f"index.py: the number of frames differs from run to run: {sorted(frames)}")
    return _build_report(runs, len(media), frames.pop(), workers, sizes)


def _build_report(
    runs: dict[str, list[Run]], videos: int, frames: int, workers: int, sizes: dict[str, float]
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
        "videos": videos,
        "frames": frames,
        "rate": "frames/s from the first video done to the end of the call: the start of processes is outside of both",
        "rows": {name: {key: spread([own[key] for own in each]) for key in each[0]} for name, each in figures.items()},
        "share": share,
        "share_with_start": ratios(whole["build"], whole["decode alone"]),
        "bytes_a_frame": sizes,
        "targets": [target("frames/s of a build over decoding alone", share["median"], ">=", 0.9)],
    }


def _copied(folders: list[Path], to: Path, copies: int) -> list[Media]:
    """Copies of folders, side by side: a build takes each file once."""
    for number in range(copies):
        for place, folder in enumerate(folders):
            shutil.copytree(folder, to / f"{number:03}-{place}")
    return [Media(path) for path in find_media(to)]


def _sizes(index: Path) -> dict[str, int]:
    return {"parquet_bytes": index.stat().st_size, "copy_bytes": index.with_name(f"{index.name}.map").stat().st_size}


def render_build(report: dict[str, Any]) -> str:
    rows = [
        [
            name,
            _with_spread(own["frames_per_s"], ".0f"),
            _with_spread(own["frames_per_s_with_start"], ".0f"),
            f"{100 * own['last_share']['median']:.1f} %" if name == "build" else "-",
            f"{own['seconds']['median']:.1f}",
        ]
        for name, own in report["rows"].items()
    ]
    share = [_with_spread(report[name], ".3f") for name in ("share", "share_with_start")]
    rows.append(["build over decoding alone", *share, "-", "-"])
    heads = ["", "frames/s", "with the start of processes", "of it merge and copy", "seconds a run"]
    sizes = [f"{report['bytes_a_frame'][key]:.1f}" for key in ("parquet_bytes", "copy_bytes")]
    about = f"{report['videos']} videos, {report['frames']} frames, {report['workers']} workers"
    about += f"; a frame takes {sizes[0]} bytes of Parquet and {sizes[1]} of the mapped copy"
    return "\n\n".join([f"{_heading(report)}; {about}", table(heads, rows), _targets(report)])


# --- A million videos ------------------------------------------------------------------------------------------------


def path_of(number: int) -> str:
    """The path of a made-up video, as little alike as real ones."""
    return f"/data/videos/class_{number % 400:03}/{number * 0x9E3779B97F4A7C15 % (1 << 64):016x}_{number % 300:06}.mp4"


def make_up(rng: np.random.Generator, first: int, videos: int, mean_frames: int) -> pa.RecordBatch:
    """Rows of made-up H.264 videos with a key frame every 48 frames and three frames in four between two others."""
    counts = rng.integers(max(1, mean_frames // 2), mean_frames + mean_frames // 2, videos, endpoint=True)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    t = np.arange(counts.sum()) - starts
    group, place = (t - 1) // 4, (t - 1) % 4
    whole = (t > 0) & (4 * group + 4 < np.repeat(counts, counts))
    motion = np.where(t == 0, 0, np.rint(rng.gamma(0.8, 2e5, len(t)))).astype(np.float32)
    numbers = range(first, first + videos)
    heads = rng.bytes(16 * videos).hex()
    plain = {"width": 340, "height": 256, "rotation": 0, "rate": 25.0, "codec": "h264", "pixel_format": "yuv420p"}
    plain |= {"container": "mov,mp4,m4a,3gp,3g2,mj2", "time_base_num": 1, "time_base_den": 12800}
    columns: dict[str, Any] = {
        "path": [path_of(number) for number in numbers],
        "size": rng.integers(50_000, 2_000_000, videos),
        "mtime_ns": rng.integers(1_600_000_000, 1_700_000_000, videos) * 10**9,
        "head": [heads[32 * i : 32 * i + 32] for i in range(videos)],
        "num_frames": counts,
        **{name: [value] * videos for name, value in plain.items()},
        "times": _lists(512 * t, counts),
        "packets": _lists(np.where(whole, 1 + 4 * group + np.array([2, 1, 3, 0])[place], t).astype(np.int32), counts),
        "referenced": _lists(~(whole & (place % 2 == 0)), counts),
        "key_frames": _lists(t[t % 48 == 0].astype(np.int32), -(-counts // 48)),
        "motion_image": _lists(motion, counts),
    }
    arrays = [_column(columns.get(field.name), field.type, videos) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _lists(values: NDArray[Any], counts: NDArray[np.int64]) -> pa.Array:
    return pa.ListArray.from_arrays(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), pa.array(values))


def _column(values: Any, kind: Any, rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(rows, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def write_parts(index: Path, videos: int, mean_frames: int) -> int:
    """The parts that builds leave to be merged; how many frames they hold."""
    rng = np.random.default_rng(0)
    folder = Path(f"{index}.parts")
    folder.mkdir(parents=True)
    frames = 0
    for first in range(0, videos, PART_ROWS):
        batch = make_up(rng, first, min(PART_ROWS, videos - first), mean_frames)
        with pq.ParquetWriter(folder / f"{first:09}.part.parquet", SCHEMA, compression="zstd") as writer:
            writer.write_batch(batch)
        frames += int(np.sum(batch.column("num_frames").to_numpy(), dtype=np.int64))
    return frames


# What processes of their own do. Each returns what it found and what is to stay in memory while that is looked at.


def write_rows(index: str, rows: int, mean_frames: int) -> tuple[dict[str, Any], object]:
    """What the one process that writes does with each record."""
    batch = make_up(np.random.default_rng(2), 0, rows, mean_frames)
    records = [from_batch(batch, row) for row in range(rows)]
    writer = IndexWriter(f"{index}.rows")
    start = time.perf_counter()
    for record in records:
        writer.add(record)
    seconds = time.perf_counter() - start
    writer.close()
    shutil.rmtree(f"{index}.rows.parts")
    return {"rows_per_s": rows / seconds, "rows": rows}, None


def merge_parts(index: str) -> tuple[dict[str, Any], object]:
    """The end of a build."""
    start = time.perf_counter()
    rows = IndexWriter(index).commit()
    return {"seconds": time.perf_counter() - start, "rows": rows}, None


def read_known(index: str) -> tuple[dict[str, Any], object]:
    """The beginning of a build: what it reads of the rows that are there."""
    from mgdali.index.build import read_known as known_videos

    start = time.perf_counter()
    writer = IndexWriter(index)
    known = known_videos(writer)
    writer.close()
    return {"seconds": time.perf_counter() - start, "rows": len(known)}, known


def look_up(index: str, videos: int, finds: int, cold: bool) -> tuple[dict[str, Any], object]:
    """Open an index and find videos in it, then the same ones once more; cold, the disk has to be read for both."""
    if cold:
        forget(index)
    before, read_before = memory(), _bytes_read()
    start = time.perf_counter()
    opened = MotionIndex(index)
    seconds = time.perf_counter() - start
    found = {"seconds": seconds, "before": before, "opened": memory(), "bytes_read": _bytes_read() - read_before}
    paths = [path_of(int(number)) for number in np.random.default_rng(1).integers(0, videos, finds)]
    if cold:
        forget(index)
    for name in ("first", "again"):
        read_before = _bytes_read()
        found[name] = find_all(opened, paths) | {"bytes_read": _bytes_read() - read_before}
    return found, opened


def find_all(index: MotionIndex, paths: list[str]) -> dict[str, float]:
    """Microseconds that finding a video took; reading its S belongs to it."""
    took = []
    for path in paths:
        start = time.perf_counter_ns()
        record = index.find(path)
        if record is None or not record.motion["image"].any():
            raise SystemExit(f"index.py: {path} was not found")
        took.append((time.perf_counter_ns() - start) / 1e3)
    return {
        "median_us": statistics.median(took),
        "p99_us": float(np.percentile(took, 99)),
        "mean_us": float(np.mean(took)),
        "most_us": max(took),
    }


def memory() -> dict[str, int]:
    """Bytes of this process: resident, its share of what is shared, its own, and the most that was ever resident."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    sizes = {words[0]: 1024 * int(words[1]) for words in lines}
    return {
        "resident": sizes["Rss:"],
        "proportional": sizes["Pss:"],
        "private": sizes["Private_Clean:"] + sizes["Private_Dirty:"],
        "shared": sizes["Shared_Clean:"] + sizes["Shared_Dirty:"],
        "anonymous": sizes["Anonymous:"],
        "peak": _status("VmHWM"),
    }


def _status(name: str) -> int:
    """Bytes, as the system's status of this process has them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _bytes_read() -> int:
    """Bytes that had to be read from the disk for this process."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["read_bytes"])


def answer(name: str, arguments: list[Any]) -> None:
    """The life of such a process: do it, and when all are done look at the memory, and stay until all have."""
    works = (write_rows, merge_parts, read_known, look_up)
    found, kept = next(work for work in works if work.__name__ == name)(*arguments)
    print("done", flush=True)
    sys.stdin.readline()
    print(json.dumps(found | {"memory": memory()}), flush=True)
    sys.stdin.read()
    del kept


def ask(work: Callable[..., object], *arguments: Any, processes: int = 1) -> list[dict[str, Any]]:
    """Have processes do the same thing at once; their answers."""
    call = f"import index; index.answer({work.__name__!r}, {list(arguments)!r})"
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", call],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    bufsize=1,
                    cwd=Path(__file__).resolve().parent,
                )
            )
            for _ in range(processes)
        ]
        if any(_said(process) != "done" for process in running):
            raise SystemExit(f"index.py: a process failed at {work.__name__}")
        for process in running:
            print(file=process.stdin)
        return [json.loads(_said(process)) for process in running]


def _said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def forget(index: str) -> None:
    """Have the system drop what it holds of an index in memory, as after a restart."""
    for file in (index, f"{index}.map"):
        with open(file, "rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_scale(folder: Path, videos: int, mean_frames: int, finds: int, rounds: int) -> dict[str, Any]:
    index = folder.resolve() / "scale.parquet"
    start = time.perf_counter()
    frames = write_parts(index, videos, mean_frames)
    made_up = time.perf_counter() - start
    parts = sum(part.stat().st_size for part in Path(f"{index}.parts").iterdir())
    (written,) = ask(write_rows, str(index), min(videos, 2 * PART_ROWS), mean_frames)
    (merged,) = ask(merge_parts, str(index))
    if merged["rows"] != videos:
        raise SystemExit(f"index.py: {merged['rows']} rows came of {videos} videos")
    (known,) = ask(read_known, str(index))
    (copied,) = ask(look_up, str(index), videos, 1, False)
    found: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        for name, answers in found.items():
            answers += ask(look_up, str(index), videos, finds, name == "cold")
    together = ask(look_up, str(index), videos, finds, False, processes=PROCESSES)
    opening = {name: _opening(each) for name, each in found.items()}
    return {
        "benchmark": "index scale",
        "machine": machine.facts(),
        "rounds": rounds,
        "videos": videos,
        "frames": frames,
        "finds": finds,
        "made_up_s": made_up,
        "sizes": {"parts_bytes": parts, **_sizes(index)},
        "written": written,
        "merge": merged,
        "known": known,
        "copy": {"seconds": copied["seconds"], "peak": copied["opened"]["peak"], "before": copied["before"]},
        "opening": opening,
        "together": [own["memory"] for own in together],
        "targets": [
            target("seconds to open, nothing in memory", opening["cold"]["seconds"]["median"], "<=", 2),
            target("MB at most to open", opening["cold"]["peak"]["median"] / 1e6, "<=", 500),
            target(
                f"MB of its own a process, of {PROCESSES} that have it open",
                statistics.mean(own["memory"]["private"] for own in together) / 1e6,
                "<=",
                500,
            ),
            target("MB at most to open and make the copy", copied["opened"]["peak"] / 1e6, "<=", 500),
        ],
    }


def _opening(answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "seconds": spread([own["seconds"] for own in answers]),
        "opening_bytes_read": spread([own["bytes_read"] for own in answers]),
        "before": answers[-1]["before"],
        "opened": answers[-1]["opened"],
        "after_finds": answers[-1]["memory"],
        "peak": spread([own["opened"]["peak"] for own in answers]),
        **{
            name: {key: spread([own[name][key] for own in answers]) for key in answers[0][name]}
            for name in ("first", "again")
        },
    }


def render_scale(report: dict[str, Any]) -> str:
    heading = f"{_heading(report)}; {report['videos']} videos, {report['frames']} frames"
    return "\n\n".join(
        [
            heading,
            _sizes_table(report),
            _opening_table(report),
            _memory_table(report),
            _targets(report),
        ]
    )


def _sizes_table(report: dict[str, Any]) -> str:
    names = {
        "parts_bytes": "parts, before they are merged",
        "parquet_bytes": "Parquet file",
        "copy_bytes": "mapped copy",
    }
    sizes = [
        [
            names[name],
            f"{size / 1e6:.0f} MB",
            f"{size / report['videos']:.0f}",
            f"{size / report['frames']:.2f}",
        ]
        for name, size in report["sizes"].items()
    ]
    return table(["", "size", "bytes a video", "bytes a frame"], sizes)


def _opening_table(report: dict[str, Any]) -> str:
    rows = [
        ["write a row", f"{1e6 / report['written']['rows_per_s']:.0f} us", "-", "-"],
        ["merge of all parts", f"{report['merge']['seconds']:.1f} s", _mb(report["merge"]["memory"]["peak"]), "-"],
        [
            "a build's look at all rows",
            f"{report['known']['seconds']:.1f} s",
            _mb(report["known"]["memory"]["peak"]),
            "-",
        ],
        ["open, copy to be made", f"{report['copy']['seconds']:.1f} s", _mb(report["copy"]["peak"]), "-"],
    ]
    for name, words in (("cold", "nothing in memory"), ("warm", "files in memory")):
        own = report["opening"][name]
        read = _mb(own["opening_bytes_read"]["median"])
        rows.append([f"open, {words}", f"{_with_spread(own['seconds'], '.2f')} s", _mb(own["peak"]["median"]), read])
        rows.append([f"find, {words}", *_found(own["first"])])
    rows.append(["find, again", *_found(report["opening"]["warm"]["again"])])
    return table(["", "time", "most memory", "read from disk"], rows)


def _found(own: dict[str, Any]) -> list[str]:
    middle, nearly_all, most = (own[key]["median"] for key in ("median_us", "p99_us", "most_us"))
    took = f"{middle:.0f} us, 99 % within {nearly_all:.0f} us, all within {most / 1e3:.1f} ms"
    return [took, "-", _mb(own["bytes_read"]["median"])]


def _memory_table(report: dict[str, Any]) -> str:
    keys = ("resident", "proportional", "private", "anonymous")
    own = report["opening"]["warm"]
    rows = [
        [words, *(_mb(own[name][key]) for key in keys)]
        for name, words in (
            ("before", "one process, before it opens"),
            ("opened", "with the index open"),
            ("after_finds", f"after {report['finds']} finds"),
        )
    ]
    together = report["together"]
    rows.append(
        [f"each of {len(together)} at once", *(_mb(sum(o[key] for o in together) / len(together)) for key in keys)]
    )
    rows.append(["all of them together", "-", *(_mb(sum(o[key] for o in together)) for key in keys[1:])])
    return table(["memory", "resident", "share of it (PSS)", "private", "not of a file"], rows)


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"


# --- More videos -----------------------------------------------------------------------------------------------------


def render_project(built: dict[str, Any], scale: dict[str, Any], videos: int, mean_frames: int, cores: int) -> str:
    """What an index of more videos takes, by the measured rates, with the arithmetic."""
    frames, times = videos * mean_frames, videos / scale["videos"]
    rate = built["rows"]["build"]["frames_per_s"]["median"] / built["workers"]
    hours = frames / rate / 3600
    lines = [["frames, billions", f"{videos:,} videos x {mean_frames}", f"{frames / 1e9:g}"]]
    lines.append(["core hours to measure", f"{frames / 1e9:g} billion / {rate:.0f} a second / 3600", f"{hours:,.0f}"])
    for machines in (1, 10, 100):
        sum_of_it = f"{hours:,.0f} / {machines * cores} cores / 24"
        lines.append([f"days on {machines} x {cores} cores", sum_of_it, f"{hours / machines / cores / 24:.2f}"])
    for name, words in (("parquet_bytes", "Parquet"), ("copy_bytes", "mapped copy")):
        a_frame = scale["sizes"][name] / scale["frames"]
        lines.append(
            [f"{words}, GB", f"{frames / 1e9:g} billion x {a_frame:.2f} bytes", f"{frames * a_frame / 1e9:,.0f}"]
        )
    for name, words in (("merge", "merge"), ("known", "a build's look at all rows"), ("copy", "making the copy")):
        by_frames = 1.0 if name == "known" else frames / videos / (scale["frames"] / scale["videos"])
        seconds, much = scale[name]["seconds"], times * by_frames
        lines.append([f"{words}, hours", f"{much:,.0f} x {seconds:.1f} s / 3600", f"{much * seconds / 3600:.2f}"])
    held = scale["known"]["memory"]["anonymous"] / 1e9
    lines.append(["memory of that look, GB", f"{times:,.0f} x {held:.2f} GB", f"{times * held:,.0f}"])
    return table(["", "arithmetic", ""], lines)


# --- The command -----------------------------------------------------------------------------------------------------


def run_loading(given: argparse.Namespace) -> str:
    return _finished(measure_loading(given.videos, given.long, given.rounds), given.out, render_loading)


def run_build(given: argparse.Namespace) -> str:
    return _finished(measure_build(given.videos, given.copies, given.rounds), given.out, render_build)


def run_scale(given: argparse.Namespace) -> str:
    with _folder(given.folder) as folder:
        report = measure_scale(folder, given.videos, given.mean_frames, given.finds, given.rounds)
    return _finished(report, given.out, render_scale)


def run_project(given: argparse.Namespace) -> str:
    built, scale = (json.loads(path.read_text()) for path in (given.build, given.scale))
    return render_project(built, scale, given.videos, given.mean_frames, given.cores)


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    """An empty folder: the one given, which stays, or one that goes."""
    if given is None:
        with tempfile.TemporaryDirectory() as scratch:
            yield Path(scratch)
        return
    given.mkdir(parents=True, exist_ok=True)
    if any(given.iterdir()):
        raise SystemExit(f"index.py: {given} is not empty; give another folder")
    yield given


def _finished(report: dict[str, Any], out: Path | None, render: Callable[[dict[str, Any]], str]) -> str:
    write_report(report, out)
    return render(report)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="What a motion index gains, what it costs, how large it can be.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    loading = commands.add_parser("loading", help="clips/s of the loader with an index and without")
    loading.add_argument("videos", nargs="+", type=Path, metavar="DIR", help="folders of videos")
    loading.add_argument(
        "--long", nargs="+", type=Path, default=[], metavar="DIR", help=f"of these, videos of {LONG} frames and more"
    )
    building = commands.add_parser("build", help="frames/s of making an index, and of decoding alone")
    building.add_argument("videos", nargs="+", type=Path, metavar="DIR", help="folders of videos")
    building.add_argument("--copies", type=int, default=20, help="how often each file is taken, in copies of it")
    scale = commands.add_parser(
        "scale", help="opening and using the index of a million made-up videos: 4 GB of disk in --folder"
    )
    scale.add_argument("--videos", type=int, default=1_000_000)
    scale.add_argument("--mean-frames", type=int, default=150)
    scale.add_argument("--finds", type=int, default=20_000, help="videos to look up")
    scale.add_argument("--folder", type=Path, metavar="DIR", help="an empty folder for the files, which stay there")
    for command, run in ((loading, run_loading), (building, run_build), (scale, run_scale)):
        command.add_argument("--out", type=Path, metavar="FILE.json", help="where the figures go")
        command.add_argument("--rounds", type=int, default=7 if run is not run_scale else 5)
        command.set_defaults(run=run)
    project = commands.add_parser("project", help="from the files of build and scale, what more videos would take")
    project.add_argument("build", type=Path, metavar="BUILD.json")
    project.add_argument("scale", type=Path, metavar="SCALE.json")
    project.add_argument("--videos", type=int, default=100_000_000)
    project.add_argument("--mean-frames", type=int, default=300)
    project.add_argument("--cores", type=int, default=64, help="cores a machine")
    project.set_defaults(run=run_project)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    print(given.run(given))


if __name__ == "__main__":
    main()
