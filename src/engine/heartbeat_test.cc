#include "engine/heartbeat.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace sparrow {
namespace {

constexpr Duration kTimeout = std::chrono::seconds(60);

TEST(Heartbeat, NoBeatYet_IsNotStuck) {
  const Heartbeat heartbeat;
  EXPECT_FALSE(stuck_for(heartbeat.read(), kTimeout, TimePoint(std::chrono::hours(1))));
}

TEST(Heartbeat, OldBeat_IsStuckBeyondTimeoutAndPrediction) {
  Heartbeat heartbeat;
  const TimePoint begin(std::chrono::hours(1));
  heartbeat.begin_step(begin);
  heartbeat.begin_compute(12, 3, 130, 5000);
  EXPECT_FALSE(stuck_for(heartbeat.read(), kTimeout, begin + std::chrono::seconds(65)));
  EXPECT_EQ(stuck_for(heartbeat.read(), kTimeout, begin + std::chrono::seconds(66)),
            std::optional<Duration>(std::chrono::seconds(66)));
  EXPECT_EQ(where_stuck(heartbeat.read()), "in step 12 (3 spans, 130 rows, predicted 5.00 s)");
  heartbeat.end_compute();
  EXPECT_TRUE(stuck_for(heartbeat.read(), kTimeout, begin + std::chrono::seconds(61)));
  EXPECT_EQ(where_stuck(heartbeat.read()), "outside the executor");
  heartbeat.begin_step(begin + std::chrono::seconds(61));
  EXPECT_FALSE(stuck_for(heartbeat.read(), kTimeout, begin + std::chrono::seconds(62)));
}

TEST(Heartbeat, Names_TellWhichOfSeveral) {
  Beat beat;
  EXPECT_EQ(engine_name(beat), "engine");
  beat.engine = 3;
  EXPECT_EQ(engine_name(beat), "engine 3");
}

TEST(Heartbeat, ClockThatRanBack_IsNotStuck) {
  Heartbeat heartbeat;
  heartbeat.begin_step(TimePoint(std::chrono::hours(2)));
  EXPECT_FALSE(stuck_for(heartbeat.read(), kTimeout, TimePoint(std::chrono::hours(1))));
}

TEST(Heartbeat, Reader_NeverSeesHalfABeat) {
  Heartbeat heartbeat;
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; !stop; ++i) heartbeat.begin_compute(static_cast<uint64_t>(i), i, i, i);
  });
  for (int i = 0; i < 20000; ++i) {
    const Beat beat = heartbeat.read();
    EXPECT_EQ(beat.num_spans, beat.num_rows);
    EXPECT_EQ(static_cast<uint64_t>(beat.num_rows), beat.step);
    EXPECT_EQ(beat.predicted_ms, beat.num_rows);
  }
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace sparrow
