"""tests/support/cuda_host runs kernels as a GPU does, and reports errors in them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.kernel_build import (
    CUDA_HOST,
    ORDERS,
    At,
    Buffer,
    HostKernels,
    KernelError,
    Out,
    Structs,
    kernel_names,
    needed_architecture,
    needs_compiler,
    preprocess,
    unset,
)

pytestmark = needs_compiler

FEATURES = r"""
// extern "C" __global__ void commented_out() {}
struct Video { const unsigned char* pixels; unsigned* sum; int size; };
struct Pair { double first; int second; };
__constant__ int table[3] = {10, 20, 30};
constexpr unsigned kAll = 0xffffffffu;

extern "C" __global__ void indices(int* out) {
    const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    out[block * blockDim.x * blockDim.y * blockDim.z + thread] = 100 * block + thread + table[thread % 3] + warpSize;
}

extern "C" __global__ void __launch_bounds__(256) rotate(int times, int* out) {
    __shared__ int values[256];
    int value = threadIdx.x;
    for (int i = 0; i < times; ++i) {
        values[threadIdx.x] = value;
        __syncthreads();
        value = values[(threadIdx.x + 1) % blockDim.x];
        __syncthreads();
    }
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

extern "C" __global__ __launch_bounds__((256), 2) void rotate_in_warps(int times, int* out) {
    int value = threadIdx.x;
    for (int i = 0; i < times; ++i) value = __shfl_sync(kAll, value, (threadIdx.x + 1) % warpSize);
    out[blockIdx.x * blockDim.x + threadIdx.x] = value;
}

extern "C" __global__ void block_votes(const int* in, int* out) {
    const int any = __syncthreads_or(in[threadIdx.x]), all = __syncthreads_and(in[threadIdx.x]);
    const int count = __syncthreads_count(in[threadIdx.x]);
    out[threadIdx.x] = count * 4 + (all != 0) * 2 + (any != 0);
}

#define SHUFFLES(type, name)                                                                             \
    extern "C" __global__ void shuffles_##name(const type* in, int by, int width, type* out) {           \
        const type value = in[threadIdx.x];                                                              \
        out[threadIdx.x] = __shfl_sync(kAll, value, by, width);                                          \
        out[threadIdx.x + blockDim.x] = __shfl_up_sync(kAll, value, by, width);                          \
        out[threadIdx.x + 2 * blockDim.x] = __shfl_down_sync(kAll, value, by, width);                    \
        out[threadIdx.x + 3 * blockDim.x] = __shfl_xor_sync(kAll, value, by, width);                     \
    }
SHUFFLES(int, int32)
SHUFFLES(unsigned, uint32)
SHUFFLES(long long, int64)
SHUFFLES(unsigned long long, uint64)
SHUFFLES(float, float32)
SHUFFLES(double, float64)

// The halves of a warp go separate ways, each with its own mask.
extern "C" __global__ void warp_votes(const int* in, unsigned* out) {
    const bool low = threadIdx.x % warpSize < 16;
    const unsigned mask = low ? 0x0000ffffu : 0xffff0000u;
    unsigned ballot;
    if (low) {
        ballot = __ballot_sync(mask, in[threadIdx.x]);
    } else {
        __syncwarp(mask);
        ballot = __ballot_sync(mask, in[threadIdx.x] + 1);
    }
    __syncwarp();
    out[3 * threadIdx.x] = ballot;
    out[3 * threadIdx.x + 1] = __any_sync(mask, in[threadIdx.x]);
    out[3 * threadIdx.x + 2] = __all_sync(mask, in[threadIdx.x]);
}

template <class T, int warps>
__device__ __forceinline__ T block_sum(T value) {
    __shared__ T sums[warps];
    for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kAll, value, lanes);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
    __syncthreads();
    T total = 0;
    for (int i = 0; i < warps; ++i) total += sums[i];
    return total;
}

#define ATOMICS(type, name)                                                                              \
    extern "C" __global__ void atomics_##name(const type* in, int count, type* out) {                    \
        const int i = blockIdx.x * blockDim.x + threadIdx.x;                                             \
        if (i >= count) return;                                                                          \
        const type old = atomicAdd(&out[0], in[i]);                                                      \
        if (i == 0) out[3] = old;                                                                        \
        atomicMax(&out[1], in[i]);                                                                       \
        atomicMin(&out[2], in[i]);                                                                       \
    }
ATOMICS(int, int32)
ATOMICS(unsigned, uint32)
ATOMICS(unsigned long long, uint64)

#define SUMS(type, name)                                                                                 \
    extern "C" __global__ void sums_##name(const type* in, int count, type* out) {                       \
        type value = 0;                                                                                  \
        for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x)      \
            value += in[i];                                                                              \
        value = block_sum<type, 4>(value);                                                               \
        if (threadIdx.x == 0) atomicAdd(out, value);                                                     \
    }
SUMS(float, float32)
SUMS(double, float64)
SUMS(int, int32)

// As many results a thread as `integer_results` in the test has rows
extern "C" __global__ void integers(const unsigned* a, const unsigned* b, const unsigned* c, int count, unsigned* out) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const unsigned x = a[i], y = b[i], z = c[i];
    const unsigned results[] = {
        __dp4a(x, y, z), static_cast<unsigned>(__dp4a(static_cast<int>(x), static_cast<int>(y), static_cast<int>(z))),
        __byte_perm(x, y, z), __funnelshift_l(x, y, z), __funnelshift_r(x, y, z), __funnelshift_lc(x, y, z),
        __funnelshift_rc(x, y, z), __vsadu4(x, y), __vabsdiffu4(x, y), __usad(x, y, z),
        __sad(static_cast<int>(x), static_cast<int>(y), z), static_cast<unsigned>(__popc(x)),
        static_cast<unsigned>(__clz(x)), static_cast<unsigned>(__ffs(x)), __brev(x), __umulhi(x, y),
        static_cast<unsigned>(__mulhi(static_cast<int>(x), static_cast<int>(y))), min(x, y), max(x, y),
        static_cast<unsigned>(min(static_cast<int>(x), static_cast<int>(y))),
    };
    for (int j = 0; j < sizeof results / sizeof *results; ++j) out[j * count + i] = results[j];
}

extern "C" __global__ void conversions(const float* in, int count, int* ints, long long* longs) {
    const int i = threadIdx.x;
    if (i >= count) return;
    ints[4 * i] = __float2int_rn(in[i]);
    ints[4 * i + 1] = __float2int_rz(in[i]);
    ints[4 * i + 2] = __double2int_rd(in[i]);
    ints[4 * i + 3] = static_cast<int>(__float2uint_rn(in[i]));
    longs[i] = __float2ll_ru(in[i]);
}

extern "C" __global__ void reals(const float* a, const double* b, float* floats, double* doubles) {
    const float x = a[threadIdx.x];
    const double y = b[threadIdx.x];
    floats[threadIdx.x] = fmaf(x, x, sqrtf(x)) + rsqrtf(x) + __ll2float_rn(1ll << 40) + min(x, 2.0f);
    doubles[threadIdx.x] = fma(y, y, sqrt(y)) + pow(y, 0.5) + __dmul_rn(y, 3.0) + max(y, 0.5) + __longlong_as_double(0);
}

extern "C" __global__ void layouts(uint4* out) {
    const uint4 loaded = __ldg(out);
    out[0] = make_uint4(loaded.w, loaded.z, loaded.y, loaded.x);
    out[1] = make_uint4(alignof(uint4), alignof(float2), alignof(uchar4), alignof(uint3));
    out[2] = make_uint4(sizeof(uint4), sizeof(int2), sizeof(uchar4), sizeof(uint3));
}

// Each video's bytes and sum are somewhere else in memory.
extern "C" __global__ void ragged(const Video* videos, Pair pair, const unsigned char* const* starts, unsigned* out) {
    const Video video = videos[blockIdx.x];
    if (threadIdx.x < video.size) atomicAdd(video.sum, static_cast<unsigned>(video.pixels[threadIdx.x]));
    if (threadIdx.x == 0) out[blockIdx.x] = *starts[blockIdx.x] + static_cast<unsigned>(pair.first) + pair.second;
}
"""

FAULTS = r"""
constexpr unsigned kAll = 0xffffffffu;

extern "C" __global__ void sum_bytes(const unsigned char* in, int count, int* out) {
    for (int i = threadIdx.x; i < count; i += blockDim.x) atomicAdd(out, static_cast<int>(in[i]));
}

extern "C" __global__ void byte_at(const unsigned char* in, const unsigned char* other, int at, int* out) {
    *out = in[at] + *other;
}

extern "C" __global__ void write_past(int count, int* out) {
    if (threadIdx.x <= count) out[threadIdx.x] = 1;
}

extern "C" __global__ void shared_overflow(int at, int* out) {
    __shared__ int values[32];
    __shared__ int others[32];
    int* volatile all = values;  // The compiler no longer knows how long it is
    others[threadIdx.x] = 1;
    all[threadIdx.x + at] = 1;
    out[threadIdx.x] = values[threadIdx.x] + others[threadIdx.x];
}

template <class T>
__device__ T overflow_in_template(int at) {
    __shared__ T values[4];
    __shared__ T others[4];
    T* volatile all = values;
    others[threadIdx.x] = 1;
    all[threadIdx.x + at] = 1;
    return values[threadIdx.x] + others[threadIdx.x];
}
extern "C" __global__ void template_overflow(int at, int* out) { out[threadIdx.x] = overflow_in_template<int>(at); }

extern "C" __global__ void wrong_index(int at, int* out) {
    int values[4] = {1, 2, 3, 4};
    out[0] = values[at];
}

extern "C" __global__ void vector_load(const unsigned char* in, unsigned* out) {
    *out = reinterpret_cast<const uint4*>(in)->x;
}

extern "C" __global__ void product(int a, int b, int* out) { *out = a * b; }

extern "C" __global__ void to_integer(float x, int* out) { *out = static_cast<int>(x); }

extern "C" __global__ void read_null(const int* in, int* out) { *out = *in; }

extern "C" __global__ void unset_shared(int* out) {
    __shared__ int sum;
    atomicAdd(&sum, 1);
    __syncthreads();
    out[threadIdx.x] = sum;
}

template <int with_barrier>
__device__ void shift(int* out) {
    __shared__ int values[64];
    values[threadIdx.x] = threadIdx.x;
    if (with_barrier) __syncthreads();
    out[threadIdx.x] = threadIdx.x > 0 ? values[threadIdx.x - 1] : -1;
}
extern "C" __global__ void shift_with_barrier(int* out) { shift<1>(out); }
extern "C" __global__ void shift_without_barrier(int* out) { shift<0>(out); }

extern "C" __global__ void last_block(int* out) { out[0] = blockIdx.x; }

extern "C" __global__ void early_return(int count, int* out) {
    if (threadIdx.x >= count) return;
    __syncthreads();  // early_return waits here
    out[threadIdx.x] = 1;
}

extern "C" __global__ void two_barriers(int* out) {
    if (threadIdx.x < 32) {
        __syncthreads();
        out[threadIdx.x] = 1;
    } else {
        __syncthreads();
    }
}

extern "C" __global__ void barrier_beside_warp(int* out) {
    if (threadIdx.x % 32 < 16) __syncthreads();
    out[threadIdx.x] = __any_sync(kAll, 1);  // barrier_beside_warp waits here
}

extern "C" __global__ void shuffle_after_return(int* out) {
    if (threadIdx.x % 32 == 3) return;
    out[threadIdx.x] = __shfl_down_sync(kAll, out[threadIdx.x], 1);
}

extern "C" __global__ void ballot(unsigned mask, unsigned* out) { out[threadIdx.x] = __ballot_sync(mask, 1); }

extern "C" __global__ void width(int width, int* out) { *out = __shfl_sync(kAll, 1, 0, width); }

extern "C" __global__ void trap() { if (threadIdx.x == 5) __trap(); }

extern "C" __global__ void endless(volatile int* out) { while (*out == 0) {} }

extern "C" __global__ void deep(int depth, int* out) {
    volatile int values[100000];
    values[threadIdx.x + depth] = 1;
    *out = values[threadIdx.x + depth];
}
"""

SCALARS = {
    "int32": np.int32,
    "uint32": np.uint32,
    "int64": np.int64,
    "uint64": np.uint64,
    "float32": np.float32,
    "float64": np.float64,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuda_host")


@pytest.fixture(scope="module")
def host(folder: Path, program_cache: Path) -> Iterator[HostKernels]:
    source = folder / "features.cu"
    source.write_text(FEATURES)
    with HostKernels(source, program_cache) as kernels:
        yield kernels


@pytest.fixture(params=ORDERS)
def order(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def random_values(dtype: type[np.generic], size: int, seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=size).astype(dtype)
    return rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, size, dtype=dtype, endpoint=True)


def test_threads_get_their_indices_and_sizes(host: HostKernels, order: int) -> None:
    [out] = host.run("indices", grid=(2, 3, 4), block=(5, 3, 2), args=[unset(24 * 30, np.int32)], order=order)
    thread = np.arange(30)
    expected = 100 * np.arange(24)[:, None] + thread + np.array([10, 20, 30])[thread % 3] + 32
    assert np.array_equal(out.reshape(24, 30), expected)


@pytest.mark.parametrize("threads", [1, 32, 200, 256])
def test_barriers(host: HostKernels, order: int, threads: int) -> None:
    args = [np.int32(7), unset((5, threads), np.int32)]
    [out] = host.run("rotate", grid=5, block=threads, args=args, order=order)
    assert np.array_equal(out, np.tile((np.arange(threads) + 7) % threads, (5, 1)))


@pytest.mark.parametrize("votes", [[0] * 50, [1] * 50, [0, 3] * 25])
def test_block_votes(host: HostKernels, order: int, votes: list[int]) -> None:
    args = [np.array(votes, np.int32), unset(50, np.int32)]
    [out] = host.run("block_votes", grid=1, block=50, args=args, order=order)
    count = np.count_nonzero(votes)
    assert (out == count * 4 + (count == 50) * 2 + (count > 0)).all()


@pytest.mark.parametrize("dtype", SCALARS.values(), ids=SCALARS.keys())
def test_shuffles(host: HostKernels, order: int, dtype: type[np.generic]) -> None:
    values = random_values(dtype, 64)
    lane = np.arange(64) % 32
    warp = np.arange(64) - lane
    for width in (32, 16, 4):
        first = lane // width * width
        for by in (0, 1, 3, 5, 16, 31):
            args = [values, np.int32(by), np.int32(width), unset((4, 64), dtype)]
            [out] = host.run(f"shuffles_{dtype.__name__}", grid=1, block=64, args=args, order=order)
            sources = [
                first + by % width,
                np.where(lane - by >= first, lane - by, lane),
                np.where(lane + by < first + width, lane + by, lane),
                np.where(lane ^ by < first + width, lane ^ by, lane),
            ]
            assert np.array_equal(out, np.stack([values[warp + source] for source in sources])), (width, by)


def test_warp_votes(host: HostKernels, order: int) -> None:
    votes = np.random.default_rng(0).integers(-1, 2, 64).astype(np.int32)
    votes[16:32], votes[32:48] = 1, 0
    [out] = host.run("warp_votes", grid=1, block=64, args=[votes, unset((64, 3), np.uint32)], order=order)
    for half in range(4):
        own = votes[16 * half : 16 * half + 16]
        ballot = sum(1 << i for i, vote in enumerate(own + half % 2) if vote) << 16 * (half % 2)
        assert (out[16 * half : 16 * half + 16] == (ballot, own.any(), own.all())).all()


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.uint64])
def test_atomics(host: HostKernels, order: int, dtype: type[np.integer[Any]]) -> None:
    values = random_values(dtype, 1000)
    start = np.array([5, np.iinfo(dtype).min, np.iinfo(dtype).max, 0], dtype)
    args = [values, np.int32(1000), Out(start)]
    [out] = host.run(f"atomics_{dtype.__name__}", grid=8, block=128, args=args, order=order)
    with np.errstate(over="ignore"):
        assert list(out[:3]) == [values.sum(dtype=dtype) + dtype(5), values.max(), values.min()]
        assert order or out[3] == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_sums_over_warps_blocks_and_grid(host: HostKernels, order: int, dtype: type[np.generic]) -> None:
    values = np.random.default_rng(0).integers(-99, 99, 3001).astype(dtype)
    args = [values, np.int32(3001), Out(np.zeros((), dtype))]
    [out] = host.run(f"sums_{dtype.__name__}", grid=6, block=128, args=args, order=order)
    assert out == values.sum()


def test_integer_arithmetic(host: HostKernels) -> None:
    rng = np.random.default_rng(0)
    edges = [0, 1, 31, 32, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x80808080, 0x7F7F7F7F, 0x3210, 0x7654, 0x0123]
    columns = [
        np.concatenate([rng.choice(edges, 300), rng.integers(0, 1 << 32, 300)]).astype(np.uint32) for _ in range(3)
    ]
    count = len(columns[0])
    rows = [integer_results(*(int(value) for value in row)) for row in zip(*columns, strict=True)]
    expected = np.array([[value & 0xFFFFFFFF for value in row] for row in rows], np.uint32).T
    args = [*columns, np.int32(count), unset(expected.shape, np.uint32)]
    [out] = host.run("integers", grid=5, block=128, args=args)
    for i, (got, want) in enumerate(zip(out, expected, strict=True)):
        assert np.array_equal(got, want), f"result {i} of `integers`"


def integer_results(x: int, y: int, z: int) -> list[int]:
    def signed(value: int, bits: int = 32) -> int:
        return value - (1 << bits) if value >> (bits - 1) else value

    def octets(value: int) -> list[int]:
        return list(value.to_bytes(4, "little"))

    pairs = list(zip(octets(x), octets(y), strict=True))
    both = octets(x) + octets(y)
    wide = y << 32 | x
    differences = [abs(p - q) for p, q in pairs]
    return [
        sum(p * q for p, q in pairs) + z,
        sum(signed(p, 8) * signed(q, 8) for p, q in pairs) + z,
        sum(both[z >> 4 * i & 7] << 8 * i for i in range(4)),
        wide << z % 32 >> 32,
        wide >> z % 32,
        wide << min(z, 32) >> 32,
        wide >> min(z, 32),
        sum(differences),
        int.from_bytes(bytes(differences), "little"),
        abs(x - y) + z,
        abs(signed(x) - signed(y)) + z,
        x.bit_count(),
        32 - x.bit_length(),
        (x & -x).bit_length(),
        int(f"{x:032b}"[::-1], 2),
        x * y >> 32,
        signed(x) * signed(y) >> 32,
        min(x, y),
        max(x, y),
        min(signed(x), signed(y)),
    ]


def test_conversions(host: HostKernels) -> None:
    values = np.array([0.5, 1.5, -0.5, -2.5, 2.7, -2.7, 3e9, -3e9, 1e30, -1e30, np.nan], np.float32)
    args = [values, np.int32(11), unset((11, 4), np.int32), unset(11, np.int64)]
    ints, longs = host.run("conversions", grid=1, block=32, args=args)
    low, high = -(1 << 31), (1 << 31) - 1
    assert list(ints[:, 0]) == [0, 2, 0, -2, 3, -3, high, low, high, low, 0]
    assert list(ints[:, 1]) == [0, 1, 0, -2, 2, -2, high, low, high, low, 0]
    assert list(ints[:, 2]) == [0, 1, -1, -3, 2, -3, high, low, high, low, low]
    assert list(ints[:, 3].view(np.uint32)) == [0, 2, 0, 0, 3, 0, 3000000000, 0, 0xFFFFFFFF, 0, 0]
    # A float that is not a number becomes the lowest 64-bit integer, but 0 in 32 bits.
    assert list(longs) == [1, 2, 0, -2, 3, -2, 3 * 10**9, -3 * 10**9, (1 << 63) - 1, -(1 << 63), -(1 << 63)]


def test_real_arithmetic(host: HostKernels) -> None:
    x = np.linspace(0.1, 9, 32, dtype=np.float32)
    y = np.linspace(0.1, 9, 32)
    args = [x, y, unset(32, np.float32), unset(32, np.float64)]
    floats, doubles = host.run("reals", grid=1, block=32, args=args)
    assert floats == pytest.approx(x * x + np.sqrt(x) + 1 / np.sqrt(x) + 2.0**40 + np.minimum(x, 2), rel=1e-6)
    assert doubles == pytest.approx(y * y + 2 * np.sqrt(y) + 3 * y + np.maximum(y, 0.5), rel=1e-14)


def test_vector_types_are_laid_out_as_on_a_gpu(host: HostKernels) -> None:
    [out] = host.run("layouts", grid=1, block=1, args=[Out(np.arange(12, dtype=np.uint32).reshape(3, 4))])
    assert out.tolist() == [[3, 2, 1, 0], [16, 8, 4, 4], [16, 8, 4, 12]]


def test_structs_hold_addresses(host: HostKernels, order: int) -> None:
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, size).astype(np.uint8) for size in (5, 1, 64)]
    sums = Out(np.zeros(3, np.uint32))
    video = np.dtype([("pixels", np.uint64), ("sum", np.uint64), ("size", np.int32)], align=True)
    pair = np.array((2.0, 3), np.dtype([("first", np.float64), ("second", np.int32)], align=True))[()]
    args = [
        Structs(video, [(frame, At(sums, 4 * i), len(frame)) for i, frame in enumerate(pixels)]),
        pair,
        Structs(np.uint64, [At(frame, len(frame) - 1) for frame in pixels]),
        unset(3, np.uint32),
    ]
    got, lasts = host.run("ragged", grid=3, block=64, args=args, order=order)
    assert list(got) == [frame.sum() for frame in pixels]
    assert list(lasts) == [frame[-1] + 5 for frame in pixels]


def test_kernels_are_found_behind_macros_and_attributes(folder: Path) -> None:
    source = folder / "found.cu"
    source.write_text("// needs sm_80\n" + FEATURES)
    names = kernel_names(preprocess(source))
    assert {"indices", "rotate", "rotate_in_warps", "shuffles_float32", "sums_int32", "ragged"} < set(names)
    assert "commented_out" not in names
    assert needed_architecture(source) == 80
    assert needed_architecture(CUDA_HOST / "cuda_host.h") == 0


@pytest.mark.parametrize(("kernel", "times", "order"), [("rotate", 150, 0), ("rotate_in_warps", 300, 2)])
def test_speed(host: HostKernels, kernel: str, times: int, order: int) -> None:
    # 300 blocks of 256 threads; each thread meets 300 barriers or warp operations: about a second
    start = time.perf_counter()
    host.run(kernel, grid=300, block=256, args=[np.int32(times), unset(300 * 256, np.int32)], order=order)
    seconds = time.perf_counter() - start
    print(f"{kernel}: 23 million switches of threads in {seconds:.2f} s")
    assert seconds < 15


@pytest.fixture(scope="module")
def faults(folder: Path, program_cache: Path) -> Iterator[HostKernels]:
    source = folder / "faults.cu"
    source.write_text(FAULTS)
    with HostKernels(source, program_cache, timeout=20) as kernels:
        yield kernels


def failure(host: HostKernels, kernel: str, args: list[Any], *, block: int = 1, grid: int = 1, order: int = 0) -> str:
    with pytest.raises(KernelError) as error:
        host.run(kernel, grid=grid, block=block, args=args, order=order)
    assert str(error.value).startswith(f"{kernel}: ")
    return str(error.value)


def one() -> Out:
    return Out(np.zeros(1, np.int32))


@pytest.mark.parametrize("size", [1, 7, 8, 1000])
@pytest.mark.parametrize("offset", [0, 1, 16])
def test_one_byte_beyond_an_input_is_found(faults: HostKernels, size: int, offset: int) -> None:
    values = Buffer(np.full(size, 3, np.uint8), offset=offset)
    [total] = faults.run("sum_bytes", grid=1, block=32, args=[values, np.int32(size), one()])
    assert total == 3 * size
    text = failure(faults, "sum_bytes", [values, np.int32(size + 1), one()], block=32)
    assert "heap-buffer-overflow" in text
    assert "READ of size 1" in text
    assert f"in thread ({size % 32}, 0, 0) of block (0, 0, 0)" in text
    assert "faults.cu:" in text


def test_a_byte_of_an_empty_input_is_found(faults: HostKernels) -> None:
    empty = np.zeros(0, np.uint8)
    [total] = faults.run("sum_bytes", grid=1, block=32, args=[empty, np.int32(0), one()])
    assert total == 0
    assert "use-after-poison" in failure(faults, "sum_bytes", [empty, np.int32(1), one()])


@pytest.mark.parametrize("offset", [0, 8, 64])
def test_a_byte_before_an_input_is_found(faults: HostKernels, offset: int) -> None:
    values, other = Buffer(np.zeros(4, np.uint8), offset=offset), np.zeros(4, np.uint8)
    text = failure(faults, "byte_at", [values, other, np.int32(-1), one()])
    assert ("use-after-poison" if offset else "heap-buffer-overflow") in text


@pytest.mark.parametrize("size", [4, 300, 5000])
def test_a_byte_far_beyond_an_input_is_found(faults: HostKernels, size: int) -> None:
    values, other = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    for first, second in ((values, other), (other, values)):
        text = failure(faults, "byte_at", [first, second, np.int32(size + 900), one()])
        assert "heap-buffer-overflow" in text


def test_a_write_beyond_an_output_is_found(faults: HostKernels) -> None:
    text = failure(faults, "write_past", [np.int32(5), unset(5, np.int32)], block=32)
    assert "heap-buffer-overflow" in text
    assert "WRITE of size 4" in text


@pytest.mark.parametrize(("kernel", "block"), [("shared_overflow", 32), ("template_overflow", 4)])
def test_a_write_beyond_shared_memory_is_found(faults: HostKernels, kernel: str, block: int) -> None:
    [out] = faults.run(kernel, grid=1, block=block, args=[np.int32(0), unset(block, np.int32)])
    assert (out == 2).all()
    text = failure(faults, kernel, [np.int32(1), unset(block, np.int32)], block=block)
    assert f"in thread ({block - 1}, 0, 0)" in text
    assert "global-buffer-overflow" in text
    assert "global variable 'values'" in text


@pytest.mark.parametrize(
    ("kernel", "args", "report"),
    [
        ("wrong_index", [np.int32(4), one()], r"index 4 out of bounds for type 'int \[4\]'"),
        ("vector_load", [Buffer(np.zeros(64, np.uint8), offset=4), one()], "misaligned address.*'const struct uint4'"),
        ("product", [np.int32(1 << 20), np.int32(1 << 12), one()], "signed integer overflow: 1048576 \\* 4096"),
        ("to_integer", [np.float32(3e9), one()], "3e\\+09 is outside the range of representable values of type 'int'"),
        ("read_null", [np.uint64(0), one()], "null pointer of type 'const int'"),
        ("trap", [], r"__trap in thread \(5, 0, 0\) of block \(0, 0, 0\)"),
        ("deep", [np.int32(0), one()], "stack-overflow"),
        ("width", [np.int32(12), unset(32, np.int32)], "__shfl_sync: the width must be a power of two"),
    ],
)
def test_the_sanitizers_report(faults: HostKernels, kernel: str, args: list[Any], report: str) -> None:
    assert re.search(report, failure(faults, kernel, args, block=32), re.DOTALL)


def test_an_aligned_vector_load_is_fine(faults: HostKernels) -> None:
    values = Buffer(np.arange(16, dtype=np.uint8), align=16, offset=16)
    [out] = faults.run("vector_load", grid=1, block=1, args=[values, unset(1, np.uint32)])
    assert out == 0x03020100


def test_shared_memory_is_not_zeroed(faults: HostKernels) -> None:
    [out] = faults.run("unset_shared", grid=1, block=8, args=[unset(8, np.uint32)])
    assert (out == 0xCDCDCDCD + 8).all()


def test_a_missing_barrier_changes_results_in_some_order(faults: HostKernels) -> None:
    expected = np.arange(64) - 1

    def right(kernel: str, order: int) -> bool:
        [out] = faults.run(kernel, grid=2, block=64, args=[unset(64, np.int32)], order=order)
        return np.array_equal(out, expected)

    assert [right("shift_with_barrier", order) for order in ORDERS] == [True] * len(ORDERS)
    assert right("shift_without_barrier", 0), "in order, each thread finds what the one before it wrote"
    assert not any(right("shift_without_barrier", order) for order in ORDERS[1:])


def test_the_order_of_blocks_follows_the_seed(faults: HostKernels) -> None:
    last = [
        int(faults.run("last_block", grid=100, block=1, args=[unset(1, np.int32)], order=order)[0][0])
        for order in (0, 1, *range(2, 12), *range(2, 12))
    ]
    assert last[:2] == [99, 0]
    assert len(set(last[2:12])) > 5
    assert last[2:12] == last[12:]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("kernel", "args", "block", "report"),
    [
        (
            "early_return",
            [np.int32(40), unset(64, np.int32)],
            64,
            "deadlock in block (0, 0, 0): threads (0, 0, 0) to (39, 0, 0) wait at __syncthreads (faults.cu:{line}); "
            "threads (40, 0, 0) to (63, 0, 0) returned",
        ),
        ("two_barriers", [unset(64, np.int32)], 64, "divergent barrier in block (0, 0, 0): threads (0, 0, 0) to (31"),
        (
            "barrier_beside_warp",
            [unset(64, np.int32)],
            64,
            "wait at __any_sync (faults.cu:{line}) with mask 0xffffffff",
        ),
        ("shuffle_after_return", [Out(np.zeros(32, np.int32))], 32, "missing lanes 0x00000008"),
        ("ballot", [np.uint32(0xFFFFFFFF), unset(40, np.uint32)], 40, "missing lanes 0xffffff00"),
        ("ballot", [np.uint32(0xFF), unset(32, np.uint32)], 32, "a mask without its own thread in block (0, 0, 0)"),
    ],
)
def test_a_deadlock_of_threads_is_reported(
    faults: HostKernels, kernel: str, args: list[Any], block: int, report: str, order: int
) -> None:
    line = next((i + 1 for i, text in enumerate(FAULTS.splitlines()) if f"// {kernel} waits here" in text), None)
    assert report.format(line=line) in failure(faults, kernel, args, block=block, order=order)
    # The same process can run the next launch.
    [out] = faults.run("shift_with_barrier", grid=1, block=64, args=[unset(64, np.int32)], order=order)
    assert out[-1] == 62


def test_a_kernel_that_hangs_is_reported(folder: Path, program_cache: Path, faults: HostKernels) -> None:
    with HostKernels(folder / "faults.cu", program_cache, timeout=0.5) as impatient:
        assert "did not end within 0.5 s" in failure(impatient, "endless", [one()])
        [out] = impatient.run("product", grid=1, block=1, args=[np.int32(6), np.int32(7), one()])
    assert out == 42


@pytest.mark.parametrize(
    ("args", "report"),
    [
        ([np.int32(1), one()], "takes 3 arguments, got 2"),
        ([np.int32(1), np.int64(1), one()], "argument 1 is integer of 4 bytes, got integer of 8"),
        ([np.int32(1), np.float32(1), one()], "argument 1 is integer of 4 bytes, got real of 4"),
        ([np.int32(1), one(), one()], "argument 1 is integer of 4 bytes, got address of 8"),
        ([np.int32(1), np.int32(1), np.zeros(1, np.int32)], "the kernel wrote to args[2], which is not an Out"),
    ],
)
def test_arguments_must_match_the_parameters(faults: HostKernels, args: list[Any], report: str) -> None:
    assert report in failure(faults, "product", args)


@pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025), ((1, 1 << 16), 1), (1, (1, 1, 65))])
def test_a_launch_that_a_gpu_rejects_is_an_error(faults: HostKernels, grid: Any, block: Any) -> None:
    assert "invalid configuration" in failure(faults, "trap", [], grid=grid, block=block)


def test_the_switch_of_other_processors(folder: Path, program_cache: Path, order: int) -> None:
    source = folder / "portable.cu"
    start = FEATURES.index('extern "C" __global__ void __launch_bounds__(256) rotate')
    end = FEATURES.index('extern "C" __global__ __launch_bounds__((256), 2) void rotate_in_warps')
    source.write_text(FEATURES[start:end] + FAULTS)
    with HostKernels(source, program_cache, flags=["-DCUDA_HOST_UCONTEXT"]) as host:
        [out] = host.run("rotate", grid=5, block=200, args=[np.int32(7), unset((5, 200), np.int32)], order=order)
        assert np.array_equal(out, np.tile((np.arange(200) + 7) % 200, (5, 1)))
        assert "deadlock" in failure(host, "early_return", [np.int32(4), unset(64, np.int32)], block=64, order=order)
        [out] = host.run("shift_with_barrier", grid=1, block=64, args=[unset(64, np.int32)], order=order)
        assert out[-1] == 62
        assert "stack-overflow" in failure(host, "deep", [np.int32(0), one()], order=order)


def test_mistakes_in_the_test_itself(faults: HostKernels) -> None:
    with pytest.raises(ValueError, match="no kernel 'prodct': there is sum_bytes"):
        faults.run("prodct", grid=1, block=1, args=[])
    with pytest.raises(TypeError, match=r"args\[1\] is int: give an array or a NumPy scalar"):
        faults.run("product", grid=1, block=1, args=[np.int32(1), 2])
    with pytest.raises(TypeError, match=r"args\[0\]\[0\].at is int64: an address needs uint64"):
        faults.run("product", grid=1, block=1, args=[Structs([("at", np.int64)], [(one(),)])])


def test_a_program_is_built_again_only_if_an_input_changed(tmp_path: Path) -> None:
    source, header = tmp_path / "small.cu", tmp_path / "small.cuh"
    source.write_text('#include "small.cuh"\nextern "C" __global__ void write(int* out) { *out = kValue; }')

    def value() -> tuple[int, int]:
        with HostKernels(source, tmp_path) as host:
            [out] = host.run("write", grid=1, block=1, args=[one()])
        return int(out[0]), len([path for path in tmp_path.iterdir() if path.name.startswith("small-")])

    header.write_text("constexpr int kValue = 1;")
    assert value() == (1, 1)
    assert value() == (1, 1)
    header.write_text("constexpr int kValue = 2;")
    assert value() == (2, 2)
    source.write_text('extern "C" __global__ void write(int* out) { *out = missing; }')
    with pytest.raises(KernelError, match=r"(?s)small.cu does not compile for the CPU:.*'missing' was not declared"):
        value()
    source.write_text("__global__ void write(int* out) {}")
    with pytest.raises(ValueError, match="has no extern"):
        value()
