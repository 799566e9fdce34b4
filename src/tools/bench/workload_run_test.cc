#include "tools/bench/workload_run.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tools/bench/workload_test_support.h"

namespace sparrow {
namespace {

// A step reads a million bytes at a gigabyte a second: one millisecond of two.
constexpr BenchCost kCost{.weight_bytes_per_step = 1e6};
const MachineLimits kLimits{.read_bytes_per_s = 1e9, .ops_per_s = 1e12};

bool go_on(double, const std::string&) { return true; }

Workload workload_of(std::vector<WorkloadItem> items) {
  const int count = static_cast<int>(items.size());
  return {.name = "test", .items = std::move(items), .num_in_full = count};
}

Result<WorkloadReport> run(TimedFake& fake, const Workload& workload,
                           const WorkloadOptions& options = {},
                           const WorkloadProgress& progress = go_on) {
  return run_workload(*fake.executor, *fake.tokenizer, workload, kCost, kLimits, options,
                      fake.clock, progress);
}

TEST(WorkloadRun, AllRequestsTogether_TakeTheStepsOfTheLongest) {
  TimedFake fake;
  const auto report = run(fake, workload_of({{8, 4}, {5, 7}, {20, 2}}));
  ASSERT_TRUE(report.ok()) << report.message();
  ASSERT_EQ(report->rows.size(), 1u);
  EXPECT_FALSE(report->stopped);
  const WorkloadRow& row = report->rows[0];
  EXPECT_TRUE(row.is_whole);
  EXPECT_EQ(row.num_ended, 3);
  EXPECT_EQ(row.work.output_tokens, 4 + 7 + 2);
  // All prompts fit one step, which gives each its first token.
  EXPECT_EQ(row.work.steps, 7);
  EXPECT_DOUBLE_EQ(row.work.seconds, 7 * kTestStepMs * 1e-3);
  EXPECT_DOUBLE_EQ(row.work.tokens_per_s, 13 / row.work.seconds);
  EXPECT_DOUBLE_EQ(row.work.mean_batch, 13 / 7.0);
  EXPECT_DOUBLE_EQ(row.work.share_of_limit, 0.5);
  EXPECT_DOUBLE_EQ(row.work.share_at_bandwidth, 1);
  EXPECT_NEAR(row.work.beside_s, 0, 1e-9) << "the fake clock moves in steps only";
  EXPECT_EQ(fake.executor->num_held_slots(), 0);
}

TEST(WorkloadRun, MoreRequestsThanPlaces_AllEnd) {
  TimedFake fake;
  const std::vector<WorkloadItem> items(50, {.prompt_tokens = 6, .output_tokens = 5});
  WorkloadOptions options;
  options.engine.max_num_seqs = 2;
  options.repeat = 2;
  const auto report = run(fake, workload_of(items), options);
  ASSERT_TRUE(report.ok()) << report.message();
  ASSERT_EQ(report->rows.size(), 2u);
  for (const WorkloadRow& row : report->rows) {
    EXPECT_EQ(row.num_ended, 50);
    EXPECT_EQ(row.work.output_tokens, 250);
    EXPECT_EQ(row.work.steps, 125) << "two at a time, never one alone";
  }
  EXPECT_EQ(report->rows[1].run, 2);
}

// Blocks for two at their full length: the others wait, or are preempted and computed anew.
TEST(WorkloadRun, MoreThanTheCacheHolds_StillEndsWithEveryToken) {
  const std::vector<WorkloadItem> items(9, {.prompt_tokens = 40, .output_tokens = 50});
  ExecutorLimits limits = kTestLimits;
  limits.num_blocks = 46;
  TimedFake roomy, tight({}, limits);
  const auto with_room = run(roomy, workload_of(items));
  const auto report = run(tight, workload_of(items));
  ASSERT_TRUE(with_room.ok() && report.ok()) << report.message();
  EXPECT_EQ(report->rows[0].work.output_tokens, 9 * 50);
  EXPECT_EQ(report->rows[0].num_ended, 9);
  EXPECT_GT(report->rows[0].work.steps, with_room->rows[0].work.steps);
  EXPECT_EQ(tight.executor->num_held_slots(), 0);
}

// A quarter of the set: the fake's work grows with the square of a sequence's length.
TEST(WorkloadRun, NanoVllmsRequests_GoThroughTheScheduler) {
  TimedFake fake({}, {.block_tokens = 16,
                      .num_blocks = 64 * 126,
                      .num_slots = 64,
                      .max_batch_tokens = 2048,
                      .max_context_tokens = 2016,
                      .vocab_size = 263});
  WorkloadOptions options;
  options.engine.max_num_batched_tokens = 2048;
  const Workload workload = first_items(nano_vllm_workload(), 64);
  const auto report = run(fake, workload, options);
  ASSERT_TRUE(report.ok()) << report.message();
  const WorkloadRow& row = report->rows[0];
  EXPECT_TRUE(row.is_whole);
  EXPECT_EQ(row.num_ended, 64);
  EXPECT_EQ(row.work.output_tokens, workload.output_tokens());
  // The longest answer takes a step for each token. Prompts fill steps of 2,048 rows before it
  // begins at the latest; answers beside them take at most a row for each of their tokens.
  int longest = 0;
  for (const WorkloadItem& item : workload.items) longest = std::max(longest, item.output_tokens);
  EXPECT_GE(row.work.steps, longest);
  EXPECT_LE(row.work.steps,
            longest + (workload.prompt_tokens() + workload.output_tokens()) / 2048 + 1);
  // A thousand sums of one millisecond: rounding grows with their number.
  EXPECT_NEAR(row.work.share_of_limit, 0.5, 1e-9);
}

TEST(WorkloadRun, Stopped_GivesWhatWasDone) {
  TimedFake fake;
  const std::vector<WorkloadItem> items(400, {.prompt_tokens = 6, .output_tokens = 20});
  double last_share = -1;
  int num_calls = 0;
  const auto report = run(fake, workload_of(items), {}, [&](double share, const std::string&) {
    EXPECT_GE(share, last_share);
    last_share = share;
    return ++num_calls < 3;
  });
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_TRUE(report->stopped);
  EXPECT_EQ(num_calls, 3);
  ASSERT_EQ(report->rows.size(), 1u);
  const WorkloadRow& row = report->rows[0];
  EXPECT_FALSE(row.is_whole);
  EXPECT_GT(row.work.output_tokens, 0);
  EXPECT_LT(row.work.output_tokens, 400 * 20);
  EXPECT_LT(row.num_ended, 400);
  EXPECT_DOUBLE_EQ(row.work.share_of_limit, 0.5);
  EXPECT_EQ(fake.executor->num_held_slots(), 0);
}

TEST(WorkloadRun, StoppedBeforeTheFirstStep_HasNoRow) {
  TimedFake fake;
  const auto report =
      run(fake, workload_of({{8, 4}}), {}, [](double, const std::string&) { return false; });
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_TRUE(report->stopped);
  EXPECT_TRUE(report->rows.empty());
}

TEST(WorkloadRun, WhatCanNeverFit_IsRefusedBeforeRunning) {
  TimedFake fake;
  EXPECT_TRUE(run(fake, workload_of({{90, 6}})).ok()) << "96 tokens are the context";
  const auto too_long = run(fake, workload_of({{8, 4}, {90, 7}}));
  ASSERT_FALSE(too_long.ok());
  EXPECT_NE(too_long.message().find("97 tokens"), std::string::npos) << too_long.message();
  EXPECT_FALSE(run(fake, workload_of({})).ok());
  EXPECT_FALSE(run(fake, workload_of({{0, 4}})).ok());
  EXPECT_FALSE(run(fake, workload_of({{4, 0}})).ok());
}

TEST(WorkloadRun, AFailingExecutor_IsAnError) {
  FakeExecutorOptions options;
  options.fails = [](uint64_t step) { return step > 3; };
  TimedFake fake(options);
  const auto report = run(fake, workload_of({{8, 30}, {8, 30}}));
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.message().find("an answer ended after"), std::string::npos) << report.message();
}

}  // namespace
}  // namespace sparrow
