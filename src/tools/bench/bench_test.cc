#include "tools/bench/bench.h"

#include <gtest/gtest.h>

#include "model/fake_executor.h"

namespace sparrow {
namespace {

FakeExecutorOptions fake_options() {
  FakeExecutorOptions options;
  options.limits = {.block_tokens = 4,
                    .num_blocks = 92,
                    .num_slots = 4,
                    .max_batch_tokens = 16,
                    .max_context_tokens = 96,
                    .vocab_size = 256};
  return options;
}

constexpr BenchCost kCost{.weight_bytes_per_step = 1e6,
                          .kv_bytes_per_token = 10,
                          .ops_per_token = 2e6,
                          .ops_per_logit_row = 1e5,
                          .attention_ops_per_context = 10};
const MachineLimits kLimits{
    .read_bytes_per_s = 1e10, .ops_per_s = 1e12, .attention_ops_per_s = 1e12};

bool go_on(const std::string&) { return true; }

TEST(Bench, EveryBatch_GivesAPrefillAndADecodeRow) {
  FakeExecutor executor(fake_options());
  const BenchOptions options{.prompt_tokens = 40, .gen_tokens = 8, .batches = {1, 4}, .repeat = 3};
  const auto report = run_bench(executor, kCost, kLimits, options, go_on);
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_FALSE(report->stopped);
  const std::vector<BenchRow>& rows = report->rows;
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].test, "prefill");
  EXPECT_EQ(rows[0].depth, 0);
  EXPECT_EQ(rows[3].test, "decode");
  EXPECT_EQ(rows[3].batch, 4);
  EXPECT_EQ(rows[3].depth, 40) << "it goes on behind the prompts";
  EXPECT_DOUBLE_EQ(rows[3].tokens_per_s_each * 4, rows[3].tokens_per_s);
  EXPECT_EQ(rows[0].prompt_tokens, 40);
  EXPECT_DOUBLE_EQ(rows[0].first_token_s, 40 / rows[0].tokens_per_s);
  EXPECT_LE(rows[0].first_token_s_min, rows[0].first_token_s);
  EXPECT_LE(rows[0].first_token_s, rows[0].first_token_s_max);
  EXPECT_EQ(rows[1].first_token_s, 0) << "a decode row";
  EXPECT_EQ(rows[2].first_token_s, 0) << "prompts of several, one behind the other";
  for (const BenchRow& row : rows) {
    EXPECT_LE(row.tokens_per_s_min, row.tokens_per_s);
    EXPECT_LE(row.tokens_per_s, row.tokens_per_s_max);
    EXPECT_GT(row.share_of_limit, 0);
  }
  EXPECT_EQ(executor.num_held_slots(), 0);
}

// The fake checks that every position a step reads was written by that sequence.
TEST(Bench, Depths_AreFilledOnceAndServeEveryBatch) {
  FakeExecutorOptions fake = fake_options();
  int num_rows = 0;
  fake.extra_ms = [&](uint64_t) { return ++num_rows, 0.0; };
  FakeExecutor executor(fake);
  const BenchOptions options{
      .prompt_tokens = 8, .gen_tokens = 5, .batches = {1, 3}, .repeat = 2, .depths = {48, 0, 20}};
  const auto report = run_bench(executor, kCost, kLimits, options, go_on);
  ASSERT_TRUE(report.ok()) << report.message();
  std::vector<std::tuple<int, int, std::string>> found;
  for (const BenchRow& row : report->rows) found.emplace_back(row.depth, row.batch, row.test);
  std::vector<std::tuple<int, int, std::string>> expected;
  for (const int depth : {0, 20, 48}) {
    for (const int batch : {1, 3}) {
      expected.emplace_back(depth, batch, "prefill");
      expected.emplace_back(depth, batch, "decode");
    }
  }
  EXPECT_EQ(found, expected);
  // 3 sequences x (2 + 2) steps of at most 16 fill 48 tokens; a run is 1 + 3 prompts, 5 + 5 steps.
  EXPECT_EQ(num_rows, 3 * 4 + 3 * 3 * (4 + 10)) << "steps of all";
  EXPECT_EQ(executor.num_held_slots(), 0);
}

TEST(Bench, DeeperContext_HasMoreToReadAndToCompute) {
  FakeExecutor executor(fake_options());
  const BenchCost cost{.weight_bytes_per_step = 1000,
                       .kv_bytes_per_token = 100,
                       .ops_per_token = 50,
                       .ops_per_logit_row = 0,
                       .attention_ops_per_context = 1};
  const BenchOptions options{
      .prompt_tokens = 4, .gen_tokens = 4, .batches = {1}, .repeat = 1, .depths = {10, 50}};
  const auto report = run_bench(executor, cost, {.read_bytes_per_s = 1}, options, go_on);
  ASSERT_TRUE(report.ok()) << report.message();
  const auto bytes = [&](size_t i) { return report->rows[i].bytes_per_s * report->rows[i].step_s; };
  const auto ops = [&](size_t i) { return report->rows[i].ops_per_s * report->rows[i].step_s; };
  // Four steps at contexts of 11 to 14: 1000 bytes of weights and 12.5 cached tokens each.
  EXPECT_NEAR(bytes(1), 1000 + 12.5 * 100, 1e-6);
  EXPECT_NEAR(bytes(3), 1000 + 52.5 * 100, 1e-6);
  EXPECT_NEAR(ops(1), 50 + 12.5, 1e-6);
  EXPECT_NEAR(ops(3), 50 + 52.5, 1e-6);
  // A prompt of four in one step: what lies there is read, its own four are written.
  EXPECT_NEAR(bytes(2), 1000 + 50 * 100 + 4 * 100, 1e-6);
  EXPECT_NEAR(ops(2), 4 * (50 + 50 + 2.5), 1e-6);
}

TEST(Bench, ReadPassesBetweenDecodeSteps_GiveTheShareOfTheirTime) {
  FakeExecutor executor(fake_options());
  MachineLimits limits = kLimits;
  int num_passes = 0;
  limits.read_pass = [&] { return ++num_passes % 2 == 0 ? 2e9 : 1e9; };
  const BenchOptions options{.prompt_tokens = 8, .gen_tokens = 20, .batches = {1}, .repeat = 2};
  const auto report = run_bench(executor, kCost, limits, options, go_on);
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_EQ(report->rows[0].read_bytes_per_s_beside, 0) << "a prefill row has none";
  const BenchRow& decode = report->rows[1];
  // Before, and behind 8, 16 and 20 steps: half at 1 GB/s, half at 2.
  EXPECT_EQ(num_passes, 3 * 4);
  EXPECT_NEAR(decode.read_bytes_per_s_beside, 2 / (1 / 1e9 + 1 / 2e9), 1);
  EXPECT_GT(decode.share_of_read_beside, 0);
}

TEST(Bench, Guesses_AreComparedWithAStepWithoutAny) {
  FakeExecutor executor(fake_options());
  for (const std::vector<int>& depths : {std::vector<int>{}, std::vector<int>{0, 12}}) {
    const BenchOptions options{.prompt_tokens = 8,
                               .gen_tokens = 8,
                               .batches = {1},
                               .repeat = 3,
                               .depths = depths,
                               .guesses = {3, 1}};
    const auto report = run_bench(executor, kCost, kLimits, options, go_on);
    ASSERT_TRUE(report.ok()) << report.message();
    std::vector<std::pair<int, int>> found;
    for (const BenchRow& row : report->rows) {
      if (row.test != "verify") continue;
      found.emplace_back(row.depth, row.guesses);
      EXPECT_GT(row.step_ratio_min, 0);
      EXPECT_LE(row.step_ratio_min, row.step_ratio);
      EXPECT_LE(row.step_ratio, row.step_ratio_max);
      if (row.guesses == 0) {
        EXPECT_EQ(row.step_ratio, 1);
      }
    }
    using Rows = std::vector<std::pair<int, int>>;
    EXPECT_EQ(found, depths.empty() ? (Rows{{8, 0}, {8, 1}, {8, 3}})
                                    : (Rows{{0, 0}, {0, 1}, {0, 3}, {12, 0}, {12, 1}, {12, 3}}));
  }
  EXPECT_EQ(executor.num_held_slots(), 0);
}

TEST(Bench, Stopped_GivesTheRowsThatWereMeasured) {
  for (const int stop_after : {0, 3, 9, 14, 30}) {
    FakeExecutor executor(fake_options());
    const BenchOptions options{.prompt_tokens = 8,
                               .gen_tokens = 4,
                               .batches = {1, 2},
                               .repeat = 2,
                               .depths = {0, 20},
                               .guesses = {2}};
    int num_calls = 0;
    const auto report = run_bench(executor, kCost, kLimits, options,
                                  [&](const std::string&) { return num_calls++ < stop_after; });
    ASSERT_TRUE(report.ok()) << report.message();
    EXPECT_TRUE(report->stopped);
    EXPECT_EQ(num_calls, stop_after + 1) << "nothing goes on behind a no";
    EXPECT_EQ(report->rows.empty(), stop_after <= 3);
    for (const BenchRow& row : report->rows) EXPECT_GT(row.tokens_per_s, 0);
    EXPECT_EQ(executor.num_held_slots(), 0);
  }
}

TEST(Bench, TooLargeForTheExecutor_IsRefusedBeforeRunning) {
  FakeExecutor executor(fake_options());
  const auto refused = [&](const BenchOptions& options) {
    return !run_bench(executor, {}, {}, options, go_on).ok();
  };
  EXPECT_TRUE(refused({.prompt_tokens = 90, .gen_tokens = 8, .batches = {1}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {5}}));
  EXPECT_TRUE(refused({.prompt_tokens = 0, .gen_tokens = 8, .batches = {1}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {1}, .depths = {90}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {1}, .depths = {-1}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {1}, .guesses = {16}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {4}, .depths = {88}}));
}

}  // namespace
}  // namespace sparrow
