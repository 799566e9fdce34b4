#pragma once
// Arithmetic of the samplers. What decides which id is taken has the CPU's bits: every operation is
// named, so that nvcc fuses none. Sums of weights are doubles and exact integers, because ids are
// chosen by them: a double per weight costs a consumer card (2 a clock and SM) some 2 us a row
// spread over its SMs, where fp32 would lose the last 20 of 44 bits.

#include "kernels/cuda/gpu_compiler.h"
#include "kernels/cuda/gpu_sampling.h"
#include "kernels/exp_constants.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

using Word = unsigned long long;  // what CUDA's 64-bit atomics take

// That of kernels/scalar/scalar_math.h.
__device__ __forceinline__ float exponential(float x) {
  constexpr float kHigh = kExpHigh, kLow = kExpLow;
  constexpr float kPoly0 = kExpPoly[0], kPoly1 = kExpPoly[1], kPoly2 = kExpPoly[2];
  constexpr float kPoly3 = kExpPoly[3], kPoly4 = kExpPoly[4], kPoly5 = kExpPoly[5];
  const float clamped = kHigh < x ? kHigh : x;
  const float shifted = fmaf(clamped, kExpLog2E, kExpMagic);
  const float n = __fsub_rn(shifted, kExpMagic);
  const float r = fmaf(n, kExpLn2Low, fmaf(n, kExpLn2High, clamped));
  float p = fmaf(kPoly0, r, kPoly1);
  p = fmaf(p, r, kPoly2);
  p = fmaf(p, r, kPoly3);
  p = fmaf(p, r, kPoly4);
  p = fmaf(p, r, kPoly5);
  const float y = __fadd_rn(fmaf(p, __fmul_rn(r, r), r), 1.0f);
  const unsigned exponent = __float_as_uint(shifted) - kExpMagicBits;
  const float power = __uint_as_float((exponent + 127u) << 23);
  return x < kLow ? 0.0f : __fmul_rn(y, power);
}

// In [0, 1]; never subnormal.
__device__ __forceinline__ float weight_of(float logit, float maximum, float inverse_temperature) {
  return exponential(__fmul_rn(__fsub_rn(logit, maximum), inverse_temperature));
}

// random_uniform() of base/random.h.
__device__ __forceinline__ Word mix_bits(Word value) {
  value += 0x9E3779B97F4A7C15ull;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
  return value ^ (value >> 31);
}
__device__ __forceinline__ double uniform_number(Word seed, Word stream, Word counter) {
  const Word bits = mix_bits(mix_bits(mix_bits(seed) ^ stream) ^ counter);
  return static_cast<double>(bits >> 11) * 0x1.0p-53;
}

// Keys: the larger is the better, the lower id on ties. The lowest 20 bits name the id; above them
// lie 32 bits in the order of a logit, or the 30 bits of a weight, which its bit pattern orders.
constexpr int kIdBits = 20;
constexpr Word kIdMask = (Word{1} << kIdBits) - 1;
constexpr Word kNoKey = 0;
constexpr Word kNotFiniteKey = ~Word{0};
constexpr unsigned kOrderedForbidden = 0x007fffffu;  // of -infinity

__device__ __forceinline__ int id_of(Word key) {
  return static_cast<int>(kIdMask - (key & kIdMask));
}
__device__ __forceinline__ Word weight_key(unsigned weight_bits, int id) {
  return static_cast<Word>(weight_bits) << kIdBits | (kIdMask - static_cast<Word>(id));
}
__device__ __forceinline__ Word logit_key(float logit, int id) {
  const unsigned bits = logit == 0.0f ? 0u : __float_as_uint(logit);  // -0 is 0
  const unsigned ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return static_cast<Word>(ordered) << kIdBits | (kIdMask - static_cast<Word>(id));
}
__device__ __forceinline__ unsigned ordered_of(Word key) {
  return static_cast<unsigned>(key >> kIdBits);
}
__device__ __forceinline__ float logit_of(Word key) {
  const unsigned ordered = ordered_of(key);
  return __uint_as_float(ordered >> 31 != 0 ? ordered & 0x7fffffffu : ~ordered);
}

// Over a warp; every lane gets the result.
__device__ __forceinline__ Word warp_max_key(Word key) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const Word other = __shfl_xor_sync(kFullWarp, key, offset);
    key = other > key ? other : key;
  }
  return key;
}
__device__ __forceinline__ unsigned warp_max_bits(unsigned bits) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    const unsigned other = __shfl_xor_sync(kFullWarp, bits, offset);
    bits = other > bits ? other : bits;
  }
  return bits;
}
__device__ __forceinline__ double warp_sum_double(double value) {
  for (int offset = kWarpSize / 2; offset > 0; offset /= 2) {
    value += __shfl_xor_sync(kFullWarp, value, offset);
  }
  return value;
}
// The sum of this lane's and all lower lanes' values.
template <typename T>
__device__ __forceinline__ T warp_prefix_sum(T value) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  for (int offset = 1; offset < kWarpSize; offset *= 2) {
    const T other = __shfl_up_sync(kFullWarp, value, offset);
    if (lane >= offset) value += other;
  }
  return value;
}

// The best of `size` keys in global memory; `shared` holds one a warp. Every thread gets it.
__device__ __forceinline__ Word block_best_key(const Word* keys, int size, Word* shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int num_threads = static_cast<int>(blockDim.x);
  Word best = kNoKey;
  for (int i = thread; i < size; i += num_threads) best = keys[i] > best ? keys[i] : best;
  best = warp_max_key(best);
  if (thread % kWarpSize == 0) shared[thread / kWarpSize] = best;
  __syncthreads();
  for (int i = 0; i < num_threads / kWarpSize; ++i) best = shared[i] > best ? shared[i] : best;
  return best;
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
