// y = x W^T, the simple way, on every card and for every format: a warp an output, up to eight rows
// of x at a time, so that a weight is read once for all of them. What the faster kernels are tested
// against.
#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/linear/weight_row.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kWarpsPerBlock = 4;
constexpr int kRowsOfX = 8;

// sums[t] = x[first + t] . W[row], in every lane. The order of a sum depends on nothing but the
// number of columns.
template <GpuWeightFormat kFormat, typename X>
__device__ __forceinline__ void dot_rows(const GpuMatrix& matrix, int64_t row, const X* x,
                                         int num_rows, float (&sums)[kRowsOfX]) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (float& sum : sums) sum = 0;
  for (int col = lane; col < matrix.cols; col += kWarpSize) {
    const float weight = weight_at<kFormat>(matrix, row, col);
#pragma unroll
    for (int t = 0; t < kRowsOfX; ++t) {
      if (t < num_rows)
        sums[t] = fmaf(to_float(x[int64_t{t} * matrix.cols + col]), weight, sums[t]);
    }
  }
  for (float& sum : sums) sum = warp_sum(sum);
}

// The output this warp computes; those beyond the matrix have none.
__device__ __forceinline__ int64_t row_of_warp() {
  return int64_t{blockIdx.x} * kWarpsPerBlock + static_cast<int>(threadIdx.x) / kWarpSize;
}

template <GpuWeightFormat kFormat, typename X>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpSize) simple_linear_kernel(LinearArgs args) {
  const int64_t row = row_of_warp();
  if (row >= args.matrix.rows) return;
  const int first = static_cast<int>(blockIdx.y) * kRowsOfX;
  const int num_rows = min(kRowsOfX, args.num_rows - first);
  float sums[kRowsOfX];
  dot_rows<kFormat>(args.matrix, row,
                    static_cast<const X*>(args.x) + int64_t{first} * args.matrix.cols, num_rows,
                    sums);
  if (threadIdx.x % kWarpSize != 0) return;
  const float bias = args.bias != nullptr ? args.bias[row] : 0.0f;
#pragma unroll
  for (int t = 0; t < kRowsOfX; ++t) {
    if (t >= num_rows) continue;
    float* out = args.out + int64_t{first + t} * args.out_stride + row;
    const float value = sums[t] + bias;
    *out = args.add_to_out ? *out + value : value;
  }
}

template <GpuWeightFormat kFormat, typename X>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarpSize)
    simple_gated_linear_kernel(GatedLinearArgs args) {
  const int64_t row = row_of_warp();
  if (row >= args.gate.rows) return;
  const int first = static_cast<int>(blockIdx.y) * kRowsOfX;
  const int num_rows = min(kRowsOfX, args.num_rows - first);
  const X* x = static_cast<const X*>(args.x) + int64_t{first} * args.gate.cols;
  float gate[kRowsOfX], up[kRowsOfX];
  dot_rows<kFormat>(args.gate, row, x, num_rows, gate);
  dot_rows<kFormat>(args.up, row, x, num_rows, up);
  if (threadIdx.x % kWarpSize != 0) return;
#pragma unroll
  for (int t = 0; t < kRowsOfX; ++t) {
    if (t >= num_rows) continue;
    X* out = static_cast<X*>(args.out) + int64_t{first + t} * args.gate.rows + row;
    from_float(gate[t] / (1.0f + expf(-gate[t])) * up[t], *out);
  }
}

dim3 grid_of(int32_t rows, int32_t num_rows) {
  return {static_cast<unsigned>((rows + kWarpsPerBlock - 1) / kWarpsPerBlock),
          static_cast<unsigned>((num_rows + kRowsOfX - 1) / kRowsOfX), 1};
}

template <GpuWeightFormat kFormat, typename X>
void launch_kernel(GpuStream stream, const LinearArgs& args) {
  launch(stream, grid_of(args.matrix.rows, args.num_rows), dim3{kWarpsPerBlock * kWarpSize}, 0,
         simple_linear_kernel<kFormat, X>, args);
}
template <GpuWeightFormat kFormat, typename X>
void launch_kernel(GpuStream stream, const GatedLinearArgs& args) {
  launch(stream, grid_of(args.gate.rows, args.num_rows), dim3{kWarpsPerBlock * kWarpSize}, 0,
         simple_gated_linear_kernel<kFormat, X>, args);
}

template <typename X, typename Args>
void launch_for(GpuStream stream, GpuWeightFormat format, const Args& args) {
  switch (format) {
    case GpuWeightFormat::kBF16:
      return launch_kernel<GpuWeightFormat::kBF16, X>(stream, args);
    case GpuWeightFormat::kF16:
      return launch_kernel<GpuWeightFormat::kF16, X>(stream, args);
    case GpuWeightFormat::kInt8:
      return launch_kernel<GpuWeightFormat::kInt8, X>(stream, args);
    case GpuWeightFormat::kInt4:
      return launch_kernel<GpuWeightFormat::kInt4, X>(stream, args);
  }
}

template <typename Args>
void launch_any(GpuStream stream, GpuWeightFormat format, const Args& args) {
  if (args.num_rows == 0) return;
  if (args.x_type == GpuFloat::kBF16) {
    launch_for<BF16>(stream, format, args);
  } else {
    launch_for<F16>(stream, format, args);
  }
}

}  // namespace

void linear(GpuStream stream, const LinearArgs& args) {
  launch_any(stream, args.matrix.format, args);
}

void gated_linear(GpuStream stream, const GatedLinearArgs& args) {
  launch_any(stream, args.gate.format, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
