#pragma once
// The graphics card as a GpuDevice, over the CUDA runtime (linked statically; the driver is looked
// for when the first call is made). Devices are those that CUDA_VISIBLE_DEVICES leaves, in its
// order.

#include <memory>

#include "base/status.h"
#include "kernels/cuda/gpu_device.h"

namespace sparrow {

// False where the binary was built without CUDA; then the calls below say so.
bool has_cuda_support();
// 0 without a card or without a driver: why_no_cuda_device() of the same moment says which.
int num_cuda_devices();
std::string why_no_cuda_device();

// Errors: no such device, a driver that is too old, a card older than sm_75 or newer than what this
// binary holds code for. Each says what was found and what would do.
Result<std::unique_ptr<GpuDevice>> open_cuda_device(int index);

}  // namespace sparrow
