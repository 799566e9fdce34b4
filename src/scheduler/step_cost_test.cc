#include "scheduler/step_cost.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace sparrow {
namespace {

TEST(StepCost, Line_IsFoundFromMixedSteps) {
  StepCost cost;
  for (int i = 0; i < 200; ++i) {
    const int rows = i % 3 == 0 ? 64 : 8;
    cost.observe(rows, 40 + 2.0 * rows);
  }
  EXPECT_NEAR(cost.fixed_ms(), 40, 1);
  EXPECT_NEAR(cost.row_ms(), 2, 0.05);
  EXPECT_EQ(cost.rows_within(101, 1, 1000), 30) << "(101 - 40) / 2";
}

TEST(StepCost, UnsteadyMachine_GetsShorterSteps) {
  StepCost steady, unsteady;
  int num_over = 0, num_large = 0;
  for (int i = 0; i < 2000; ++i) {
    const double noise = 1 + 0.4 * (random_uniform(3, 0, static_cast<uint64_t>(i)) - 0.5);
    const int rows = i % 4 == 0 ? 8 : unsteady.rows_within(250, 16, 1000);
    const double took_ms = (40 + 2.0 * rows) * noise;
    steady.observe(rows, 40 + 2.0 * rows);
    unsteady.observe(rows, took_ms);
    num_large += i > 200 && rows > 8;
    num_over += i > 200 && rows > 8 && took_ms > 250;
  }
  EXPECT_GE(steady.rows_within(250, 16, 1000), 103) << "nearly all of 105";
  EXPECT_LE(num_over, num_large / 10) << "half of them would be over without the reserve";
}

TEST(StepCost, StepsOfOneSize_CountAsRowsOnly) {
  StepCost cost;
  for (int i = 0; i < 10; ++i) cost.observe(4, 40);
  EXPECT_DOUBLE_EQ(cost.predict_ms(4), 40);
  EXPECT_EQ(cost.rows_within(80, 1, 1000), 8);
}

TEST(StepCost, BudgetBelowTheFixedCost_GivesTheMinimum) {
  StepCost cost;
  for (int i = 0; i < 50; ++i) cost.observe(i % 20 + 1, 100 + i % 20 + 1);
  EXPECT_EQ(cost.rows_within(50, 3, 1000), 3);
}

// What small steps cost says nothing about large ones: up to 32 rows take 50 ms here.
TEST(StepCost, LargerSteps_AreTriedByDoubling) {
  const auto duration_ms = [](int rows) { return std::max(50.0, rows * 50.0 / 32); };
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.observe(i % 4 + 1, duration_ms(i % 4 + 1));
  for (int i = 0; i < 20; ++i) {
    const int rows = cost.rows_within(250, 1, 1000);
    EXPECT_LE(duration_ms(rows), 500);
    cost.observe(rows, duration_ms(rows));
  }
  EXPECT_NEAR(cost.rows_within(250, 1, 1000), 160, 40);
}

TEST(StepCost, OneStuckStep_IsForgottenSoon) {
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.observe(i % 2 ? 8 : 200, i % 2 ? 18 : 210);
  cost.observe(8, 10'000);
  EXPECT_GE(cost.rows_within(250, 16, 2048), 60) << "a quarter of the 240 rows before";
  for (int i = 0; i < 100; ++i) cost.observe(i % 2 ? 8 : 200, i % 2 ? 18 : 210);
  EXPECT_GE(cost.rows_within(250, 16, 2048), 180);
}

TEST(StepCost, SlowerMachine_IsFollowed) {
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.observe(i % 2 ? 8 : 40, i % 2 ? 8 : 40);
  for (int i = 0; i < 150; ++i) cost.observe(i % 2 ? 8 : 40, i % 2 ? 80 : 400);
  EXPECT_NEAR(cost.predict_ms(20), 200, 25);
}

}  // namespace
}  // namespace sparrow
