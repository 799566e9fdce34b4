#pragma once
// The host twin: a GpuDevice whose kernels are the same sources, compiled for the CPU and run by an
// emulator (twin_block.h). It is for tests: it proves results, indices, barriers and what a graph
// freezes, and says nothing about speed.
//
// Its device memory cannot be touched by the host between calls (it is protected, so a host read of
// a device pointer is a crash as on the card), every allocation ends at a page that cannot be
// touched (so does a kernel's access beyond it), and new memory is filled with NaN patterns.

#include <memory>

#include "kernels/cuda/gpu_device.h"

namespace sparrow {

struct TwinDeviceOptions {
  int64_t total_bytes = int64_t{1} << 32;
  int num_sms = 132;
  int compute_major = 9;
  int compute_minor = 0;
};

std::unique_ptr<GpuDevice> make_twin_device(const TwinDeviceOptions& options = {});

}  // namespace sparrow
