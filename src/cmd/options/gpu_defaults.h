#pragma once
// Defaults that differ on a GPU, where a row costs microseconds and on a CPU milliseconds.

#include <cstdint>

namespace sparrow {

inline constexpr int64_t kGpuBatchTokens = 2048;  // --max-num-batched-tokens
inline constexpr double kGpuMaxStepMs = 30;       // --max-step-ms

}  // namespace sparrow
