#pragma once
// What becomes of a finished sum, the same in every kernel.

#include "kernels/cuda/gpu_floats.cuh"
#include "kernels/cuda/gpu_linear.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

__device__ __forceinline__ void write_linear(const LinearArgs& args, int token, int row,
                                             float sum) {
  if (args.bias != nullptr) sum += args.bias[row];
  float* out = args.out + int64_t{token} * args.out_stride + row;
  *out = args.add_to_out ? *out + sum : sum;
}

// silu(gate) * up; exact at both ends: expf overflows to infinity, and the quotient is then zero.
template <typename X>
__device__ __forceinline__ void write_gated(const GatedLinearArgs& args, int token, int row,
                                            float gate, float up) {
  const float silu = gate / (1.0f + expf(-gate));
  from_float(silu * up, static_cast<X*>(args.out)[int64_t{token} * args.gate.rows + row]);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
