"""The GPU route's speed against decoding alone, on this machine's GPU: ``python benchmarks/route.py --out FILE.json``.

In one run and in turn, an epoch each a round: the loader with motion-guided sampling by image and by feature, with
segment sampling, and a plain DALI graph that decodes the same files and drops the frames, with 1 to 16 threads. So
what disturbs the machine disturbs all of them. The loader takes no number of DALI's threads: it is not varied there.
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

# The package beside this folder is the one to measure.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from command import clips_folder, write_report

from mgdali import MotionGuided, Segment, VideoDataset
from mgdali.gpu import driver
from mgdali.gpu.nvdec import NvdecTable, StreamFacts, nvdec_refusal, probe
from mgdali.samplers import Sampler

THREADS = (1, 2, 4, 8, 16)
BATCH_SIZE = 16
NUM_FRAMES = 8
LONG = 100
"""Frames from which on a video counts as long."""
LARGEST_PIXELS = 640 * 360
QUICK_SECONDS = 55
"""With --quick, no round begins later than this after the first."""
SAMPLERS: dict[str, Sampler] = {
    "motion-guided image": MotionGuided(num_frames=NUM_FRAMES),
    "motion-guided feature": MotionGuided(num_frames=NUM_FRAMES, motion="feature"),
    "segment": Segment(num_frames=NUM_FRAMES),
}

Epoch = Callable[[], int]
"""Runs an epoch, and returns how many frames were decoded."""


# --- Arithmetic ------------------------------------------------------------------------------------------------------


@dataclass
class Series:
    """What one of the things compared took, an entry a round."""

    name: str
    seconds: list[float] = field(default_factory=list)
    decoder: list[float] = field(default_factory=list)


def row(series: Series, frames: int, clips: int) -> dict[str, Any]:
    """A series in short; the decoder's utilization is None where nothing was sampled."""
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
    """The median of the rounds' own ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def targets(measured: dict[str, list[float]], best: str) -> list[dict[str, Any]]:
    """The figures that issue 3 asks for, from each series' seconds; ``best`` names the fastest decoding alone."""
    results = []
    for name in ("motion-guided image", "motion-guided feature"):
        slower = ratio(measured[name], measured["segment"])
        share = ratio(measured[best], measured[name])
        results.append(_target(f"{name}, time over segment's", slower, "<=", 1.03))
        results.append(_target(f"{name}, frames/s over {best}'s", share, ">=", 0.95))
    return results


def _target(figure: str, value: float, relation: str, target: float) -> dict[str, Any]:
    met = value <= target if relation == "<=" else value >= target
    return {"figure": figure, "value": value, "target": f"{relation} {target}", "met": met}


# --- Videos ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Workload:
    """An epoch's videos: files taken in turn, over and over."""

    name: str
    paths: list[str]
    frames: int
    """Of all videos together."""
    distinct: int

    def facts(self) -> dict[str, Any]:
        return {"videos": len(self.paths), "frames": self.frames, "distinct_files": self.distinct}


def workloads(folder: Path, table: NvdecTable, *, quick: bool) -> list[Workload]:
    """Long and short H.264 videos that NVDEC takes, up to 640x360; only the long ones with ``quick``."""
    found = [(str(path), facts) for path, facts in _h264(folder, table) if facts.width * facts.height <= LARGEST_PIXELS]
    long = [(path, facts.num_frames) for path, facts in found if facts.num_frames >= LONG]
    short = [(path, facts.num_frames) for path, facts in found if facts.num_frames < LONG]
    chosen = [_workload("long", long, 96 if quick else 256)]
    if not quick:
        chosen.append(_workload("short", short, 1024))
    chosen = [load for load in chosen if load.paths]
    if not chosen:
        raise SystemExit(f"route.py: {folder} holds no H.264 video that NVDEC takes")
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
    """A plain DALI graph that decodes whole files; what it puts out is dropped."""

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
    """An epoch of the loader; it is closed with the stack."""
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
    """NVDEC's utilization in percent, as nvidia-smi samples it in the background; nothing where it is missing."""

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
        """The mean between two times, as a list of one; an empty list where there is no sample."""
        values = [value for moment, value in list(self._samples) if start <= moment <= end]
        return [statistics.fmean(values)] if values else []

    @property
    def note(self) -> str:
        """What is to be said of the figures."""
        if self._samples:
            return "mean of nvidia-smi's utilization.decoder, sampled every 100 ms, over each epoch"
        return "None: nvidia-smi is missing or does not tell"

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip().isdigit():
                self._samples.append((time.perf_counter(), float(line)))


def _gpu_name() -> str:
    """The first GPU that CUDA offers, as nvidia-smi knows it."""
    import torch

    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    return "0" if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"


def timed(epoch: Epoch, series: Series, utilization: DecoderUtilization) -> None:
    """Run an epoch to the device's last operation, and note how long that took."""
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    epoch()
    torch.cuda.synchronize()
    end = time.perf_counter()
    series.seconds.append(end - start)
    series.decoder += utilization.during(start, end)


def measure_workload(load: Workload, utilization: DecoderUtilization, *, quick: bool) -> dict[str, Any]:
    """All that is compared, on the same files."""
    with ExitStack() as stack:
        epochs: dict[str, Epoch] = {name: loading(stack, load.paths, sampler) for name, sampler in SAMPLERS.items()}
        epochs |= {f"decode only, {threads} threads": Decoding(load.paths, threads) for threads in THREADS}
        # The first epoch of each starts workers, compiles kernels and fills memory pools.
        decoded = {name: epoch() for name, epoch in epochs.items()}
        if wrong := {name: frames for name, frames in decoded.items() if frames != load.frames}:
            raise SystemExit(f"route.py: {load.name}: {load.frames} frames were to be decoded, not {wrong}")
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
    """Rounds, each with every epoch once and in another order; how many there were."""
    names, start = list(epochs), time.perf_counter()
    for number in range(most):
        if number and seconds is not None and time.perf_counter() - start > seconds:
            return number
        for name in names[number % len(names) :] + names[: number % len(names)]:
            timed(epochs[name], series[name], utilization)
    return most


# --- The command -----------------------------------------------------------------------------------------------------


def find_nvdec() -> NvdecTable:
    """What NVDEC here decodes; ends with one line where there is no GPU, or something the route needs is missing."""
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
    """Everything that the JSON holds."""
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
        "threads": "varied for decode only: the loader has no argument for DALI's threads",
        "workloads": found,
    }


def rendered(report: dict[str, Any]) -> str:
    """The report in short."""
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
    parser = argparse.ArgumentParser(description="The GPU route's speed against decoding alone.")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the figures go")
    parser.add_argument("--clips", type=Path, metavar="DIR", help="MP4 files, in folders below it too")
    parser.add_argument("--quick", action="store_true", help="long videos only, fewer of them and fewer rounds")
    arguments = parser.parse_args()
    table = find_nvdec()
    folder = clips_folder(arguments.clips)
    report = measure(folder, table, quick=arguments.quick)
    write_report(report, arguments.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
