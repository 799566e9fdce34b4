#pragma once
// One row into and out of a strip (strip_layout.h): what PackedMatrix does row by row. Values are
// kept exactly. Stateless; different rows of one strip may be packed by different threads.

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "quant/tensor_type.h"

namespace sparrow {

// Packs `cols` values of `row`, unaligned and of a type whose packed format is `format`. Returns
// the first block of the row with a scale or minimum that is not finite, or -1.
int64_t pack_strip_row(WeightFormat format, TensorType type, const std::byte* row, int64_t cols,
                       int64_t lane, uint8_t* strip);

// As above for kI8Row, of a type of 8-bit groups that divide the row. Returns the first block whose
// scale is not finite or not that of the row.
int64_t pack_one_scale_row(TensorType type, const std::byte* row, int64_t cols, int64_t lane,
                           uint8_t* strip);

void unpack_strip_row(WeightFormat format, const uint8_t* strip, int64_t lane, int64_t cols,
                      float* out);

}  // namespace sparrow
