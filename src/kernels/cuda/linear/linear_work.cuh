#pragma once
// LinearWork: what every kernel of a product gets, and how it reads one weight and writes one
// result. For this folder.

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/linear/int4_order.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// LinearArgs, or GatedLinearArgs with `matrix` as the gate.
struct LinearWork {
  GpuMatrix matrix;
  GpuMatrix up;
  const void* x = nullptr;
  InputNorm norm;
  LinearCard card;
  GpuFloat x_type = GpuFloat::kBF16;
  int32_t num_rows = 0;  // of x
  const float* bias = nullptr;
  void* out = nullptr;
  int32_t out_stride = 0;
  bool add_to_out = false;
  bool is_gated = false;
  LinearTiles tiles = LinearTiles::kByRows;
};

// One source each; choose_linear_kernel() says which fits.
void run_few_rows(GpuStream stream, const LinearWork& work);
void run_few_rows_rope(GpuStream stream, const LinearWork& work, const RopeStoreArgs& rope);
void run_row_dots(GpuStream stream, const LinearWork& work);
void run_row_dots_by_value(GpuStream stream, const LinearWork& work);
void run_tiles(GpuStream stream, const LinearWork& work);
void run_matrix_units(GpuStream stream, const LinearWork& work);

// (word >> shift_of_nibble(i)) & 15 is input i of the 8 in an int4 word.
__host__ __device__ constexpr int shift_of_nibble(int i) { return 4 * gpu_int4_nibble_position(i); }

__device__ __forceinline__ float scale_at(const GpuMatrix& matrix, int64_t index) {
  if (matrix.has_f32_scales) return static_cast<const float*>(matrix.scales)[index];
  return to_float(static_cast<const F16*>(matrix.scales)[index]);
}

__device__ __forceinline__ int zero_at(const GpuMatrix& matrix, int64_t index) {
  return matrix.zeros != nullptr ? matrix.zeros[index] : 8;
}

// The integer or the plain value, and what it is to be multiplied with.
struct Weight {
  float value;
  float scale;
};
__device__ __forceinline__ Weight weight_at(const GpuMatrix& matrix, int64_t row, int k) {
  const int64_t cols = matrix.cols;
  const int64_t at = row * cols + k;
  if (matrix.format == GpuWeightFormat::kBF16) {
    return {to_float(static_cast<const BF16*>(matrix.values)[at]), 1.0f};
  }
  if (matrix.format == GpuWeightFormat::kF16) {
    return {to_float(static_cast<const F16*>(matrix.values)[at]), 1.0f};
  }
  const int64_t index = row * (cols / matrix.group) + k / matrix.group;
  const float scale = scale_at(matrix, index);
  if (matrix.format == GpuWeightFormat::kInt8) {
    return {static_cast<float>(static_cast<const int8_t*>(matrix.values)[at]), scale};
  }
  const unsigned word = static_cast<const unsigned*>(matrix.values)[at / 8];
  const int nibble = static_cast<int>(word >> shift_of_nibble(k % 8) & 15u);
  return {static_cast<float>(nibble - zero_at(matrix, index)), scale};
}

// Result `sum` of x row t and weight row r.
__device__ __forceinline__ void store_sum(const LinearWork& work, int t, int r, float sum) {
  if (work.bias != nullptr) sum += work.bias[r];
  float* out = static_cast<float*>(work.out) + int64_t{t} * work.out_stride + r;
  *out = work.add_to_out ? *out + sum : sum;
}

template <typename X>
__device__ __forceinline__ void store_gated(const LinearWork& work, int t, int r, float gate,
                                            float up) {
  const float silu = gate / (1.0f + expf(-gate));
  from_float(silu * up, static_cast<X*>(work.out)[int64_t{t} * work.out_stride + r]);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
