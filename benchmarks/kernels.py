"""Each CUDA kernel's time over its floor, on this machine's GPU: ``python benchmarks/kernels.py --out FILE.json``.

A floor is the fewest bytes a kernel must move, or operations it must do, over the rate of this GPU, which is measured
first. Times are the GPU's own, by CUDA events around many launches, on random frames of several batches in turn, which
are together many times larger than the L2 cache.
"""

from __future__ import annotations

import argparse
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The package beside this folder is the one to measure.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import machine
from command import write_report

from mgdali import motion as reference
from mgdali import sampling
from mgdali.gpu.cuda_kernels import (
    FEATURE_BLOCK,
    GATHER_BLOCK,
    IMAGE_BLOCK,
    PICK_BLOCK,
    Kernels,
    feature_grid,
    feature_units,
    filter_table,
    filter_words,
    gather_grid,
    image_grid,
)

NUM_FILTERS = reference.NUM_FILTERS
TAPS = 3 * reference.FILTER_SIZE**2
PADDED_TAPS = 160
"""K of the tensor cores' product: ten steps of 16."""
SHARED_BYTES_A_PIXEL = 320
"""What kernels/feature_difference_mma.cu reads from shared memory: ten steps of 512 bytes a warp for 16 pixels."""
SHARED_BYTES_A_CYCLE = 128
"""A multiprocessor's shared memory: 32 banks of 4 bytes."""
NUM_PICKS = 8
CACHES = 4
"""Batches in turn are together at least so many times the L2 cache."""

Launch = Callable[[], None]


# --- Arithmetic: floors and shares -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A batch of videos of one size."""

    name: str
    videos: int
    frames: int
    height: int
    width: int

    @property
    def frame_bytes(self) -> int:
        return 3 * self.height * self.width

    @property
    def batch_bytes(self) -> int:
        return self.videos * self.frames * self.frame_bytes


@dataclass(frozen=True)
class Ceilings:
    """What this GPU reaches, a second; 0 where it was not measured."""

    copied_bytes: float = 0
    """Bytes read and bytes written by a copy from device memory to device memory."""
    half_operations: float = 0
    float_operations: float = 0
    additions: float = 0
    """Float64 additions of which each waits for the one before."""
    shared_bytes: float = 0
    """Not measured: all multiprocessors' shared memory at the highest clock."""


@dataclass(frozen=True)
class Work:
    """The least that a kernel has to do for a batch, and which of the ceilings bounds it."""

    bytes: int = 0
    operations: int = 0
    additions: int = 0
    operations_are: str = "half_operations"


def image_work(case: Case) -> Work:
    """Each frame is read once."""
    return Work(bytes=case.batch_bytes)


def feature_work(case: Case, *, tensor_cores: bool, taps: int = TAPS) -> Work:
    """8 filters at each pixel of each frame but the first, a multiplication and an addition a tap."""
    pixels = case.videos * (case.frames - 1) * case.height * case.width
    operations_are = "half_operations" if tensor_cores else "float_operations"
    return Work(case.batch_bytes, 2 * NUM_FILTERS * taps * pixels, operations_are=operations_are)


def gather_work(case: Case, picks: int) -> Work:
    """Each picked frame is read and written."""
    return Work(bytes=2 * case.videos * picks * case.frame_bytes)


def pick_work(case: Case) -> Work:
    """One thread a video adds up its frames, one after another; the videos do so at once."""
    return Work(additions=case.frames)


def floors_ms(work: Work, ceilings: Ceilings) -> dict[str, float]:
    """The time that each kind of work takes at the ceiling, where there is such work."""
    kinds = {
        "bytes": (work.bytes, ceilings.copied_bytes),
        "operations": (work.operations, getattr(ceilings, work.operations_are)),
        "additions": (work.additions, ceilings.additions),
    }
    return {kind: 1e3 * amount / rate for kind, (amount, rate) in kinds.items() if amount and rate}


def shared_memory_ms(case: Case, ceilings: Ceilings) -> float | None:
    """How long the tensor cores' version reads from shared memory at least."""
    if not ceilings.shared_bytes:
        return None
    pixels = case.videos * (case.frames - 1) * case.height * case.width
    return 1e3 * SHARED_BYTES_A_PIXEL * pixels / ceilings.shared_bytes


def summary(times: Iterable[float]) -> dict[str, float]:
    """The median, and the tenth and ninetieth percentile as its spread."""
    low, median, high = np.percentile(list(times), (10, 50, 90))
    return {"median_ms": float(median), "p10_ms": float(low), "p90_ms": float(high)}


def assessed(work: Work, ceilings: Ceilings, median_ms: float) -> dict[str, Any]:
    """A time against its floor, which is the longest of those that apply."""
    floors = floors_ms(work, ceilings)
    binding = max(floors, key=lambda kind: floors[kind], default=None)
    return {
        **{name: amount for name, amount in asdict(work).items() if amount and name != "operations_are"},
        "floors_ms": floors,
        "bound_by": binding,
        "share_of_ceiling": floors[binding] / median_ms if binding else None,
        "over_floor": median_ms / floors[binding] if binding else None,
    }


def sets_needed(batch_bytes: int, cache_bytes: int) -> int:
    """How many batches in turn are together large enough that none is still in the cache when its turn comes."""
    return max(2, math.ceil(CACHES * cache_bytes / batch_bytes))


def targets(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures that issue 3 asks for, at 340x256."""
    found = {(row["case"], row["kernel"]): row for row in rows}
    results = []
    for case in dict.fromkeys(row["case"] for row in rows if row["case"].startswith("340x256")):
        image = found.get((case, "image luma"))
        feature = found.get((case, "feature tensor cores")) or found.get((case, "feature float32"))
        if image and feature:
            ratio = feature["median_ms"] / image["median_ms"]
            results.append(_target(f"{feature['kernel']} / image luma", case, ratio, "<=", 15))
        results += [
            _target(f"{kernel}, share of the copy bandwidth", case, row["share_of_ceiling"], ">=", 0.85)
            for kernel in ("image luma", "image rgb")
            if (row := found.get((case, kernel)))
        ]
    return results


def _target(figure: str, case: str, value: float, relation: str, target: float) -> dict[str, Any]:
    met = value <= target if relation == "<=" else value >= target
    return {"figure": figure, "case": case, "value": value, "target": f"{relation} {target}", "met": met}


# --- Timing ----------------------------------------------------------------------------------------------------------

_HELPERS = r"""
extern "C" __global__ void wait(long long cycles) {
    const long long start = clock64();
    while (clock64() - start < cycles) {}
}

extern "C" __global__ void empty() {}

// Bits of a counter, well mixed (a 64-bit finalizer of MurmurHash3): random bytes, and quickly.
extern "C" __global__ void fill(unsigned long long* words, long long count, unsigned long long seed) {
    const long long stride = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        unsigned long long x = (seed << 40) + i + 1;
        x = (x ^ x >> 33) * 0xff51afd7ed558ccdull;
        x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53ull;
        words[i] = x ^ x >> 33;
    }
}

extern "C" __global__ void add_in_turn(double* values, int count) {
    double sum = values[0];
    const double step = values[1];
    for (int i = 0; i < count; i += 16) {
#pragma unroll
        for (int k = 0; k < 16; ++k) sum += step;
    }
    values[0] = sum;
}
"""


class Device:
    """The GPU: its clock, its random bytes and its facts."""

    def __init__(self, cupy: Any, *, quick: bool) -> None:
        self.cupy = cupy
        self.repetitions = 7 if quick else 40
        self._module = cupy.RawModule(code=_HELPERS)
        self._seed = int(np.random.default_rng().integers(2**20))

    def attribute(self, name: str) -> int:
        """One of CUDA's device attributes; 0 where this CuPy does not know it."""
        runtime = self.cupy.cuda.runtime
        number = getattr(runtime, f"cudaDevAttr{name}", None)
        return 0 if number is None else int(runtime.deviceGetAttribute(number, self.cupy.cuda.Device().id))

    def helper(self, name: str) -> Any:
        return self._module.get_function(name)

    def random_bytes(self, count: int) -> Any:
        """uint8 ``[count]``, other ones each time."""
        words = self.cupy.empty(-(-count // 8), np.uint64)
        self._seed += 1
        arguments = (words, np.int64(len(words)), np.uint64(self._seed))
        self.helper("fill")((self.attribute("MultiProcessorCount") * 8,), (256,), arguments)
        return words.view(np.uint8)[:count]

    def times_ms(self, launches: Sequence[Launch]) -> list[float]:
        """The GPU's time for one launch, as often as there are repetitions; each takes all launches in turn."""
        self._round(launches, 1)
        first = self._round(launches, 1)
        # Some milliseconds a repetition: events are told apart by half a microsecond. A launch is queued in far less
        # than the queue holds.
        rounds = max(1, min(math.ceil(2 / (first * len(launches))), 400 // len(launches)))
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            self._round(launches, rounds)
        return [self._round(launches, rounds) for _ in range(self.repetitions)]

    def _round(self, launches: Sequence[Launch], rounds: int) -> float:
        """Milliseconds a launch, with all launches queued before the first begins, so that none waits for the host."""
        events = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        cycles = 200_000 + 20_000 * rounds * len(launches)
        for _ in range(4):
            self.helper("wait")((1,), (1,), (np.int64(cycles),))
            events[0].record()
            for _ in range(rounds):
                for launch in launches:
                    launch()
            in_time = not events[0].done
            events[1].record()
            events[1].synchronize()
            if in_time:
                break
            cycles *= 2
        return float(self.cupy.cuda.get_elapsed_time(*events)) / (rounds * len(launches))


def measure_ceilings(device: Device) -> tuple[Ceilings, dict[str, Any]]:
    """The rates that floors are reckoned by, and how each was measured."""
    copy_bytes = 2**30
    copy_times = summary(device.times_ms(_copies(device, copy_bytes)))
    additions = 2**16
    chain = device.cupy.asarray(np.array([0.0, 0.1]))
    add = device.helper("add_in_turn")
    add_times = summary(device.times_ms([lambda: add((1,), (1,), (chain, np.int32(additions)))]))
    half, half_facts = _matrix_rate(device, "float16", 8192)
    single, single_facts = _matrix_rate(device, "float32", 4096)
    clock = 1e3 * device.attribute("ClockRate")
    multiprocessors = device.attribute("MultiProcessorCount")
    ceilings = Ceilings(
        copied_bytes=2e3 * copy_bytes / copy_times["median_ms"],
        half_operations=half,
        float_operations=single,
        additions=1e3 * additions / add_times["median_ms"],
        shared_bytes=multiprocessors * SHARED_BYTES_A_CYCLE * clock,
    )
    empty = device.helper("empty")
    return ceilings, {
        "copy": {"bytes_each_way": copy_bytes, **copy_times},
        "half_matrix": half_facts,
        "float_matrix": single_facts,
        "additions": {"additions": additions, **add_times},
        "empty_launch": summary(device.times_ms([lambda: empty((1,), (1,), ())])),
        "multiprocessors": multiprocessors,
        "highest_clock_hz": clock,
        "l2_bytes": device.attribute("L2CacheSize"),
    }


def _copies(device: Device, size: int) -> list[Launch]:
    pairs = [(device.random_bytes(size), device.random_bytes(size)) for _ in range(2)]

    def copy(target: Any, source: Any) -> None:
        target.data.copy_from_device_async(source.data, size)

    return [lambda pair=pair: copy(*pair) for pair in pairs]  # type: ignore[misc]


def _matrix_rate(device: Device, dtype: str, size: int) -> tuple[float, dict[str, Any]]:
    """Operations a second of a large matrix product."""
    through, launches = _products(device, dtype, size)
    times = summary(device.times_ms(launches))
    return 2e3 * size**3 / times["median_ms"], {"size": size, "type": dtype, "through": through, **times}


def _products(device: Device, dtype: str, size: int) -> tuple[str, list[Launch]]:
    """Products of random matrices, through torch or, where it has no CUDA, CuPy; both work on the default stream."""
    values = device.random_bytes(2 * size * size).reshape(2, size, size).astype(np.float32) / 127.5 - 1
    left, right = values.astype(dtype)
    cupy = device.cupy
    try:
        torch = importlib.import_module("torch")
        usable = torch.cuda.is_available()
    except ImportError:
        usable = False
    if not usable:
        out = cupy.empty_like(left)
        return "cupy", [lambda: cupy.matmul(left, right, out=out)]
    a, b = torch.from_dlpack(left), torch.from_dlpack(right)
    c = torch.empty_like(a)
    return "torch", [lambda: torch.mm(a, b, out=c)]


# --- The kernels -----------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """Random videos on the device, and what each kernel is launched with."""

    device: Device
    kernels: Kernels
    case: Case
    table: NDArray[Any] = field(init=False)
    on_device: Any = field(init=False)

    def __post_init__(self) -> None:
        case, cupy = self.case, self.device.cupy
        shape = (case.videos, case.frames, case.height, case.width, 3)
        self.frames = self.device.random_bytes(case.batch_bytes).reshape(shape)
        self.table, self.on_device = self.kernels.describe(list(self.frames))
        self.motion = cupy.zeros(case.videos * case.frames, np.uint64)
        rng = np.random.default_rng()
        whole = rng.integers(0, 2**40, len(self.motion)).astype(np.uint64)
        self.random_motion = cupy.asarray(whole)
        self.offsets = cupy.asarray(rng.random((case.videos, NUM_PICKS)))
        self.scratch = cupy.empty(len(self.motion), np.float64)
        self.picks = cupy.empty((case.videos, NUM_PICKS), np.int64)
        self.chosen = cupy.asarray(rng.integers(0, case.frames, (case.videos, NUM_PICKS)))
        self.clips = cupy.empty((case.videos, NUM_PICKS, case.height, case.width, 3), np.uint8)
        self.addresses = cupy.asarray(np.array([clip.data.ptr for clip in self.clips], np.uint64))

    # Launches alone: the methods of Kernels make the outputs and upload arguments as well. Motion is added up over the
    # launches and never looked at; whether it is right was checked beforehand.

    def image(self, channels: str) -> Launch:
        kernel = self._function("image_difference", f"image_difference_{channels}")
        return self._launch(kernel, image_grid(self.table), IMAGE_BLOCK, self.on_device, self.motion)

    def feature(self, tensor_cores: bool) -> Launch:
        name = "feature_difference_mma" if tensor_cores else "feature_difference"
        filters = reference.default_filters()
        weights = self.device.cupy.asarray(filter_words(filters) if tensor_cores else filter_table(filters))
        units = np.float64(feature_units(filters, self.table))
        grid = feature_grid(self.table, tensor_cores=tensor_cores)
        arguments = (self.on_device, weights, units, self.motion)
        return self._launch(self._function(name, name), grid, FEATURE_BLOCK, *arguments)

    def pick(self, mu: float) -> Launch:
        arguments = (self.on_device, self.random_motion, np.float64(1), np.float64(mu), np.int32(0))
        outputs = (self.offsets, np.int32(NUM_PICKS), self.scratch, self.picks)
        kernel = self._function("pick", "pick_motion_guided")
        return self._launch(kernel, (self.case.videos,), PICK_BLOCK, *arguments, *outputs)

    def top_motion(self) -> Launch:
        arguments = (self.on_device, self.random_motion, np.float64(1), np.int32(NUM_PICKS), self.picks)
        return self._launch(self._function("pick", "pick_top_motion"), (self.case.videos,), PICK_BLOCK, *arguments)

    def gather(self) -> Launch:
        kernel = self._function("gather", "gather_frames")
        grid = gather_grid(self.table, NUM_PICKS)
        return self._launch(kernel, grid, GATHER_BLOCK, self.on_device, self.chosen, self.addresses)

    def _function(self, source: str, name: str) -> Any:
        return self.kernels.function(source, name)

    @staticmethod
    def _launch(kernel: Any, grid: tuple[int, ...], block: int, *arguments: Any) -> Launch:
        return lambda: kernel(grid, (block,), arguments)


def cases(quick: bool) -> list[Case]:
    chosen = [
        Case("340x256, 64 frames", 16, 64, 256, 340),
        Case("340x256, 300 frames", 16, 300, 256, 340),
        Case("224x224, 64 frames", 16, 64, 224, 224),
        # Frames of which not each begins at a multiple of 16 bytes.
        Case("350x262, 64 frames", 16, 64, 262, 350),
        Case("1920x1080, 32 frames", 4, 32, 1080, 1920),
    ]
    return [case for case in chosen if not quick or case.frames < 300]


def measure_case(device: Device, kernels: Kernels, case: Case, ceilings: Ceilings) -> list[dict[str, Any]]:
    """A row for each kernel."""
    least = min(case.batch_bytes, gather_work(case, NUM_PICKS).bytes)
    batches = [Batch(device, kernels, case) for _ in range(sets_needed(least, device.attribute("L2CacheSize")))]
    plans: list[tuple[str, Work, Callable[[Batch], Launch]]] = [
        ("image luma", image_work(case), lambda batch: batch.image("luma")),
        ("image rgb", image_work(case), lambda batch: batch.image("rgb")),
        ("feature float32", feature_work(case, tensor_cores=False), lambda batch: batch.feature(False)),
        ("pick", pick_work(case), lambda batch: batch.pick(0.5)),
        ("pick, mu 0.3", pick_work(case), lambda batch: batch.pick(0.3)),
        ("top motion", Work(), lambda batch: batch.top_motion()),
        ("gather", gather_work(case, NUM_PICKS), lambda batch: batch.gather()),
    ]
    if kernels.tensor_cores:
        work = feature_work(case, tensor_cores=True)
        plans.insert(3, ("feature tensor cores", work, lambda batch: batch.feature(True)))
    rows = []
    for name, work, launch in plans:
        times = summary(device.times_ms([launch(batch) for batch in batches]))
        row: dict[str, Any] = {"kernel": name, "case": case.name, "batches_in_turn": len(batches), **_sizes(case)}
        row |= times | assessed(work, ceilings, times["median_ms"])
        if name == "feature tensor cores":
            padded = feature_work(case, tensor_cores=True, taps=PADDED_TAPS)
            row["padded_operations_ms"] = floors_ms(padded, ceilings)["operations"]
            row["shared_memory_ms"] = shared_memory_ms(case, ceilings)
        rows.append(row)
    return rows


def _sizes(case: Case) -> dict[str, int]:
    return {name: value for name, value in asdict(case).items() if name != "name"}


# --- Correct first ---------------------------------------------------------------------------------------------------


def check(device: Device, kernels: Kernels) -> list[str]:
    """Which kernels' results are wrong on a small batch: none, or times are worth nothing."""
    rng = np.random.default_rng()
    shapes = [(3, 33, 47), (1, 20, 20), (20, 17, 130), (5, 7, 5), (3, 64, 96)]
    videos = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    arrays = [device.cupy.asarray(video) for video in videos]
    described = kernels.describe(arrays)
    return _wrong_motion(kernels, described, videos) + _wrong_picks(device.cupy, kernels, described, videos)


def _wrong_motion(kernels: Kernels, described: tuple[NDArray[Any], Any], videos: list[NDArray[np.uint8]]) -> list[str]:
    wrong = []
    for channels in ("luma", "rgb"):
        found = _parts(kernels.image_difference(*described, channels), described[0])
        expected = [reference.image_difference(video, channels=channels) for video in videos]
        if not all(map(np.array_equal, found, expected)):
            wrong.append(f"image {channels}")
    expected = [reference.feature_difference(video) for video in videos]
    for tensor_cores in (False, True) if kernels.tensor_cores else (False,):
        filters = reference.default_filters()
        raw, unit = kernels.feature_difference(*described, filters, tensor_cores=tensor_cores)
        tolerance = 2e-3 if tensor_cores else 1e-5
        parts = _parts(raw, described[0])
        if not all(np.allclose(own * unit, right, tolerance, 1e-6) for own, right in zip(parts, expected, strict=True)):
            wrong.append("feature tensor cores" if tensor_cores else "feature float32")
    return wrong


def _wrong_picks(
    cupy: Any, kernels: Kernels, described: tuple[NDArray[Any], Any], videos: list[NDArray[np.uint8]]
) -> list[str]:
    wrong = []
    raw = kernels.image_difference(*described, "luma")
    motions = _parts(raw, described[0])
    offsets = np.random.default_rng().random((len(videos), NUM_PICKS))
    guided = kernels.pick_motion_guided(*described, raw, 1.0, cupy.asarray(offsets), 0.5, "step")
    pairs = zip(motions, offsets, strict=True)
    expected = [sampling.sample_motion_guided(np.float32(motion), NUM_PICKS, offsets=own) for motion, own in pairs]
    if not np.array_equal(guided.get(), expected):
        wrong.append("pick")
    top = kernels.pick_top_motion(*described, raw, 1.0, NUM_PICKS)
    if not np.array_equal(top.get(), [sampling.sample_top_motion(np.float32(motion), NUM_PICKS) for motion in motions]):
        wrong.append("top motion")
    clips = kernels.gather_frames(*described, cupy.asarray(np.array(expected)))
    triples = zip(clips, videos, expected, strict=True)
    if not all(np.array_equal(clip.get(), video[picks]) for clip, video, picks in triples):
        wrong.append("gather")
    return wrong


def _parts(values: Any, table: NDArray[Any]) -> list[NDArray[Any]]:
    return np.split(values.get(), table["first"][1:])


# --- The command -----------------------------------------------------------------------------------------------------


def find_gpu() -> Any:
    """CuPy, where there is a GPU to use it with; else ends with one line."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        raise SystemExit(f"kernels.py: CuPy is missing: {error}") from None
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise SystemExit(f"kernels.py: no GPU: {error}") from None
    if not count:
        raise SystemExit("kernels.py: no GPU: CUDA finds none")
    return cupy


def measure(cupy: Any, *, quick: bool) -> dict[str, Any]:
    """Everything that the JSON holds."""
    device, kernels = Device(cupy, quick=quick), Kernels()
    if wrong := check(device, kernels):
        raise SystemExit(f"kernels.py: results differ from the reference's, so nothing was timed: {', '.join(wrong)}")
    ceilings, how = measure_ceilings(device)
    rows = []
    for case in cases(quick):
        # What one size took is free for the next.
        cupy.get_default_memory_pool().free_all_blocks()
        rows += measure_case(device, kernels, case, ceilings)
    return {
        "benchmark": "kernels",
        "quick": quick,
        "repetitions": device.repetitions,
        "machine": machine.facts(),
        "ceilings": {"a_second": asdict(ceilings), "measured": how},
        "kernels": rows,
        "targets": targets(rows),
    }


def rendered(report: dict[str, Any]) -> str:
    """The report in short."""
    facts, rates = report["machine"], report["ceilings"]["a_second"]
    empty = report["ceilings"]["measured"]["empty_launch"]["median_ms"]
    return "\n".join(
        [
            f"{facts['gpu']}, driver {facts['driver']}, CUDA {facts['cuda_runtime']}, CuPy {facts['cupy']}",
            f"copy {rates['copied_bytes'] / 1e12:.2f} TB/s, half precision {rates['half_operations'] / 1e12:.0f} and "
            f"float32 {rates['float_operations'] / 1e12:.1f} TFLOP/s, one thread {rates['additions'] / 1e6:.0f} "
            f"million float64 additions/s, empty launch {1e3 * empty:.1f} us",
            f"{'case':<21} {'kernel':<21} {'median ms':>9} {'p10 to p90':>17} {'/ floor':>8} {'share':>6}  bound by",
            *map(_rendered_row, report["kernels"]),
            "pick's floor is one thread's additions, one a frame; top motion has none: compare the empty launch.",
            *map(_rendered_target, report["targets"]),
        ]
    )


def _rendered_row(row: dict[str, Any]) -> str:
    spread = f"{row['p10_ms']:.4f}-{row['p90_ms']:.4f}"
    line = f"{row['case']:<21} {row['kernel']:<21} {row['median_ms']:>9.4f} {spread:>17}"
    if row["bound_by"] is None:
        return f"{line} {'-':>8} {'-':>6}  launch"
    line += f" {row['over_floor']:>8.2f} {row['share_of_ceiling']:>6.3f}  {row['bound_by']}"
    if "padded_operations_ms" in row:
        line += f" (with padding {row['padded_operations_ms']:.4f} ms"
        shared = row["shared_memory_ms"]
        line += ")" if shared is None else f", shared memory {shared:.4f} ms)"
    return line


def _rendered_target(target: dict[str, Any]) -> str:
    outcome = "met" if target["met"] else "missed"
    return f"{target['case']:<21} {target['figure']}: {target['value']:.3f}, target {target['target']}: {outcome}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Each CUDA kernel's time over its floor.")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the figures go")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, and no videos of 300 frames")
    arguments = parser.parse_args()
    cupy = find_gpu()
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = measure(cupy, quick=arguments.quick)
    write_report(report, arguments.out)
    print(rendered(report))


if __name__ == "__main__":
    main()
