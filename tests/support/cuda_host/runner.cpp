// The parts of the runner that are the same in each program: they are compiled once.

#include "runner.h"

#include <unistd.h>

#include <algorithm>

namespace cuda_host {

static uint64_t read_number() {
  uint64_t number;
  if (fread(&number, sizeof number, 1, stdin) != 1) exit(0);  // Standard input was closed
  return number;
}

static std::string read_string() {
  std::string text(read_number(), '\0');
  if (fread(text.data(), 1, text.size(), stdin) != text.size()) exit(1);
  return text;
}

static dim3 read_dim3() {
  const auto x = read_number(), y = read_number(), z = read_number();
  return dim3(static_cast<unsigned>(x), static_cast<unsigned>(y), static_cast<unsigned>(z));
}

static void write_bytes(FILE* out, const void* bytes, size_t size) {
  const uint64_t length = size;
  fwrite(&length, sizeof length, 1, out);
  fwrite(bytes, 1, size, out);
}

// A copy that ends at the end of its memory, so that the sanitizer detects an access one byte further.
struct Buffer {
  std::string name;
  bool writable;
  char* memory;
  char* data;
  size_t size;
};

static Buffer read_buffer() {
  Buffer buffer;
  buffer.name = read_string();
  buffer.writable = read_number();
  const size_t alignment = read_number(), offset = read_number();
  const std::string content = read_string();
  buffer.size = content.size();
  void* memory = nullptr;
  // The sanitizer allocates a byte even for an empty buffer. Therefore an empty buffer has eight poisoned bytes.
  if (posix_memalign(&memory, alignment, offset + (buffer.size ? buffer.size : 8)) != 0) exit(1);
  buffer.memory = static_cast<char*>(memory);
  buffer.data = buffer.memory + offset;
  memcpy(buffer.data, content.data(), buffer.size);
  __asan_poison_memory_region(buffer.memory, offset);  // Up to the last multiple of 8
  if (buffer.size == 0) __asan_poison_memory_region(buffer.data, 8);
  return buffer;
}

static std::string check(const Kernel& kernel, const std::vector<Argument>& arguments) {
  if (arguments.size() != kernel.parameters.size())
    return "takes " + std::to_string(kernel.parameters.size()) + " arguments, got " + std::to_string(arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string kind = kernel.parameters[i].kind;
    const size_t size = kernel.parameters[i].size;
    // A raw address may be passed as an integer.
    const bool fits = arguments[i].kind == kind || (kind == "address" && arguments[i].kind == "integer");
    if (!fits || arguments[i].bytes.size() != size)
      return "argument " + std::to_string(i) + " is " + kind + " of " + std::to_string(size) + " bytes, got " +
             arguments[i].kind + " of " + std::to_string(arguments[i].bytes.size());
  }
  return "";
}

void serve(const std::vector<Kernel>& kernels) {
  // Output that a kernel prints goes to standard error.
  FILE* out = fdopen(dup(1), "wb");
  dup2(2, 1);
  for (;;) {
    const std::string name = read_string();
    const auto has_name = [&](const Kernel& any) { return any.name == name; };
    const Kernel& kernel = *std::find_if(kernels.begin(), kernels.end(), has_name);
    const dim3 grid = read_dim3(), threads = read_dim3();
    const auto order_seed = static_cast<unsigned>(read_number());

    std::vector<Buffer> buffers(read_number());
    struct Address { size_t in, where, of, at; };
    std::vector<Address> addresses;
    for (size_t i = 0; i < buffers.size(); ++i) {
      buffers[i] = read_buffer();
      for (auto left = read_number(); left > 0; --left) {
        const auto where = read_number(), of = read_number(), at = read_number();
        addresses.push_back({i, where, of, at});
      }
    }
    for (const Address& address : addresses) {
      const char* value = buffers[address.of].data + address.at;
      memcpy(buffers[address.in].data + address.where, &value, sizeof value);
    }
    std::vector<std::string> before;
    for (const Buffer& buffer : buffers)
      before.emplace_back(buffer.data, buffer.writable ? 0 : buffer.size);

    std::vector<Argument> arguments(read_number());
    for (Argument& argument : arguments) {
      argument.kind = read_string();
      argument.bytes = read_string();
      if (argument.kind == "address") {
        uint64_t place[2];
        memcpy(place, argument.bytes.data(), sizeof place);
        const char* value = buffers[place[0]].data + place[1];
        argument.bytes.assign(reinterpret_cast<const char*>(&value), sizeof value);
      }
    }

    std::string error = check(kernel, arguments);
    if (error.empty()) {
      try {
        kernel.run(kernel.function, grid, threads, order_seed, arguments);
      } catch (const std::runtime_error& failure) {
        error = failure.what();
      }
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (error.empty() && !buffers[i].writable && memcmp(buffers[i].data, before[i].data(), buffers[i].size) != 0)
        error = "the kernel wrote to " + buffers[i].name + ", which is not an Out";
    }
    write_bytes(out, error.data(), error.size());
    for (const Buffer& buffer : buffers) {
      if (buffer.writable) write_bytes(out, buffer.data, buffer.size);
      __asan_unpoison_memory_region(buffer.memory, buffer.data - buffer.memory + 8);
      free(buffer.memory);
    }
    fflush(out);
  }
}

}  // namespace cuda_host
