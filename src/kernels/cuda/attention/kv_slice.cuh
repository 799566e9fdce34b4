#pragma once
// How the attention kernels find and read the paged cache: a slice is 8 neighbouring elements of
// one token's key or value, what a lane loads at once.

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_floats.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

inline constexpr int kMaxHeadDim = 256;
inline constexpr int kSlice = 8;

// Index of a token's row in [num_blocks][Nk][16]: times D in the cache, as it is in the scales.
__device__ __forceinline__ int64_t kv_token(int block, int place, int kv_head,
                                            const GpuHeads& heads) {
  return (int64_t{block} * heads.num_kv_heads + kv_head) * kGpuBlockTokens + place;
}

// Of the token at a position of the sequence whose table begins at block_ids.
__device__ __forceinline__ int64_t kv_token_at(const int32_t* block_ids, int position, int kv_head,
                                               const GpuHeads& heads) {
  return kv_token(block_ids[position / kGpuBlockTokens], position % kGpuBlockTokens, kv_head,
                  heads);
}

__device__ __forceinline__ float to_float(int8_t value) { return static_cast<float>(value); }

// 8 elements as they lie in memory. kAligned: D is a multiple of 8, so a slice is whole and aligned
// to its size; otherwise elements are loaded one by one and those from D on are zero.
template <typename Element, bool kAligned>
struct KvSlice;

template <>
struct KvSlice<BF16, true> {
  uint4 words;
  __device__ __forceinline__ void load(const BF16* row, int begin, int) {
    words = *reinterpret_cast<const uint4*>(row + begin);
  }
  __device__ __forceinline__ void clear() { words = make_uint4(0, 0, 0, 0); }
  __device__ __forceinline__ void unpack(float (&out)[kSlice]) const {
    const unsigned pairs[4] = {words.x, words.y, words.z, words.w};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = __uint_as_float(pairs[i] << 16);
      out[2 * i + 1] = __uint_as_float(pairs[i] & 0xffff0000u);
    }
  }
};

template <>
struct KvSlice<int8_t, true> {
  uint2 words;
  __device__ __forceinline__ void load(const int8_t* row, int begin, int) {
    words = *reinterpret_cast<const uint2*>(row + begin);
  }
  __device__ __forceinline__ void clear() { words = make_uint2(0, 0); }
  __device__ __forceinline__ void unpack(float (&out)[kSlice]) const {
    for (int i = 0; i < 4; ++i) {
      out[i] = to_float(static_cast<int8_t>(words.x >> (8 * i)));
      out[4 + i] = to_float(static_cast<int8_t>(words.y >> (8 * i)));
    }
  }
};

template <typename Element>
struct KvSlice<Element, false> {
  Element elements[kSlice];
  int count;
  __device__ __forceinline__ void load(const Element* row, int begin, int head_dim) {
    count = head_dim - begin;
    for (int i = 0; i < kSlice; ++i) {
      if (i < count) elements[i] = row[begin + i];
    }
  }
  __device__ __forceinline__ void clear() { count = 0; }
  __device__ __forceinline__ void unpack(float (&out)[kSlice]) const {
    for (int i = 0; i < kSlice; ++i) out[i] = i < count ? to_float(elements[i]) : 0.0f;
  }
};

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
