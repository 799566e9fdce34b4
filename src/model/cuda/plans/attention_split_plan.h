#pragma once
// AttentionSplitPlan: the work list of the attention kernel for one step, made on the host. A
// thread block of the kernel takes one item and one KV head: a tile of query rows of one span (one
// row when decoding) over a range of the sequence's keys and values. With few and long sequences
// there are fewer tiles than the chip has seats, so ranges are cut in chunks; each chunk leaves a
// partial result (running maximum, sum, weighted values), which are combined.
//
// The chunk is the smallest multiple of the KV block, at least kMinChunkTokens (kMinRowChunkTokens
// where every tile is one row), with which all items run at once: found by binary search, as
// FlashInfer's scheduler.cuh does (Ye et al. 2025). Tiles that fill the chip are not cut. The order
// of the sums then depends on the batch. batch_invariant instead: chunks of kInvariantChunkTokens,
// counted from position 0, whatever else is in the step.
//
// What the kernels owe the plan:
//   - row i of an item writes its partial to index partial + i. A row whose position lies before
//     kv_begin sees nothing of this chunk: its combine leaves that partial out.
//   - partials are combined in the order of their index. Combining a single one gives the bits of
//     an item without partials, so a row does not notice in whose tile it lies.
//
//   AttentionSplitPlanner planner(limits);
//   const AttentionSplitPlan& plan = planner.plan(batch.spans);      // valid until the next call
//
// A planner belongs to the engine thread. After construction it does not allocate.

#include <cstdint>
#include <span>
#include <vector>

#include "core/batch_plan.h"
#include "kernels/cuda/gpu_attention.h"

namespace sparrow {

inline constexpr int32_t kAttentionBlockTokens = kGpuBlockTokens;
inline constexpr int32_t kMinChunkTokens = 128;
// Decoding few sequences is a matter of latency: 512 tokens in chunks of 128 gave an H200's 132 SMs
// 8 blocks, each with two tiles of 64 keys one after the other. One tile a block loads all it needs
// at once: 16 blocks.
inline constexpr int32_t kMinRowChunkTokens = 64;
inline constexpr int32_t kInvariantChunkTokens = 512;
// Query rows of one tile: with the 6 query heads of a KV head of R1-1.5B 96 rows of a product.
inline constexpr int32_t kGpuAttentionTileRows = 16;
// Thread blocks of the attention kernel that one SM holds. The kernel's launch bounds promise it.
inline constexpr int32_t kAttentionBlocksPerSm = 2;

struct AttentionSplitPlan {
  std::vector<AttentionItem> items;
  std::vector<AttentionCombineItem> combines;  // rows of tiles that were cut
  int32_t num_partials = 0;                    // indices are below this
  int32_t chunk_tokens = 0;
};

struct AttentionSplitLimits {
  int32_t num_kv_heads = 0;
  int32_t num_sms = 0;
  int32_t blocks_per_sm = kAttentionBlocksPerSm;
  int32_t tile_rows = kGpuAttentionTileRows;
  int32_t max_rows = 0;     // of a step
  int32_t max_spans = 0;    // of a step
  int32_t max_context = 0;  // tokens of a sequence
  bool batch_invariant = false;

  // Items that run at once: those a cut may not exceed.
  int64_t seats() const { return int64_t{num_sms} * blocks_per_sm / num_kv_heads; }
  int64_t max_chunks() const;    // of one tile
  int64_t max_tiles() const;     // of one step
  int64_t max_items() const;     // of one step
  int64_t max_partials() const;  // of one step; each holds all query heads of a row
  // Items of a graph for num_rows rows, padding included.
  int64_t items_for_bucket(int32_t num_rows) const;
};

class AttentionSplitPlanner {
 public:
  // All limits at least 1; max_items() and max_partials() must fit 31 bits.
  explicit AttentionSplitPlanner(const AttentionSplitLimits& limits);

  // The spans' rows, positions and numbers of blocks; they keep within the limits.
  const AttentionSplitPlan& plan(std::span<const Span> spans);
  // The same with the lists at the lengths a graph for bucket_rows rows was captured with:
  // items_for_bucket() items and bucket_rows combines. bucket_rows is at least the spans' rows.
  const AttentionSplitPlan& plan_for_bucket(std::span<const Span> spans, int32_t bucket_rows);

  const AttentionSplitLimits& limits() const { return limits_; }

 private:
  // Consecutive rows of one span and all they attend to.
  struct Tile {
    int32_t block_begin, first_row, num_rows, first_position;
    int32_t kv_end() const { return first_position + num_rows; }
  };
  void make_tiles(std::span<const Span> spans);
  int64_t num_items(int32_t chunk_tokens) const;
  int32_t min_chunk() const;
  int32_t choose_chunk() const;
  void cut(const Tile& tile);

  const AttentionSplitLimits limits_;
  std::vector<Tile> tiles_;
  AttentionSplitPlan plan_;
};

}  // namespace sparrow
