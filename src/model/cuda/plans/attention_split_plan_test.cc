#include "model/cuda/plans/attention_split_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/failing_new_test_support.h"
#include "base/random.h"

namespace sparrow {
namespace {

// 28 layers aside, R1-distill-Qwen-1.5B on an H200.
AttentionSplitLimits h200_limits() {
  AttentionSplitLimits limits;
  limits.num_kv_heads = 2;
  limits.num_sms = 132;
  limits.max_rows = 512;
  limits.max_spans = 64;
  limits.max_context = 131072;
  return limits;
}

// Appends a sequence whose next num_tokens tokens stand at first_position.
void add_span(std::vector<Span>& spans, int32_t first_position, int32_t num_tokens) {
  Span span;
  span.first_position = first_position;
  span.num_tokens = num_tokens;
  span.num_blocks = (first_position + num_tokens + 15) / 16;
  if (!spans.empty()) span.token_begin = spans.back().token_begin + spans.back().num_tokens;
  spans.push_back(span);
}

std::vector<Span> decode_spans(const std::vector<int32_t>& contexts) {
  std::vector<Span> spans;
  for (const int32_t context : contexts) add_span(spans, context - 1, 1);
  return spans;
}

int32_t num_rows_of(const std::vector<Span>& spans) {
  return spans.empty() ? 0 : spans.back().token_begin + spans.back().num_tokens;
}

const Span& span_of(const std::vector<Span>& spans, int32_t row) {
  size_t index = 0;
  while (row >= spans.at(index).token_begin + spans[index].num_tokens) ++index;
  return spans[index];
}

// What one row attends to, put together from the plan as the two kernels would.
struct RowCover {
  std::vector<std::pair<int32_t, int32_t>> ranges;  // of the items whose result reaches the row
  int num_final = 0;                                // items without a partial
};

// Every row's ranges, in the order they are summed. Fails where a partial is written twice, read
// before it was written, or belongs to another row.
std::vector<RowCover> cover_of(const AttentionSplitPlan& plan, const std::vector<Span>& spans) {
  std::vector<RowCover> rows(static_cast<size_t>(num_rows_of(spans)));
  struct Partial {
    int32_t row = -1;
    std::pair<int32_t, int32_t> range;
  };
  std::vector<Partial> partials(static_cast<size_t>(plan.num_partials));
  for (const AttentionItem& item : plan.items) {
    for (int32_t i = 0; i < item.num_rows; ++i) {
      const int32_t row = item.first_row + i, position = item.first_position + i;
      const Span& span = span_of(spans, row);
      EXPECT_EQ(item.block_begin, span.block_begin);
      EXPECT_EQ(row - span.token_begin, position - span.first_position);
      EXPECT_LT(row - span.token_begin, span.num_tokens);
      // What the block that merges a tile's ranges relies on.
      EXPECT_EQ(item.range, item.kv_begin / plan.chunk_tokens);
      const int32_t tile_end = item.first_position + item.num_rows;
      EXPECT_EQ(item.num_ranges, (tile_end + plan.chunk_tokens - 1) / plan.chunk_tokens);
      EXPECT_EQ(item.num_ranges > 1, item.partial >= 0);
      const std::pair<int32_t, int32_t> range(item.kv_begin, std::min(item.kv_end, position + 1));
      if (item.partial < 0) {
        rows.at(static_cast<size_t>(row)).ranges.push_back(range);
        ++rows[static_cast<size_t>(row)].num_final;
      } else if (position >= item.kv_begin) {
        Partial& partial = partials.at(static_cast<size_t>(item.partial + i));
        EXPECT_EQ(partial.row, -1) << "two items write one partial";
        partial = {row, range};
      }
    }
  }
  for (const AttentionCombineItem& combine : plan.combines) {
    if (combine.row < 0) continue;  // padding
    const auto has_row = [&](const AttentionItem& item) {
      return item.partial >= 0 && item.first_row <= combine.row &&
             combine.row < item.first_row + item.num_rows;
    };
    const auto item = std::find_if(plan.items.begin(), plan.items.end(), has_row);
    EXPECT_TRUE(item != plan.items.end());
    if (item == plan.items.end()) continue;
    EXPECT_EQ(item->partial - item->range * item->num_rows + combine.row - item->first_row,
              combine.first_partial);
    EXPECT_EQ(combine.stride, item->num_rows);
    for (int32_t i = 0; i < combine.num_partials; ++i) {
      const Partial& partial =
          partials.at(static_cast<size_t>(combine.first_partial + i * combine.stride));
      EXPECT_EQ(partial.row, combine.row);
      rows.at(static_cast<size_t>(combine.row)).ranges.push_back(partial.range);
    }
  }
  return rows;
}

// Each row sees the positions up to its own, each once and in order.
void expect_causal_cover(const AttentionSplitPlan& plan, const std::vector<Span>& spans) {
  const std::vector<RowCover> rows = cover_of(plan, spans);
  for (const Span& span : spans) {
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      const RowCover& cover = rows[static_cast<size_t>(span.token_begin + i)];
      int32_t next = 0;
      for (const auto& [begin, end] : cover.ranges) {
        ASSERT_EQ(begin, next);
        ASSERT_EQ(begin % kAttentionBlockTokens, 0);
        next = end;
      }
      ASSERT_EQ(next, span.first_position + i + 1);
      ASSERT_TRUE(cover.num_final == 0 || cover.ranges.size() == 1);
    }
  }
}

class RandomStep {
 public:
  explicit RandomStep(uint64_t seed) : seed_(seed) {
    limits.num_kv_heads = draw(8);
    limits.num_sms = draw(140);
    limits.blocks_per_sm = draw(3);
    limits.tile_rows = draw(64);
    limits.max_rows = draw(300);
    limits.max_spans = draw(40);
    limits.max_context = draw(6000);
    limits.batch_invariant = draw(3) == 1;
    int32_t rows_left = limits.max_rows;
    const int32_t wanted = draw(limits.max_spans);
    for (int32_t index = 0; index < wanted && rows_left > 0; ++index) {
      const int32_t longest = std::min(rows_left, limits.max_context);
      const int32_t num_tokens = draw(2) == 1 ? 1 : draw(longest);
      add_span(spans, draw(limits.max_context - num_tokens + 1) - 1, num_tokens);
      rows_left -= num_tokens;
    }
  }
  // 1 .. bound
  int32_t draw(int32_t bound) {
    return 1 +
           static_cast<int32_t>(random_bits(seed_, 0, ++counter_) % static_cast<uint64_t>(bound));
  }

  AttentionSplitLimits limits;
  std::vector<Span> spans;

 private:
  const uint64_t seed_;
  uint64_t counter_ = 0;
};

TEST(AttentionSplitPlan, RandomSteps_CoverEveryPairOfRowAndPositionOnce) {
  int num_cut = 0;
  for (uint64_t seed = 0; seed < 400; ++seed) {
    RandomStep step(seed);
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    AttentionSplitPlanner planner(step.limits);
    const AttentionSplitPlan& plan = planner.plan(step.spans);
    ASSERT_NO_FATAL_FAILURE(expect_causal_cover(plan, step.spans));
    ASSERT_FALSE(testing::Test::HasFailure());
    num_cut += plan.num_partials > 0 ? 1 : 0;
  }
  EXPECT_GT(num_cut, 100);  // both kinds are there
  EXPECT_LT(num_cut, 350);
}

// Cut or not, the items run at once where the tiles alone do; and a finer chunk would not.
TEST(AttentionSplitPlan, RandomSteps_HaveTheFinestChunkWithinTheBound) {
  for (uint64_t seed = 0; seed < 400; ++seed) {
    RandomStep step(seed);
    step.limits.batch_invariant = false;
    AttentionSplitPlanner planner(step.limits);
    const AttentionSplitPlan& plan = planner.plan(step.spans);
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const auto count_with = [&](int32_t chunk) {
      int64_t items = 0;
      for (const Span& span : step.spans) {
        for (int32_t row = 0; row < span.num_tokens; row += step.limits.tile_rows) {
          const int32_t end = std::min(row + step.limits.tile_rows, span.num_tokens);
          items += (span.first_position + end + chunk - 1) / chunk;
        }
      }
      return items;
    };
    const auto num_items = static_cast<int64_t>(plan.items.size());
    ASSERT_EQ(num_items, count_with(plan.chunk_tokens));
    ASSERT_EQ(plan.chunk_tokens % kAttentionBlockTokens, 0);
    const bool only_rows = std::all_of(step.spans.begin(), step.spans.end(), [&](const Span& span) {
      return span.num_tokens == 1 || step.limits.tile_rows == 1;
    });
    const int32_t shortest = only_rows ? kMinRowChunkTokens : kMinChunkTokens;
    ASSERT_GE(plan.chunk_tokens, shortest);
    const int64_t seats = int64_t{step.limits.num_sms} * step.limits.blocks_per_sm;
    ASSERT_TRUE(plan.num_partials == 0 || num_items * step.limits.num_kv_heads <= seats);
    if (plan.chunk_tokens > shortest) {
      ASSERT_GT(count_with(plan.chunk_tokens - kAttentionBlockTokens) * step.limits.num_kv_heads,
                seats);
    }
    ASSERT_LE(num_items, step.limits.max_items());
    ASSERT_LE(plan.num_partials, step.limits.max_partials());
  }
}

TEST(AttentionSplitPlan, OneRowAtTheEndOfALongContext_FillsTheChip) {
  AttentionSplitPlanner planner(h200_limits());
  const std::vector<Span> spans = decode_spans({131072});
  const AttentionSplitPlan& plan = planner.plan(spans);
  // 132 SMs of two blocks over two KV heads: 132 seats. 131072 / 132 = 993 tokens, in blocks 1008.
  EXPECT_EQ(plan.chunk_tokens, 1008);
  EXPECT_EQ(plan.items.size(), 131u);
  ASSERT_EQ(plan.combines.size(), 1u);
  EXPECT_EQ(plan.combines[0].num_partials, 131);
  EXPECT_EQ(plan.items.back().kv_end, 131072);
  expect_causal_cover(plan, spans);
}

TEST(AttentionSplitPlan, ManyShortSequences_AreNotCut) {
  AttentionSplitLimits limits = h200_limits();
  limits.max_spans = 256;
  AttentionSplitPlanner planner(limits);
  const std::vector<Span> first_tokens = decode_spans(std::vector<int32_t>(256, 1));
  EXPECT_EQ(planner.plan(first_tokens).items.size(), 256u);
  EXPECT_EQ(planner.plan(first_tokens).num_partials, 0);
  // 256 sequences are more than the 132 seats: cutting would only add work.
  const std::vector<Span> long_ones = decode_spans(std::vector<int32_t>(256, 4096));
  EXPECT_EQ(planner.plan(long_ones).items.size(), 256u);
  EXPECT_TRUE(planner.plan(long_ones).combines.empty());
  // A hundred equal ones leave seats free, but none could be cut without cutting all.
  const std::vector<Span> equal = decode_spans(std::vector<int32_t>(100, 4096));
  EXPECT_EQ(planner.plan(equal).num_partials, 0);
  // One token is never worth a cut, however empty the chip.
  EXPECT_EQ(planner.plan(decode_spans({64})).items.size(), 1u);
  EXPECT_EQ(planner.plan(decode_spans({65})).items.size(), 2u);
}

TEST(AttentionSplitPlan, PromptOf256Rows_IsCausalTiles) {
  AttentionSplitPlanner planner(h200_limits());
  std::vector<Span> spans;
  add_span(spans, 0, 256);
  const AttentionSplitPlan& plan = planner.plan(spans);
  // 16 tiles of 16 rows; those past 128 tokens are cut once, for 116 more seats are free.
  EXPECT_EQ(plan.chunk_tokens, 128);
  EXPECT_EQ(plan.items.size(), 24u);
  EXPECT_EQ(plan.combines.size(), 128u);
  for (const AttentionItem& item : plan.items) EXPECT_EQ(item.num_rows, 16);
  expect_causal_cover(plan, spans);
}

// The ranges a row is summed over, for the spans alone and among others.
TEST(AttentionSplitPlan, BatchInvariant_ARowDoesNotNoticeItsNeighbours) {
  AttentionSplitLimits limits = h200_limits();
  limits.batch_invariant = true;
  limits.max_context = 8192;
  AttentionSplitPlanner alone(limits), together(limits);
  std::vector<Span> spans;
  add_span(spans, 3000, 1);
  add_span(spans, 500, 40);  // its first rows lie in one chunk, its last in two
  add_span(spans, 0, 300);
  add_span(spans, 8191, 1);
  add_span(spans, 511, 1);
  const std::vector<RowCover> all = cover_of(together.plan(spans), spans);
  for (const Span& span : spans) {
    for (int32_t i = 0; i < span.num_tokens; ++i) {
      std::vector<Span> single;
      add_span(single, span.first_position + i, 1);
      const std::vector<RowCover> one = cover_of(alone.plan(single), single);
      ASSERT_EQ(one[0].ranges, all[static_cast<size_t>(span.token_begin + i)].ranges)
          << "position " << span.first_position + i;
    }
  }
  EXPECT_EQ(all[0].ranges.size(), 6u);  // 3001 positions in chunks of 512
}

// Without it they do: that is what the switch is for.
TEST(AttentionSplitPlan, NotBatchInvariant_ChunksFollowTheBatch) {
  AttentionSplitPlanner planner(h200_limits());
  const int32_t alone = planner.plan(decode_spans({4096})).chunk_tokens;
  const int32_t among_others = planner.plan(decode_spans({4096, 9000, 9000, 9000})).chunk_tokens;
  EXPECT_EQ(alone, 64);
  EXPECT_GT(among_others, alone);
}

TEST(AttentionSplitPlan, ForAGraph_ListsHaveTheLengthsOfTheBucket) {
  for (const bool batch_invariant : {false, true}) {
    AttentionSplitLimits limits = h200_limits();
    limits.batch_invariant = batch_invariant;
    limits.max_context = 4096;
    AttentionSplitPlanner planner(limits);
    for (const int32_t num_rows : {1, 9, 16}) {
      for (const int32_t context : {1, 500, 4096}) {
        const std::vector<Span> spans =
            decode_spans(std::vector<int32_t>(static_cast<size_t>(num_rows), context));
        const AttentionSplitPlan& plan = planner.plan_for_bucket(spans, 16);
        EXPECT_EQ(plan.items.size(), batch_invariant ? 16u * 8 : 132u);
        EXPECT_EQ(plan.combines.size(), 16u);
        expect_causal_cover(plan, spans);
      }
    }
  }
}

TEST(AttentionSplitPlan, AnyStep_AllocatesNothing) {
  for (const bool batch_invariant : {false, true}) {
    AttentionSplitLimits limits = h200_limits();
    limits.batch_invariant = batch_invariant;
    AttentionSplitPlanner planner(limits);
    const std::vector<Span> decode = decode_spans(std::vector<int32_t>(64, 131072));
    std::vector<Span> prompts;
    for (int32_t index = 0; index < 64; ++index) add_span(prompts, 131072 - 8, 8);
    fail_allocation(0);
    planner.plan(decode);
    planner.plan(prompts);
    planner.plan_for_bucket(decode, 512);
    EXPECT_EQ(stop_failing_allocations(), 0);
  }
}

}  // namespace
}  // namespace sparrow
