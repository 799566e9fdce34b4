#include "scheduler/row_cost.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace sparrow {
namespace {

// Four rows at once cost hardly more than two: a step's milliseconds by rows.
double tile_ms(int rows) { return rows <= 1 ? 25 : rows <= 4 ? 29 : rows <= 8 ? 54 : 80; }

RowCost learned(double speed = 1) {
  RowCost cost;
  for (int i = 0; i < 20; ++i) {
    for (const int rows : {1, 2, 4, 6, 8}) cost.observe(rows, tile_ms(rows) / speed);
  }
  return cost;
}

TEST(RowCost, EverySize_HasItsOwnPrice) {
  const RowCost cost = learned();
  EXPECT_NEAR(cost.extra(1, 1), 4 / 25.0, 1e-9);
  EXPECT_NEAR(cost.extra(1, 3), 4 / 25.0, 1e-9) << "not three times as much";
  EXPECT_NEAR(cost.extra(1, 7), 29 / 25.0, 1e-9);
  EXPECT_NEAR(cost.extra(4, 2), 25 / 29.0, 1e-9);
}

TEST(RowCost, SizesNotSeen_LieBetweenTheirNeighbours) {
  RowCost cost;
  EXPECT_DOUBLE_EQ(cost.extra(1, 2), 2 * RowCost::kUnknownRow) << "nothing is known";
  cost.observe(1, 10);
  EXPECT_DOUBLE_EQ(cost.extra(1, 2), 2 * RowCost::kUnknownRow);
  cost.observe(5, 14);
  EXPECT_NEAR(cost.extra(1, 2), 0.2, 1e-9);
  EXPECT_NEAR(cost.extra(1, 5), 1.4 * (1 + RowCost::kUnknownRow) - 1, 1e-9);
}

TEST(RowCost, MoreRows_AreNeverCheaper) {
  RowCost cost;
  cost.observe(1, 10);
  cost.observe(2, 15);  // disturbed
  cost.observe(4, 12);
  EXPECT_NEAR(cost.extra(1, 1), 0.2, 1e-9);
  cost.observe(4, 1);
  EXPECT_GE(cost.extra(1, 3), 3 * RowCost::kMinRow) << "and never free";
}

// Only single rows are seen while the machine gets slower: the others got slower, too.
TEST(RowCost, ChangeOfSpeed_LeavesTheShape) {
  for (const double slower : {0.5, 1.25, 2.0, 3.0}) {
    RowCost cost = learned();
    for (int i = 0; i < 60; ++i) cost.observe(1, tile_ms(1) * slower);
    EXPECT_NEAR(1 + cost.extra(1, 3), 29 / 25.0, 0.15) << slower;
    EXPECT_NEAR(1 + cost.extra(1, 7), 54 / 25.0, 0.3) << slower;
  }
}

TEST(RowCost, StuckStep_IsForgotten) {
  RowCost cost = learned();
  cost.observe(4, 5000);
  EXPECT_LT(cost.extra(1, 3), 0.3);
  cost.observe(1, 5000);
  EXPECT_NEAR(1 + cost.extra(1, 7), 54 / 25.0, 0.2);
}

TEST(RowCost, NoisySteps_MeanIsFound) {
  RowCost cost;
  for (uint64_t i = 0; i < 2000; ++i) {
    const int rows = 1 + static_cast<int>(random_bits(1, 1, i) % 8);
    const double noise = 0.8 + 0.4 * static_cast<double>(random_bits(1, 2, i) % 1000) / 1000;
    cost.observe(rows, tile_ms(rows) * noise);
  }
  EXPECT_NEAR(1 + cost.extra(1, 3), 29 / 25.0, 0.1);
  EXPECT_NEAR(1 + cost.extra(1, 7), 54 / 25.0, 0.2);
}

TEST(RowCost, SenselessNumbers_AreIgnored) {
  RowCost cost = learned();
  const double before = cost.extra(1, 3);
  cost.observe(0, 10);
  cost.observe(RowCost::kMaxRows + 1, 10);
  cost.observe(3, 0);
  cost.observe(3, -1);
  EXPECT_EQ(cost.extra(1, 3), before);
  EXPECT_GT(cost.extra(1, 200), 0);
}

}  // namespace
}  // namespace sparrow
