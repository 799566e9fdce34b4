#pragma once
// Rotary embeddings (Su et al. 2021) of one pair, elements i and i + D/2 of a head, and where
// rope_store.cu and the QKV product put it.

#include "kernels/cuda/attention/kv_slice.cuh"
#include "kernels/cuda/gpu_floats.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

// q * cos + rotate_half(q) * sin, each product and sum rounded, as transformers computes it.
__device__ __forceinline__ void rotate_pair(float& low, float& high, float cosine, float sine) {
  const float rotated = __fsub_rn(__fmul_rn(low, cosine), __fmul_rn(high, sine));
  high = __fadd_rn(__fmul_rn(high, cosine), __fmul_rn(low, sine));
  low = rotated;
}

// Head `head` of q, k and v one after the other: which of them it is.
__device__ __forceinline__ bool is_value_head(const GpuHeads& heads, int head) {
  return head >= heads.num_heads + heads.num_kv_heads;
}

// The head's first element in a cache; head >= num_heads.
__device__ __forceinline__ int64_t cached_head(const GpuHeads& heads, int head, int cell) {
  const int kv_head =
      head - heads.num_heads - (is_value_head(heads, head) ? heads.num_kv_heads : 0);
  return kv_token(cell / kGpuBlockTokens, cell % kGpuBlockTokens, kv_head, heads);
}

// A pair as it is stored, in a cache of bf16.
template <typename X>
__device__ __forceinline__ void store_pair(const RopeStoreArgs& args, int row, int head, int i,
                                           int cell, float low, float high) {
  const GpuHeads& heads = args.heads;
  const int half = heads.head_dim / 2;
  if (head < heads.num_heads) {
    X* q = static_cast<X*>(args.q_out) + (int64_t{row} * heads.num_heads + head) * heads.head_dim;
    from_float(low, q[i]);
    from_float(high, q[half + i]);
    return;
  }
  void* cache = is_value_head(heads, head) ? args.cache.values : args.cache.keys;
  BF16* out = static_cast<BF16*>(cache) + cached_head(heads, head, cell) * heads.head_dim;
  from_float(low, out[i]);
  from_float(high, out[half + i]);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
