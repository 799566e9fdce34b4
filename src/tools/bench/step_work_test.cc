#include "tools/bench/step_work.h"

#include <gtest/gtest.h>

#include "tools/bench/card.h"
#include "tools/bench/spread.h"

namespace sparrow {
namespace {

constexpr BenchCost kCost{.weight_bytes_per_step = 1000,
                          .kv_bytes_per_token = 10,
                          .ops_per_token = 100,
                          .ops_per_logit_row = 7,
                          .attention_ops_per_context = 2};

// A piece of four prompt tokens behind 20, and one token behind 50.
BatchPlan mixed_plan() {
  BatchPlan plan;
  plan.spans.push_back({.slot = 0, .first_position = 20, .num_tokens = 4, .num_logit_rows = 0});
  plan.spans.push_back({.slot = 1, .first_position = 50, .num_tokens = 1, .num_logit_rows = 1});
  return plan;
}

TEST(StepWork, OfAPlan_CountsWeightsOnceAndEveryContext) {
  const StepWork work = work_of(mixed_plan(), kCost);
  EXPECT_EQ(work.tokens, 5);
  EXPECT_EQ(work.bytes, 1000 + 10 * (24 + 51));
  EXPECT_EQ(work.ops, 5 * 100 + 7);
  // The four see 21, 22, 23 and 24 tokens, the one sees 51.
  EXPECT_EQ(work.attention_ops, 2 * (21 + 22 + 23 + 24 + 51));
  EXPECT_EQ(work_of(BatchPlan(), kCost).bytes, 0) << "no step reads no weights";
}

TEST(StepWork, LimitOfAStep_IsTheSlowerOfMemoryAndArithmetic) {
  const StepWork work = work_of(mixed_plan(), kCost);
  const MachineLimits slow_memory{.read_bytes_per_s = 1750, .ops_per_s = 1e9};
  EXPECT_EQ(memory_seconds(work, slow_memory), 1);
  EXPECT_EQ(limit_seconds(work, slow_memory), 1);
  const MachineLimits slow_arithmetic{
      .read_bytes_per_s = 1750, .ops_per_s = 507, .attention_ops_per_s = 282};
  EXPECT_EQ(compute_seconds(work, slow_arithmetic), 2);
  EXPECT_EQ(limit_seconds(work, slow_arithmetic), 2);
  EXPECT_EQ(limit_seconds(work, {}), 0) << "nothing is known";
}

TEST(Cards, HaveBothLimits) {
  for (const KnownGpu& card : known_gpus()) {
    const MachineLimits limits = limits_of(card);
    EXPECT_GT(limits.read_bytes_per_s, 1e11);
    EXPECT_GT(limits.ops_per_s, 1e13);
    EXPECT_GT(limits.attention_ops_per_s, 0);
  }
  EXPECT_EQ(limits_of(*find_known_gpu("a40")).read_bytes_per_s, 696e9);
}

TEST(Percentiles, AreThoseOfTheNearestRank) {
  std::vector<double> values;
  for (int i = 20; i >= 1; --i) values.push_back(i);
  const Percentiles of_twenty = percentiles_of(values);
  EXPECT_EQ(of_twenty.p50, 10);
  EXPECT_EQ(of_twenty.p95, 19);
  EXPECT_EQ(of_twenty.max, 20);
  EXPECT_EQ(percentiles_of({3}).p95, 3);
  EXPECT_EQ(percentiles_of({1, 2, 3}).p95, 3) << "never below the share it promises";
  EXPECT_EQ(percentiles_of({}).max, 0);
}

}  // namespace
}  // namespace sparrow
