#include "admission/circuit_breaker.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TimePoint at(double seconds) { return TimePoint{} + from_ms(seconds * 1000); }

class CircuitBreakerTest : public ::testing::Test {
 protected:
  void open(double seconds) {
    for (int i = 0; i < 3; ++i) breaker_.on_failure(at(seconds));
  }
  BreakerState state() const { return breaker_.view().state; }
  CircuitBreaker breaker_{
      BreakerOptions{.max_failures = 3, .cooldown_ms = 5000, .max_cooldown_ms = 15'000}};
};

TEST_F(CircuitBreakerTest, FailuresInARow_OpenIt) {
  EXPECT_FALSE(breaker_.on_failure(at(1)));
  EXPECT_FALSE(breaker_.on_failure(at(1)));
  breaker_.on_success();
  EXPECT_FALSE(breaker_.on_failure(at(1)));
  EXPECT_FALSE(breaker_.on_failure(at(1)));
  EXPECT_TRUE(breaker_.try_pass(at(1)));
  EXPECT_TRUE(breaker_.on_failure(at(2)));
  EXPECT_EQ(state(), BreakerState::kOpen);
  EXPECT_EQ(breaker_.view().retry_at, at(7));
  EXPECT_FALSE(breaker_.try_pass(at(6.9)));
}

TEST_F(CircuitBreakerTest, AfterTheCooldown_OneProbeDecides) {
  open(0);
  EXPECT_TRUE(breaker_.try_pass(at(5)));
  EXPECT_EQ(state(), BreakerState::kHalfOpen);
  EXPECT_FALSE(breaker_.try_pass(at(5))) << "one at a time";
  breaker_.on_success();
  EXPECT_EQ(state(), BreakerState::kClosed);
  EXPECT_TRUE(breaker_.try_pass(at(5)));
  EXPECT_TRUE(breaker_.try_pass(at(5)));
}

TEST_F(CircuitBreakerTest, FailedProbe_DoublesTheCooldownUpToTheMost) {
  open(0);
  ASSERT_TRUE(breaker_.try_pass(at(5)));
  EXPECT_TRUE(breaker_.on_failure(at(5)));
  EXPECT_FALSE(breaker_.try_pass(at(14.9)));
  ASSERT_TRUE(breaker_.try_pass(at(15)));
  EXPECT_TRUE(breaker_.on_failure(at(15)));
  EXPECT_EQ(breaker_.view().retry_at, at(30));
  EXPECT_TRUE(breaker_.view().has_given_up) << "three openings without a good step";
  ASSERT_TRUE(breaker_.try_pass(at(30)));
  breaker_.on_success();
  EXPECT_FALSE(breaker_.view().has_given_up);
  open(40);
  EXPECT_EQ(breaker_.view().retry_at, at(45)) << "a good step starts anew";
}

TEST_F(CircuitBreakerTest, ProbeThatTellsNothing_IsFollowedByTheNext) {
  open(0);
  ASSERT_TRUE(breaker_.try_pass(at(5)));
  EXPECT_FALSE(breaker_.try_pass(at(9.9)));
  EXPECT_TRUE(breaker_.try_pass(at(10))) << "its client may have left";
  EXPECT_FALSE(breaker_.try_pass(at(10)));
  breaker_.give_back();  // refused behind the breaker
  EXPECT_TRUE(breaker_.try_pass(at(10)));
}

TEST_F(CircuitBreakerTest, ClockThatJumpsBack_KeepsNobodyOut) {
  open(1000);
  EXPECT_FALSE(breaker_.try_pass(at(1)));
  EXPECT_TRUE(breaker_.try_pass(at(1005)));
  EXPECT_TRUE(breaker_.on_failure(at(1))) << "counts from the latest time seen";
  EXPECT_EQ(breaker_.view().retry_at, at(1015));
}

}  // namespace
}  // namespace sparrow
