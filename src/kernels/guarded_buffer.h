#pragma once
// For tests: a buffer that touches a page no one may access, at its end or at its beginning. A
// read or write across that edge ends the test program. Not copyable; the memory goes with it.
//
//   GuardedBuffer<float> out(Edge::kEnd, rows);
//   kernels.add(out.data(), ...);

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "base/check.h"

namespace sparrow {

enum class Edge { kEnd, kBegin };
inline constexpr Edge kEdges[] = {Edge::kEnd, Edge::kBegin};

// At kEnd the data begin as aligned as their size allows: a multiple of 64 bytes on a 64-byte
// border, floats on 4 bytes.
template <typename T>
class GuardedBuffer {
 public:
  GuardedBuffer(Edge edge, size_t size, T fill = T{}) : size_(size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inside = (size * sizeof(T) + page - 1) / page * page;
    mapped_bytes_ = inside + 2 * page;
    mapped_ = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped_ != MAP_FAILED);
    char* first = static_cast<char*>(mapped_) + page;
    CHECK(inside == 0 || mprotect(first, inside, PROT_READ | PROT_WRITE) == 0);
    data_ = reinterpret_cast<T*>(edge == Edge::kBegin ? first : first + inside - size * sizeof(T));
    std::fill_n(data_, size_, fill);
  }
  GuardedBuffer(Edge edge, const std::vector<T>& values) : GuardedBuffer(edge, values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~GuardedBuffer() { munmap(mapped_, mapped_bytes_); }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  std::span<T> span() { return {data_, size_}; }
  std::vector<T> copy() const { return {data_, data_ + size_}; }

 private:
  void* mapped_ = nullptr;
  size_t mapped_bytes_ = 0;
  T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sparrow
