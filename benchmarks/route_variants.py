"""What ``route.py`` compares: this project's loader, DALI's decoder alone, and the decoders of other libraries."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from decoder_process import DecoderProcess
from decoders import CROP, DECODERS, RESIZE
from numpy.typing import NDArray
from route_videos import NUM_FRAMES, SAMPLER, Workload

from mgdali import MGDaliIterator, MotionGuided, Segment, VideoDataset
from mgdali.samplers import Sampler

__all__ = ["GROUPS", "Context", "DecodingGraph", "Epoch", "Timing", "Variant", "group_variants"]

BATCH_SIZE = 16
SAMPLERS: dict[str, Sampler] = {
    "motion-guided image": SAMPLER,
    "motion-guided feature": MotionGuided(num_frames=NUM_FRAMES, motion="feature"),
    "segment": Segment(num_frames=NUM_FRAMES),
}
GROUPS = ("loader", "index", "graphs", "peers", "peers-index")
"""Names of the groups of variants that are compared with each other, the most valuable first."""
_CLIPS = "picks, conversion to RGB, resizing, centre crop, normalization, batches on the GPU"
_WORDS = {"num_graphs": "graphs", "decoder_threads": "decoder threads"}
_START_SECONDS = 90.0
"""Time after which the process of a library that does not start is given up, in seconds."""


@dataclass(frozen=True)
class Timing:
    """An epoch.

    Attributes:
        seconds: Its duration.
        frames_decoded: Number of frames that were decoded; None if it is not known.
        facts: Further counts, ready for JSON.
    """

    seconds: float
    frames_decoded: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)


Epoch = Callable[[], Timing]
"""Function that runs an epoch and returns its duration and counts."""


@dataclass(frozen=True)
class Variant:
    """One of the compared ways to decode the videos.

    Attributes:
        name: Name in the report.
        timed: What an epoch does, in words.
        prepare: Starts it, closed with the given stack, runs an epoch that is not timed, and returns the function that
            runs an epoch, and what the first epoch showed.
    """

    name: str
    timed: str
    prepare: Callable[[ExitStack], tuple[Epoch, Timing]]


@dataclass(frozen=True)
class Context:
    """What the variants of a run share.

    Attributes:
        engines: Number of NVDEC engines.
        libraries: Folder of links for the dynamic loader of other libraries.
        answer_seconds: Returns the time that a request to another process may take, in seconds.
        quick: Whether fewer variants are compared.
    """

    engines: int
    libraries: Path
    answer_seconds: Callable[[], float]
    quick: bool

    @property
    def threads(self) -> tuple[int, int]:
        """The two numbers of decoder threads that are compared: one and three per engine."""
        return self.engines, 3 * self.engines


def group_variants(group: str, load: Workload, context: Context) -> list[Variant]:
    """Return the variants of a group. The first one is the reference of the ratios."""
    unchanged: list[dict[str, int]] = [{}]
    if group == "loader":
        return [*_loaders(SAMPLERS, load, unchanged), *_dali_alone(load, context)]
    image = {"motion-guided image": SAMPLER}
    if group == "index":
        known = {name: SAMPLERS[name] for name in ("motion-guided image", "segment")}
        return [*_loaders(image, load, unchanged), *_loaders(known, load, unchanged, indexed=True)]
    if group == "graphs":
        engines, more = context.threads
        sweep = [{"num_graphs": graphs, "decoder_threads": more} for graphs in (1, 2, 3)]
        sweep += [
            {"num_graphs": graphs, "decoder_threads": engines} for graphs in ((2,) if context.quick else (1, 2, 3))
        ]
        return _loaders(image, load, sweep)
    every = group == "peers"
    return [*_loaders(image, load, unchanged, indexed=not every), *_baselines(load, context, every)]


# --- This project's loader -------------------------------------------------------------------------------------------


def _loaders(
    samplers: Mapping[str, Sampler], load: Workload, arguments: Sequence[dict[str, int]], *, indexed: bool = False
) -> list[Variant]:
    found = []
    for sampler in samplers:
        for own in arguments:
            words = ", ".join(f"{value} {_WORDS[name]}" for name, value in own.items())
            name = ", ".join(filter(None, [sampler, "index" if indexed else "", words]))
            timed = f"{'decoding the needed frames' if indexed else 'decoding all frames, motion'}, {_CLIPS}"
            prepare = functools.partial(_open_loader, load, samplers[sampler], own, indexed)
            found.append(Variant(name, timed, prepare))
    return found


def _open_loader(
    load: Workload, sampler: Sampler, arguments: Mapping[str, Any], indexed: bool, stack: ExitStack
) -> tuple[Epoch, Timing]:
    # In testing, without random choices, so that each epoch picks the frames that the other decoders pick.
    loader = stack.enter_context(
        MGDaliIterator(
            VideoDataset(load.paths, [0] * len(load.paths)),
            sampler=sampler,
            batch_size=BATCH_SIZE,
            device="cuda",
            decode="nvdec",
            resize=RESIZE,
            crop_size=CROP,
            index=load.index if indexed else None,
            **arguments,
        )
    )

    def epoch() -> Timing:
        before = counters(loader)
        seconds = _timed(lambda: sum(len(clips) for clips, _ in loader))
        after = {name: value - before.get(name, 0) for name, value in counters(loader).items()}
        if indexed and loader.unindexed:
            raise RuntimeError(f"the index was not used for {next(iter(loader.unindexed))}")
        return Timing(seconds, int(after["frames_decoded"]), after)

    first = epoch()
    by_pyav = {Path(path).name: reason for path, reason in loader._tally.by_pyav.items()}
    return epoch, dataclasses.replace(first, facts={**first.facts, "by_pyav": by_pyav})


def counters(loader: MGDaliIterator) -> dict[str, float]:
    """Return all counters of a loader by name: numbers, and the numbers of entries of lists of videos."""
    tally: Any = loader._tally
    found = {entry.name: getattr(tally, entry.name) for entry in dataclasses.fields(tally)}
    return {name: value if isinstance(value, int | float) else len(value) for name, value in found.items()}


def _timed(work: Callable[[], object]) -> float:
    """Return the duration of some work up to the last operation of the GPU, in seconds."""
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


# --- DALI's decoder alone --------------------------------------------------------------------------------------------


def _dali_alone(load: Workload, context: Context) -> list[Variant]:
    timed = "fn.decoders.video of the whole files to RGB; the frames are discarded"

    def prepare(threads: int, stack: ExitStack) -> tuple[Epoch, Timing]:
        graph = DecodingGraph(load.paths, threads)
        # The graph frees its GPU memory when it is deleted.
        stack.callback(graph.close)

        def epoch() -> Timing:
            counted: list[int] = []
            seconds = _timed(lambda: counted.append(graph.run()))
            return Timing(seconds, counted[0])

        return epoch, epoch()

    return [
        Variant(f"decode only, {threads} threads", timed, functools.partial(prepare, threads))
        for threads in context.threads
    ]


class DecodingGraph:
    """A plain DALI graph that decodes whole files. Its frames are discarded.

    Args:
        paths: Paths of the files.
        threads: Number of DALI's threads.
        batch_size: Number of files per batch.
    """

    def __init__(self, paths: Sequence[str], threads: int, batch_size: int = BATCH_SIZE) -> None:
        from nvidia.dali import fn, pipeline_def

        contents = {path: np.fromfile(path, np.uint8) for path in set(paths)}
        self._files = [contents[path] for path in paths]
        self._next = 0
        self._batch_size = batch_size

        def graph() -> Any:
            return fn.decoders.video(fn.external_source(source=self._batch, batch=True), device="mixed")

        self._pipeline = pipeline_def(batch_size=batch_size, num_threads=threads, device_id=0)(graph)()
        self._pipeline.build()

    def run(self) -> int:
        """Decode all files, and return the number of frames."""
        frames = 0
        while True:
            try:
                (videos,) = self._pipeline.run()
            except StopIteration:
                self._next = 0
                self._pipeline.reset()
                return frames
            frames += sum(shape[0] for shape in videos.shape())
            del videos

    def close(self) -> None:
        """Free the graph."""
        del self._pipeline

    def _batch(self) -> list[NDArray[np.uint8]]:
        batch = self._files[self._next : self._next + self._batch_size]
        if not batch:
            raise StopIteration
        self._next += len(batch)
        return batch


# --- Other libraries -------------------------------------------------------------------------------------------------


def _baselines(load: Workload, context: Context, every: bool) -> list[Variant]:
    processes: dict[str, DecoderProcess] = {}
    return [
        Variant(
            f"{name}, {'all frames' if every else 'needed frames'}, {threads} threads",
            baseline.every if every else baseline.needed,
            functools.partial(_open_baseline, load, context, processes, name, threads, every),
        )
        for name, baseline in DECODERS.items()
        for threads in context.threads
    ]


def _open_baseline(
    load: Workload,
    context: Context,
    processes: dict[str, DecoderProcess],
    name: str,
    threads: int,
    every: bool,
    stack: ExitStack,
) -> tuple[Epoch, Timing]:
    """Start the library's process if no other variant has done so, and run the first epoch."""
    if name not in processes:
        processes[name] = DecoderProcess(name, load.videos, context.libraries)
        stack.callback(processes[name].close)
        stack.callback(processes.pop, name)
    process = processes[name]
    about = process.ask("prepare", min(_START_SECONDS, context.answer_seconds()))
    checked = process.ask("check", context.answer_seconds(), threads=threads, every=every)

    def epoch() -> Timing:
        answer = process.ask("epoch", context.answer_seconds(), threads=threads, every=every)
        return Timing(answer["seconds"], answer["frames_decoded"])

    facts = {"version": about["version"], "difference_from_cpu_route": checked["difference"]}
    return epoch, Timing(checked["seconds"], checked["frames_decoded"], facts)
