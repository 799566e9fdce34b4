#pragma once
// Products for every card, format, shape and alignment: one warp an output, its lanes stride over
// the inputs, up to kSimpleRows rows of x at a time. The sum of a row of x has one order, whatever
// the other rows are.

#include <algorithm>

#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/linear/linear_epilogue.cuh"
#include "kernels/cuda/linear/weight_at.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

constexpr int kSimpleRows = 8;
constexpr int kSimpleWarps = 4;
constexpr int kMaxGridY = 65535;

template <GpuWeightFormat kFormat, typename X>
__global__ void __launch_bounds__(kSimpleWarps* kWarpSize) simple_linear_kernel(LinearArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int row =
      static_cast<int>(blockIdx.x) * kSimpleWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  if (row >= args.matrix.rows) return;
  const int cols = args.matrix.cols;
  const int step = static_cast<int>(gridDim.y) * kSimpleRows;
  for (int first = static_cast<int>(blockIdx.y) * kSimpleRows; first < args.num_rows;
       first += step) {
    const int count = min(kSimpleRows, args.num_rows - first);
    const X* x = static_cast<const X*>(args.x) + int64_t{first} * cols;
    float sums[kSimpleRows] = {};
    for (int k = lane; k < cols; k += kWarpSize) {
      const float weight = weight_at<kFormat>(args.matrix, row, k);
#pragma unroll
      for (int i = 0; i < kSimpleRows; ++i) {
        if (i < count) sums[i] = fmaf(to_float(x[int64_t{i} * cols + k]), weight, sums[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kSimpleRows; ++i) {
      if (i >= count) break;
      const float sum = warp_sum(sums[i]);
      if (lane == 0) write_linear(args, first + i, row, sum);
    }
  }
}

template <GpuWeightFormat kFormat, typename X>
__global__ void __launch_bounds__(kSimpleWarps* kWarpSize)
    simple_gated_kernel(GatedLinearArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int row =
      static_cast<int>(blockIdx.x) * kSimpleWarps + static_cast<int>(threadIdx.x) / kWarpSize;
  if (row >= args.gate.rows) return;
  const int cols = args.gate.cols;
  const int step = static_cast<int>(gridDim.y) * kSimpleRows;
  for (int first = static_cast<int>(blockIdx.y) * kSimpleRows; first < args.num_rows;
       first += step) {
    const int count = min(kSimpleRows, args.num_rows - first);
    const X* x = static_cast<const X*>(args.x) + int64_t{first} * cols;
    float gates[kSimpleRows] = {};
    float ups[kSimpleRows] = {};
    for (int k = lane; k < cols; k += kWarpSize) {
      const float gate = weight_at<kFormat>(args.gate, row, k);
      const float up = weight_at<kFormat>(args.up, row, k);
#pragma unroll
      for (int i = 0; i < kSimpleRows; ++i) {
        if (i >= count) break;
        const float value = to_float(x[int64_t{i} * cols + k]);
        gates[i] = fmaf(value, gate, gates[i]);
        ups[i] = fmaf(value, up, ups[i]);
      }
    }
#pragma unroll
    for (int i = 0; i < kSimpleRows; ++i) {
      if (i >= count) break;
      const float gate = warp_sum(gates[i]);
      const float up = warp_sum(ups[i]);
      if (lane == 0) write_gated<X>(args, first + i, row, gate, up);
    }
  }
}

inline dim3 simple_grid(int rows, int num_rows) {
  const int tiles = (num_rows + kSimpleRows - 1) / kSimpleRows;
  return dim3{static_cast<unsigned>((rows + kSimpleWarps - 1) / kSimpleWarps),
              static_cast<unsigned>(std::min(tiles, kMaxGridY))};
}

template <GpuWeightFormat kFormat, typename X>
void launch_simple(GpuStream stream, const LinearArgs& args) {
  launch(stream, simple_grid(args.matrix.rows, args.num_rows), dim3{kSimpleWarps * kWarpSize}, 0,
         simple_linear_kernel<kFormat, X>, args);
}

template <GpuWeightFormat kFormat, typename X>
void launch_simple(GpuStream stream, const GatedLinearArgs& args) {
  launch(stream, simple_grid(args.gate.rows, args.num_rows), dim3{kSimpleWarps * kWarpSize}, 0,
         simple_gated_kernel<kFormat, X>, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
