#include "scheduler/step_cost.h"

#include <gtest/gtest.h>

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

TEST(StepCost, OneStuckStep_IsForgottenSoon) {
  StepCost cost;
  for (int i = 0; i < 100; ++i) cost.observe(i % 2 ? 8 : 40, i % 2 ? 18 : 50);
  cost.observe(8, 10'000);
  EXPECT_GE(cost.rows_within(250, 16, 2048), 60) << "a quarter of the 240 rows before";
  for (int i = 0; i < 100; ++i) cost.observe(i % 2 ? 8 : 40, i % 2 ? 18 : 50);
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
