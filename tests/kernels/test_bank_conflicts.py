"""Bank conflicts of the kernels' accesses to shared memory, recorded while the kernels run on the CPU.

The compiler calls a function of the address sanitizer for each access whose address is not constant. Here these
functions record it. An access of a warp consists of the accesses of its threads at the same place in the code, each at
the same repetition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mgdali.gpu.feature_filters import FeatureKernel, feature_plan
from mgdali.motion import default_filters
from tests.kernels.test_feature_kernels import feature_motion
from tests.kernels.test_kernels import random_videos
from tests.support.kernel_build import KERNELS, HostKernels, Out, needs_compiler

pytestmark = needs_compiler

BANKS = 32
WORD = 4
WARP = 32

RECORD = np.dtype(
    [("place", np.uint64), ("thread", np.uint32), ("offset", np.uint32), ("size", np.uint32), ("store", np.uint32)]
)

# The build puts a source into two namespaces, which the recorder leaves.
RECORDER = r"""
}}
#include <cstdlib>
namespace recorder {
struct Access { unsigned long long place; unsigned thread, offset, size, store; };
inline FILE* file = nullptr;   // A static variable of the function would be taken for shared memory
__attribute__((no_sanitize("address", "undefined"))) inline void add(const void* address, unsigned size, bool store,
                                                                     void* place) {
  const char* const at = static_cast<const char*>(address);
  if (at < cuda_shared_begin || at >= cuda_shared_end || !cuda_host::block.current) return;
  if (!file) file = fopen(getenv("MGDALI_ACCESSES"), "wb");
  const Access access = {reinterpret_cast<unsigned long long>(place), cuda_host::block.current->linear,
                         static_cast<unsigned>(at - cuda_shared_begin), size, store};
  fwrite(&access, sizeof access, 1, file);
  fflush(file);
}
}
#define MGDALI_RECORD(name, size, store)                                                                       \
  extern "C" __attribute__((no_sanitize("address", "undefined"))) void __asan_##name##size(void* address) {  \
    recorder::add(address, size, store, __builtin_return_address(0));                                          \
  }
#define MGDALI_RECORD_SIZES(name, store)                                                                       \
  MGDALI_RECORD(name, 1, store) MGDALI_RECORD(name, 2, store) MGDALI_RECORD(name, 4, store)                    \
  MGDALI_RECORD(name, 8, store) MGDALI_RECORD(name, 16, store)                                                 \
  extern "C" __attribute__((no_sanitize("address", "undefined"))) void __asan_##name##N(void* address,       \
                                                                                        unsigned long size) {  \
    recorder::add(address, static_cast<unsigned>(size), store, __builtin_return_address(0));                   \
  }
MGDALI_RECORD_SIZES(load, false)
MGDALI_RECORD_SIZES(store, true)
namespace { namespace source_0 {
"""
# A call for each access, and accesses as they are written.
FLAGS = ("-O0", "--param=asan-instrumentation-with-call-threshold=0")


def warp_accesses(records: NDArray[np.void]) -> dict[tuple[int, int, int], NDArray[np.void]]:
    """Return the accesses of each warp, by place in the code, warp, and how often the thread was there before."""
    times: Counter[tuple[int, int]] = Counter()
    groups: dict[tuple[int, int, int], list[np.void]] = defaultdict(list)
    for record in records:
        key = int(record["place"]), int(record["thread"])
        groups[key[0], key[1] // WARP, times[key]].append(record)
        times[key] += 1
    return {key: np.array(group, RECORD) for key, group in groups.items()}


def wavefronts(access: NDArray[np.void]) -> tuple[int, int]:
    """Return how many times shared memory is accessed for one access of a warp, and how many are needed without
    conflicts.

    Words of 8 bytes are accessed for 16 threads at once, of 16 bytes for 8 threads. Threads that access the same word
    share it.
    """
    size = int(access["size"].max())
    at_once = WARP // max(1, size // WORD)
    total = needed = 0
    for first in range(0, WARP, at_once):
        own = access[(access["thread"] % WARP >= first) & (access["thread"] % WARP < first + at_once)]
        if not len(own):
            continue
        words = {int(offset) // WORD + i for offset in own["offset"] for i in range(max(1, size // WORD))}
        total += max(Counter(word % BANKS for word in words).values())
        needed += 1
    return total, needed


def recorded(
    folder: Path, cache: Path, source: str, monkeypatch: pytest.MonkeyPatch, run: Callable[[HostKernels], object]
) -> NDArray[np.void]:
    path = folder / "recorded.cu"
    path.write_text(RECORDER + source)
    monkeypatch.setenv("MGDALI_ACCESSES", str(folder / "accesses"))
    with HostKernels(path, cache, flags=FLAGS) as host:
        run(host)
    return np.fromfile(folder / "accesses", RECORD)


def conflicts(records: NDArray[np.void]) -> dict[tuple[str, int], Counter[int]]:
    """Return the number of accesses by kind ("load" or "store"), size in bytes, and surplus of wavefronts."""
    found: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
    for access in warp_accesses(records).values():
        total, needed = wavefronts(access)
        found["store" if access["store"][0] else "load", int(access["size"].max())][total - needed] += 1
    return dict(found)


def conflicts_of(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, kernel: FeatureKernel
) -> dict[tuple[str, int], Counter[int]]:
    plan = feature_plan(default_filters(), tensor_cores=True, kernel=kernel)
    # One tile and one difference.
    rows, columns = plan.tile
    videos = random_videos([(2, rows, columns)])
    source = (KERNELS / f"{plan.source}.cu").read_text()
    return conflicts(
        recorded(folder, cache, source, monkeypatch, lambda host: feature_motion(host, videos, kernel=kernel))
    )


def test_the_separable_kernel_has_no_bank_conflicts(
    tmp_path: Path, program_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = conflicts_of(tmp_path, program_cache, monkeypatch, "separable")
    assert all(set(surplus) == {0} for surplus in found.values())
    # Four warps read 22 rows of 4 pairs, and the previous plane of 10 groups.
    assert found["load", 8].total() == 4 * 22 * 4
    assert found["load", 16].total() == 4 * 10


def test_the_tensor_core_kernel_reads_taps_without_bank_conflicts(
    tmp_path: Path, program_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = conflicts_of(tmp_path, program_cache, monkeypatch, "tensor cores")
    assert set(found["load", 4]) == {0}
    # Four warps read 14 rows of 6 words; the rest are the sums of the warps.
    assert found["load", 4].total() == 4 * 14 * 6 + 4
    assert set(found["store", 8]) == {0}
    # What is left: of the eight stores of a group of pixels, the three at the end of the copy for odd columns. Two
    # threads of a warp are 16 groups apart.
    assert found["store", 4] == {0: 5, 1: 7}
    assert found["store", 2] == {0: 2, 1: 14}


# --- The simulation itself --------------------------------------------------------------------------------------------

EXAMPLE = r"""
extern "C" __global__ void example(const int* stride, int* out) {
    alignas(128) __shared__ int words[32 * 32];
    words[*stride * threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[threadIdx.x] = words[stride[1]];
}
"""


@pytest.mark.parametrize(("stride", "surplus"), [(1, 0), (2, 1), (3, 0), (6, 1), (16, 15), (31, 0), (32, 31)])
def test_a_stride_has_as_many_conflicts_as_on_a_gpu(
    tmp_path: Path, program_cache: Path, monkeypatch: pytest.MonkeyPatch, stride: int, surplus: int
) -> None:
    def run(host: HostKernels) -> None:
        host.run("example", grid=1, block=32, args=[np.array([stride, 0], np.int32), Out(np.zeros(32, np.int32))])

    found = conflicts(recorded(tmp_path, program_cache, EXAMPLE, monkeypatch, run))
    assert found == {("store", 4): Counter({surplus: 1}), ("load", 4): Counter({0: 1})}
