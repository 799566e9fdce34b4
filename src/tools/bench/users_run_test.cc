#include "tools/bench/users_run.h"

#include <gtest/gtest.h>

#include "tools/bench/card.h"
#include "tools/bench/workload_test_support.h"

namespace sparrow {
namespace {

constexpr BenchCost kCost{.weight_bytes_per_step = 1e6};
const MachineLimits kLimits{.read_bytes_per_s = 1e9, .ops_per_s = 1e12};
constexpr double kStepS = kTestStepMs * 1e-3;

UsersOptions users_of(int num_users, WorkloadItem request, int rounds) {
  UsersOptions options;
  options.num_users = num_users;
  options.request = request;
  options.rounds = rounds;
  return options;
}

Result<UsersReport> run(
    TimedFake& fake, const UsersOptions& options,
    const WorkloadProgress& progress = [](double, const std::string&) { return true; }) {
  return run_users(*fake.executor, *fake.tokenizer, kCost, kLimits, options, fake.clock, progress);
}

TEST(UsersRun, UsersWithAPlaceEach_WaitForTheirOwnTokensOnly) {
  TimedFake fake;
  const auto report = run(fake, users_of(3, {.prompt_tokens = 8, .output_tokens = 5}, 4));
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_FALSE(report->stopped);
  EXPECT_EQ(report->num_answers, 12) << "the round that warms up is not counted";
  EXPECT_DOUBLE_EQ(report->first_token_s.p50, kStepS);
  EXPECT_DOUBLE_EQ(report->answer_s.p95, 5 * kStepS);
  EXPECT_DOUBLE_EQ(report->gap_s.max, kStepS);
  EXPECT_EQ(report->work.output_tokens, 12 * 5);
  EXPECT_EQ(report->work.steps, 4 * 5);
  EXPECT_DOUBLE_EQ(report->work.share_of_limit, 0.5);
  EXPECT_EQ(fake.executor->num_held_slots(), 0);
}

// Two more than there are slots: they begin when the first four are done.
TEST(UsersRun, UsersWithoutAPlace_WaitForOne) {
  TimedFake fake;
  const auto report = run(fake, users_of(6, {.prompt_tokens = 8, .output_tokens = 5}, 1));
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_EQ(report->num_answers, 6);
  EXPECT_DOUBLE_EQ(report->first_token_s.p50, kStepS);
  EXPECT_DOUBLE_EQ(report->first_token_s.max, 6 * kStepS);
  EXPECT_DOUBLE_EQ(report->answer_s.max, 10 * kStepS);
}

TEST(UsersRun, Stopped_CountsTheAnswersThatAreThere) {
  TimedFake fake;
  int num_calls = 0;
  const auto report = run(fake, users_of(2, {.prompt_tokens = 8, .output_tokens = 40}, 100),
                          [&](double, const std::string&) { return ++num_calls < 5; });
  ASSERT_TRUE(report.ok()) << report.message();
  EXPECT_TRUE(report->stopped);
  EXPECT_GT(report->num_answers, 0);
  EXPECT_LT(report->num_answers, 200);
  EXPECT_EQ(fake.executor->num_held_slots(), 0);
}

TEST(UsersRun, WhatCannotRun_IsRefused) {
  TimedFake fake;
  EXPECT_FALSE(run(fake, users_of(0, {8, 5}, 1)).ok());
  EXPECT_FALSE(run(fake, users_of(1, {8, 5}, 0)).ok());
  EXPECT_FALSE(run(fake, users_of(1, {90, 7}, 1)).ok());
  FakeExecutorOptions failing;
  failing.fails = [](uint64_t step) { return step > 2; };
  TimedFake broken(failing);
  EXPECT_FALSE(run(broken, users_of(1, {8, 30}, 1)).ok());
}

// DeepSeek-R1-Distill-Qwen-1.5B in bf16: 28 layers, 1,310,195,712 weights in them and 233,373,696
// in the head, K and V of 28 x 2 x 2 x 128 elements, 12 heads x 128 x 28 layers of attention.
constexpr BenchCost kR1Cost{.weight_bytes_per_step = 2.0 * (1310195712.0 + 233373696.0),
                            .kv_bytes_per_token = 28672,
                            .ops_per_token = 2.0 * 1310195712.0,
                            .ops_per_logit_row = 2.0 * 233373696.0,
                            .attention_ops_per_context = 172032};

TEST(UsersLimit, TwelveUsersOnAnA40_NeedSeventyPercentForThreeAndAHalfSeconds) {
  const MachineLimits a40 = limits_of(*find_known_gpu("a40"));
  const WorkloadItem request{.prompt_tokens = 256, .output_tokens = 512};
  // By hand: the prompts are 3,072 tokens x 2.620 GFLOP, 12 heads x 0.467 and attention of 0.068
  // TFLOP, 8.123 TFLOP in all at 149 TFLOP/s: 54.5 ms. Then 511 steps of 3.0871 GB of weights
  // and 12 x 28,672 bytes of each of 256 + 256 tokens (the mean context) at 696 GB/s: 2.3959 s.
  const double by_hand = 0.0545191 + 511 * (3.087138816e9 + 12 * 28672.0 * 512) / 696e9;
  EXPECT_NEAR(users_limit_seconds(kR1Cost, a40, 12, request), by_hand, 1e-6);
  EXPECT_NEAR(share_of_limit_needed(kR1Cost, a40, 12, request, 3.5), 0.70012, 1e-5);
  EXPECT_GT(share_of_limit_needed(kR1Cost, a40, 12, request, 1), 2) << "no engine does it in 1 s";
}

TEST(UsersLimit, OneTokenOfAnswer_IsThePromptAlone) {
  const BenchCost cost{.weight_bytes_per_step = 100,
                       .kv_bytes_per_token = 1,
                       .ops_per_token = 10,
                       .ops_per_logit_row = 5,
                       .attention_ops_per_context = 2};
  const MachineLimits memory{.read_bytes_per_s = 1};
  EXPECT_DOUBLE_EQ(users_limit_seconds(cost, memory, 2, {3, 1}), 100 + 2 * 3);
  EXPECT_DOUBLE_EQ(users_limit_seconds(cost, memory, 2, {3, 2}), 100 + 2 * 3 + 100 + 2 * 4);
  const MachineLimits arithmetic{.ops_per_s = 1, .attention_ops_per_s = 1};
  EXPECT_DOUBLE_EQ(users_limit_seconds(cost, arithmetic, 2, {3, 1}),
                   2 * (3 * 10 + 5) + 2 * 2 * (1 + 2 + 3));
}

}  // namespace
}  // namespace sparrow
