#pragma once
// Small types that the kernels' arguments share.

#include <cstdint>

namespace sparrow {

// Type of the activations that matrices meet: bf16, or fp16 where the card has no bf16 units.
enum class GpuFloat : uint8_t { kBF16, kF16 };

}  // namespace sparrow
