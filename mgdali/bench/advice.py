"""What limits the loader on the CPU route, and which arguments to change: rules on measurements.

Each rule is a function of :class:`Measurements` that says only what was measured, or nothing. The thresholds are the
constants of this module.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = [
    "RULES",
    "Advice",
    "Bound",
    "Limit",
    "Measurements",
    "Reading",
    "WorkerTimes",
    "advise",
    "batch_size_rule",
    "bound",
    "disk_rule",
    "index_rule",
    "memory_rule",
    "pack_rule",
    "prefetch_rule",
    "workers_rule",
]

Limit = Literal["workers", "main process", "cores", "waiting", "unclear"]

WORKERS_BUSY = 0.8
"""Workers are the limit if they are busy for this share of the time, relative to the processes of decoding alone.

These never wait for another process. If they are not always busy either, other programs use the cores, or the files are
waited for.
"""
CORES_BUSY = 0.9
"""Cores are the limit if the loader's processes use this share of them."""
MAIN_BUSY = 0.9
"""The main process is the limit if it uses this share of a core."""
CLEAR_BUSY = 0.5
"""If the processes of decoding alone are busy for a smaller share of the possible time, the limit is unclear."""
CERTAIN_BUSY = 0.8
"""If the processes of decoding alone are busy for a smaller share of the possible time, the figures are called
uncertain."""
INDEX_EPOCHS = 50
"""Largest number of epochs after which an index that is recommended has saved the time of building it."""
INDEX_GAIN = 1.1
"""Least ratio of the speeds with and without an index at which an index is recommended: less is within the spread."""
FRAMES_PER_PICK = 5.0
"""Number of decoded frames per picked one, with an index, from which packing is recommended. A pack needs up to 3."""
PACKED_FRAMES_PER_PICK = 3
LARGE_SIDE = 480
"""Median of the frames' shorter side from which packing is recommended, in pixels. A pack scales it down to 256."""
PADDING = 1.1
"""Size of decoded frames in memory, relative to their pixels, about."""
UNEVEN = 4.0
"""Frames of the longest video relative to the mean from which a batch may wait for one video."""
SMALL_BATCH = 8
"""Batches with fewer clips cost the main process more time per clip."""
CACHED = 2.0
"""If files were read again less than this many times faster, they were in memory from the beginning."""


@dataclass(frozen=True, kw_only=True)
class WorkerTimes:
    """CPU time of a worker per clip, in seconds.

    Attributes:
        decode: Decoding every frame; with the index of a pack, the frames that the picks need.
        motion: Keeping the frames and measuring motion; 0 with an index.
        rest: Cutting out, resizing, conversion to RGB, and for videos beyond the memory budget decoding again.
    """

    decode: float
    motion: float
    rest: float

    @property
    def total(self) -> float:
        """CPU time of the complete job."""
        return self.decode + self.motion + self.rest


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Reading the bytes of the videos without decoding them, with as many threads as the loader has workers.

    Attributes:
        first, again: Bytes per second when the files were read for the first and for the second time.
        clip_bytes: Mean size of a video, in bytes.
    """

    first: float
    again: float
    clip_bytes: float


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What was measured. Speeds are medians over the rounds.

    "The loader" is the one without an index; for a packed data set, the one that loads the pack, with its index.

    Attributes:
        cores: Number of cores that the process may use.
        num_workers: Number of worker processes.
        batch_size: Number of clips per batch.
        clips_per_s: Speed of the loader.
        workers_busy: CPU time of the loader's workers as a share of the time that passed, in [0, 1].
        main_busy: CPU time of the loader's main process, in seconds per second; its threads may use several cores.
        decoding_busy: Like ``workers_busy``, of the processes of decoding alone; None if they were not measured.
        index_gain: Ratio of the speeds with and without an index; None if it was not measured, and for a pack.
        index_seconds: Time per video that building the index took.
        worker: Stages of a worker's job; None if they were not measured.
        decoded_per_pick: Decoded frames per different picked frame, with an index; None if it was not measured.
        mean_frames, longest_frames: Number of frames of the videos.
        short_side: Median of the shorter sides of the frames, in pixels.
        reading: Reading the files; None if it was not measured.
        videos: Number of videos.
        decoded_twice: Number of videos whose frames do not fit into the memory budget.
        largest_bytes: Size of the largest video's decoded frames, in bytes, without padding.
        is_pack: Whether the videos are a packed data set.
    """

    cores: int
    num_workers: int
    batch_size: int
    clips_per_s: float
    workers_busy: float
    main_busy: float
    decoding_busy: float | None = None
    index_gain: float | None = None
    index_seconds: float = 0.0
    worker: WorkerTimes | None = None
    decoded_per_pick: float | None = None
    mean_frames: float = 0.0
    longest_frames: int = 0
    short_side: float = 0.0
    reading: Reading | None = None
    videos: int = 0
    decoded_twice: int = 0
    largest_bytes: float = 0.0
    is_pack: bool = False

    @property
    def decoding_share(self) -> float | None:
        """``decoding_busy`` relative to what is possible, because several processes may share a core."""
        if self.decoding_busy is None:
            return None
        return self.decoding_busy / min(1.0, self.cores / self.num_workers)

    def to_json(self) -> dict[str, Any]:
        """Return the values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Bound:
    """What limits the loader.

    Attributes:
        limit: The limit in one word.
        text: What was measured, in sentences.
    """

    limit: Limit
    text: str


@dataclass(frozen=True)
class Advice:
    """A change that the measurements suggest.

    Attributes:
        argument: Name of the argument of :class:`~mgdali.MGDaliIterator`, or of the command.
        change: The argument with its new value, or the command.
        reason: What was measured.
    """

    argument: str
    change: str
    reason: str


# --- The limit -------------------------------------------------------------------------------------------------------


def bound(measured: Measurements) -> Bound:
    """Return what limits the loader."""
    used = measured.workers_busy * measured.num_workers + measured.main_busy
    relative = measured.workers_busy / max(measured.decoding_busy or 1.0, measured.workers_busy)
    facts = (
        f"the workers were busy for {_percent(measured.workers_busy)} of the time, and the main process used "
        f"{measured.main_busy:.2f} of a core"
    )
    limit: Limit
    if measured.decoding_share is not None and measured.decoding_share < CLEAR_BUSY:
        limit, text = "unclear", f"It is not clear what limits the loader: {facts}."
    elif relative >= WORKERS_BUSY:
        limit, text = "workers", f"The CPU time of the workers is the limit: {facts}."
    elif measured.main_busy >= MAIN_BUSY:
        limit, text = "main process", f"The main process is the limit: {facts}."
    elif used >= CORES_BUSY * measured.cores:
        limit, text = "cores", f"All {measured.cores} cores were busy with the workers and the main process: {facts}."
    else:
        limit, text = "waiting", f"Neither the workers nor the main process were busy all the time: {facts}."
    return Bound(limit, " ".join([text, *_stages(measured), *_uncertain(measured)]))


def _stages(measured: Measurements) -> list[str]:
    worker = measured.worker
    if worker is None or not worker.total:
        return []
    decode, motion, rest = (_percent(part / worker.total) for part in (worker.decode, worker.motion, worker.rest))
    return [
        f"Of the {1e3 * worker.total:.1f} ms of a worker's CPU time per clip, {decode} are decoding, {motion} "
        f"measuring motion, and {rest} cutting out, resizing and the rest."
    ]


def _uncertain(measured: Measurements) -> list[str]:
    share = measured.decoding_share
    if share is None or share >= CERTAIN_BUSY:
        return []
    return [
        f"The processes of decoding alone got only {_percent(share)} of the possible time on the cores, although they "
        "wait for no other process: other programs used the cores, the files were waited for, or there are too few "
        "videos. Measure again when nothing else runs, with more videos."
    ]


# --- The rules -------------------------------------------------------------------------------------------------------


def workers_rule(measured: Measurements) -> Advice | None:
    """Recommend one worker per core if the workers or the cores are the limit and their numbers differ."""
    limit, cores, workers = bound(measured).limit, measured.cores, measured.num_workers
    if limit == "workers" and workers < cores:
        reason = f"the workers are the limit, and {workers} of them cannot use all {cores} cores"
    elif limit in ("workers", "cores") and workers > cores:
        reason = f"{workers} workers share {cores} cores, each has one thread, and they did not wait"
    else:
        return None
    return Advice("num_workers", f"num_workers={cores}", reason)


def index_rule(measured: Measurements) -> Advice | None:
    """Recommend an index if it makes the loader faster; say after how many epochs it has paid for itself."""
    gain = measured.index_gain
    if gain is None or gain < INDEX_GAIN:
        return None
    epochs = max(1, math.ceil(measured.index_seconds * measured.clips_per_s / (1 - 1 / gain)))
    if epochs > INDEX_EPOCHS:
        return None
    return Advice(
        "index",
        'index="auto"',
        f"with an index the loader was {gain:.2f} times as fast; building it took {_seconds(measured.index_seconds)} "
        f'per video, a time that is saved within {epochs} epoch{"s" * (epochs > 1)}. "auto" measures during the '
        "first epoch",
    )


def pack_rule(measured: Measurements) -> Advice | None:
    """Recommend packing if a pick needs many frames, or if frames are much larger than clips."""
    if measured.is_pack:
        return None
    per_pick = measured.decoded_per_pick
    reasons = []
    if per_pick is not None and per_pick >= FRAMES_PER_PICK:
        reasons.append(
            f"even with an index, {per_pick:.1f} frames are decoded per picked frame; in a pack of the preset small it "
            f"is at most {PACKED_FRAMES_PER_PICK}"
        )
    if measured.short_side >= LARGE_SIDE:
        reasons.append(
            f"the median of the frames' shorter side is {measured.short_side:.0f} pixels; a pack scales it down to 256"
        )
    if not reasons or bound(measured).limit == "main process":
        return None
    return Advice("pack", "mgdali pack DATA --out DIR, and VideoDataset.from_pack(DIR)", "; ".join(reasons))


def prefetch_rule(measured: Measurements) -> Advice | None:
    """Recommend more batches ahead if the workers waited and the videos' lengths are very different."""
    if bound(measured).limit != "waiting" or measured.longest_frames < UNEVEN * max(measured.mean_frames, 1.0):
        return None
    return Advice(
        "prefetch_factor",
        "prefetch_factor=4",
        f"the workers waited, and the longest video has {measured.longest_frames} frames, "
        f"{measured.longest_frames / measured.mean_frames:.1f} times the mean: a batch may wait for one video",
    )


def batch_size_rule(measured: Measurements) -> Advice | None:
    """Recommend larger batches if the main process is the limit and the batches are small."""
    if bound(measured).limit != "main process" or measured.batch_size >= SMALL_BATCH:
        return None
    return Advice(
        "batch_size",
        f"batch_size={2 * SMALL_BATCH}",
        f"the main process is the limit, and it works batch by batch, with {measured.batch_size} clips each",
    )


def memory_rule(measured: Measurements) -> Advice | None:
    """Recommend a larger memory budget if videos were decoded twice."""
    if not measured.decoded_twice:
        return None
    mebibytes = math.ceil(PADDING * measured.largest_bytes / 2**20)
    return Advice(
        "memory_budget",
        f"memory_budget={mebibytes} << 20",
        f"the frames of {measured.decoded_twice} of {measured.videos} videos do not fit into it, so that they are "
        f"decoded twice; those of the largest take up to {mebibytes} MiB, in each worker. With an index, nothing is "
        "decoded twice",
    )


def disk_rule(measured: Measurements) -> Advice | None:
    """Report that the disk or network was slower than the loader when the files were read for the first time."""
    reading = measured.reading
    if reading is None or reading.again < CACHED * reading.first:
        return None
    needed = measured.clips_per_s * reading.clip_bytes
    if reading.first >= needed:
        return None
    return Advice(
        "storage",
        "a faster disk, or mgdali pack, which writes fewer bytes in large files",
        f"the files were read for the first time at {_rate(reading.first)}, and again, from memory, at "
        f"{_rate(reading.again)}; the loader takes {_rate(needed)}: an epoch whose files are not in memory waits for "
        "them",
    )


RULES = (workers_rule, index_rule, pack_rule, memory_rule, disk_rule, prefetch_rule, batch_size_rule)
"""All rules, in the order in which their advice is given."""


def advise(measured: Measurements) -> list[Advice]:
    """Return the advice of all rules that apply."""
    return [advice for rule in RULES if (advice := rule(measured)) is not None]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.0f} ms"


def _rate(rate: float) -> str:
    return f"{rate / 1e6:.1f} MB/s"
