// The parts of the host build that are the same in each program: they are compiled once. cuda_host.h declares them.

#include "cuda_host.h"

#include <string>
#include <vector>

namespace cuda_host {

Block block;

static uint64_t random_number() {  // xorshift64
  block.random ^= block.random << 13;
  block.random ^= block.random >> 7;
  block.random ^= block.random << 17;
  return block.random;
}

#ifdef CUDA_HOST_UCONTEXT
static void switch_registers(Context& from, Context& to) { swapcontext(&from.registers, &to.registers); }
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
static void switch_registers(Context& from, Context& to) { cuda_host_switch(&from.stack_pointer, to.stack_pointer); }
#endif

// Continues in `to`; returns when another context switches back to `from`.
static void switch_context(Context& from, Context& to) {
  block.previous = &from;
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.stack_bytes);
  switch_registers(from, to);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
}

static void switch_to_thread(Context& from, Thread& to) {
  block.current = &to;
  threadIdx = to.index;
  switch_context(from, to);
}

[[noreturn]] void fail(std::string text) {
  block.error = std::move(text);
  switch_context(*block.current, block.launcher);
  abort();
}

static std::string describe(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

static std::string describe_block() { return "block " + describe(blockIdx); }

static std::string hex(unsigned mask) {
  char text[16];
  snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

static Thread* lane_of_warp(const Thread& thread, unsigned lane) {
  const unsigned linear = thread.linear / warpSize * warpSize + lane;
  return linear < block.size ? &block.threads[linear] : nullptr;
}

static bool same_operation(const Thread& a, const Thread& b) {
  return a.state == b.state && (a.state == State::ready || a.state == State::returned ||
                                (a.operation == b.operation && a.place == b.place && a.mask == b.mask));
}

static std::string describe_state(const Thread& thread) {
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
static std::string describe_threads() {
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

template <class T>
static void shuffle_order(T* order, uint64_t size) {
  for (uint64_t i = size; i > 1; --i) std::swap(order[i - 1], order[random_number() % i]);
}

// Starts a round: the first thread in the order is next. With a seed above 1, the order is shuffled first.
static void begin_round() {
  block.position = 0;
  if (block.order_seed > 1) shuffle_order(block.order, block.size);
}

// Runs the next thread that is ready; returns when the calling thread continues.
static void run_next() {
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
static void run_thread() {
  __sanitizer_finish_switch_fiber(nullptr, &block.previous->stack, &block.previous->stack_bytes);
  for (;;) {
    block.body(block.body_data);
    block.current->state = State::returned;
    ++block.returned;
    run_next();
  }
}

// Allocates a stack for a thread, such that the first switch to it calls `run_thread`.
static void prepare(Thread& thread) {
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

Votes barrier(const char* operation, bool vote, Place place) {
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

static bool all_arrived(const Thread& self) {
  if (~block.at_warp_operation[self.linear / warpSize] & self.mask) return false;  // Sufficient in nearly all cases
  for (unsigned lane = 0; lane < warpSize; ++lane) {
    if ((self.mask >> lane & 1) && !same_operation(self, *lane_of_warp(self, lane))) return false;
  }
  return true;
}

Thread& meet(const char* operation, unsigned mask, uint64_t value, unsigned source, Place place) {
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

static __attribute__((no_sanitize("address", "undefined"))) void spoil_shared_memory() {
  for (volatile char* byte = cuda_shared_begin; byte < cuda_shared_end; ++byte) *byte = static_cast<char>(0xCD);
}

void launch(dim3 grid, dim3 threads, void (*body)(void*), void* data, unsigned order_seed) {
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
  block.body = body;
  block.body_data = data;
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

void __trap() {
  cuda_host::fail("__trap in thread " + cuda_host::describe(threadIdx) + " of " + cuda_host::describe_block());
}

// The sanitizers call these functions before they report an error.
static void cuda_host_report_thread() {
  if (cuda_host::block.current) {
    fprintf(stderr, "in thread %s of %s:\n", cuda_host::describe(threadIdx).c_str(),
            cuda_host::describe_block().c_str());
  }
}
extern "C" void __asan_on_error() { cuda_host_report_thread(); }
extern "C" void __ubsan_on_report() { cuda_host_report_thread(); }
