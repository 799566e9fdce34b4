#include "tools/bench/bench.h"

#include <gtest/gtest.h>

#include "model/fake_executor.h"

namespace sparrow {
namespace {

FakeExecutorOptions fake_options() {
  FakeExecutorOptions options;
  options.limits = {.block_tokens = 4,
                    .num_blocks = 64,
                    .num_slots = 4,
                    .max_batch_tokens = 16,
                    .max_context_tokens = 64,
                    .vocab_size = 256};
  return options;
}

TEST(Bench, EveryBatch_GivesAPrefillAndADecodeRow) {
  FakeExecutor executor(fake_options());
  const BenchOptions options{.prompt_tokens = 40, .gen_tokens = 8, .batches = {1, 4}, .repeat = 3};
  const BenchCost cost{.weight_bytes_per_step = 1e6,
                       .kv_bytes_per_token = 10,
                       .ops_per_token = 2e6,
                       .ops_per_logit_row = 1e5,
                       .attention_ops_per_context = 10};
  const auto rows = run_bench(executor, cost, {.read_bytes_per_s = 1e10, .ops_per_s = 1e12},
                              options, [](const std::string&) {});
  ASSERT_TRUE(rows.ok()) << rows.message();
  ASSERT_EQ(rows->size(), 4u);
  EXPECT_EQ((*rows)[0].test, "prefill");
  EXPECT_EQ((*rows)[3].test, "decode");
  EXPECT_EQ((*rows)[3].batch, 4);
  for (const BenchRow& row : *rows) {
    EXPECT_LE(row.tokens_per_s_min, row.tokens_per_s);
    EXPECT_LE(row.tokens_per_s, row.tokens_per_s_max);
    EXPECT_GT(row.share_of_limit, 0);
  }
  EXPECT_EQ(executor.num_held_slots(), 0);
}

TEST(Bench, TooLargeForTheExecutor_IsRefusedBeforeRunning) {
  FakeExecutor executor(fake_options());
  const auto refused = [&](const BenchOptions& options) {
    return !run_bench(executor, {}, {}, options, [](const std::string&) {}).ok();
  };
  EXPECT_TRUE(refused({.prompt_tokens = 60, .gen_tokens = 8, .batches = {1}}));
  EXPECT_TRUE(refused({.prompt_tokens = 8, .gen_tokens = 8, .batches = {5}}));
  EXPECT_TRUE(refused({.prompt_tokens = 0, .gen_tokens = 8, .batches = {1}}));
}

}  // namespace
}  // namespace sparrow
