#pragma once
// The 16-bit floats in kernels: stored as uint16_t, computed as fp32. Rounded to nearest even on
// the card and on the twin alike, so both give the same bits.

#include "kernels/cuda/gpu_compiler.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#else
#include "tensor/half.h"
#endif

namespace sparrow::SPARROW_GPU_NAMESPACE {

struct BF16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

#ifdef __CUDACC__
__device__ __forceinline__ float to_float(BF16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}
__device__ __forceinline__ float to_float(F16 value) {
  return __half2float(__ushort_as_half(value.bits));
}
__device__ __forceinline__ void from_float(float value, BF16& out) {
  out.bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
}
__device__ __forceinline__ void from_float(float value, F16& out) {
  out.bits = __half_as_ushort(__float2half_rn(value));
}
#else
inline float to_float(BF16 value) { return float_from_bf16(value.bits); }
inline float to_float(F16 value) { return float_from_f16(value.bits); }
inline void from_float(float value, BF16& out) { out.bits = bf16_from_float(value); }
inline void from_float(float value, F16& out) { out.bits = f16_from_float(value); }
#endif

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ void from_float(float value, float& out) { out = value; }

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
