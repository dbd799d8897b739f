"""Speed of the GPU route relative to decoding alone: ``python benchmarks/route.py --out FILE.json``.

Compared are the loader with motion-guided sampling at the image and the feature level, the loader with segment
sampling, and a plain DALI graph that decodes the same files and discards the frames, with 1 to 16 threads. They take
turns in one run, one epoch per round, so that other activity on the machine affects all of them. The number of DALI's
threads is not varied for the loader, which has no argument for it.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Measure the package of this checkout.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from command import clips_folder, write_report
from figures import in_turn, target

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.gpu import driver
from mgdali.gpu.nvdec import NvdecTable, StreamFacts, nvdec_refusal, probe
from mgdali.samplers import Sampler

THREADS = (1, 2, 4, 8, 16)
BATCH_SIZE = 16
NUM_FRAMES = 8
LONG = 100
"""Smallest number of frames of a long video."""
LARGEST_PIXELS = 640 * 360
QUICK_SECONDS = 55
"""With --quick, latest start of a round after the start of the first, in seconds."""
SAMPLERS: dict[str, Sampler] = {
    "motion-guided image": MotionGuided(num_frames=NUM_FRAMES),
    "motion-guided feature": MotionGuided(num_frames=NUM_FRAMES, motion="feature"),
    "segment": Segment(num_frames=NUM_FRAMES),
}

Epoch = Callable[[], int]
"""Function that runs an epoch and returns the number of decoded frames."""


# --- Arithmetic ------------------------------------------------------------------------------------------------------


@dataclass
class Series:
    """Seconds and decoder utilization of one of the compared variants, one entry per round."""

    name: str
    seconds: list[float] = field(default_factory=list)
    decoder: list[float] = field(default_factory=list)


def row(series: Series, frames: int, clips: int) -> dict[str, Any]:
    """Return the summary of a series. The decoder's utilization is None if it was not sampled."""
    median = statistics.median(series.seconds)
    return {
        "name": series.name,
        "frames_per_s": frames / median,
        "clips_per_s": clips / median,
        "median_s": median,
        "seconds": series.seconds,
        "decoder_utilization_percent": statistics.fmean(series.decoder) if series.decoder else None,
    }


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Return the median of the ratios ``above / below``, each computed within one round."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def targets(measured: dict[str, list[float]], best: str) -> list[dict[str, Any]]:
    """Return the figures with a target.

    Args:
        measured: Seconds of each round, by series.
        best: Name of the fastest series of decoding alone.
    """
    results = []
    for name in ("motion-guided image", "motion-guided feature"):
        slower = ratio(measured[name], measured["segment"])
        share = ratio(measured[best], measured[name])
        results.append(target(f"{name}, time over segment's", slower, "<=", 1.03))
        results.append(target(f"{name}, frames/s over {best}'s", share, ">=", 0.95))
    return results


# --- Videos ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """The videos of an epoch; files are repeated.

    Attributes:
        name: Name in the report.
        paths: Paths of the videos.
        frames: Number of frames of all videos together.
        distinct: Number of different files.
    """

    name: str
    paths: list[str]
    frames: int
    distinct: int

    def facts(self) -> dict[str, Any]:
        return {"videos": len(self.paths), "frames": self.frames, "distinct_files": self.distinct}


def workloads(folder: Path, table: NvdecTable, *, quick: bool) -> list[Workload]:
    """Return workloads of long and short H.264 videos up to 640x360 that NVDEC supports; only long with ``quick``."""
    found = [(str(path), facts) for path, facts in _h264(folder, table) if facts.width * facts.height <= LARGEST_PIXELS]
    long = [(path, facts.num_frames) for path, facts in found if facts.num_frames >= LONG]
    short = [(path, facts.num_frames) for path, facts in found if facts.num_frames < LONG]
    chosen = [_workload("long", long, 96 if quick else 256)]
    if not quick:
        chosen.append(_workload("short", short, 1024))
    chosen = [load for load in chosen if load.paths]
    if not chosen:
        raise SystemExit(
            f"route.py: {folder} contains no H.264 video that NVDEC supports: pass another folder with --clips"
        )
    return chosen


def _h264(folder: Path, table: NvdecTable) -> Iterator[tuple[Path, StreamFacts]]:
    for path in sorted(folder.rglob("*.mp4")):
        facts = probe(path.read_bytes(), str(path))
        if facts.codec == "h264" and nvdec_refusal(facts, table) is None:
            yield path, facts


def _workload(name: str, videos: list[tuple[str, int]], count: int) -> Workload:
    taken = [videos[i % len(videos)] for i in range(count)] if videos else []
    return Workload(name, [path for path, _ in taken], sum(frames for _, frames in taken), len(videos))


# --- What is compared ------------------------------------------------------------------------------------------------


class Decoding:
    """A plain DALI graph that decodes whole files. Its frames are discarded."""

    def __init__(self, paths: list[str], threads: int) -> None:
        from nvidia.dali import fn, pipeline_def

        contents = {path: np.fromfile(path, np.uint8) for path in set(paths)}
        self._files = [contents[path] for path in paths]
        self._next = 0

        def graph() -> Any:
            return fn.decoders.video(fn.external_source(source=self._batch, batch=True), device="mixed")

        self._pipeline = pipeline_def(batch_size=BATCH_SIZE, num_threads=threads, device_id=0)(graph)()
        self._pipeline.build()

    def __call__(self) -> int:
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

    def _batch(self) -> list[NDArray[np.uint8]]:
        batch = self._files[self._next : self._next + BATCH_SIZE]
        if not batch:
            raise StopIteration
        self._next += len(batch)
        return batch


def loading(stack: ExitStack, paths: list[str], sampler: Sampler) -> Epoch:
    """Return a function that runs an epoch of a new loader, which is closed with the stack."""
    from mgdali import MGDaliIterator

    dataset = VideoDataset(paths, [0] * len(paths))
    loader = stack.enter_context(
        MGDaliIterator(dataset, sampler=sampler, batch_size=BATCH_SIZE, training=True, device="cuda", decode="nvdec")
    )

    def epoch() -> int:
        before = loader.frames_decoded
        for clips, _ in loader:
            del clips
        return loader.frames_decoded - before

    return epoch


# --- Measuring -------------------------------------------------------------------------------------------------------


class DecoderUtilization:
    """NVDEC's utilization in percent, sampled by nvidia-smi in the background. No samples without nvidia-smi."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> DecoderUtilization:
        if shutil.which("nvidia-smi") is not None:
            command = ["nvidia-smi", "--query-gpu=utilization.decoder", "--format=csv,noheader,nounits", "-lms", "100"]
            self._process = subprocess.Popen(
                [*command, "-i", _gpu_name()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def during(self, start: float, end: float) -> list[float]:
        """Return the mean between two times in a list of one, or an empty list if there is no sample."""
        values = [value for moment, value in list(self._samples) if start <= moment <= end]
        return [statistics.fmean(values)] if values else []

    @property
    def note(self) -> str:
        """A note on the figures for the report."""
        if self._samples:
            return "mean of nvidia-smi's utilization.decoder, sampled every 100 ms, over each epoch"
        return "none: nvidia-smi is missing or does not report it"

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                self._samples.append((time.perf_counter(), float(line)))


def _gpu_name() -> str:
    """Return nvidia-smi's name of the first GPU that CUDA lists."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return "0" if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"


def timed(epoch: Epoch, series: Series, utilization: DecoderUtilization) -> None:
    """Run an epoch up to the last operation of the device, and add its duration to the series."""
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    epoch()
    torch.cuda.synchronize()
    end = time.perf_counter()
    series.seconds.append(end - start)
    series.decoder += utilization.during(start, end)


def measure_workload(load: Workload, utilization: DecoderUtilization, *, quick: bool) -> dict[str, Any]:
    """Measure all variants on the same files."""
    with ExitStack() as stack:
        epochs: dict[str, Epoch] = {name: loading(stack, load.paths, sampler) for name, sampler in SAMPLERS.items()}
        epochs |= {f"decode only, {threads} threads": Decoding(load.paths, threads) for threads in THREADS}
        # The first epoch of each is not timed: it starts workers, compiles kernels and fills memory pools.
        decoded = {name: epoch() for name, epoch in epochs.items()}
        if wrong := {name: frames for name, frames in decoded.items() if frames != load.frames}:
            raise SystemExit(f"route.py: {load.name}: expected {load.frames} decoded frames, got {wrong}")
        series = {name: Series(name) for name in epochs}
        rounds = _run_rounds(epochs, series, utilization, 5 if quick else 9, QUICK_SECONDS if quick else None)
    rows = [row(own, load.frames, len(load.paths)) for own in series.values()]
    decoding = [own for own in rows if own["name"].startswith("decode only")]
    best = max(decoding, key=lambda own: float(own["frames_per_s"]))["name"]
    seconds = {name: own.seconds for name, own in series.items()}
    return {
        "workload": load.name,
        **load.facts(),
        "rounds": rounds,
        "best_decode_only": best,
        "rows": rows,
        "targets": targets(seconds, best),
    }


def _run_rounds(
    epochs: dict[str, Epoch],
    series: dict[str, Series],
    utilization: DecoderUtilization,
    most: int,
    seconds: float | None,
) -> int:
    """Run at most ``most`` rounds, each with every epoch once, and return their number."""
    start = time.perf_counter()
    for number in range(most):
        if number and seconds is not None and time.perf_counter() - start > seconds:
            return number
        for name in in_turn(list(epochs), number):
            timed(epochs[name], series[name], utilization)
    return most


# --- The command -----------------------------------------------------------------------------------------------------


def find_nvdec() -> NvdecTable:
    """Return NVDEC's capabilities; end the command with one line if a GPU or a required package is missing."""
    from mgdali.loading.route import nvdec_table

    try:
        if not driver.find_gpus():
            raise driver.GPUError("CUDA finds none")
    except driver.GPUError as error:
        raise SystemExit(f"route.py: no GPU: {error}") from None
    try:
        for name in ("cupy", "nvidia.dali"):
            importlib.import_module(name)
        return nvdec_table(0)
    except (driver.GPUError, ImportError) as error:
        raise SystemExit(f"route.py: the GPU route cannot be used: {error}") from None


def measure(folder: Path, table: NvdecTable, *, quick: bool) -> dict[str, Any]:
    """Measure all workloads, and return the content of the JSON file."""
    with DecoderUtilization() as utilization:
        found = [measure_workload(load, utilization, quick=quick) for load in workloads(folder, table, quick=quick)]
        note = utilization.note
    return {
        "benchmark": "route",
        "quick": quick,
        "machine": machine.facts(),
        "nvdec_engines": max(caps.engines for caps in table.values()),
        "batch_size": BATCH_SIZE,
        "picks": NUM_FRAMES,
        "decoder_utilization": note,
        "threads": "varied only for decoding alone, because the loader has no argument for DALI's threads",
        "workloads": found,
    }


def rendered(report: dict[str, Any]) -> str:
    """Return the report as text."""
    facts = report["machine"]
    lines = [f"{facts['gpu']}, driver {facts['driver']}, {report['nvdec_engines']} NVDEC engines"]
    for load in report["workloads"]:
        lines.append(f"{load['workload']}: {load['videos']} videos, {load['frames']} frames, {load['rounds']} rounds")
        lines.append(f"{'':<26} {'frames/s':>9} {'clips/s':>9} {'NVDEC %':>8}")
        lines += map(_rendered_row, load["rows"])
        lines += map(_rendered_target, load["targets"])
    return "\n".join([*lines, f"NVDEC %: {report['decoder_utilization']}", f"threads: {report['threads']}"])


def _rendered_row(own: dict[str, Any]) -> str:
    used = own["decoder_utilization_percent"]
    share = "-" if used is None else f"{used:.0f}"
    return f"{own['name']:<26} {own['frames_per_s']:>9.0f} {own['clips_per_s']:>9.1f} {share:>8}"


def _rendered_target(target: dict[str, Any]) -> str:
    outcome = "met" if target["met"] else "missed"
    return f"{target['figure']}: {target['value']:.3f}, target {target['target']}: {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of the GPU route relative to decoding alone.")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="File to write the results to.")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="Folder of MP4 files, which may be in subfolders.")
    parser.add_argument("--quick", action="store_true", help="Use only long videos, fewer of them, and fewer rounds.")
    arguments = parser.parse_args()
    table = find_nvdec()
    folder = clips_folder(arguments.clips)
    report = measure(folder, table, quick=arguments.quick)
    write_report(report, arguments.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
