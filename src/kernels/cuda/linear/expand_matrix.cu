// Integers times scales as 16-bit floats: bound by memory, eight values a thread, which lie in one
// group (groups are multiples of 32).
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/linear_work.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;

template <typename X>
__device__ __forceinline__ unsigned pair_of(float low, float high) {
  X low_half, high_half;
  from_float(low, low_half);
  from_float(high, high_half);
  return low_half.bits | static_cast<unsigned>(high_half.bits) << 16;
}

template <typename X, bool kInt4>
__global__ void __launch_bounds__(kThreads) expand_kernel(const GpuMatrix matrix, X* out) {
  const int k = (static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x)) * kPiece;
  if (k >= matrix.cols) return;
  const int64_t row = static_cast<int>(blockIdx.x);
  const int64_t at = row * matrix.cols + k;
  const int64_t group = row * (matrix.cols / matrix.group) + k / matrix.group;
  const float scale = scale_at(matrix, group);
  float values[kPiece];
  if constexpr (kInt4) {
    const unsigned word = static_cast<const unsigned*>(matrix.values)[at / kPiece];
    const int zero = zero_at(matrix, group);
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      const int nibble = static_cast<int>(word >> shift_of_nibble(i) & 15u);
      values[i] = static_cast<float>(nibble - zero) * scale;
    }
  } else {
    const uint2 words = static_cast<const uint2*>(matrix.values)[at / kPiece];
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      const unsigned word = i < 4 ? words.x : words.y;
      const auto value = static_cast<int8_t>(word >> (8 * (i % 4)) & 0xffu);
      values[i] = static_cast<float>(value) * scale;
    }
  }
  *reinterpret_cast<uint4*>(out + at) =
      make_uint4(pair_of<X>(values[0], values[1]), pair_of<X>(values[2], values[3]),
                 pair_of<X>(values[4], values[5]), pair_of<X>(values[6], values[7]));
}

template <typename X>
void launch_for(GpuStream stream, const ExpandMatrixArgs& args) {
  constexpr int kPerBlock = kThreads * kPiece;
  // Rows first: only that dimension of a grid may pass 65,535.
  const dim3 grid{static_cast<unsigned>(args.matrix.rows),
                  static_cast<unsigned>((args.matrix.cols + kPerBlock - 1) / kPerBlock)};
  const bool is_int4 = args.matrix.format == GpuWeightFormat::kInt4;
  launch(stream, grid, dim3{kThreads}, 0,
         is_int4 ? expand_kernel<X, true> : expand_kernel<X, false>, args.matrix,
         static_cast<X*>(args.out));
}

}  // namespace

void expand_matrix(GpuStream stream, const ExpandMatrixArgs& args) {
  if (args.type == GpuFloat::kBF16) {
    launch_for<BF16>(stream, args);
  } else {
    launch_for<F16>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
