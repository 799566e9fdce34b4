#pragma once
// What trials at start (product_trials.h, decode_trials.h) compute with, and how they compare.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_types.h"
#include "model/cuda/gpu_staging.h"

namespace sparrow {

// Normal random values, as 16-bit floats. An odd number, so that rows of a repeated pattern differ.
std::vector<uint16_t> trial_pattern(GpuFloat type);
// Device memory of `total` bytes becomes the pattern, over and over.
Status repeat_pattern(GpuStaging& staging, void* to, std::span<const std::byte> pattern,
                      size_t total);

// ||a - b|| / ||b||; not a number where one of them is not.
double relative_error(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace sparrow
