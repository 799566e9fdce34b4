#include "scheduler/draft_pace.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace sparrow {
namespace {

constexpr double kPrice = 0.05;

TEST(DraftPace, AllRight_DoublesToTheMost) {
  DraftPace pace(8);
  std::vector<int> sizes;
  for (int i = 0; i < 4; ++i) {
    sizes.push_back(pace.wanted(kPrice));
    pace.note_step(sizes.back(), sizes.back(), kPrice);
  }
  EXPECT_EQ(sizes, (std::vector<int>{2, 4, 8, 8}));
}

TEST(DraftPace, PartlyRight_ShrinksToOneMoreThanWasRight) {
  DraftPace pace(8);
  for (int i = 0; i < 3; ++i) pace.note_step(8, 8, kPrice);
  pace.note_step(8, 3, kPrice);
  EXPECT_EQ(pace.wanted(kPrice), 4);
}

TEST(DraftPace, Failures_MakeGrowingPauses) {
  DraftPace pace(8);
  std::vector<int> pauses;
  for (int i = 0; i < 7; ++i) {
    int pause = 0;
    for (; pace.wanted(0.01) == 0; ++pause) pace.note_step(0, 0, 0.01);
    pauses.push_back(pause);
    pace.note_step(pace.wanted(0.01), 0, 0.01);
  }
  EXPECT_EQ(pauses, (std::vector<int>{0, 1, 3, 7, 15, 16, 16}));
  while (pace.wanted(0.01) == 0) pace.note_step(0, 0, 0.01);
  pace.note_step(1, 1, 0.01);
  EXPECT_GT(pace.wanted(0.01), 0) << "a right guess ends it";
}

// The promise: whatever the text and the price, guessing costs at most 3 % and a quarter of a step.
TEST(DraftPace, AnyText_NeverCostsMoreThanItsAllowance) {
  for (const double price : {0.01, 0.05, 0.125, 0.4, 1.0, 3.0}) {
    for (const int percent_right : {0, 5, 20, 50, 90}) {
      DraftPace pace(8);
      double steps_plain = 0, steps_spent = 0;
      for (uint64_t step = 0; step < 2000; ++step) {
        const int count = pace.wanted(price);
        ASSERT_GE(count, 0);
        ASSERT_LE(count, 8);
        int right = 0;
        while (right < count &&
               static_cast<int>(random_bits(step, 1, static_cast<uint64_t>(right)) % 100) <
                   percent_right) {
          ++right;
        }
        pace.note_step(count, right, price);
        steps_plain += 1 + right;
        steps_spent += 1 + count * price;
        // The last draft is not settled before it is known.
        ASSERT_LE(steps_spent, steps_plain * 1.03 + DraftPace::kInitialBalance + 1e-6)
            << "price " << price << ", " << percent_right << " % right, step " << step;
      }
      if (percent_right == 90 && price <= 0.05) {
        EXPECT_LT(steps_spent, 0.4 * steps_plain);
      }
    }
  }
}

}  // namespace
}  // namespace sparrow
