#include "scheduler/seat_sharing.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "scheduler/test_support.h"

namespace sparrow {
namespace {

constexpr double kPatienceMs = 2000;  // the scheduler's own

class SeatSharingTest : public SchedulerTest {
 protected:
  Sequence* arrive(uint64_t id, const std::string& key, int max_tokens, int priority = 0,
                   double waited_ms = 0) {
    Request request;
    request.id = id;
    request.fairness_key = request.tenant = key;
    request.priority = priority;
    request.prompt = prompt(id, 4);
    request.arrival = now_ - from_ms(waited_ms);
    return add(std::move(request), max_tokens);
  }
  // Steps until `id` has its first token; how long it waited.
  double ms_until_first_token(uint64_t id) {
    const TimePoint begin = now_;
    while (!output_.contains(id) && !scheduler_->idle()) step();
    return to_ms(now_ - begin);
  }
};

TEST_F(SeatSharingTest, KeyWithoutASeat_GetsOneAfterItsPatience) {
  make(4096, 8);
  for (uint64_t id = 1; id <= 8; ++id) arrive(id, "greedy", 240);
  for (int i = 0; i < 10; ++i) step();
  arrive(20, "modest", 3);
  const double waited_ms = ms_until_first_token(20);
  EXPECT_GE(waited_ms, kPatienceMs);
  EXPECT_LT(waited_ms, kPatienceMs + 100);  // a step takes 13 ms
  run();
  // Who gave its place goes on where it was, with the same text.
  EXPECT_EQ(scheduler_->num_preemptions(), 1u);

  for (uint64_t id = 1; id <= 8; ++id) EXPECT_EQ(output_[id], alone(id, 4, 240)) << id;
}

TEST_F(SeatSharingTest, Shares_BecomeEqualAndNoFurther) {
  make(4096, 6);
  for (uint64_t id = 1; id <= 6; ++id) arrive(id, "a", 240);
  for (int i = 0; i < 10; ++i) step();
  for (uint64_t id = 11; id <= 16; ++id) arrive(id, "b", 240, 0, kPatienceMs);
  for (const int num_more_steps : {4, 20}) {  // one place a step
    for (int i = 0; i < num_more_steps; ++i) step();
    order_of_tokens_.clear();
    step();
    EXPECT_EQ(std::count_if(order_of_tokens_.begin(), order_of_tokens_.end(),
                            [](uint64_t id) { return id > 10; }),
              3);
    EXPECT_EQ(scheduler_->num_preemptions(), 3u);
  }
  run();
}

// It would only cost the one that has it.
TEST_F(SeatSharingTest, PlaceThatCannotBeUsed_IsNotGivenUp) {
  make(16, 2);  // blocks of 4: two sequences of 32 at most
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 20);
  for (int i = 0; i < 12; ++i) step();
  Request request;
  request.id = 3;
  request.fairness_key = request.tenant = "b";
  request.prompt = prompt(3, 40);
  request.arrival = now_ - from_ms(kPatienceMs);
  add(std::move(request), 4);
  step();
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
  run();
  EXPECT_EQ(output_[3], alone(3, 40, 4));
}

// A place given up again and again must not make its giver ask for ever more room: it stands before
// those of the other key, who would wait behind it.
TEST_F(SeatSharingTest, OneAfterTheOther_EachGetsItsPlaceInASmallPool) {
  make(100, 4);  // 400 tokens; four sequences of 240 do not fit to their ends
  for (uint64_t id = 1; id <= 4; ++id) arrive(id, "a", 200);
  for (int i = 0; i < 6; ++i) step();
  for (uint64_t id = 20; id < 32; ++id) {
    arrive(id, "b", 2, 0, kPatienceMs);
    EXPECT_LT(ms_until_first_token(id), 100) << id;
    for (int i = 0; i < 2; ++i) step();
  }
  run();
  for (uint64_t id = 1; id <= 4; ++id) EXPECT_EQ(output_[id], alone(id, 4, 200)) << id;
}

TEST_F(SeatSharingTest, WithoutPrefixCache_NobodyGives) {
  prefix_.enabled = false;
  make(4096, 2);
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 100);
  step();
  arrive(3, "b", 3, 0, kPatienceMs);
  run();
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
}

TEST_F(SeatSharingTest, OneKeyAlone_AndMoreUrgentWork_AreNotDisturbed) {
  make(4096, 4);
  for (uint64_t id = 1; id <= 4; ++id) arrive(id, "a", 240);
  for (int i = 0; i < 10; ++i) step();
  arrive(5, "a", 3);
  run();
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
  make(4096, 4);
  for (uint64_t id = 1; id <= 4; ++id) arrive(id, "a", 240, -1);
  for (int i = 0; i < 10; ++i) step();
  arrive(5, "b", 3);
  run();
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
}

TEST_F(SeatSharingTest, NoPatienceAsked_NobodyGives) {
  EXPECT_FALSE(seat_change({}, {}, Duration::zero(), now_));
  make(4096, 2);
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 240);
  step();
  arrive(3, "b", 3);
  std::vector<std::unique_ptr<Sequence>> none;
  EXPECT_FALSE(seat_change(none, none, from_ms(1), now_));
}

}  // namespace
}  // namespace sparrow
