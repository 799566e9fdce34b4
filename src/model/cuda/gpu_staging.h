#pragma once
// GpuStaging: small pieces of host memory on their way to the card. Each is copied into pinned
// memory and from there, in stream order, to its place; the caller may forget it at once. Two
// halves take turns: a half is written again only after the copies out of it are done, which the
// host waits for only when it is a whole half ahead.
//
// Engine thread. Nothing is allocated after create().

#include <array>
#include <cstddef>
#include <memory>

#include "base/status.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_device.h"

namespace sparrow {

class GpuStaging {
 public:
  // half_bytes: the largest single piece.
  static Result<GpuStaging> create(GpuDevice& device, size_t half_bytes);

  // Pinned memory of this many bytes, 16-byte aligned, to be filled before commit(). A wait for an
  // old half may find that the card is lost.
  Result<void*> take(size_t bytes);
  // Queues the copy of the last piece taken.
  void commit(void* device_memory, size_t bytes);
  // Both for memory that exists already.
  Status upload(void* device_memory, const void* host, size_t bytes);

 private:
  explicit GpuStaging(GpuDevice& device, size_t half_bytes);

  GpuDevice* device_;
  size_t half_bytes_;
  std::array<GpuBuffer, 2> halves_;
  std::array<std::unique_ptr<GpuEvent>, 2> left_;  // recorded when a half was left
  std::array<bool, 2> was_left_ = {};
  size_t current_ = 0;
  size_t used_bytes_ = 0;
  std::byte* last_ = nullptr;
};

}  // namespace sparrow
