#pragma once
// Which kernel computes a product, and with it the bits of the result (gpu_linear.h). Pure.

#include <cstdint>

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/linear/few_rows_plan.h"

namespace sparrow {

enum class LinearKernel : uint8_t {
  kFewRows,         // up to 8 rows of x: mma.sync, a block for each multiprocessor
  kRowDots,         // up to 8 rows of x: a warp a row of W, 16-byte loads
  kRowDotsByValue,  // the same a value at a time, for every shape and format
  kTiles,           // any card, format and shape: fp32 on the general cores
  kMatrixUnits,     // mma.sync on sm_80 and newer
};

inline constexpr int32_t kMaxRowDots = 8;
inline constexpr int32_t kMatrixUnitsDepth = 32;  // inputs of one tile

struct LinearShape {
  GpuWeightFormat format = GpuWeightFormat::kBF16;
  int32_t cols = 0;
  int32_t group = 0;
  int32_t num_x_rows = 0;
  GpuFloat x_type = GpuFloat::kBF16;
  bool has_matrix_units = false;
  bool is_aligned = true;  // W and x begin at multiples of 16 bytes
  LinearCard card;
};

// The inputs in 16 bytes of a row.
constexpr int32_t inputs_per_piece(GpuWeightFormat format) {
  if (format == GpuWeightFormat::kInt4) return 32;
  return format == GpuWeightFormat::kInt8 ? 16 : 8;
}

constexpr LinearKernel choose_linear_kernel(const LinearShape& shape) {
  // A piece, and a tile, lies within one group; groups are found by a shift.
  const bool one_group = shape.group == 0 || shape.group == shape.cols;
  const bool power_of_two = shape.group > 0 && (shape.group & (shape.group - 1)) == 0;
  const bool regular = shape.is_aligned && (one_group || (power_of_two && shape.group >= 32));
  // Plain weights of the other 16-bit type are never rounded to that of x; packing avoids the case.
  const GpuFloat plain = shape.format == GpuWeightFormat::kF16 ? GpuFloat::kF16 : GpuFloat::kBF16;
  const bool same_type = shape.group != 0 || plain == shape.x_type;
  if (shape.num_x_rows <= kMaxRowDots) {
    const bool fits = shape.cols % inputs_per_piece(shape.format) == 0 && regular && same_type;
    // Whether it has room for 8 rows: a row's bits must not depend on how many there are.
    const bool has_room = few_rows_shared_bytes(shape.format, shape.cols, kMaxRowDots) <=
                          static_cast<size_t>(shape.card.max_shared_bytes);
    if (fits && shape.has_matrix_units && shape.card.num_sms > 0 && has_room) {
      return LinearKernel::kFewRows;
    }
    return fits ? LinearKernel::kRowDots : LinearKernel::kRowDotsByValue;
  }
  const bool fits = shape.cols % kMatrixUnitsDepth == 0 && regular && same_type;
  return shape.has_matrix_units && fits ? LinearKernel::kMatrixUnits : LinearKernel::kTiles;
}

inline bool is_piece_aligned(const void* memory) {
  return reinterpret_cast<uintptr_t>(memory) % 16 == 0;
}

// Of LinearArgs or GatedLinearArgs, `matrix` being the gate's.
template <typename Args>
LinearShape linear_shape(const Args& args, const GpuMatrix& matrix) {
  LinearShape shape;
  shape.format = matrix.format;
  shape.cols = matrix.cols;
  shape.group = matrix.group;
  shape.num_x_rows = args.num_rows;
  shape.x_type = args.x_type;
  shape.has_matrix_units = args.has_matrix_units;
  shape.is_aligned = is_piece_aligned(args.x) && is_piece_aligned(matrix.values);
  shape.card = args.card;
  return shape;
}
inline LinearShape linear_shape(const LinearArgs& args) { return linear_shape(args, args.matrix); }
inline LinearShape linear_shape(const GatedLinearArgs& args) {
  LinearShape shape = linear_shape(args, args.gate);
  shape.is_aligned = shape.is_aligned && is_piece_aligned(args.up.values);
  return shape;
}

// May args.norm be set, with x null?
template <typename Args>
bool takes_input_norm(const Args& args) {
  return choose_linear_kernel(linear_shape(args)) == LinearKernel::kFewRows;
}

// May linear_rope_store() be called? An int8 cache needs the largest value of a head first.
inline bool takes_rope_store(const LinearArgs& args, const RopeStoreArgs& rope) {
  const int32_t num_heads = rope.heads.num_heads + 2 * rope.heads.num_kv_heads;
  return choose_linear_kernel(linear_shape(args)) == LinearKernel::kFewRows &&
         rope.cache.format == GpuKvFormat::kBF16 &&
         args.matrix.rows == num_heads * rope.heads.head_dim;
}

}  // namespace sparrow
