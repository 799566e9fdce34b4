#pragma once
// Which kernel computes a product, and with it the bits of the result (gpu_linear.h). Pure.

#include <cstdint>

#include "kernels/cuda/gpu_linear.h"

namespace sparrow {

enum class LinearKernel : uint8_t {
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
    return fits ? LinearKernel::kRowDots : LinearKernel::kRowDotsByValue;
  }
  const bool fits = shape.cols % kMatrixUnitsDepth == 0 && regular && same_type;
  return shape.has_matrix_units && fits ? LinearKernel::kMatrixUnits : LinearKernel::kTiles;
}

}  // namespace sparrow
