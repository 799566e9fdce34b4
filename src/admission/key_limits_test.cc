#include "admission/key_limits.h"

#include <gtest/gtest.h>

#include <string>

namespace sparrow {
namespace {

TimePoint at(double seconds) { return TimePoint{} + from_ms(seconds * 1000); }

class KeyLimiterTest : public ::testing::Test {
 protected:
  // Whether a request is let in; it then counts.
  KeyCheck ask(const KeyLimits& limits, double seconds, int64_t prompt = 1, int64_t tokens = 1,
               const char* key = "a") {
    const KeyCheck check = limiter_.check(key, limits, prompt, tokens, at(seconds));
    if (check.hit == KeyLimitHit::kNone) {
      limiter_.take(key, limits, check.num_tokens_to_take, at(seconds));
    }
    return check;
  }
  KeyLimiter limiter_;
};

TEST_F(KeyLimiterTest, RequestsPerMinute_RefillEvenly) {
  const KeyLimits limits{.requests_per_minute = 6};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ask(limits, 0).hit, KeyLimitHit::kNone);
  const KeyCheck refused = ask(limits, 1);
  EXPECT_EQ(refused.hit, KeyLimitHit::kRequests);
  EXPECT_DOUBLE_EQ(refused.retry_after_ms, 9000);
  EXPECT_EQ(ask(limits, 9.9).hit, KeyLimitHit::kRequests);
  EXPECT_EQ(ask(limits, 10).hit, KeyLimitHit::kNone);
  EXPECT_EQ(ask(limits, 10).hit, KeyLimitHit::kRequests);
  EXPECT_EQ(ask(limits, 10, 1, 1, "b").hit, KeyLimitHit::kNone) << "another key";
}

TEST_F(KeyLimiterTest, NoWindowBorder_GivesTwiceTheShare) {
  const KeyLimits limits{.requests_per_minute = 60};
  int num_let_in = 0;
  for (double seconds = 0; seconds < 600; seconds += 0.25) {
    num_let_in += ask(limits, seconds).hit == KeyLimitHit::kNone ? 1 : 0;
  }
  EXPECT_NEAR(num_let_in, 60 + 600, 1) << "one full bucket, then the rate";
}

TEST_F(KeyLimiterTest, Tokens_AreBookedAndSettled) {
  const KeyLimits limits{.tokens_per_minute = 600};
  const KeyCheck first = ask(limits, 0, 100, 500);
  EXPECT_EQ(first.num_tokens_to_take, 500);
  EXPECT_EQ(limiter_.status("a", limits, at(0)).remaining_tokens, 100);
  const KeyCheck second = ask(limits, 0, 100, 200);
  EXPECT_EQ(second.hit, KeyLimitHit::kTokens);
  EXPECT_DOUBLE_EQ(second.retry_after_ms, 10'000);
  limiter_.settle("a", 500, 120, at(0));
  EXPECT_EQ(limiter_.status("a", limits, at(0)).remaining_tokens, 480);
  EXPECT_EQ(ask(limits, 0, 100, 200).hit, KeyLimitHit::kNone);
}

// A slow request that ends unused must not forgive what others have used meanwhile.
TEST_F(KeyLimiterTest, WhatHasFaded_IsNotGivenBackAgain) {
  const KeyLimits limits{.tokens_per_minute = 600};
  ask(limits, 0, 10, 600);
  EXPECT_EQ(ask(limits, 60, 10, 600).hit, KeyLimitHit::kNone);
  limiter_.settle("a", 600, 0, at(0));
  EXPECT_EQ(ask(limits, 60, 10, 100).hit, KeyLimitHit::kTokens);
}

TEST_F(KeyLimiterTest, MoreUsedThanBooked_IsADebt) {
  const KeyLimits limits{.tokens_per_minute = 600};
  ask(limits, 0, 10, 100);
  limiter_.settle("a", 100, 1200, at(0));
  const KeyStatus status = limiter_.status("a", limits, at(0));
  EXPECT_EQ(status.remaining_tokens, 0);
  EXPECT_DOUBLE_EQ(status.reset_tokens_ms, 120'000);
  const KeyCheck check = ask(limits, 59, 10, 100);
  EXPECT_EQ(check.hit, KeyLimitHit::kTokens);
  EXPECT_NEAR(check.retry_after_ms, 11'000, 1);
  EXPECT_EQ(ask(limits, 70.1, 10, 100).hit, KeyLimitHit::kNone);
}

TEST_F(KeyLimiterTest, LongestAnswerAboveTheMinute_WaitsForAFullBucketOnly) {
  const KeyLimits limits{.tokens_per_minute = 600};
  EXPECT_EQ(ask(limits, 0, 10, 5000).num_tokens_to_take, 600);
  limiter_.settle("a", 600, 0, at(0));
  const KeyCheck never = ask(limits, 0, 600, 700);
  EXPECT_EQ(never.hit, KeyLimitHit::kTokens);
  EXPECT_TRUE(never.never_fits) << "its prompt alone is a minute's worth";
}

TEST_F(KeyLimiterTest, Concurrent_CountsWhatHasNotEnded) {
  const KeyLimits limits{.max_concurrent = 2};
  EXPECT_EQ(ask(limits, 0).hit, KeyLimitHit::kNone);
  EXPECT_EQ(ask(limits, 0).hit, KeyLimitHit::kNone);
  EXPECT_EQ(ask(limits, 1000).hit, KeyLimitHit::kConcurrent);
  limiter_.settle("a", 0, 0, at(0));
  EXPECT_EQ(ask(limits, 1000).hit, KeyLimitHit::kNone);
}

TEST_F(KeyLimiterTest, Status_SaysWhatIsLeftAndWhenAllIs) {
  const KeyLimits limits{.requests_per_minute = 60, .tokens_per_minute = 6000};
  ask(limits, 0, 100, 1000);
  const KeyStatus status = limiter_.status("a", limits, at(0));
  EXPECT_EQ(status.remaining_requests, 59);
  EXPECT_EQ(status.remaining_tokens, 5000);
  EXPECT_DOUBLE_EQ(status.reset_requests_ms, 1000);
  EXPECT_DOUBLE_EQ(status.reset_tokens_ms, 10'000);
}

TEST_F(KeyLimiterTest, ManyKeys_AreBoundedAndRunningOnesRemembered) {
  const KeyLimits limits{.requests_per_minute = 1, .max_concurrent = 1};
  ask(limits, 0, 1, 1, "kept");
  for (int i = 0; i < 3 * static_cast<int>(KeyLimiter::kMaxKeys); ++i) {
    const std::string key = "key" + std::to_string(i);
    ask(limits, i, 1, 1, key.c_str());
    limiter_.settle(key, 0, 0, at(0));
    ASSERT_LE(limiter_.num_keys(), KeyLimiter::kMaxKeys);
  }
  EXPECT_EQ(ask(limits, 1e6, 1, 1, "kept").hit, KeyLimitHit::kConcurrent);
}

}  // namespace
}  // namespace sparrow
