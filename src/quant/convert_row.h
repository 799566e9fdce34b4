#pragma once
// Rows between fp32 and every TensorType, value by value as model_and_formats.md 9.3 and 9.4 say
// (the rules of llama.cpp's ggml-quants.c, so that files are byte-equal). Row bytes may be
// unaligned. Scalar and exact: the oracle for packing and for kernels. Stateless, thread-safe.
//
//   std::vector<std::byte> row(tensor_row_bytes(type, cols));
//   quantize_row(type, values, cols, row.data());

#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/tensor_type.h"

namespace sparrow {

// cols must be a multiple of the type's block.
void dequantize_row(TensorType type, const std::byte* row, int64_t cols, float* out);
// Types whose can_quantize() is true; any other ends the program.
void quantize_row(TensorType type, const float* values, int64_t cols, std::byte* row);

bool can_quantize(TensorType type);

// Index of the first element that is NaN or infinite (for block types: of the first block with a
// scale or minimum that is), or -1. `bytes` is a whole number of blocks.
int64_t first_non_finite(TensorType type, std::span<const std::byte> bytes);

}  // namespace sparrow
