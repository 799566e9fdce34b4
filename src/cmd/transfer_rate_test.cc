#include "cmd/transfer_rate.h"

#include <gtest/gtest.h>

namespace sparrow {
namespace {

TEST(TransferRate, FollowsTheLastSeconds) {
  FakeClock clock;
  TransferRate rate;
  rate.add(clock.now(), 5'000'000);  // an earlier run's part is not speed
  EXPECT_EQ(rate.bytes_per_s(), 0);
  int64_t bytes = 5'000'000;
  for (int i = 0; i < 600; ++i) {
    clock.advance(from_ms(100));
    rate.add(clock.now(), bytes += 100'000);
  }
  EXPECT_NEAR(rate.bytes_per_s(), 1e6, 1e3);
  for (int i = 0; i < 150; ++i) {
    clock.advance(from_ms(100));
    rate.add(clock.now(), bytes);
  }
  EXPECT_EQ(rate.bytes_per_s(), 0) << "a stall of 15 s shows";
}

TEST(TransferText, NamesSpeedAndRestOnlyWhenKnown) {
  EXPECT_EQ(transfer_text(1'200'000'000, 3'550'000'000, 0), "1.20 of 3.55 GB");
  EXPECT_EQ(transfer_text(1'200'000'000, 3'550'000'000, 25e6),
            "1.20 of 3.55 GB, 25.0 MB/s, 1 min 34 s left");
  EXPECT_EQ(transfer_text(0, 7'000'000, 1e3), "0.0 of 7.0 MB, 0.0 MB/s, 1 h 56 min left");
  EXPECT_EQ(transfer_text(5'000'000, 7'000'000, 1e6), "5.0 of 7.0 MB, 1.0 MB/s, 2 s left");
}

}  // namespace
}  // namespace sparrow
