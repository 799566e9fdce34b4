#pragma once
// GpuBuffer: owns a piece of device memory or of pinned host memory. Moves, does not copy; dies
// before its device. The contents of a new buffer are undefined.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/status.h"
#include "kernels/cuda/gpu_device.h"

namespace sparrow {

class GpuBuffer {
 public:
  enum class Kind : uint8_t { kDevice, kPinned };

  GpuBuffer() = default;
  static Result<GpuBuffer> create(GpuDevice& device, size_t bytes, Kind kind = Kind::kDevice) {
    if (bytes == 0) return GpuBuffer();
    ASSIGN_OR_RETURN(void* memory, kind == Kind::kDevice ? device.allocate(bytes)
                                                         : device.allocate_pinned(bytes));
    GpuBuffer buffer;
    buffer.device_ = &device;
    buffer.memory_ = memory;
    buffer.bytes_ = bytes;
    buffer.kind_ = kind;
    return buffer;
  }
  ~GpuBuffer() { reset(); }
  GpuBuffer(GpuBuffer&& other) noexcept { *this = std::move(other); }
  GpuBuffer& operator=(GpuBuffer&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    std::swap(kind_, other.kind_);
    return *this;
  }
  GpuBuffer(const GpuBuffer&) = delete;
  GpuBuffer& operator=(const GpuBuffer&) = delete;

  // A device pointer is for kernels and copies only; the host may read and write a pinned one.
  template <typename T>
  T* as(size_t offset_bytes = 0) const {
    return reinterpret_cast<T*>(static_cast<std::byte*>(memory_) + offset_bytes);
  }
  size_t size_bytes() const { return bytes_; }
  bool empty() const { return memory_ == nullptr; }

 private:
  void reset() {
    if (memory_ == nullptr) return;
    if (kind_ == Kind::kDevice) {
      device_->free(memory_);
    } else {
      device_->free_pinned(memory_);
    }
    memory_ = nullptr;
    bytes_ = 0;
  }

  GpuDevice* device_ = nullptr;
  void* memory_ = nullptr;
  size_t bytes_ = 0;
  Kind kind_ = Kind::kDevice;
};

}  // namespace sparrow
