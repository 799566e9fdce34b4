#include "api/engines/routing.h"

#include <gtest/gtest.h>

#include <array>

namespace sparrow::api {
namespace {

// Like a small CPU: a step of n rows takes 20 + n ms.
EngineLoad engine(int num_running, int num_waiting = 0, int64_t num_prompt_tokens = 0) {
  EngineLoad out;
  out.load.num_steps = 100;
  out.load.max_num_running = 16;
  out.load.num_running = num_running;
  out.load.num_waiting = num_waiting;
  out.load.num_waiting_prompt_tokens = num_prompt_tokens;
  out.load.num_blocks_total = 1000;
  out.load.has_step_cost = true;
  out.load.step_fixed_ms = 20;
  out.load.step_row_ms = 1;
  out.load.max_step_ms = 200;
  out.load.max_step_rows = 512;
  out.load.mean_output_tokens = 100;
  return out;
}

TEST(Routing, EqualEngines_TakeTurns) {
  const std::array engines = {engine(2), engine(2), engine(2)};
  std::array<int, 3> counts{};
  for (uint64_t turn = 0; turn < 300; ++turn) {
    ++counts.at(static_cast<size_t>(choose_engine(engines, 50, 100, turn)));
  }
  EXPECT_EQ(counts, (std::array{100, 100, 100}));
}

TEST(Routing, LeastPredictedTime_Wins) {
  for (uint64_t turn = 0; turn < 3; ++turn) {
    EXPECT_EQ(choose_engine(std::array{engine(9), engine(3), engine(8)}, 50, 100, turn), 1);
    EXPECT_EQ(choose_engine(std::array{engine(16, 4), engine(16, 3)}, 50, 100, turn), 1);
    // As many sequences, but one of them has a book to read.
    EXPECT_EQ(choose_engine(std::array{engine(4, 1, 9000), engine(4, 1, 20)}, 50, 100, turn), 1);
  }
}

TEST(Routing, WorkOnItsWay_Counts) {
  std::array engines = {engine(2), engine(2)};
  engines[0].ahead = {.num_sequences = 3, .num_prompt_tokens = 300};
  EXPECT_EQ(choose_engine(engines, 50, 100, 0), 1);
  EXPECT_EQ(least_loaded(engines, 0), 1);
}

TEST(Routing, CachedBeginning_WinsAgainstALittleMoreLoad) {
  std::array engines = {engine(3), engine(2)};
  EXPECT_EQ(choose_engine(engines, 800, 100, 0), 1);
  engines[0].num_cached_tokens = 512;
  for (uint64_t turn = 0; turn < 2; ++turn) EXPECT_EQ(choose_engine(engines, 800, 100, turn), 0);
}

TEST(Routing, CachedBeginning_IsWorthWhatItSaves) {
  // 16 tokens are saved by an engine where each of 100 steps is a row longer.
  std::array engines = {engine(3), engine(2)};
  engines[0].num_cached_tokens = 16;
  EXPECT_EQ(choose_engine(engines, 800, 100, 0), 1);
}

TEST(Routing, BeyondTheFairRatio_LoadDecides) {
  // A huge beginning saves far more than the longer steps cost.
  std::array engines = {engine(0), engine(0)};
  engines[0].num_cached_tokens = 8192;
  const auto load_ms = [](const EngineLoad& one) {
    return predicted_first_token_ms(one.load, one.ahead, 0) +
           predicted_answer_ms(one.load, one.ahead, 100, 0);
  };
  const double least = load_ms(engines[1]);
  int last_with_affinity = -1;
  for (int num_running = 0; num_running <= 16; ++num_running) {
    engines[0].load.num_running = num_running;
    const bool is_affine = choose_engine(engines, 8192, 100, 0) == 0;
    EXPECT_EQ(is_affine, load_ms(engines[0]) <= kFairness * least) << num_running;
    if (is_affine) last_with_affinity = num_running;
  }
  EXPECT_EQ(last_with_affinity, 5);  // steps of 26 ms beside ones of 21
}

TEST(Routing, ManyRequestsWithOneBeginning_AreSpreadFairly) {
  // All share 1,000 tokens that only engine 0 had at first.
  std::array engines = {engine(0), engine(0), engine(0), engine(0)};
  engines[0].num_cached_tokens = 992;
  for (uint64_t i = 0; i < 60; ++i) {
    const auto at = static_cast<size_t>(choose_engine(engines, 1000, 100, i));
    engines[at].num_cached_tokens = 992;
    engines[at].ahead.num_sequences += 1;
  }
  for (const EngineLoad& one : engines) {
    EXPECT_GE(one.ahead.num_sequences, 10);
    EXPECT_LE(one.ahead.num_sequences, 20);
  }
}

TEST(Routing, NothingMeasuredYet_StillSpreads) {
  std::array engines = {engine(0), engine(0)};
  for (EngineLoad& one : engines) {
    one.load.has_step_cost = false;
    one.num_cached_tokens = 0;
  }
  engines[0].num_cached_tokens = 64;
  for (uint64_t i = 0; i < 12; ++i) {
    const auto at = static_cast<size_t>(choose_engine(engines, 70, 100, i));
    engines[at].ahead.num_sequences += 1;
    engines[at].ahead.num_prompt_tokens += 70;
  }
  EXPECT_GE(engines[1].ahead.num_sequences, 4);
  EXPECT_GE(engines[0].ahead.num_sequences, 4);
}

TEST(Routing, FlatStepCost_DoesNotFillOneEngine) {
  std::array engines = {engine(0), engine(0)};
  for (EngineLoad& one : engines) one.load.step_row_ms = 0;
  engines[0].num_cached_tokens = 512;
  int num_first = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    for (EngineLoad& one : engines) one.load.max_num_running = 256;
    const auto at = static_cast<size_t>(choose_engine(engines, 600, 100, i));
    engines[at].load.num_running += 1;
    num_first += at == 0;
  }
  EXPECT_LT(num_first, 150);
}

TEST(Routing, SlowMeasurementOfOne_DoesNotKeepRequestsAway) {
  // The first step of engine 0 was slow (cold memory), and it has no later one to learn from.
  std::array engines = {engine(0), engine(1)};
  engines[0].load.step_fixed_ms = 500;
  share_pace(engines);
  EXPECT_EQ(engines[0].load.step_fixed_ms, 260);
  EXPECT_EQ(engines[1].load.step_fixed_ms, 260);
  EXPECT_EQ(choose_engine(engines, 50, 100, 0), 0);
}

TEST(Routing, ClosedEngines_TakeNoPart) {
  std::array engines = {engine(0), engine(9), engine(12)};
  engines[0].is_open = false;
  engines[0].load.step_fixed_ms = 5000;
  engines[0].num_cached_tokens = 48;
  share_pace(engines);
  EXPECT_EQ(engines[1].load.step_fixed_ms, 20);
  EXPECT_EQ(choose_engine(engines, 50, 100, 0), 1);
  EXPECT_EQ(least_loaded(engines, 0), 1);
  for (EngineLoad& one : engines) one.is_open = false;
  EXPECT_EQ(choose_engine(engines, 50, 100, 0), -1);
  EXPECT_EQ(least_loaded(engines, 0), -1);
}

}  // namespace
}  // namespace sparrow::api
