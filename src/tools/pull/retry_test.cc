#include "tools/pull/retry.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(Retry, WaitsDouble_UpToTheBound_ThenGivesUp) {
  Retry retry({.max_tries = 6, .first_wait_s = 2, .max_wait_s = 10});
  EXPECT_EQ(retry.failed(0), 2);
  EXPECT_EQ(retry.failed(0), 4);
  EXPECT_EQ(retry.failed(0), 8);
  EXPECT_EQ(retry.failed(0), 10);
  EXPECT_EQ(retry.failed(0), 10);
  EXPECT_LT(retry.failed(0), 0);
}

TEST(Retry, Progress_StartsTheCountAnew) {
  Retry retry({.max_tries = 2, .first_wait_s = 1});
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(retry.failed(0), 1);
    retry.progressed();
  }
  EXPECT_EQ(retry.failed(0), 1);
  EXPECT_LT(retry.failed(0), 0);
}

TEST(Retry, ServersWish_IsHeardWithinABound) {
  Retry retry({.max_tries = 10, .first_wait_s = 1});
  EXPECT_EQ(retry.failed(7), 7);
  EXPECT_EQ(retry.failed(1e9), 60);
}

TEST(Retry, Stop_EndsTheWait) {
  const std::atomic<bool> stop{true};
  const Retry retry({.stop = &stop});
  EXPECT_EQ(retry.wait(1000).code(), StatusCode::kCancelled);
}

TEST(Retry, OverloadAndTroubleAreWorthAnotherTry) {
  for (const int status : {408, 429, 500, 502, 503, 504}) EXPECT_TRUE(is_retryable_status(status));
  for (const int status : {200, 206, 301, 400, 401, 403, 404, 416}) {
    EXPECT_FALSE(is_retryable_status(status));
  }
}

}  // namespace
}  // namespace sparrow
