#pragma once
// AlignedBuffer: owning raw memory on a 64-byte border, zero-filled; large ones ask for huge pages.
// Move-only. try_allocate refuses instead of throwing, so a size that a file or an option asked for
// ends in a message.
//
//   ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::try_allocate(num_bytes, "KV blocks"));
//   float* values = buffer.as<float>();

#include <cstddef>
#include <span>
#include <utility>

#include "base/status.h"

namespace sparrow {

class AlignedBuffer {
 public:
  static constexpr size_t kAlignment = 64;

  AlignedBuffer() = default;
  ~AlignedBuffer();
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;

  // `purpose` names the memory in the error. Pages are touched on first use, not here.
  static Result<AlignedBuffer> try_allocate(size_t num_bytes, const char* purpose);

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size_bytes() const { return size_bytes_; }
  std::span<std::byte> bytes() { return {data_, size_bytes_}; }
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }

 private:
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_bytes_, other.size_bytes_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
  }

  std::byte* data_ = nullptr;
  size_t size_bytes_ = 0;
  size_t mapped_bytes_ = 0;
};

}  // namespace sparrow
