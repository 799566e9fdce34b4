#pragma once
// Reading weights of every format in a kernel, one at a time: the simple way that every card has
// and the faster ones are tested against.

#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/linear/int4_order.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

template <GpuWeightFormat kFormat>
__device__ __forceinline__ float weight_at(const GpuMatrix& matrix, int64_t row, int col) {
  const int64_t index = row * matrix.cols + col;
  if constexpr (kFormat == GpuWeightFormat::kBF16) {
    return to_float(static_cast<const BF16*>(matrix.values)[index]);
  } else if constexpr (kFormat == GpuWeightFormat::kF16) {
    return to_float(static_cast<const F16*>(matrix.values)[index]);
  } else {
    const int64_t group = index / matrix.group;
    const float scale = matrix.has_f32_scales
                            ? static_cast<const float*>(matrix.scales)[group]
                            : to_float(static_cast<const F16*>(matrix.scales)[group]);
    if constexpr (kFormat == GpuWeightFormat::kInt8) {
      return scale * static_cast<float>(static_cast<const int8_t*>(matrix.values)[index]);
    } else {
      const uint32_t word = static_cast<const uint32_t*>(matrix.values)[index / 8];
      const int code = static_cast<int>(word >> (4 * gpu_int4_nibble_position(col)) & 15u);
      const int zero = matrix.zeros != nullptr ? matrix.zeros[group] : 8;
      return scale * static_cast<float>(code - zero);
    }
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
