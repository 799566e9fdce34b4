#pragma once
// QuantizedMatrix: one matrix of an AWQ, GPTQ or compressed-tensors file as it lies there, and its
// conversion to the row blocks of quant/int_group_blocks.h. Values do not change: integers are
// moved, scales become fp32, a scale of a longer group is repeated. Where inputs are assigned to
// groups freely (act order), or an 8-bit zero point is not the middle of the range, no block can
// hold them: such a matrix becomes plain F32, which is exact and four or eight times as large.
//
// Owns nothing but the group list; the spans are of a mapping and may be unaligned. Single thread.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "model/files/hf_quantization.h"
#include "quant/tensor_type.h"

namespace sparrow {

struct QuantizedMatrix {
  QuantizationLayout layout = QuantizationLayout::kAwq;
  int bits = 4;
  bool zeros_minus_one = false;
  int64_t rows = 0;        // outputs
  int64_t cols = 0;        // inputs
  int64_t group_size = 0;  // inputs that share a scale on disk; divides cols
  std::span<const std::byte> weights;
  std::span<const std::byte> zeros;  // empty: the middle of the range
  std::span<const std::byte> scales;
  TensorType scale_type = TensorType::kF16;
  std::vector<int32_t> group_of_input;  // only where it is not input / group_size; checked
  // The integers are those of Q4_0 with its scales: groups of 32 around 8, each scale an exact
  // fp16. A bit per weight less than kI4G32, and the faster products.
  bool is_q4_0 = false;
  bool free_zeros = false;  // 8 bit: set by has_free_zeros()

  int64_t num_groups() const { return cols / group_size; }
  bool becomes_floats() const { return free_zeros || !group_of_input.empty(); }
  // 8-bit rows whose blocks all carry the same scale.
  bool one_scale_per_row() const { return bits == 8 && num_groups() == 1 && !becomes_floats(); }
  // The row format convert_matrix() writes; group_size must be a multiple of 32.
  TensorType block_type() const;
};

// Whether is_q4_0 may be set. Reads every scale.
bool has_q4_0_values(const QuantizedMatrix& matrix);

// Whether a zero point of an 8-bit matrix is not the middle of the range.
bool has_free_zeros(const QuantizedMatrix& matrix);
// `out` is rows * tensor_row_bytes(block_type(), cols) bytes; every byte is written.
void convert_matrix(const QuantizedMatrix& matrix, std::byte* out);

}  // namespace sparrow
