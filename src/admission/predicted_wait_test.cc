#include "admission/predicted_wait.h"

#include <gtest/gtest.h>

#include <cmath>

#include "admission/test_support.h"
#include "base/random.h"

namespace sparrow {
namespace {

double uniform(uint64_t seed, uint64_t index) {
  return static_cast<double>(random_bits(seed, 0, index) >> 11) * 0x1p-53;
}

// Fills a model with jobs at random, lets it run a while, then adds one and compares what was
// predicted for it with what it got.
struct Trial {
  double predicted_ms;
  double actual_ms;
};

Trial try_once(uint64_t seed, bool equal_lengths) {
  QueueModel model;
  uint64_t index = 0;
  const auto random = [&] { return uniform(seed, index++); };
  const auto random_job = [&](uint64_t id) {
    Job job;
    job.id = id;
    job.arrival_ms = model.now_ms();
    job.num_prompt_tokens = 20 + static_cast<int>(200 * random());
    job.num_output_tokens =
        equal_lengths ? 48 : 1 + static_cast<int>(-48 * std::log(1 - random() * 0.999));
    return job;
  };
  const int num_jobs = static_cast<int>(120 * random());
  for (int i = 0; i < 40 + num_jobs; ++i) {
    model.submit(random_job(1));
    if (random() < 0.5) model.step(model.now_ms());
  }
  const size_t to_run = static_cast<size_t>(num_jobs * random());
  while (model.finished.size() < 40 + to_run && !model.idle()) model.step(model.now_ms());
  const Job probe = random_job(7);
  Trial trial{};
  trial.predicted_ms = predicted_first_token_ms(model.load(), {}, probe.num_prompt_tokens);
  model.submit(probe);
  while (!model.idle()) model.step(model.now_ms());
  for (const Job& job : model.finished) {
    if (job.id == 7) trial.actual_ms = job.first_token_ms - job.arrival_ms;
  }
  return trial;
}

TEST(PredictedWait, InAQueueModel_IsRightOnAverageAndNearInEveryCase) {
  for (const bool equal_lengths : {true, false}) {
    double predicted_sum = 0;
    double actual_sum = 0;
    int num_far = 0;
    constexpr int kTrials = 400;
    for (uint64_t seed = 1; seed <= kTrials; ++seed) {
      const Trial trial = try_once(seed, equal_lengths);
      predicted_sum += trial.predicted_ms;
      actual_sum += trial.actual_ms;
      // Half of it, and some steps for the places that end together.
      const double error_ms = std::abs(trial.predicted_ms - trial.actual_ms);
      if (error_ms > 0.5 * trial.actual_ms + 3000) ++num_far;
    }
    EXPECT_NEAR(predicted_sum / actual_sum, 1.0, 0.1) << "equal lengths: " << equal_lengths;
    EXPECT_LE(num_far, kTrials / 20) << "equal lengths: " << equal_lengths;
  }
}

TEST(PredictedWait, AlongTheFormula) {
  LoadSnapshot load;
  load.max_num_running = 4;
  load.has_step_cost = true;
  load.step_fixed_ms = 10;
  load.step_row_ms = 1;
  load.max_step_rows = 100;
  load.mean_output_tokens = 40;
  // Idle: one piece of prompt.
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 50), 10 + 50);
  EXPECT_DOUBLE_EQ(first_token_alone_ms(load, 250), 3 * 10 + 250);
  // A place is free beside three: steps of three rows, and 97 prompt rows fit into one.
  load.num_running = 3;
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 50), 13 + 50);
  // All places taken, two wait before it: three must end, one every 10 steps.
  load.num_running = 4;
  load.num_waiting = 2;
  load.num_waiting_prompt_tokens = 60;
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 50), 30 * 14 + 110);
  // Work let in since then is before it, too.
  const Reservation two{.num_sequences = 2, .num_prompt_tokens = 30};
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, two, 50), 50 * 14 + 140);
}

TEST(PredictedWait, StepMayTakeTooLong_SoPromptsTakeMoreSteps) {
  LoadSnapshot load;
  load.max_num_running = 4;
  load.has_step_cost = true;
  load.step_fixed_ms = 10;
  load.step_row_ms = 1;
  load.max_step_rows = 1000;
  load.max_step_ms = 60;  // 50 rows
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 500), 10 * 10 + 500);
}

TEST(PredictedWait, BlocksScarce_WhatRunsIsAllThatFits) {
  LoadSnapshot load;
  load.max_num_running = 64;
  load.num_running = 2;
  load.num_waiting = 3;
  load.num_blocks_total = 100;
  load.mean_output_tokens = 100;
  load.has_step_cost = true;
  load.step_fixed_ms = 10;
  load.num_blocks_live = 50;
  const double roomy_ms = predicted_first_token_ms(load, {}, 10);
  load.num_blocks_live = 95;
  EXPECT_DOUBLE_EQ(roomy_ms, 10);
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 10), 10 * 4 * 100 / 2);
}

TEST(PredictedWait, NothingMeasured_NothingPredicted) {
  LoadSnapshot load;
  load.max_num_running = 1;
  load.num_running = 1;
  load.num_waiting = 100;
  EXPECT_EQ(predicted_first_token_ms(load, {}, 1000), 0);
  load.step_ms_mean = 50;  // one kind of step seen: its mean is what there is
  load.mean_output_tokens = 10;
  EXPECT_DOUBLE_EQ(predicted_first_token_ms(load, {}, 0), 101 * 10 * 50.0);
}

}  // namespace
}  // namespace sparrow
