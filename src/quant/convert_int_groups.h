#pragma once
// Rows between fp32 and the grouped integers of int_group_blocks.h. Quantizing is symmetric round
// to nearest as in compressed-tensors (model_and_formats.md 9.5): scale = max|x| / 7.5 with q in
// [-8, 7], or max|x| / 127.5 with q in [-128, 127], ties to even. Stateless, thread-safe.

#include <cstddef>
#include <cstdint>

#include "quant/tensor_type.h"

namespace sparrow {

// Whether the type is one of kI4G* and kI8G*.
bool is_int_group(TensorType type);
bool is_int4_group(TensorType type);
inline bool is_int8_group(TensorType type) { return is_int_group(type) && !is_int4_group(type); }

// `type` must be a grouped integer, cols a multiple of its block. Rows may be unaligned.
void dequantize_int_groups(TensorType type, const std::byte* row, int64_t cols, float* out);
// The scale is rounded to `scale_type` (kF32, kF16, kBF16) before it is used, so that a file that
// stores it in that type holds exactly these values. A block with NaN or infinity gets such a
// scale; one whose scale rounds to zero becomes zero.
void quantize_int_groups(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                         std::byte* row);
// The same with one scale for the whole row, repeated in its blocks.
void quantize_int_channel(TensorType type, TensorType scale_type, const float* values, int64_t cols,
                          std::byte* row);

}  // namespace sparrow
