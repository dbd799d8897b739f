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
// cuda_math.h.
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
inline Block block;

inline uint64_t random_number() {  // xorshift64
  block.random ^= block.random << 13;
  block.random ^= block.random >> 7;
  block.random ^= block.random << 17;
  return block.random;
}

#ifdef CUDA_HOST_UCONTEXT
inline void switch_registers(Context& from, Context& to) { swapcontext(&from.registers, &to.registers); }
#else
// Saves the callee-saved registers and the stack pointer, and loads those of the other context. Unlike swapcontext, it
// makes no system call.
extern "C" void cuda_host_switch(void** save, void* load);
asm(R"(
.text
.type cuda_host_switch, @function
cuda_host_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_host_switch, . - cuda_host_switch
)");
inline void switch_registers(Context& from, Context& to) { cuda_host_switch(&from.stack_pointer, to.stack_pointer); }
#endif

// Continues in `to`; returns when another context switches back to `from`.
inline void switch_context(Context& from, Context& to) {
  block.previous = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
  switch_registers(from, to);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

inline void switch_to_thread(Context& from, Thread& to) {
  block.current = &to;
  threadIdx = to.index;
  switch_context(from, to);
}

// Ends the block with an error. Does not return: `launch` abandons the threads.
[[noreturn]] inline void fail(std::string text) {
  block.error = std::move(text);
  switch_context(*block.current, block.launcher);
  abort();
}

inline std::string describe(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

inline std::string hex(unsigned mask) {
  char text[16];
  snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

inline Thread* lane_of_warp(const Thread& thread, unsigned lane) {
  const unsigned linear = thread.linear / warpSize * warpSize + lane;
  return linear < block.size ? &block.threads[linear] : nullptr;
}

inline bool same_operation(const Thread& a, const Thread& b) {
  return a.state == b.state && (a.state == State::ready || a.state == State::returned ||
                                (a.operation == b.operation && a.place == b.place && a.mask == b.mask));
}

inline std::string describe_state(const Thread& thread) {
  if (thread.state == State::returned) return "returned";
  if (thread.state == State::ready) return "can go on";
  const char* slash = strrchr(thread.place.file, '/');
  std::string text = std::string("wait at ") + thread.operation + " (" + (slash ? slash + 1 : thread.place.file) + ":" +
                     std::to_string(thread.place.line) + ")";
  if (thread.state == State::at_warp_operation) {
    unsigned missing = 0;
    for (unsigned lane = 0; lane < warpSize; ++lane) {
      const Thread* other = lane_of_warp(thread, lane);
      if ((thread.mask >> lane & 1) && !(other && same_operation(thread, *other))) missing |= 1u << lane;
    }
    text += " with mask " + hex(thread.mask) + ", missing lanes " + hex(missing);
  }
  return text;
}

// "threads (0, 0, 0) to (31, 0, 0) wait at ...; threads ... returned", at most eight such groups
inline std::string describe_threads() {
  std::string text;
  unsigned groups = 0;
  for (unsigned first = 0, last; first < block.size; first = last + 1) {
    last = first;
    while (last + 1 < block.size && same_operation(block.threads[first], block.threads[last + 1])) ++last;
    if (++groups > 8) return text + "; and so on";
    text += (groups > 1 ? "; " : "") + std::string("threads ") + describe(block.threads[first].index) +
            (last > first ? " to " + describe(block.threads[last].index) : "") + " " +
            describe_state(block.threads[first]);
  }
  return text;
}

inline std::string describe_block() { return "block " + describe(blockIdx); }

template <class T>
void shuffle_order(T* order, uint64_t size) {
  for (uint64_t i = size; i > 1; --i) std::swap(order[i - 1], order[random_number() % i]);
}

// Starts a round: the first thread in the order is next. With a seed above 1, the order is shuffled first.
inline void begin_round() {
  block.position = 0;
  if (block.order_seed > 1) shuffle_order(block.order, block.size);
}

// Runs the next thread that is ready; returns when the calling thread continues.
inline void run_next() {
  Thread& self = *block.current;
  for (unsigned tried = 0; tried < block.size; ++tried) {
    Thread& next = *block.order[block.position];
    if (++block.position == block.size) block.position = 0;
    if (next.state != State::ready) continue;
    if (&next != &self) switch_to_thread(self, next);
    return;
  }
  if (block.returned < block.size) fail("deadlock in " + describe_block() + ": " + describe_threads());
  switch_context(self, block.launcher);
}

// The function at the bottom of each thread's stack. It never returns: the next block continues in it.
inline void run_thread() {
  __sanitizer_finish_switch_fiber(nullptr, &block.previous->stack, &block.previous->stack_bytes);
  for (;;) {
    block.body(block.body_data);
    block.current->state = State::returned;
    ++block.returned;
    run_next();
  }
}

// Allocates a stack for a thread, such that the first switch to it calls `run_thread`.
inline void prepare(Thread& thread) {
  // The page below the stack is not accessible, so that a stack overflow is detected.
  char* memory = static_cast<char*>(mmap(nullptr, kPage + kStackBytes, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED || mprotect(memory, kPage, PROT_NONE) != 0) throw std::runtime_error("no memory for stacks");
  thread.stack = memory + kPage;
  thread.stack_bytes = kStackBytes;
#ifdef CUDA_HOST_UCONTEXT
  getcontext(&thread.registers);
  thread.registers.uc_stack.ss_sp = const_cast<void*>(thread.stack);
  thread.registers.uc_stack.ss_size = thread.stack_bytes;
  thread.registers.uc_link = nullptr;
  makecontext(&thread.registers, run_thread, 0);
#else
  // The stack contains six registers and the address of run_thread, which has no caller. After `ret`, the stack
  // pointer is 8 below a multiple of 16, as at the start of any function.
  void** top = reinterpret_cast<void**>(const_cast<char*>(static_cast<const char*>(thread.stack)) + thread.stack_bytes);
  memset(top - 8, 0, 8 * sizeof(void*));
  top[-2] = reinterpret_cast<void*>(run_thread);
  thread.stack_pointer = top - 8;
#endif
}

// --- Barriers --------------------------------------------------------------------------------------------------------

inline Votes barrier(const char* operation, bool vote, Place place) {
  Thread& self = *block.current;
  self.state = State::at_barrier;
  self.operation = operation;
  self.place = place;
  self.mask = 0;
  block.votes += vote;
  if (++block.waiting < block.size) {
    run_next();
    // The result of this barrier, because the next one cannot complete before this thread reaches it.
    return block.result;
  }
  for (unsigned i = 0; i < block.size; ++i) {
    if (!same_operation(self, block.threads[i]))
      fail("divergent barrier in " + describe_block() + ": " + describe_threads());
  }
  block.result = {static_cast<int>(block.votes), block.votes > 0, block.votes == block.size};
  block.waiting = block.votes = 0;
  for (unsigned i = 0; i < block.size; ++i) block.threads[i].state = State::ready;
  begin_round();
  run_next();
  return block.result;
}

// --- Warp operations -------------------------------------------------------------------------------------------------

inline bool all_arrived(const Thread& self) {
  if (~block.at_warp_operation[self.linear / warpSize] & self.mask) return false;  // Sufficient in nearly all cases
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if ((self.mask >> lane & 1) && !same_operation(self, *lane_of_warp(self, lane))) return false;
  }
  return true;
}

// Waits until the lanes in `mask` reach the same operation. Then each lane has received the value of its lane `source`,
// and `ballot`, the mask of the lanes whose value is not 0.
inline Thread& meet(const char* operation, unsigned mask, uint64_t value, unsigned source, Place place) {
  Thread& self = *block.current;
  self.state = State::at_warp_operation;
  self.operation = operation;
  self.place = place;
  self.mask = mask;
  self.value = value;
  self.source = source;
  unsigned& waiting = block.at_warp_operation[self.linear / warpSize];
  waiting |= 1u << self.linear % warpSize;
  if (!(mask >> self.linear % warpSize & 1))
    fail("a mask without its own thread in " + describe_block() + ": " + describe_threads());
  if (!all_arrived(self)) {
    run_next();
    return self;
  }
  Thread* const lanes = &block.threads[self.linear / warpSize * warpSize];
  waiting &= ~mask;
  unsigned ballot = 0;
  for (unsigned i = 0; i < warpSize; ++i) {
    if (mask >> i & 1) ballot |= static_cast<unsigned>(lanes[i].value != 0) << i;
  }
  for (unsigned i = 0; i < warpSize; ++i) {
    if (!(mask >> i & 1)) continue;
    // The value of a lane outside the mask is undefined.
    lanes[i].received = mask >> lanes[i].source & 1 ? lanes[lanes[i].source].value : 0xCDCDCDCDCDCDCDCD;
    lanes[i].ballot = ballot;
    lanes[i].state = State::ready;
  }
  return self;
}

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

inline void __trap() {
  cuda_host::fail("__trap in thread " + cuda_host::describe(threadIdx) + " of " + cuda_host::describe_block());
}

namespace cuda_host {

inline __attribute__((no_sanitize("address", "undefined"))) void spoil_shared_memory() {
  for (volatile char* byte = cuda_shared_begin; byte < cuda_shared_end; ++byte) *byte = static_cast<char>(0xCD);
}

template <class Body>
void run_body(void* body) {
  (*static_cast<Body*>(body))();
}

// Runs `body` in each thread of each block. Throws std::runtime_error with a report if the threads cannot continue.
// `order_seed` selects the order of threads between barriers, and of blocks: 0 as numbered, 1 reversed, otherwise
// shuffled with this seed.
template <class Body>
void launch(dim3 grid, dim3 threads, Body body, unsigned order_seed = 0) {
  const uint64_t size = static_cast<uint64_t>(threads.x) * threads.y * threads.z;
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  if (size == 0 || size > kMaxThreads || threads.z > 64 || blocks == 0 || grid.y > 65535 || grid.z > 65535)
    throw std::runtime_error("invalid configuration: a GPU refuses this grid or block");

  block.size = static_cast<unsigned>(size);
  for (unsigned i = 0; i < block.size; ++i) {
    Thread& thread = block.threads[i];
    thread.linear = i;
    if (!thread.stack) prepare(thread);
    thread.index = {i % threads.x, i / threads.x % threads.y, i / (threads.x * threads.y)};
    block.order[order_seed == 1 ? block.size - 1 - i : i] = &thread;
  }
  block.order_seed = order_seed;
  block.random = 0x9E3779B97F4A7C15 * (order_seed + uint64_t{1});
  block.body = run_body<Body>;
  block.body_data = &body;
  block.error.clear();
  gridDim = grid;
  blockDim = threads;

  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i) order[i] = order_seed == 1 ? blocks - 1 - i : i;
  if (order_seed > 1) shuffle_order(order.data(), blocks);
  for (const uint64_t index : order) {
    blockIdx = {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
                static_cast<unsigned>(index / grid.x / grid.y)};
    spoil_shared_memory();
    block.waiting = block.votes = block.returned = 0;
    memset(block.at_warp_operation, 0, sizeof block.at_warp_operation);
    for (unsigned i = 0; i < block.size; ++i) block.threads[i].state = State::ready;
    begin_round();
    block.position = 1 % block.size;
    switch_to_thread(block.launcher, *block.order[0]);
    if (!block.error.empty()) break;
  }
  block.current = nullptr;
  if (block.error.empty()) return;
  // The threads are abandoned where they are. The next launch creates new stacks.
  for (unsigned i = 0; i < block.size; ++i) block.threads[i].stack = nullptr;
  throw std::runtime_error(block.error);
}

}  // namespace cuda_host

// The sanitizers call these functions before they report an error.
inline void cuda_host_report_thread() {
  if (cuda_host::block.current) {
    fprintf(stderr, "in thread %s of %s:\n", cuda_host::describe(threadIdx).c_str(),
            cuda_host::describe_block().c_str());
  }
}
extern "C" void __asan_on_error() { cuda_host_report_thread(); }
extern "C" void __ubsan_on_report() { cuda_host_report_thread(); }
