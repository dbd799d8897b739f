"""Timing on the GPU by CUDA events, and the rates that this GPU reaches."""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from kernel_floors import SHARED_BYTES_PER_CYCLE, Ceilings, summary

__all__ = ["Device", "Launch", "measure_ceilings"]

Launch = Callable[[], None]
"""Function that launches a kernel."""

_HELPERS = r"""
extern "C" __global__ void wait(long long cycles) {
    const long long start = clock64();
    while (clock64() - start < cycles) {}
}

extern "C" __global__ void empty() {}

// Fills memory with random bytes: the 64-bit finalizer of MurmurHash3 applied to a counter, which is fast.
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
    """The GPU: timing, random bytes and device attributes."""

    def __init__(self, cupy: Any, *, quick: bool) -> None:
        self.cupy = cupy
        self.repetitions = 7 if quick else 40
        self._module = cupy.RawModule(code=_HELPERS)
        self._seed = int(np.random.default_rng().integers(2**20))

    def attribute(self, name: str) -> int:
        """Return one of CUDA's device attributes; 0 if this CuPy does not know it."""
        runtime = self.cupy.cuda.runtime
        number = getattr(runtime, f"cudaDevAttr{name}", None)
        return 0 if number is None else int(runtime.deviceGetAttribute(number, self.cupy.cuda.Device().id))

    def helper(self, name: str) -> Any:
        return self._module.get_function(name)

    def random_bytes(self, count: int) -> Any:
        """Return random bytes, uint8 ``[count]``, different in each call."""
        words = self.cupy.empty(-(-count // 8), np.uint64)
        self._seed += 1
        arguments = (words, np.int64(len(words)), np.uint64(self._seed))
        self.helper("fill")((self.attribute("MultiProcessorCount") * 8,), (256,), arguments)
        return words.view(np.uint8)[:count]

    def times_ms(self, launches: Sequence[Launch]) -> list[float]:
        """Return the GPU's time per launch in milliseconds, of each repetition. Launches run in turn."""
        self._round(launches, 1)
        first = self._round(launches, 1)
        # A repetition takes some milliseconds, because events have a resolution of half a microsecond. The number of
        # launches stays far below the capacity of the launch queue.
        rounds = max(1, min(math.ceil(2 / (first * len(launches))), 400 // len(launches)))
        end = time.perf_counter() + 0.1
        while time.perf_counter() < end:
            self._round(launches, rounds)
        return [self._round(launches, rounds) for _ in range(self.repetitions)]

    def _round(self, launches: Sequence[Launch], rounds: int) -> float:
        """Return milliseconds per launch.

        A waiting kernel delays the first launch until all are queued, so that no launch waits for the host. If the
        delay was too short, the round is repeated with a longer one.
        """
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
    """Measure the rates for the floors; return them with the measurements that they were computed from."""
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
        shared_bytes=multiprocessors * SHARED_BYTES_PER_CYCLE * clock,
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
    """Return the operations per second of a large matrix product, with the measurement."""
    through, launches = _products(device, dtype, size)
    times = summary(device.times_ms(launches))
    return 2e3 * size**3 / times["median_ms"], {"size": size, "type": dtype, "through": through, **times}


def _products(device: Device, dtype: str, size: int) -> tuple[str, list[Launch]]:
    """Return launches of products of random matrices, through torch, or through CuPy if torch has no CUDA.

    Both use the default stream.
    """
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
