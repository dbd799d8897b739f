// Runs CUDA kernels on the CPU, for tests. It defines the keywords, types and functions of the CUDA compiler.
//
// Blocks run one after another. The threads of a block are fibers: each has its own stack and runs until it reaches
// a barrier or a warp operation that other threads have not reached yet; then the next thread runs. Everything runs on
// one CPU thread, so a plain read-modify-write is atomic, and a kernel's result is the same in every run.
//
// Errors that are found, in addition to those of the address and undefined-behaviour sanitizers:
//   - a barrier or a warp operation that some of its threads never reach: reported as a deadlock, with the threads;
//   - a missing barrier: a seed of `launch` selects the order of the threads, and some orders give another result;
//   - shared memory that is read before it is written: it is filled with 0xCD before each block.
// Not found: two threads that change one value between the same two barriers without an atomic operation.
// Differences from a GPU: a * b + c is rounded twice unless fma is used; functions of the C library such as pow may
// differ from CUDA's in the last bits.
//
// The parts of this file: keywords, vector types, fibers, barriers, warp operations, atomics, launch. Arithmetic is in
// cuda_math.h, and what does not depend on the kernels is in cuda_host.cpp, which is compiled once for all programs.
#pragma once

#include <stdlib.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

#include "cuda_math.h"

#if !defined(__x86_64__) && !defined(CUDA_HOST_UCONTEXT)
#define CUDA_HOST_UCONTEXT
#endif
#ifdef CUDA_HOST_UCONTEXT
#include <ucontext.h>
#endif

// --- Keywords --------------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
// Blocks run one after another, so one copy is enough. shared.ld places all of them between these two addresses.
#define __shared__ static
extern "C" char cuda_shared_begin[], cuda_shared_end[];

// --- Vector types, aligned as on a GPU -------------------------------------------------------------------------------

#define CUDA_HOST_VECTORS(base, type, align2, align4)                                              \
  struct base##1 { type x; };                                                                      \
  struct alignas(align2) base##2 { type x, y; };                                                   \
  struct base##3 { type x, y, z; };                                                                \
  struct alignas(align4) base##4 { type x, y, z, w; };                                             \
  inline base##1 make_##base##1(type x) { return {x}; }                                            \
  inline base##2 make_##base##2(type x, type y) { return {x, y}; }                                 \
  inline base##3 make_##base##3(type x, type y, type z) { return {x, y, z}; }                      \
  inline base##4 make_##base##4(type x, type y, type z, type w) { return {x, y, z, w}; }

CUDA_HOST_VECTORS(char, signed char, 2, 4)
CUDA_HOST_VECTORS(uchar, unsigned char, 2, 4)
CUDA_HOST_VECTORS(short, short, 4, 8)
CUDA_HOST_VECTORS(ushort, unsigned short, 4, 8)
CUDA_HOST_VECTORS(int, int, 8, 16)
CUDA_HOST_VECTORS(uint, unsigned int, 8, 16)
CUDA_HOST_VECTORS(longlong, long long, 16, 16)
CUDA_HOST_VECTORS(ulonglong, unsigned long long, 16, 16)
CUDA_HOST_VECTORS(float, float, 8, 16)
CUDA_HOST_VECTORS(double, double, 16, 16)

struct dim3 {
  unsigned int x, y, z;
  dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
};

// Set whenever a thread starts or continues.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace cuda_host {

// Source location of a barrier or a warp operation. The functions take it as their last parameters, by default
// arguments.
struct Place {
  const char* file;
  int line;
  bool operator==(const Place& other) const { return line == other.line && file == other.file; }
};
#define CUDA_HOST_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

// --- Fibers ----------------------------------------------------------------------------------------------------------

constexpr unsigned kMaxThreads = 1024;
constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kPage = 4096;

// An execution context that can be suspended and resumed: a thread of the block, or `launch` itself.
struct Context {
#ifdef CUDA_HOST_UCONTEXT
  ucontext_t registers;
#else
  void* stack_pointer = nullptr;
#endif
  void* fake_stack = nullptr;  // Of the sanitizer
  const void* stack = nullptr;
  size_t stack_bytes = 0;
};

enum class State : unsigned char { ready, at_barrier, at_warp_operation, returned };

struct Thread : Context {
  State state = State::returned;
  uint3 index{};
  unsigned linear = 0;  // x fastest
  // The operation that it waits for
  const char* operation = nullptr;
  Place place{};
  // Warp operations: the participating lanes, this lane's value, the lane to read from, and the value received
  unsigned mask = 0;
  uint64_t value = 0;
  unsigned source = 0;
  uint64_t received = 0;
  unsigned ballot = 0;
};

struct Votes {
  int count, any, all;
};

// The current block. Only one runs at a time.
struct Block {
  Thread threads[kMaxThreads];  // In linear order; reused for each block
  unsigned size = 0;
  Thread* order[kMaxThreads];  // The order in which threads run
  unsigned position = 0;       // Position of the next thread in `order`
  unsigned waiting = 0, votes = 0, returned = 0;       // Threads at the barrier; votes of them; finished threads
  unsigned at_warp_operation[kMaxThreads / warpSize];  // Waiting lanes of each warp
  Votes result{};
  uint64_t random = 0;
  unsigned order_seed = 0;
  Context launcher;
  Context* previous = nullptr;  // The context that ran before
  Thread* current = nullptr;
  void (*body)(void*) = nullptr;
  void* body_data = nullptr;
  std::string error;
};
extern Block block;

// Ends the block with an error. Does not return: `launch` abandons the threads.
[[noreturn]] void fail(std::string text);

// --- Barriers --------------------------------------------------------------------------------------------------------

Votes barrier(const char* operation, bool vote, Place place);

// --- Warp operations -------------------------------------------------------------------------------------------------

// Waits until the lanes in `mask` reach the same operation. Then each lane has received the value of its lane `source`,
// and `ballot`, the mask of the lanes whose value is not 0.
Thread& meet(const char* operation, unsigned mask, uint64_t value, unsigned source, Place place);

template <class T>
T shuffle(const char* operation, unsigned mask, T value, int width, unsigned source, bool in_reach, Place place) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  if (width < 1 || width > warpSize || (width & (width - 1)))
    fail(std::string(operation) + ": the width must be a power of two up to 32");
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof value);
  const unsigned lane = block.current->linear % warpSize;
  bits = meet(operation, mask, bits, in_reach ? source : lane, place).received;
  memcpy(&value, &bits, sizeof value);
  return value;
}

inline int lane() { return static_cast<int>(block.current->linear % warpSize); }

}  // namespace cuda_host

inline void __syncthreads(CUDA_HOST_PLACE) {
  cuda_host::barrier("__syncthreads", false, {file, line});
}
inline int __syncthreads_or(int predicate, CUDA_HOST_PLACE) {
  return cuda_host::barrier("__syncthreads_or", predicate != 0, {file, line}).any;
}
inline int __syncthreads_and(int predicate, CUDA_HOST_PLACE) {
  return cuda_host::barrier("__syncthreads_and", predicate != 0, {file, line}).all;
}
inline int __syncthreads_count(int predicate, CUDA_HOST_PLACE) {
  return cuda_host::barrier("__syncthreads_count", predicate != 0, {file, line}).count;
}

inline void __syncwarp(unsigned mask = 0xFFFFFFFF, CUDA_HOST_PLACE) {
  cuda_host::meet("__syncwarp", mask, 0, 0, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, CUDA_HOST_PLACE) {
  return cuda_host::meet("__ballot_sync", mask, predicate != 0, 0, {file, line}).ballot;
}
inline int __any_sync(unsigned mask, int predicate, CUDA_HOST_PLACE) {
  return cuda_host::meet("__any_sync", mask, predicate != 0, 0, {file, line}).ballot != 0;
}
inline int __all_sync(unsigned mask, int predicate, CUDA_HOST_PLACE) {
  return cuda_host::meet("__all_sync", mask, predicate != 0, 0, {file, line}).ballot == mask;
}

// Lanes form groups of `width`. A lane that would read beyond its group receives its own value. `__shfl_xor_sync` may
// read from an earlier group.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, CUDA_HOST_PLACE) {
  const int from = (cuda_host::lane() & -width) | (source & (width - 1));
  return cuda_host::shuffle("__shfl_sync", mask, value, width, from, true, {file, line});
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_HOST_PLACE) {
  const int lane = cuda_host::lane(), from = lane - static_cast<int>(delta & 31);
  return cuda_host::shuffle("__shfl_up_sync", mask, value, width, from, from >= (lane & -width), {file, line});
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize, CUDA_HOST_PLACE) {
  const int lane = cuda_host::lane(), from = lane + static_cast<int>(delta & 31);
  return cuda_host::shuffle("__shfl_down_sync", mask, value, width, from, from < (lane & -width) + width, {file, line});
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = warpSize, CUDA_HOST_PLACE) {
  const int lane = cuda_host::lane(), from = lane ^ (lanes & 31);
  return cuda_host::shuffle("__shfl_xor_sync", mask, value, width, from, from < (lane & -width) + width, {file, line});
}

// --- Atomics and memory ----------------------------------------------------------------------------------------------

namespace cuda_host {
// T is not deduced from a parameter of this type, so that `atomicAdd(&total, 1)` works for any type of total.
template <class T>
using Same = std::common_type_t<T>;

template <class T>
T exchange(T* address, T value) {
  const T old = *address;
  *address = value;
  return old;
}
}  // namespace cuda_host

template <class T>
T atomicAdd(T* address, cuda_host::Same<T> value) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long> ||
                std::is_same_v<T, float> || std::is_same_v<T, double>);
  return cuda_host::exchange(address, cuda_host::wrapping_add(*address, value));
}
template <class T>
T atomicMax(T* address, cuda_host::Same<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return cuda_host::exchange(address, *address < value ? value : *address);
}
template <class T>
T atomicMin(T* address, cuda_host::Same<T> value) {
  static_assert(std::is_integral_v<T> && sizeof(T) >= 4);
  return cuda_host::exchange(address, value < *address ? value : *address);
}
template <class T>
T atomicExch(T* address, cuda_host::Same<T> value) {
  return cuda_host::exchange(address, value);
}
template <class T>
T atomicCAS(T* address, cuda_host::Same<T> expected, cuda_host::Same<T> value) {
  return cuda_host::exchange(address, *address == expected ? value : *address);
}
template <class T>
T atomicOr(T* address, cuda_host::Same<T> value) {
  return cuda_host::exchange(address, *address | value);
}
template <class T>
T atomicAnd(T* address, cuda_host::Same<T> value) {
  return cuda_host::exchange(address, *address & value);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T> T __ldg(const T* address) { return *address; }
template <class T> T __ldca(const T* address) { return *address; }
template <class T> T __ldcg(const T* address) { return *address; }
template <class T> T __ldcs(const T* address) { return *address; }
template <class T> void __stcg(T* address, cuda_host::Same<T> value) { *address = value; }
template <class T> void __stcs(T* address, cuda_host::Same<T> value) { *address = value; }

// --- Launch ----------------------------------------------------------------------------------------------------------

void __trap();

namespace cuda_host {

// Runs `body` with `data` in each thread of each block. Throws std::runtime_error with a report if the threads cannot
// continue. `order_seed` selects the order of threads between barriers, and of blocks: 0 as numbered, 1 reversed,
// otherwise shuffled with this seed.
void launch(dim3 grid, dim3 threads, void (*body)(void*), void* data, unsigned order_seed);

template <class Body>
void launch(dim3 grid, dim3 threads, Body body, unsigned order_seed = 0) {
  launch(grid, threads, [](void* data) { (*static_cast<Body*>(data))(); }, &body, order_seed);
}

}  // namespace cuda_host
