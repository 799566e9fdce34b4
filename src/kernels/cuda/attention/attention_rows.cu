// Attention of one query row a block, in fp32: the query heads of a KV head share each load of K
// and V. Chunks of 64 keys, counted from the item's first; the softmax is carried from chunk to
// chunk (online softmax, Milakov and Gimelshein 2018). `lanes_per_key` lanes hold a key's slices;
// the same lanes later hold the same slices of V and of the result.
#include "kernels/cuda/attention/attention_launchers.h"
#include "kernels/cuda/attention/attention_merge.cuh"
#include "kernels/cuda/attention/attention_result.cuh"
#include "kernels/cuda/attention/kv_slice.cuh"
#include "kernels/cuda/warp_reduce.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = kWarps * kWarpSize;
constexpr int kChunk = 64;
constexpr int kBatch = 4;  // loads in flight of a thread

// One block's share: a row, a KV head, and up to kHeads of its query heads.
struct RowWork {
  AttentionItem item;
  int row = 0;  // of the item
  int kv_head = 0;
  int first_head = 0;
  int num_heads = 0;
  int kv_end = 0;
};

// A thread's place: keys key, key + keys_per_pass ... of a chunk, elements [8 * slice, ...) of
// each.
struct ThreadPlace {
  int lanes_per_key;
  int slice;
  int key;
  int keys_per_pass;
  bool has_slice;
};

template <int kHeads>
struct RowShared {
  // Two, taken in turns: the scores of the next chunk may come while weights are still read.
  float weights[2][kHeads][kChunk];
  float rescale[kHeads];
  float sums[kHeads];
};

template <typename X, int kHeads, bool kAligned>
__device__ __forceinline__ void load_query(const GpuAttentionArgs& args, const RowWork& work,
                                           const ThreadPlace& place, float (&q)[kHeads][kSlice]) {
  const int head_dim = args.heads.head_dim;
  const float scale = score_scale(head_dim);
  const X* row =
      static_cast<const X*>(args.q) +
      ((int64_t{work.item.first_row} + work.row) * args.heads.num_heads + work.first_head) *
          head_dim;
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kSlice; ++i) {
      const int dim = place.slice * kSlice + i;
      const bool exists = h < work.num_heads && dim < head_dim;
      q[h][i] = exists ? to_float(row[h * head_dim + dim]) * scale : 0.0f;
    }
  }
}

// A lane's slices of kBatch of its keys, from pass `pass` on, and whether each key is seen.
template <typename Element, bool kAligned>
__device__ __forceinline__ void load_batch(const Element* cache, const int64_t (&tokens)[kBatch],
                                           const ThreadPlace& place, int head_dim,
                                           KvSlice<Element, kAligned> (&slices)[kBatch]) {
  for (int b = 0; b < kBatch; ++b) {
    slices[b].clear();
    if (tokens[b] >= 0 && place.has_slice) {
      slices[b].load(cache + tokens[b] * head_dim, place.slice * kSlice, head_dim);
    }
  }
}

// -1 for keys past the end of what is seen: their cells may hold anything and are not read.
__device__ __forceinline__ void find_tokens(const GpuAttentionArgs& args, const RowWork& work,
                                            int chunk, int first_key, const ThreadPlace& place,
                                            int64_t (&tokens)[kBatch]) {
  const int32_t* table = args.block_ids + work.item.block_begin;
  for (int b = 0; b < kBatch; ++b) {
    const int key = first_key + b * place.keys_per_pass;
    const bool seen = key < kChunk && chunk + key < work.kv_end;
    tokens[b] = seen ? kv_token_at(table, chunk + key, work.kv_head, args.heads) : -1;
  }
}

template <typename Element, bool kAligned, int kHeads>
__device__ __forceinline__ void compute_scores(const GpuAttentionArgs& args, const RowWork& work,
                                               int chunk, const ThreadPlace& place,
                                               const float (&q)[kHeads][kSlice],
                                               float (&scores)[kHeads][kChunk]) {
  for (int first = place.key; first < kChunk; first += kBatch * place.keys_per_pass) {
    int64_t tokens[kBatch];
    KvSlice<Element, kAligned> slices[kBatch];
    find_tokens(args, work, chunk, first, place, tokens);
    load_batch(static_cast<const Element*>(args.cache.keys), tokens, place, args.heads.head_dim,
               slices);
    for (int b = 0; b < kBatch; ++b) {
      const int key = first + b * place.keys_per_pass;
      if (key >= kChunk) break;  // of a whole warp at once
      float k[kSlice];
      slices[b].unpack(k);
      float scale = 1.0f;
      if (sizeof(Element) == 1 && tokens[b] >= 0) scale = args.cache.key_scales[tokens[b]];
      for (int h = 0; h < kHeads; ++h) {
        if (h >= work.num_heads) break;
        float score = 0;
        for (int i = 0; i < kSlice; ++i) score = fmaf(q[h][i], k[i], score);
        for (int offset = place.lanes_per_key / 2; offset > 0; offset /= 2) {
          score += __shfl_xor_sync(kFullWarp, score, offset);
        }
        if (place.slice == 0) scores[h][key] = tokens[b] >= 0 ? score * scale : minus_infinity();
      }
    }
  }
}

// Warp w turns the scores of heads w, w + 4 into weights and carries their maximum and sum.
template <int kHeads>
__device__ __forceinline__ void update_softmax(const RowWork& work, const GpuAttentionArgs& args,
                                               int chunk, RowShared<kHeads>& shared,
                                               float (&scores)[kHeads][kChunk],
                                               float (&maxima)[(kHeads + kWarps - 1) / kWarps],
                                               float (&sums)[(kHeads + kWarps - 1) / kWarps]) {
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const bool has_scales = args.cache.format == GpuKvFormat::kInt8;
  const int32_t* table = args.block_ids + work.item.block_begin;
  for (int n = 0; n < (kHeads + kWarps - 1) / kWarps; ++n) {
    const int h = warp + n * kWarps;
    if (h >= work.num_heads) break;
    float largest = minus_infinity();
    for (int key = lane; key < kChunk; key += kWarpSize) largest = fmaxf(largest, scores[h][key]);
    const float maximum = fmaxf(maxima[n], warp_max(largest));
    float sum = 0;
    for (int key = lane; key < kChunk; key += kWarpSize) {
      float weight = weight_of(scores[h][key], maximum);
      sum += weight;
      if (has_scales && chunk + key < work.kv_end) {
        weight *=
            args.cache.value_scales[kv_token_at(table, chunk + key, work.kv_head, args.heads)];
      }
      scores[h][key] = weight;
    }
    const float rescale = weight_of(maxima[n], maximum);
    sums[n] = fmaf(sums[n], rescale, warp_sum(sum));
    maxima[n] = maximum;
    if (lane == 0) shared.rescale[h] = rescale;
  }
}

template <typename Element, bool kAligned, int kHeads>
__device__ __forceinline__ void add_values(const GpuAttentionArgs& args, const RowWork& work,
                                           int chunk, const ThreadPlace& place,
                                           const RowShared<kHeads>& shared,
                                           const float (&weights)[kHeads][kChunk],
                                           float (&out)[kHeads][kSlice]) {
  for (int h = 0; h < kHeads; ++h) {
    if (h >= work.num_heads) break;
    const float rescale = shared.rescale[h];
    for (int i = 0; i < kSlice; ++i) out[h][i] *= rescale;
  }
  for (int first = place.key; first < kChunk; first += kBatch * place.keys_per_pass) {
    int64_t tokens[kBatch];
    KvSlice<Element, kAligned> slices[kBatch];
    find_tokens(args, work, chunk, first, place, tokens);
    load_batch(static_cast<const Element*>(args.cache.values), tokens, place, args.heads.head_dim,
               slices);
    for (int b = 0; b < kBatch; ++b) {
      if (tokens[b] < 0) break;  // and so are the later ones
      float v[kSlice];
      slices[b].unpack(v);
      for (int h = 0; h < kHeads; ++h) {
        if (h >= work.num_heads) break;
        const float weight = weights[h][first + b * place.keys_per_pass];
        for (int i = 0; i < kSlice; ++i) out[h][i] = fmaf(weight, v[i], out[h][i]);
      }
    }
  }
}

// Adds what the threads of the block hold for the same slice, lanes first, then warps in order, and
// writes the row.
template <typename X, int kHeads>
__device__ __forceinline__ void write_row(const GpuAttentionArgs& args, const RowWork& work,
                                          const ThreadPlace& place, const RowShared<kHeads>& shared,
                                          float (&out)[kHeads][kSlice]) {
  float* parts = dynamic_shared<float>();  // [warp][head][D]
  const int warp = static_cast<int>(threadIdx.x) / kWarpSize;
  const int lane = static_cast<int>(threadIdx.x) % kWarpSize;
  const int head_dim = args.heads.head_dim;
  for (int h = 0; h < kHeads; ++h) {
    if (h >= work.num_heads) break;
    for (int i = 0; i < kSlice; ++i) {
      float sum = out[h][i];
      for (int offset = kWarpSize / 2; offset >= place.lanes_per_key; offset /= 2) {
        sum += __shfl_xor_sync(kFullWarp, sum, offset);
      }
      const int dim = place.slice * kSlice + i;
      if (lane < place.lanes_per_key && dim < head_dim) {
        parts[(warp * kHeads + h) * head_dim + dim] = sum;
      }
    }
  }
  __syncthreads();
  for (int h = 0; h < work.num_heads; ++h) {
    const AttentionResult<X> result(args, work.item, work.row, work.first_head + h);
    const float inverse = inverse_of_sum(shared.sums[h]);
    for (int dim = static_cast<int>(threadIdx.x); dim < head_dim; dim += kThreads) {
      float sum = 0;
      for (int w = 0; w < kWarps; ++w) sum += parts[(w * kHeads + h) * head_dim + dim];
      result.write(dim, sum, inverse);
    }
  }
}

template <typename X, typename Element, bool kAligned, int kHeads>
__global__ void __launch_bounds__(kThreads)
    attention_rows_kernel(const GpuAttentionArgs args, int lanes_per_key, int head_tiles) {
  __shared__ RowShared<kHeads> shared;
  start_after_earlier_kernels();
  RowWork work;
  work.item = args.items[blockIdx.x];
  work.row = static_cast<int>(blockIdx.z);
  if (work.row >= work.item.num_rows) return;
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  const int tile = static_cast<int>(blockIdx.y) % head_tiles;
  work.kv_head = static_cast<int>(blockIdx.y) / head_tiles;
  work.first_head = work.kv_head * group + tile * kHeads;
  work.num_heads = min(kHeads, group - tile * kHeads);
  work.kv_end = visible_end(work.item, work.row);
  const int thread = static_cast<int>(threadIdx.x);
  const int slice = thread % lanes_per_key;
  const ThreadPlace place = {lanes_per_key, slice, thread / lanes_per_key, kThreads / lanes_per_key,
                             slice * kSlice < args.heads.head_dim};

  float q[kHeads][kSlice];
  load_query<X, kHeads, kAligned>(args, work, place, q);
  float out[kHeads][kSlice] = {};
  constexpr int kWarpHeads = (kHeads + kWarps - 1) / kWarps;
  float maxima[kWarpHeads], sums[kWarpHeads] = {};
  for (int n = 0; n < kWarpHeads; ++n) maxima[n] = minus_infinity();
  int turn = 0;
  for (int chunk = work.item.kv_begin; chunk < work.kv_end; chunk += kChunk) {
    float(&weights)[kHeads][kChunk] = shared.weights[turn];
    compute_scores<Element, kAligned, kHeads>(args, work, chunk, place, q, weights);
    __syncthreads();
    update_softmax(work, args, chunk, shared, weights, maxima, sums);
    __syncthreads();
    add_values<Element, kAligned, kHeads>(args, work, chunk, place, shared, weights, out);
    turn ^= 1;
  }
  for (int n = 0; n < kWarpHeads; ++n) {
    const int h = thread / kWarpSize + n * kWarps;
    if (thread % kWarpSize != 0 || h >= work.num_heads) continue;
    shared.sums[h] = sums[n];
    AttentionResult<X>(args, work.item, work.row, work.first_head + h)
        .write_state(maxima[n], sums[n]);
  }
  write_row<X, kHeads>(args, work, place, shared, out);
  merge_if_last<X, kThreads>(args, work.item, work.kv_head, work.row * group + tile * kHeads,
                             work.num_heads);
}

template <typename X, typename Element, bool kAligned, int kHeads>
void launch_for(GpuStream stream, const GpuAttentionArgs& args) {
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  const int head_tiles = (group + kHeads - 1) / kHeads;
  int lanes_per_key = 1;
  while (lanes_per_key * kSlice < args.heads.head_dim) lanes_per_key *= 2;
  const size_t shared_bytes =
      sizeof(float) * kWarps * kHeads * static_cast<size_t>(args.heads.head_dim);
  const dim3 grid{static_cast<unsigned>(args.num_items),
                  static_cast<unsigned>(args.heads.num_kv_heads * head_tiles),
                  static_cast<unsigned>(args.max_item_rows)};
  launch_overlapped(stream, grid, dim3{kThreads}, shared_bytes,
                    attention_rows_kernel<X, Element, kAligned, kHeads>, args, lanes_per_key,
                    head_tiles);
}

// Registers hold kHeads * 16 floats a thread: few sizes, the rest is skipped by branches.
template <typename X, typename Element>
void launch_for_heads(GpuStream stream, const GpuAttentionArgs& args) {
  const int group = args.heads.num_heads / args.heads.num_kv_heads;
  if (args.heads.head_dim % kSlice != 0) return launch_for<X, Element, false, 4>(stream, args);
  if (group <= 2) return launch_for<X, Element, true, 2>(stream, args);
  if (group <= 6) return launch_for<X, Element, true, 6>(stream, args);
  launch_for<X, Element, true, 8>(stream, args);
}

template <typename X>
void launch_for_cache(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.cache.format == GpuKvFormat::kBF16) {
    launch_for_heads<X, BF16>(stream, args);
  } else {
    launch_for_heads<X, int8_t>(stream, args);
  }
}

}  // namespace

void attention_rows(GpuStream stream, const GpuAttentionArgs& args) {
  if (args.x_type == GpuFloat::kBF16) {
    launch_for_cache<BF16>(stream, args);
  } else {
    launch_for_cache<F16>(stream, args);
  }
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
