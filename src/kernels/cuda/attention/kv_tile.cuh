#pragma once
// KvTile: 64 neighbouring keys and values of a sequence in shared memory, as x_type, for matrix
// units. What no row of the block sees is zeros there: the cells are not read.
//
// int8: keys stay the integers they are, exact in either type, and the scores are multiplied by the
// tokens' scales; values are multiplied by their scale and rounded once. bf16 in an fp16 tile:
// numbers beyond fp16 become its largest.

#include <algorithm>

#include "kernels/cuda/attention/copy_queue.cuh"
#include "kernels/cuda/attention/kv_slice.cuh"
#include "kernels/cuda/attention/mma_fragments.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

inline constexpr int kTileKeys = 64;
inline constexpr int kTileWarps = 4;
inline constexpr int kTileThreads = kTileWarps * kWarpSize;

// Elements from row to row: 16 bytes more than a row, so that the 8 rows that ldmatrix reads at
// once lie in different banks.
template <int D>
inline constexpr int kTileStride = D + 8;

// The positions of one sequence and KV head that a block reads.
template <typename Element>
struct KvSource {
  const Element* keys;
  const Element* values;
  const float* key_scales;
  const float* value_scales;
  const int32_t* block_ids;
  GpuHeads heads;
  int kv_head;
  int kv_end;

  __device__ __forceinline__ KvSource(const GpuAttentionArgs& args, const AttentionItem& item,
                                      int head, int end)
      : keys(static_cast<const Element*>(args.cache.keys)),
        values(static_cast<const Element*>(args.cache.values)),
        key_scales(args.cache.key_scales),
        value_scales(args.cache.value_scales),
        block_ids(args.block_ids + item.block_begin),
        heads(args.heads),
        kv_head(head),
        kv_end(end) {}
  // -1 past the end.
  __device__ __forceinline__ int64_t token_at(int position) const {
    return position < kv_end ? kv_token_at(block_ids, position, kv_head, heads) : -1;
  }
};

__device__ __forceinline__ float in_range_of(float value, BF16) { return value; }
__device__ __forceinline__ float in_range_of(float value, F16) {
  constexpr float kLargest = 65504.0f;
  return fminf(fmaxf(value, -kLargest), kLargest);
}

template <typename X, int D>
struct KvTile {
  static constexpr size_t kBytes =
      2 * kTileKeys * kTileStride<D> * sizeof(X) + kTileKeys * sizeof(float);

  X* keys;
  X* values;
  float* key_scales;

  __device__ __forceinline__ KvTile() {
    keys = dynamic_shared<X>();
    values = keys + kTileKeys * kTileStride<D>;
    key_scales = reinterpret_cast<float*>(values + kTileKeys * kTileStride<D>);
  }

  template <typename Element>
  __device__ __forceinline__ void stage_keys(const KvSource<Element>& source, int begin,
                                             CopyQueue& queue) {
    if (sizeof(Element) == 1 && threadIdx.x < kTileKeys) {
      const int64_t token = source.token_at(begin + static_cast<int>(threadIdx.x));
      key_scales[threadIdx.x] = token >= 0 ? source.key_scales[token] : 0.0f;
    }
    stage(keys, source.keys, nullptr, source, begin, queue);
  }
  template <typename Element>
  __device__ __forceinline__ void stage_values(const KvSource<Element>& source, int begin,
                                               CopyQueue& queue) {
    stage(values, source.values, sizeof(Element) == 1 ? source.value_scales : nullptr, source,
          begin, queue);
  }

 private:
  template <typename Element>
  __device__ __forceinline__ void stage(X* tile, const Element* cache, const float* scales,
                                        const KvSource<Element>& source, int begin,
                                        CopyQueue& queue) {
    constexpr int kSlices = D / kSlice;  // of a token
    constexpr int kKeysAtOnce = kTileThreads / kSlices;
    const int slice = static_cast<int>(threadIdx.x) % kSlices * kSlice;
    const int first_key = static_cast<int>(threadIdx.x) / kSlices;
    // All of the table first: a copy in between would make each look-up wait for the one before.
    int64_t tokens[kTileKeys / kKeysAtOnce];
#pragma unroll
    for (int i = 0; i < kTileKeys / kKeysAtOnce; ++i) {
      tokens[i] = source.token_at(begin + first_key + i * kKeysAtOnce);
    }
#pragma unroll
    for (int i = 0; i < kTileKeys / kKeysAtOnce; ++i) {
      const int key = first_key + i * kKeysAtOnce;
      const int64_t token = tokens[i];
      const Element* row = cache + max(token, int64_t{0}) * D;
      X* to = tile + key * kTileStride<D> + slice;
      if constexpr (std::is_same_v<X, Element>) {
        queue.copy(to, row + slice, token >= 0);
      } else {
        KvSlice<Element, true> elements;
        elements.clear();
        if (token >= 0) elements.load(row, slice, D);
        const float scale = token >= 0 && scales != nullptr ? scales[token] : 1.0f;
        store_converted(elements, scale, to);
      }
    }
  }
  template <typename Slice>
  __device__ __forceinline__ static void store_converted(const Slice& slice, float scale, X* to) {
    float x[kSlice];
    slice.unpack(x);
    for (float& value : x) value = in_range_of(value * scale, X{});
    *reinterpret_cast<uint4*>(to) = make_uint4(pack_pair<X>(x[0], x[1]), pack_pair<X>(x[2], x[3]),
                                               pack_pair<X>(x[4], x[5]), pack_pair<X>(x[6], x[7]));
  }
};

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
