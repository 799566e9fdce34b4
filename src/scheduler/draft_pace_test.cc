#include "scheduler/draft_pace.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/random.h"

namespace sparrow {
namespace {

std::vector<double> even_prices(double row, int count) {
  std::vector<double> prices;
  for (int i = 1; i <= count; ++i) prices.push_back(row * i);
  return prices;
}

// A kernel that computes four rows at once, as measured: the third guess is free.
const std::vector<double> kTilePrices = {0.16, 0.22, 0.18, 0.45, 0.60, 1.15, 1.24, 1.5};

TEST(DraftPace, NumberThatGainsMost_IsWanted) {
  EXPECT_EQ(DraftPace().wanted(kTilePrices), 3);
  EXPECT_EQ(DraftPace().wanted(std::vector<double>{0.24, 0.48, 0.72}), 1);
  EXPECT_EQ(DraftPace().wanted({}), 0);
}

TEST(DraftPace, AllRight_WantsMore) {
  DraftPace pace;
  for (int i = 0; i < 20; ++i) {
    const int count = pace.wanted(kTilePrices);
    ASSERT_GT(count, 0);
    pace.note_step(count, count, kTilePrices[static_cast<size_t>(count) - 1]);
  }
  EXPECT_EQ(pace.wanted(kTilePrices), 8);
}

TEST(DraftPace, OneRightEachTime_DoesNotPayForMore) {
  DraftPace pace;
  const std::vector<double> prices = even_prices(0.3, 8);
  int num_guessed = 0;
  for (int i = 0; i < 200; ++i) {
    const int count = pace.wanted(prices);
    num_guessed += count;
    pace.note_step(count, std::min(count, 1), count * 0.3);
  }
  EXPECT_GE(num_guessed, 200);
  EXPECT_LT(num_guessed, 240);
}

TEST(DraftPace, NothingRight_TriesBecomeRare) {
  DraftPace pace;
  const std::vector<double> prices = even_prices(0.05, 8);
  for (int i = 0; i < 100; ++i) pace.note_step(0, 0, 0);
  int num_guessed = 0;
  for (int i = 0; i < 1000; ++i) {
    const int count = pace.wanted(prices);
    num_guessed += count;
    pace.note_step(count, 0, count * 0.05);
  }
  EXPECT_LT(num_guessed, 1000 / DraftPace::kMaxPause + 60);
  EXPECT_GT(num_guessed, 1000 / DraftPace::kMaxPause / 2) << "but never end";
}

TEST(DraftPace, TextBeginsToRepeat_IsNoticedWithinAFewTries) {
  DraftPace pace;
  for (int i = 0; i < 1000; ++i) {
    const int count = pace.wanted(kTilePrices);
    pace.note_step(count, 0, count > 0 ? kTilePrices[static_cast<size_t>(count) - 1] : 0);
  }
  int num_steps = 0;
  for (; pace.wanted(kTilePrices) < 3 && num_steps < 100; ++num_steps) {
    const int count = pace.wanted(kTilePrices);
    pace.note_step(count, count, count * 0.16);
  }
  EXPECT_LT(num_steps, DraftPace::kMaxPause + 10);
}

// The promise: whatever the text and the price, guessing costs at most 2 % and a quarter of a step.
TEST(DraftPace, AnyText_NeverCostsMoreThanItsAllowance) {
  std::vector<std::vector<double>> all_prices = {kTilePrices};
  for (const double row : {0.01, 0.05, 0.125, 0.4, 1.0, 3.0}) {
    all_prices.push_back(even_prices(row, 8));
  }
  for (const std::vector<double>& prices : all_prices) {
    for (const int percent_right : {0, 5, 20, 50, 90}) {
      DraftPace pace;
      double steps_plain = 0, steps_spent = 0;
      for (uint64_t step = 0; step < 2000; ++step) {
        const int count = pace.wanted(prices);
        ASSERT_GE(count, 0);
        ASSERT_LE(count, 8);
        int right = 0;
        while (right < count &&
               static_cast<int>(random_bits(step, 1, static_cast<uint64_t>(right)) % 100) <
                   percent_right) {
          ++right;
        }
        const double cost = count > 0 ? prices[static_cast<size_t>(count) - 1] : 0;
        pace.note_step(count, right, cost);
        steps_plain += 1 + right;
        steps_spent += 1 + cost;
        ASSERT_LE(steps_spent,
                  steps_plain * (1 + DraftPace::kAllowance) + DraftPace::kInitialBalance + 1e-6)
            << "first price " << prices[0] << ", " << percent_right << " % right, step " << step;
      }
      if (percent_right == 90 && prices[0] <= 0.05) {
        EXPECT_LT(steps_spent, 0.4 * steps_plain);
      }
    }
  }
}

}  // namespace
}  // namespace sparrow
