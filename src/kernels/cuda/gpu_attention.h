#pragma once
// Attention over the paged KV cache on a card.
//
// Cache of one layer: keys and values [num_blocks][Nk][16][D] each, so that the 16 tokens of a
// block and head lie together. A cell is block * 16 + place in the block. Nq query heads, Nk KV
// heads, Nq a multiple of Nk; D even.
//
// The work of a step is a list of items made on the host (model/cuda/plans/attention_split_plan.h):
// a tile of query rows of one sequence against a range of its positions. An item whose range is all
// that its rows see writes the result; others write partial results (Milakov, Gimelshein 2018:
// running maximum and sum), which combine() merges in index order.

#include <cstdint>

#include "kernels/cuda/gpu_types.h"

namespace sparrow {

inline constexpr int32_t kGpuBlockTokens = 16;
inline constexpr int32_t kGpuMaxHeadDim = 256;

enum class GpuKvFormat : uint8_t { kBF16, kInt8 };

// Of one layer. Does not own.
struct GpuKvLayer {
  GpuKvFormat format = GpuKvFormat::kBF16;
  void* keys = nullptr;  // [num_blocks][Nk][16][D] bf16 or int8
  void* values = nullptr;
  float* key_scales = nullptr;  // kInt8: [num_blocks][Nk][16], value = int8 * scale
  float* value_scales = nullptr;
};

struct GpuHeads {
  int32_t num_heads = 0;     // Nq
  int32_t num_kv_heads = 0;  // Nk
  int32_t head_dim = 0;      // D
};

// Rotates q and k (halves of a head are pairs: i and i + D/2), rounds q, and stores k and v.
struct RopeStoreArgs {
  GpuHeads heads;
  const float* qkv = nullptr;          // [num_rows][(Nq + 2 Nk) * D]: q, k, v of a row
  const int32_t* positions = nullptr;  // [num_rows]
  const int32_t* cells = nullptr;      // [num_rows]; -1: a row of padding, nothing is stored
  const float* rope = nullptr;         // [max_context][D]: D/2 cosines, D/2 sines of a position
  void* q_out = nullptr;               // [num_rows][Nq * D] of x_type
  GpuFloat x_type = GpuFloat::kBF16;
  GpuKvLayer cache;
  int32_t num_rows = 0;
};

struct AttentionItem {
  int32_t first_row = 0;       // of the step
  int32_t num_rows = 0;        // 0: padding, nothing is done
  int32_t first_position = 0;  // of first_row in its sequence; row i sees [0, first_position + i]
  int32_t block_begin = 0;     // of the sequence's table in block_ids
  int32_t kv_begin = 0;        // positions [kv_begin, kv_end); a multiple of 16
  int32_t kv_end = 0;
  int32_t partial = -1;    // row i writes partial result `partial + i`; -1: the item writes out
  int32_t range = 0;       // of the tile's ranges this is number `range`; their partial results lie
  int32_t num_ranges = 1;  // one after the other, num_rows each
};

struct AttentionCombineItem {
  int32_t row = -1;  // -1: padding
  int32_t num_partials = 0;
  int32_t first_partial = 0;  // the p-th lies at first_partial + p * stride
  int32_t stride = 1;
};

// out = softmax(q k^T / sqrt(D)) v, causal; fp32 scores and sums.
struct GpuAttentionArgs {
  GpuHeads heads;
  GpuKvLayer cache;
  const void* q = nullptr;  // [T][Nq * D] of x_type
  GpuFloat x_type = GpuFloat::kBF16;
  const AttentionItem* items = nullptr;  // [num_items]
  int32_t num_items = 0;
  int32_t max_item_rows = 1;           // of any item: 1 for decode alone
  const int32_t* block_ids = nullptr;  // tables of all sequences
  float* partial_out = nullptr;        // [num_partials][Nq][D], not yet divided by the sum
  float* partial_max = nullptr;        // [num_partials][Nq], of scores times log2(e)
  float* partial_sum = nullptr;        // [num_partials][Nq]
  int32_t* arrivals = nullptr;         // [num_partials][Nq], zeros before and after; or null
  void* out = nullptr;                 // [T][Nq * D] of x_type
  const AttentionCombineItem* combine = nullptr;  // [num_combine], read by attention_combine
  int32_t num_combine = 0;
  bool has_matrix_units = false;  // for x_type: bf16 from sm_80 on, fp16 from sm_75 on
};

}  // namespace sparrow
