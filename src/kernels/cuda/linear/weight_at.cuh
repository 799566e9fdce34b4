#pragma once
// One weight of a GpuMatrix as fp32, whatever its format and alignment.

#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/linear/int4_order.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// The scale of group `index`, counted over the whole matrix.
__device__ __forceinline__ float scale_of_group(const GpuMatrix& matrix, int64_t index) {
  if (matrix.has_f32_scales) return static_cast<const float*>(matrix.scales)[index];
  return to_float(static_cast<const F16*>(matrix.scales)[index]);
}

__device__ __forceinline__ int zero_of_group(const GpuMatrix& matrix, int64_t index) {
  return matrix.zeros != nullptr ? matrix.zeros[index] : 8;
}

__device__ __forceinline__ int64_t group_of(const GpuMatrix& matrix, int64_t row, int k) {
  return row * (matrix.cols / matrix.group) + k / matrix.group;
}

template <GpuWeightFormat kFormat>
__device__ __forceinline__ float weight_at(const GpuMatrix& matrix, int64_t row, int k) {
  const int64_t index = row * matrix.cols + k;
  if constexpr (kFormat == GpuWeightFormat::kBF16) {
    return to_float(static_cast<const BF16*>(matrix.values)[index]);
  } else if constexpr (kFormat == GpuWeightFormat::kF16) {
    return to_float(static_cast<const F16*>(matrix.values)[index]);
  } else if constexpr (kFormat == GpuWeightFormat::kInt8) {
    const int value = static_cast<const int8_t*>(matrix.values)[index];
    return static_cast<float>(value) * scale_of_group(matrix, group_of(matrix, row, k));
  } else {
    const int nibble = gpu_int4_nibble_position(k % 8);
    const auto* bytes = static_cast<const uint8_t*>(matrix.values) + (index - k % 8) / 2;
    const int value = bytes[nibble / 2] >> (nibble % 2 * 4) & 15;
    const int64_t group = group_of(matrix, row, k);
    return static_cast<float>(value - zero_of_group(matrix, group)) * scale_of_group(matrix, group);
  }
}

// Calls function.template operator()<format>() for the format of a matrix: host side.
template <typename Function>
void with_weight_format(GpuWeightFormat format, const Function& function) {
  switch (format) {
    case GpuWeightFormat::kBF16:
      return function.template operator()<GpuWeightFormat::kBF16>();
    case GpuWeightFormat::kF16:
      return function.template operator()<GpuWeightFormat::kF16>();
    case GpuWeightFormat::kInt8:
      return function.template operator()<GpuWeightFormat::kInt8>();
    case GpuWeightFormat::kInt4:
      return function.template operator()<GpuWeightFormat::kInt4>();
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
