#include "model/cuda/plans/attention_split_plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace sparrow {
namespace {

int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

int32_t whole_blocks(int32_t num_tokens) {
  return static_cast<int32_t>(divide_up(num_tokens, kAttentionBlockTokens) * kAttentionBlockTokens);
}

}  // namespace

int64_t AttentionSplitLimits::max_chunks() const {
  return divide_up(max_context, batch_invariant ? kInvariantChunkTokens : kMinRowChunkTokens);
}

int64_t AttentionSplitLimits::max_tiles() const {
  // A span of n rows makes at most n / tile_rows + 1 tiles.
  return std::min<int64_t>(max_rows, max_rows / tile_rows + max_spans);
}

int64_t AttentionSplitLimits::max_items() const {
  return batch_invariant ? max_tiles() * max_chunks() : std::max(max_tiles(), seats());
}

int64_t AttentionSplitLimits::max_partials() const {
  const int64_t of_rows = max_rows * max_chunks();
  return batch_invariant ? of_rows : std::min(of_rows, seats() * std::min(tile_rows, max_rows));
}

int64_t AttentionSplitLimits::items_for_bucket(int32_t num_rows) const {
  const int64_t items =
      batch_invariant ? num_rows * max_chunks() : std::max<int64_t>(num_rows, seats());
  return std::min(items, max_items());
}

AttentionSplitPlanner::AttentionSplitPlanner(const AttentionSplitLimits& limits) : limits_(limits) {
  for (const int32_t limit :
       {limits.num_kv_heads, limits.num_sms, limits.blocks_per_sm, limits.tile_rows,
        limits.max_rows, limits.max_spans, limits.max_context}) {
    CHECK(limit >= 1);
  }
  CHECK(limits.max_items() <= std::numeric_limits<int32_t>::max());
  CHECK(limits.max_partials() <= std::numeric_limits<int32_t>::max());
  tiles_.reserve(static_cast<size_t>(limits.max_tiles()));
  plan_.items.reserve(static_cast<size_t>(limits.max_items()));
  plan_.combines.reserve(static_cast<size_t>(limits.max_rows));
}

const AttentionSplitPlan& AttentionSplitPlanner::plan(std::span<const Span> spans) {
  make_tiles(spans);
  plan_.items.clear();
  plan_.combines.clear();
  plan_.num_partials = 0;
  plan_.chunk_tokens = limits_.batch_invariant ? kInvariantChunkTokens : choose_chunk();
  for (const Tile& tile : tiles_) cut(tile);
  CHECK(static_cast<int64_t>(plan_.items.size()) <= limits_.max_items());
  CHECK(plan_.num_partials <= limits_.max_partials());
  return plan_;
}

const AttentionSplitPlan& AttentionSplitPlanner::plan_for_bucket(std::span<const Span> spans,
                                                                 int32_t bucket_rows) {
  plan(spans);
  const auto num_items = static_cast<size_t>(limits_.items_for_bucket(bucket_rows));
  CHECK(bucket_rows <= limits_.max_rows && plan_.items.size() <= num_items);
  CHECK(plan_.combines.size() <= static_cast<size_t>(bucket_rows));
  plan_.items.resize(num_items);
  plan_.combines.resize(static_cast<size_t>(bucket_rows));
  return plan_;
}

void AttentionSplitPlanner::make_tiles(std::span<const Span> spans) {
  CHECK(spans.size() <= static_cast<size_t>(limits_.max_spans));
  tiles_.clear();
  int64_t num_rows = 0;
  for (const Span& span : spans) {
    CHECK(span.num_tokens >= 1 && span.first_position >= 0 && span.token_begin >= 0);
    const int64_t end = int64_t{span.first_position} + span.num_tokens;
    CHECK(end <= limits_.max_context);
    CHECK(end <= int64_t{span.num_blocks} * kAttentionBlockTokens);
    num_rows += span.num_tokens;
    CHECK(num_rows <= limits_.max_rows);
    for (int32_t row = 0; row < span.num_tokens; row += limits_.tile_rows) {
      tiles_.push_back({span.block_begin, span.token_begin + row,
                        std::min(limits_.tile_rows, span.num_tokens - row),
                        span.first_position + row});
    }
  }
}

int64_t AttentionSplitPlanner::num_items(int32_t chunk_tokens) const {
  int64_t items = 0;
  for (const Tile& tile : tiles_) items += divide_up(tile.kv_end(), chunk_tokens);
  return items;
}

int32_t AttentionSplitPlanner::min_chunk() const {
  const bool only_rows = std::all_of(tiles_.begin(), tiles_.end(),
                                     [](const Tile& tile) { return tile.num_rows == 1; });
  return only_rows ? kMinRowChunkTokens : kMinChunkTokens;
}

int32_t AttentionSplitPlanner::choose_chunk() const {
  const int32_t shortest = min_chunk();
  int32_t longest = shortest;
  for (const Tile& tile : tiles_) longest = std::max(longest, whole_blocks(tile.kv_end()));
  // num_items() falls as the chunk grows, down to one item per tile at `longest`.
  int32_t low = shortest / kAttentionBlockTokens, high = longest / kAttentionBlockTokens;
  while (low < high) {
    const int32_t middle = low + (high - low) / 2;
    if (num_items(middle * kAttentionBlockTokens) <= limits_.seats()) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high * kAttentionBlockTokens;
}

void AttentionSplitPlanner::cut(const Tile& tile) {
  const int32_t chunk = plan_.chunk_tokens;
  const auto num_chunks = static_cast<int32_t>(divide_up(tile.kv_end(), chunk));
  for (int32_t index = 0; index < num_chunks; ++index) {
    AttentionItem item;
    item.block_begin = tile.block_begin;
    item.first_row = tile.first_row;
    item.num_rows = tile.num_rows;
    item.first_position = tile.first_position;
    item.kv_begin = index * chunk;
    item.kv_end = std::min(tile.kv_end(), (index + 1) * chunk);
    item.range = index;
    item.num_ranges = num_chunks;
    if (num_chunks > 1) item.partial = plan_.num_partials + index * tile.num_rows;
    plan_.items.push_back(item);
  }
  if (num_chunks == 1) return;
  for (int32_t row = 0; row < tile.num_rows; ++row) {
    const int32_t seen = (tile.first_position + row) / chunk + 1;
    AttentionCombineItem combine;
    combine.row = tile.first_row + row;
    combine.num_partials = seen;
    combine.first_partial = plan_.num_partials + row;
    combine.stride = tile.num_rows;
    plan_.combines.push_back(combine);
  }
  plan_.num_partials += tile.num_rows * num_chunks;
}

}  // namespace sparrow
