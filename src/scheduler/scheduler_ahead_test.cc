// When the step behind the one on its way is planned without waiting for that one.

#include <gtest/gtest.h>

#include "scheduler/test_support.h"

namespace sparrow {
namespace {

constexpr double kPatienceMs = 2000;  // the scheduler's own

class SchedulerAheadTest : public SchedulerTest {
 protected:
  Sequence* arrive(uint64_t id, const std::string& key, int prompt_len, int max_tokens,
                   int priority = 0, double waited_ms = 0) {
    Request request;
    request.id = id;
    request.fairness_key = request.tenant = key;
    request.priority = priority;
    request.prompt = prompt(id, prompt_len);
    request.arrival = now_ - from_ms(waited_ms);
    return add(std::move(request), max_tokens);
  }
  void steps(int count) {
    for (int i = 0; i < count; ++i) step();
  }
  Ticket start(const BatchPlan& plan) {
    const Ticket ticket = executor_->begin(plan);
    executor_->sample(ticket, {});
    return ticket;
  }
  // Whether, `later_ms` after a step was planned, the next is; neither of them is computed.
  bool plans_ahead(double later_ms = 0) {
    const bool has_step = !scheduler_->plan(now_).empty();
    return has_step && !scheduler_->plan_ahead(now_ + from_ms(later_ms)).empty();
  }
};

TEST_F(SchedulerAheadTest, WhereNobodyCanComeIn) {
  make(4096, 2);
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 4, 40);
  steps(3);
  EXPECT_TRUE(plans_ahead());
  arrive(3, "a", 4, 4);  // waits for a place
  EXPECT_TRUE(plans_ahead());
  run();
}

// Who waits for a place of another key waits for its patience, too.
TEST_F(SchedulerAheadTest, PlaceThatIsDueMeanwhile_IsLeftToItsNewcomer) {
  make(4096, 2);
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 4, 40);
  steps(3);
  arrive(3, "b", 4, 4);
  EXPECT_TRUE(plans_ahead());
  EXPECT_FALSE(plans_ahead(kPatienceMs));
  run();
}

// A newcomer that no place is given to keeps nobody waiting, however long it has waited itself.
TEST_F(SchedulerAheadTest, PlaceThatItHasNoMemoryFor_IsNotWaitedFor) {
  make(16, 2);  // blocks of 4: two sequences of 32 at most
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 4, 20);
  steps(12);
  arrive(3, "b", 40, 4, 0, kPatienceMs);
  EXPECT_TRUE(plans_ahead());
  EXPECT_TRUE(plans_ahead(kPatienceMs));
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
  // Where somebody ended there is memory again.
  scheduler_->plan(now_);
  scheduler_->finish_request(3, FinishReason::kCancelled);
  arrive(4, "b", 4, 4, 0, kPatienceMs);
  EXPECT_TRUE(scheduler_->plan_ahead(now_).empty());
  run();
}

TEST_F(SchedulerAheadTest, PlaceThatIsNotItsTurn_IsNotWaitedFor) {
  make(4096, 2);
  for (uint64_t id = 1; id <= 2; ++id) arrive(id, "a", 4, 40);
  steps(3);
  // More urgent, and served before; it has run already, so it takes nobody's place.
  Sequence* urgent = arrive(3, "a", 4, 4, -1);
  urgent->first_planned = now_;
  arrive(4, "b", 4, 4, 0, kPatienceMs);
  EXPECT_TRUE(plans_ahead());
  EXPECT_EQ(scheduler_->num_preemptions(), 0u);
  run();
}

// Two that write the same text share each block once it is full, and need none behind their last:
// so there may be room before anybody ends.
TEST_F(SchedulerAheadTest, MemoryThatComesFreeByEqualBlocks_IsOfferedToWhoWaits) {
  script_ = [](std::span<const TokenId>) { return std::optional<TokenId>(7); };
  max_steps_in_flight_ = 2;
  make(5, 8);
  for (uint64_t id = 1; id <= 2; ++id) {
    Request request;
    request.id = id;
    request.prompt = {1, 2, 3};
    add(std::move(request), 5);  // two blocks
  }
  add(3, 3, 20);
  step();
  const Ticket first = start(scheduler_->plan(now_));
  ASSERT_EQ(scheduler_->num_waiting(), 1);
  const BatchPlan& ahead = scheduler_->plan_ahead(now_);  // into their second blocks
  ASSERT_FALSE(ahead.empty());
  const Ticket second = start(ahead);
  scheduler_->commit(executor_->wait(first), now_, *this);  // their first blocks are full
  EXPECT_TRUE(scheduler_->plan_ahead(now_).empty());
  scheduler_->commit(executor_->wait(second), now_, *this);
  step();
  EXPECT_EQ(scheduler_->num_waiting(), 0);
  EXPECT_TRUE(finished_.empty());
  run();
}

class SchedulerAheadDraftsTest : public SchedulerAheadTest {
 protected:
  void write_one_token_for_ever(double max_step_ms) {
    script_ = [](std::span<const TokenId>) { return std::optional<TokenId>(7); };
    speculation_.max_tokens = 4;
    make(4096, 2, 64, max_step_ms);  // a step takes 5 ms, and 1 for each row
    // Steps of several sizes, so that the price of a row is known.
    add(1, 30, 60);
    for (int i = 0; i < 100 && output_[1].size() < 3; ++i) step();
    EXPECT_TRUE(scheduler_->step_cost().has_line());
  }
};

TEST_F(SchedulerAheadDraftsTest, GuessesThatAreWanted_ComeFirst) {
  write_one_token_for_ever(250);
  EXPECT_FALSE(plans_ahead());
  run();
}

TEST_F(SchedulerAheadDraftsTest, GuessesThatTheStepHasNoTimeFor_AreNotWaitedFor) {
  write_one_token_for_ever(6);
  EXPECT_EQ(scheduler_->speculation().num_drafts, 0u);
  EXPECT_TRUE(plans_ahead());
  run();
}

}  // namespace
}  // namespace sparrow
