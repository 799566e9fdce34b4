// Merges the partial results of rows whose positions were split over several items (Milakov,
// Gimelshein 2018), always in index order: one warp a head of a row.
#include "kernels/cuda/attention/attention_result.cuh"
#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kWarps = 4;
constexpr int kMaxDims = kGpuMaxHeadDim / kWarpSize;  // of a lane

template <typename X>
__global__ void __launch_bounds__(kWarps* kWarpSize)
    attention_combine_kernel(const GpuAttentionArgs args) {
  start_after_earlier_kernels();
  const AttentionCombineItem item = args.combine[blockIdx.x];
  const int64_t num_heads = args.heads.num_heads, head_dim = args.heads.head_dim;
  const int head =
      static_cast<int>(blockIdx.y) * kWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  if (item.row < 0 || head >= num_heads) return;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  // Loads of several partials at once: one after the other they were most of the time.
  float maximum = minus_infinity();
#pragma unroll 8
  for (int p = 0; p < item.num_partials; ++p) {
    const int64_t partial = item.first_partial + int64_t{p} * item.stride;
    maximum = fmaxf(maximum, args.partial_max[partial * num_heads + head]);
  }
  float sum = 0;
  float values[kMaxDims] = {};
#pragma unroll 4
  for (int p = 0; p < item.num_partials; ++p) {
    const int64_t index = (item.first_partial + int64_t{p} * item.stride) * num_heads + head;
    const float weight = weight_of(args.partial_max[index], maximum);
    sum = fmaf(args.partial_sum[index], weight, sum);
#pragma unroll
    for (int i = 0; i < kMaxDims; ++i) {
      const int dim = lane + i * kWarpSize;
      if (dim < head_dim) {
        values[i] = fmaf(args.partial_out[index * head_dim + dim], weight, values[i]);
      }
    }
  }
  X* out = static_cast<X*>(args.out) + (item.row * num_heads + head) * head_dim;
#pragma unroll
  for (int i = 0; i < kMaxDims; ++i) {
    const int dim = lane + i * kWarpSize;
    if (dim < head_dim) from_float(values[i] * inverse_of_sum(sum), out[dim]);
  }
}

}  // namespace

void attention_combine(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.num_combine == 0) return;
  const dim3 grid{static_cast<unsigned>(args.num_combine),
                  static_cast<unsigned>((args.heads.num_heads + kWarps - 1) / kWarps)};
  if (args.x_type == GpuFloat::kBF16) {
    launch_overlapped(stream, grid, dim3{kWarps * kWarpSize}, 0, attention_combine_kernel<BF16>,
                      args);
  } else {
    launch_overlapped(stream, grid, dim3{kWarps * kWarpSize}, 0, attention_combine_kernel<F16>,
                      args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
