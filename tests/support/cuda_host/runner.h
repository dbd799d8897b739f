// A program that runs the kernels of one file. It reads launches from standard input, runs them, and writes answers to
// standard output. tests/support/kernel_build.py generates `main`, sends the launches and reads the answers. Numbers
// are 64-bit and little-endian. A string is its length followed by its bytes.
//
//   launch: kernel, grid (3 numbers), block (3), order seed, buffers, arguments
//   buffers: count, then for each: name, 1 if the kernel may write to it, alignment, offset, content,
//            addresses in it: count, then for each: position in bytes, number of the buffer, offset in that buffer
//   arguments: count, then for each: kind ("address": buffer and offset; "integer", "real", "struct"), bytes
//   answer: error text, empty without an error; then the content of each buffer that the kernel may write to
#pragma once

#include "cuda_host.h"

#include <string>
#include <tuple>
#include <vector>

namespace cuda_host {

struct Argument {
  std::string kind, bytes;
};

struct Parameter {
  const char* kind;
  size_t size;
};

struct Kernel {
  const char* name;
  std::vector<Parameter> parameters;
  void (*run)(void (*function)(), dim3 grid, dim3 threads, unsigned order_seed, const std::vector<Argument>& arguments);
  void (*function)();
};

template <class T>
const char* kind_of() {
  if (std::is_pointer_v<T>) return "address";
  if (std::is_integral_v<T>) return "integer";
  return std::is_floating_point_v<T> ? "real" : "struct";
}

template <class T>
T read_argument(const std::string& bytes) {
  std::aligned_storage_t<sizeof(T), alignof(T)> storage;
  memcpy(&storage, bytes.data(), sizeof(T));
  return *reinterpret_cast<T*>(&storage);
}

template <class... A, size_t... I>
void run_kernel(void (*function)(A...), dim3 grid, dim3 threads, unsigned order_seed,
                const std::vector<Argument>& arguments, std::index_sequence<I...>) {
  const std::tuple<std::remove_const_t<A>...> values{read_argument<std::remove_const_t<A>>(arguments[I].bytes)...};
  launch(grid, threads, [&] { function(std::get<I>(values)...); }, order_seed);
}

template <class... A>
Kernel kernel(const char* name, void (*function)(A...)) {
  const auto run = [](void (*any)(), dim3 grid, dim3 threads, unsigned seed, const std::vector<Argument>& arguments) {
    run_kernel(reinterpret_cast<void (*)(A...)>(any), grid, threads, seed, arguments, std::index_sequence_for<A...>{});
  };
  return {name, {{kind_of<A>(), sizeof(A)}...}, run, reinterpret_cast<void (*)()>(function)};
}

// Answers launches until standard input is closed.
void serve(const std::vector<Kernel>& kernels);

}  // namespace cuda_host
