#pragma once
// What the CUDA executor's plans take for granted of options and card: ranges in which no product
// of sizes overflows 64 bits, and what a card can do. Pure.

#include "base/status.h"
#include "kernels/cuda/gpu_device_info.h"
#include "model/cuda/plans/gpu_options.h"
#include "model/model_config.h"

namespace sparrow {

// kInvalidArgument, with the flag, the value and the range.
Status check_gpu_options(const ModelConfig& config, const GpuExecutorOptions& options);

// kFailedPrecondition: a card that cannot be, or that is too old.
Status check_gpu_device(const GpuDeviceInfo& device);

}  // namespace sparrow
