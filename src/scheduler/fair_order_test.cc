#include "scheduler/fair_order.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(FairOrder, OneKey_IsFirstComeFirstServed) {
  FairOrder order;
  uint64_t last = order.arrive("a", 10);
  for (int i = 0; i < 20; ++i) {
    const uint64_t tag = order.arrive("a", 10);
    EXPECT_GT(tag, last);
    last = tag;
  }
}

TEST(FairOrder, NewKey_GoesBeforeTheBacklogOfAnother) {
  FairOrder order;
  for (int i = 0; i < 100; ++i) order.arrive("greedy", 10);
  order.serve(50);
  const uint64_t tag = order.arrive("modest", 10);
  EXPECT_EQ(tag, 50u) << "behind what was served, before the 94 still waiting";
}

TEST(FairOrder, CostlyRequests_TakeTurnsByCost) {
  FairOrder order;
  const uint64_t long_first = order.arrive("long", 1000);
  const uint64_t long_second = order.arrive("long", 1000);
  int served_between = 0;
  for (int i = 0; i < 50; ++i) {
    const uint64_t tag = order.arrive("short", 100);
    if (tag >= long_first && tag < long_second) ++served_between;
  }
  EXPECT_EQ(served_between, 10) << "ten of 100 tokens for one of 1000";
}

TEST(FairOrder, ManyKeys_StayBounded) {
  FairOrder order;
  for (size_t i = 0; i < 3 * FairOrder::kMaxKeys; ++i) order.arrive("key" + std::to_string(i), 5);
  EXPECT_LE(order.num_keys(), FairOrder::kMaxKeys);
}

}  // namespace
}  // namespace sparrow
