#pragma once
// fp32 -> K-quants: 256 values into one super-block. The rules are those of llama.cpp's
// ggml-quants.c (model_and_formats 9.4): every group searches the scale (and minimum) with the
// least weighted square error, then all are rounded to 6 or 8 bits and the levels chosen again.
//
// Any input is safe. NaN and values whose scale does not fit fp16 give a block whose scale is not
// finite or zeros: callers check the values before and first_non_finite() after. Stateless.

#include "quant/k_blocks.h"

namespace sparrow {

void quantize_q4_k(const float* values, BlockQ4_K& block);
void quantize_q5_k(const float* values, BlockQ5_K& block);
void quantize_q6_k(const float* values, BlockQ6_K& block);

}  // namespace sparrow
