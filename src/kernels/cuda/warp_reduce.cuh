#pragma once
// Sums and maxima over a warp and over a block. The order is fixed by lane and warp number, so the
// same inputs give the same bits in every launch.

#include "kernels/cuda/gpu_compiler.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// Every lane gets the result.
__device__ __forceinline__ float warp_sum(float value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, offset);
  }
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value = fmaxf(value, __shfl_xor_sync(kFullWarp, value, offset));
  }
  return value;
}

// Over a block of whole warps, one dimension. `shared` holds one float a warp, and is free again
// after the next barrier. Every thread gets the result.
__device__ __forceinline__ float block_sum(float value, float* shared) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int num_warps = static_cast<int>(blockDim.x) / kWarpSize;
  value = warp_sum(value);
  if (threadIdx.x % kWarpSize == 0) shared[warp] = value;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < num_warps; ++i) sum += shared[i];
  return sum;
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
