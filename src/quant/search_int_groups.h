#pragma once
// fp32 -> 4-bit groups (int_group_blocks.h) with the scale that costs least, instead of max|x| /
// 7.5: for every group the sum of weight * (result - value)^2 is computed for 32 scales, max|x|
// over 6.5 to 10.25 in both signs, and the smallest is kept (the first of equals). A negative scale
// turns the range round, so that -8, which has no counterpart, serves a group whose largest value
// is positive, as in Q4_0. What readers compute, scale * (q - 8), does not change.
//
// Weights: how much an input matters, usually its mean square over a text (the diagonal of the
// Hessian of the squared output error; Nagel et al. 2020, arXiv:2004.10568). Stateless,
// thread-safe.

#include <cstddef>
#include <cstdint>

#include "quant/tensor_type.h"

namespace sparrow {

// As quantize_int_groups() otherwise. `type` is one of kI4G*; `weights` [cols], finite and not
// negative, or null: all 1.
void search_int4_groups(TensorType type, TensorType scale_type, const float* values,
                        const float* weights, int64_t cols, std::byte* row);

}  // namespace sparrow
