#pragma once
// What a card's memory can do right now: copies between two buffers in it that exceed its L2 cache,
// bytes read and bytes written counted. The peak of its matrix units is not probed: what a kernel
// of ours reaches would be no limit for it.

#include <cstddef>
#include <memory>

#include "base/status.h"
#include "kernels/cuda/gpu_buffer.h"

namespace sparrow {

class GpuCopyProbe {
 public:
  // Two buffers of `bytes` each. Owns the device.
  static Result<GpuCopyProbe> create(std::unique_ptr<GpuDevice> device, size_t bytes);
  double pass();          // bytes per second, of copies that take some milliseconds
  double best_of_five();  // of as many passes

 private:
  std::unique_ptr<GpuDevice> device_;
  GpuBuffer from_;
  GpuBuffer to_;
};

}  // namespace sparrow
