"""Measuring this loader, decoding alone and the installed peers on the user's own videos.

Each runs in a separate process, with the same videos in the same order and the same number of workers. They take turns,
and each round starts with another one.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av

from mgdali.bench import machine
from mgdali.bench.advice import Measurements, Reading, WorkerTimes, advise, bound
from mgdali.bench.figures import in_turn, ratios
from mgdali.bench.peers.process import Epoch, Missing, PeerProcess, Refusal
from mgdali.bench.peers.registry import PEERS, Peer
from mgdali.bench.peers.task import Task, cores
from mgdali.bench.rows import fastest, in_order, row
from mgdali.bench.sample import SEED, Sample, Watch, prepare
from mgdali.bench.stages import DECODED, DECODED_NEEDED, FROM_INDEX, MEASURED, STAGES, WHOLE, StagesWorker, VideoStages
from mgdali.errors import VideoDecodeError, check_integer
from mgdali.gpu import driver
from mgdali.loading.route import choose_route
from mgdali.samplers import MotionGuided
from mgdali.transforms import SpatialTransform
from mgdali.video.decoder import MEMORY_BUDGET
from mgdali.video.record import VideoRecord

__all__ = ["BenchOptions", "run_bench"]

FLOOR, PLAIN, INDEXED, PACKED = "decode-only", "mgdali", "mgdali-index", "mgdali-packed"
ENTRANTS = (
    *(FLOOR, PLAIN, INDEXED, PACKED),
    *("dataloader-pyav", "dataloader-opencv", "dataloader-decord", "dataloader-torchcodec", "spdl"),
    *("dataloader-pyav-luma", "mgdali-cuda", "torchcodec-cuda", "pynvvideocodec", "dali-readers-video"),
)
"""Names of the loaders that are measured, as far as the machine, the videos and the installed packages allow."""
_LIMIT_SECONDS, _LIMIT_TIMES = 60.0, 20.0
_STAGED = 16
"""Largest number of videos whose stages are measured."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What is measured.

    Args:
        data: The videos: a folder, a list, a table, tar shards, or a packed data set.
        batch_size: Number of clips per batch, >= 1.
        num_frames: Number of frames of a clip, >= 1.
        num_workers: Number of processes or threads of each loader, >= 1; None for the number of cores.
        rounds: Number of timed epochs of each loader, >= 1.
        seconds: About the duration of a timed epoch, > 0. Fast loaders repeat the videos until then.
        max_videos: Largest number of videos, >= 1.

    Raises:
        ValueError: If an argument is out of range.
    """

    data: str
    batch_size: int = 16
    num_frames: int = 8
    num_workers: int | None = None
    rounds: int = 3
    seconds: float = 5.0
    max_videos: int = 200

    def __post_init__(self) -> None:
        for name in ("batch_size", "num_frames", "rounds", "max_videos"):
            check_integer(name, getattr(self, name), least=1)
        if self.num_workers is not None:
            check_integer("num_workers", self.num_workers, least=1)
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds must be a number > 0, got {self.seconds!r}")

    @property
    def limit(self) -> float:
        """Longest time that a loader may take for an epoch, and that measuring one video may take, in seconds."""
        return _LIMIT_SECONDS + _LIMIT_TIMES * self.seconds


@dataclass
class _Entrant:
    """A loader that is measured.

    Attributes:
        process: Its process.
        versions: Versions of its packages.
        epochs: Its timed epochs, one per round.
    """

    process: PeerProcess
    versions: dict[str, str | None]
    epochs: list[Epoch] = field(default_factory=list)


def run_bench(options: BenchOptions, watch: Watch = lambda text, done, total: None) -> dict[str, Any]:
    """Measure, and return a report that is ready for JSON.

    If the user presses Ctrl-C after the first round, the rounds that are complete are reported.

    Args:
        options: What is measured.
        watch: Function that is called with what is being done, the number of finished steps and of all steps.

    Raises:
        DatasetError: If the videos cannot be found, or none can be decoded.
        WorkerError: If worker processes cannot be started.
        KeyboardInterrupt: After Ctrl-C before the end of the first round.
    """
    workers = cores() if options.num_workers is None else options.num_workers
    peers, no_gpu = _entrants()
    with tempfile.TemporaryDirectory(prefix="mgdali-bench-") as scratch, ExitStack() as stack:
        sample = prepare(
            options.data,
            Path(scratch),
            max_videos=options.max_videos,
            num_workers=workers,
            seconds=options.seconds,
            limit=options.limit,
            watch=watch,
        )
        task = Task(
            num_frames=options.num_frames,
            batch_size=options.batch_size,
            workers=workers,
            least_seconds=options.seconds,
            index=str(sample.index),
            pack=sample.pack,
            pack_places=sample.places,
            longest=max(record.num_frames for record in sample.records),
            on_error="replace",
        )
        peers = [peer for peer in peers if peer.preset is None or sample.pack is not None]
        staged = _stages(sample, task, options, watch)
        entered, refused = _enter(peers, task, sample, options.limit, stack, watch)
        failed, interrupted = _take_turns(entered, options.rounds, watch)
    measured = _measurements(entered, sample, staged, task)
    return {
        "benchmark": "bench",
        "machine": machine.facts(),
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "route": _route(),
        "no_gpu": no_gpu,
        "data": _data(options.data, sample),
        "task": {name: getattr(task, name) for name in ("num_frames", "batch_size", "workers", "resize", "crop_size")},
        "rounds": min((len(each.epochs) for each in entered.values()), default=0),
        "seconds": options.seconds,
        "interrupted": interrupted,
        **_rows(entered, len(sample.paths)),
        "refused": refused | failed,
        "measurements": None if measured is None else measured.to_json(),
        "bound": None if measured is None else vars(bound(measured)),
        "advice": [] if measured is None else [vars(each) for each in advise(measured)],
    }


# --- Measuring -------------------------------------------------------------------------------------------------------


def _entrants() -> tuple[list[Peer], str | None]:
    """Return the loaders that this machine can run, and a line about the others, which need a GPU."""
    peers = [PEERS[name] for name in ENTRANTS]
    try:
        reason = None if driver.find_gpus() else "CUDA finds no GPU"
    except driver.GPUError as error:
        reason = str(error)
    if reason is None:
        return peers, None
    names = ", ".join(peer.name for peer in peers if peer.gpu)
    return [peer for peer in peers if not peer.gpu], f"No GPU ({reason}): not measured: {names}."


def _stages(sample: Sample, task: Task, options: BenchOptions, watch: Watch) -> list[VideoStages]:
    """Measure the stages of a worker's job for some videos, until about the time of two epochs has passed.

    Videos of middle size come first, so that a few of them are typical.
    """
    sampler = MotionGuided(num_frames=task.num_frames, mu=task.mu)
    transform = SpatialTransform(training=False, crop_size=task.crop_size, resize=task.resize)
    videos = zip(sample.paths, sample.records, strict=True)
    # Larger ones are decoded twice, and measuring their stages would keep all of their frames.
    known = sorted((each for each in videos if _frame_bytes(each[1]) <= MEMORY_BUDGET), key=_size_of)
    middle = (len(known) - 1) / 2
    known = [known[place] for place in sorted(range(len(known)), key=lambda place: abs(place - middle))[:_STAGED]]
    found: list[VideoStages] = []
    if not known:
        return found
    started = time.perf_counter()
    with StagesWorker(sampler, transform, timeout=options.limit) as worker:
        for number, (path, record) in enumerate(known):
            watch("Measuring the stages", number, len(known))
            try:
                if not number:
                    # Warms up: imports, and the first use of libraries.
                    worker.measure(path, record)
                found.append(worker.measure(path, record))
            except VideoDecodeError:
                # The loader replaces it.
                continue
            if time.perf_counter() - started > 2 * options.seconds:
                break
    return found


def _enter(
    peers: Sequence[Peer], task: Task, sample: Sample, limit: float, stack: ExitStack, watch: Watch
) -> tuple[dict[str, _Entrant], dict[str, str]]:
    """Start each loader and let it load all videos once.

    Returns:
        The loaders that can do so, and the reasons of the others, by name.
    """
    entered: dict[str, _Entrant] = {}
    refused: dict[str, str] = {}
    for number, peer in enumerate(peers):
        watch(f"Warm-up: {peer.name}", number, len(peers))
        if (reason := _too_large(peer, sample.records, task.workers)) is not None:
            refused[peer.name] = reason
            continue
        process = PeerProcess(peer, task, sample.paths, limit=limit)
        # Killed after Ctrl-C and after an error.
        stack.push(lambda kind, *_, process=process: process.close(at_once=kind is not None))
        try:
            versions = process.prepare()
            process.check()
            entered[peer.name] = _Entrant(process, versions)
        except Refusal as error:
            refused[peer.name] = _explain(peer, error)
            process.close()
    return entered, refused


def _too_large(peer: Peer, records: Sequence[VideoRecord], workers: int) -> str | None:
    """Return the reason that a peer must not be started: its workers could use up the memory; otherwise None.

    The peers keep all frames of a video as RGB. On a GPU, they report an error if its memory is used up.
    """
    available = machine.available_memory()
    if peer.gpu or peer.kind not in ("documented", "by hand") or available is None:
        return None
    sizes = sorted((3 * record.num_frames * record.width * record.height for record in records), reverse=True)
    needed = sum(sizes[:workers])
    if needed <= available / 2:
        return None
    return (
        f"was not started: it keeps all frames of a video, {needed / 2**30:.1f} GiB for the {workers} largest videos, "
        f"and only {available / 2**30:.1f} GiB of memory are available"
    )


def _take_turns(entered: dict[str, _Entrant], rounds: int, watch: Watch) -> tuple[dict[str, str], bool]:
    """Run the timed rounds. Loaders that fail are removed from ``entered``.

    Returns:
        Reasons of the failures, by name, and whether the user pressed Ctrl-C after the first round.
    """
    failed: dict[str, str] = {}
    names = list(entered)
    complete, interrupted = 0, False
    try:
        for number in range(rounds):
            for place, name in enumerate(in_turn(names, number)):
                if name not in entered:
                    continue
                watch(f"Round {number + 1} of {rounds}: {name}", number * len(names) + place, rounds * len(names))
                try:
                    entered[name].epochs.append(entered[name].process.epoch())
                except Refusal as error:
                    failed[name] = _explain(entered[name].process.peer, error)
                    entered.pop(name).process.close()
            complete += 1
    except KeyboardInterrupt:
        if not complete:
            raise
        interrupted = True
    for each in entered.values():
        del each.epochs[complete:]
        if interrupted:
            each.process.close(at_once=True)
    return failed, interrupted


def _explain(peer: Peer, error: Refusal) -> str:
    """Return the reason that a loader has no row."""
    if not isinstance(error, Missing):
        return f"failed: {error}"
    if peer.needs:
        return f"is missing: {error}; pip install 'mgdali[{peer.extra}]'"
    return f"cannot be started: {error}"


# --- The report ------------------------------------------------------------------------------------------------------


def _route() -> str:
    """Return the route that a loader with default arguments takes, in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        route = choose_route(None, "auto")
    how = "PyAV decodes" if route.nvdec is None else "NVDEC decodes"
    return ": ".join([f"{route.device}, {how}", *(str(each.message) for each in caught[:1])])


def _data(data: str, sample: Sample) -> dict[str, Any]:
    return {
        "data": data,
        "videos_found": sample.found,
        "seed": SEED,
        "videos": len(sample.paths),
        "frames": sum(record.num_frames for record in sample.records),
        "bytes": sample.total_bytes,
        "copied": sample.copied,
        "failed": sample.failed,
        "index_seconds": sample.index_seconds,
        "first_read_bytes_per_s": sample.first_read,
        "read_again_bytes_per_s": sample.again,
    }


def _rows(entered: Mapping[str, _Entrant], clips: int) -> dict[str, Any]:
    """Return a row per loader and the name of the fastest peer."""
    epochs = {name: each.epochs for name, each in entered.items()}
    best = fastest({name: epochs[name] for name in epochs if PEERS[name].kind == "documented"})
    rows = [
        row(
            PEERS[name],
            clips,
            own,
            fastest_peer=None if best is None else epochs[best],
            floor=epochs.get(FLOOR),
        )
        | {"versions": entered[name].versions}
        for name, own in epochs.items()
    ]
    return {"fastest_peer": best, "rows": in_order(rows)}


def _measurements(
    entered: Mapping[str, _Entrant], sample: Sample, staged: Sequence[VideoStages], task: Task
) -> Measurements | None:
    """Return what the advice follows from; None if this loader has no row."""
    loader = entered.get(PLAIN if sample.pack is None else PACKED)
    if loader is None or not loader.epochs:
        return None
    clips, frames = len(sample.paths), [record.num_frames for record in sample.records]
    sizes = [_frame_bytes(record) for record in sample.records]
    measured = Measurements(
        cores=cores(),
        num_workers=task.workers,
        batch_size=task.batch_size,
        clips_per_s=statistics.median(clips / epoch.seconds for epoch in loader.epochs),
        workers_busy=_busy(loader, task.workers),
        main_busy=statistics.median(
            (epoch.cpu_seconds - epoch.worker_cpu_seconds) / epoch.seconds for epoch in loader.epochs
        ),
        index_seconds=sample.index_seconds_a_video,
        mean_frames=statistics.fmean(frames),
        longest_frames=max(frames),
        short_side=statistics.median(min(record.width, record.height) for record in sample.records),
        reading=Reading(first=sample.first_read, again=sample.again, clip_bytes=sample.total_bytes / clips),
        videos=clips,
        decoded_twice=0 if sample.pack else sum(size > MEMORY_BUDGET for size in sizes),
        largest_bytes=max(sizes),
        is_pack=sample.pack is not None,
    )
    if (floor := entered.get(FLOOR)) is not None:
        measured = replace(measured, decoding_busy=_busy(floor, task.workers))
    if sample.pack is None and (indexed := entered.get(INDEXED)) is not None:
        seconds = ([epoch.seconds for epoch in each.epochs] for each in (loader, indexed))
        measured = replace(measured, index_gain=ratios(*seconds)["median"])
    if not staged:
        return measured
    return replace(
        measured,
        worker=_worker_times(staged, indexed=sample.pack is not None),
        decoded_per_pick=sum(each.decoded_indexed for each in staged) / sum(each.picked for each in staged),
    )


def _worker_times(staged: Sequence[VideoStages], *, indexed: bool) -> WorkerTimes:
    """Return the parts of a worker's job, without an index or with one: the means over the videos."""
    mean = {stage: statistics.fmean(each.seconds[stage] for each in staged) for stage in STAGES}
    if indexed:
        decode = mean[DECODED_NEEDED]
        return WorkerTimes(decode=decode, motion=0.0, rest=max(0.0, mean[FROM_INDEX] - decode))
    decode, kept = mean[DECODED], max(mean[DECODED], mean[MEASURED])
    return WorkerTimes(decode=decode, motion=kept - decode, rest=max(0.0, mean[WHOLE] - kept))


def _busy(entrant: _Entrant, workers: int) -> float:
    """Return the share of the time for which the workers had a core, the median over the rounds."""
    shares = (epoch.worker_cpu_seconds / (epoch.seconds * workers) for epoch in entrant.epochs)
    return min(1.0, statistics.median(shares))


def _size_of(video: tuple[str, VideoRecord]) -> float:
    return _frame_bytes(video[1])


def _frame_bytes(record: VideoRecord) -> float:
    """Return the size of all decoded frames of a video, in bytes, without padding."""
    kind = av.VideoFormat(record.pixel_format or "yuv420p")
    bits = max((part.bits for part in kind.components), default=8)
    sample_bytes = 1 if bits <= 8 else 2
    return float(record.num_frames * record.width * record.height * kind.bits_per_pixel / bits * sample_bytes)
