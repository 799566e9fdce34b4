#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/random.h"
#include "scheduler/test_support.h"

namespace sparrow {
namespace {

TEST_F(SchedulerTest, ChunkedPrompt_EqualsWhole) {
  for (const int max_rows : {1, 3, 7, 64}) {
    make(64, 8, max_rows);
    output_.clear();
    add(1, 50, 10);
    const int rows = step();
    EXPECT_EQ(rows, std::min(50, max_rows));
    run();
    EXPECT_EQ(output_[1], alone(1, 50, 10)) << "pieces of " << max_rows;
  }
}

TEST_F(SchedulerTest, FirstStep_IsSmallBecauseItsCostIsUnknown) {
  make(512, 8, 1024);
  add(1, 200, 1);
  EXPECT_EQ(step(), 64);
  EXPECT_EQ(step(), 128) << "69 ms for 64 rows: twice as many fit into 250 ms";
}

TEST_F(SchedulerTest, EveryGeneratingSequence_GetsARowInEveryStep) {
  make(256, 8, 32);
  for (uint64_t id = 1; id <= 4; ++id) add(id, 3, 30);
  for (int i = 0; i < 5; ++i) step();
  add(9, 150, 1, "", -1);  // planned before the others
  order_of_tokens_.clear();
  for (int i = 0; i < 4; ++i) step();
  for (uint64_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(std::count(order_of_tokens_.begin(), order_of_tokens_.end(), id), 4);
  }
  EXPECT_EQ(std::count(order_of_tokens_.begin(), order_of_tokens_.end(), 9u), 0);
}

TEST_F(SchedulerTest, Steps_StayInTheTimeBudget) {
  make(512, 8, 1024, 60);  // 5 ms + 1 ms a row
  for (uint64_t id = 1; id <= 6; ++id) add(id, 100, 20);
  step();
  while (!scheduler_->idle()) EXPECT_LE(step(), 55);
}

TEST_F(SchedulerTest, ShortPrompt_OvertakesALongOneAndNeitherStandsStill) {
  make(256, 8, 32);
  add(1, 250, 2);
  for (int i = 0; i < 2; ++i) step();
  add(2, 30, 2);
  int num_steps = 0;
  for (; !output_.contains(2); ++num_steps) {
    EXPECT_EQ(step(), 32) << "no row is wasted";
  }
  EXPECT_LE(num_steps, 2) << "half of 32 rows a step";
  EXPECT_FALSE(output_.contains(1));
  // However many short ones come, the long one has half.
  uint64_t id = 3;
  for (num_steps = 0; !output_.contains(1); ++num_steps, ++id) {
    add(id, 30, 1);
    step();
  }
  EXPECT_LE(num_steps, 250 / 16 + 1);
}

TEST_F(SchedulerTest, BlocksRunOut_NewestIsPreemptedAndTextIsTheSame) {
  make(12);
  add(1, 8, 24);
  add(2, 8, 24);
  add(3, 8, 24);
  run();
  EXPECT_GT(scheduler_->num_preemptions(), 0u);
  EXPECT_LE(scheduler_->num_preemptions(), 6u) << "no thrashing";
  for (uint64_t id = 1; id <= 3; ++id) EXPECT_EQ(output_[id], alone(id, 8, 24));
  // The oldest was never set back: it ended first.
  const auto last_of = [&](uint64_t id) {
    return std::find(order_of_tokens_.rbegin(), order_of_tokens_.rend(), id);
  };
  EXPECT_GT(last_of(1), last_of(3));
}

TEST_F(SchedulerTest, FitsNotEvenAlone_EndsWithNoMemoryAndOthersGoOn) {
  make(4);
  add(1, 40, 2);  // never admitted
  add(2, 8, 20);  // admitted, grows too long
  add(3, 6, 4);
  run();
  EXPECT_EQ(finished_[1], FinishReason::kNoMemory);
  EXPECT_EQ(finished_[2], FinishReason::kNoMemory);
  EXPECT_EQ(finished_[3], FinishReason::kMaxTokens);
  EXPECT_EQ(output_[3], alone(3, 6, 4));
}

TEST_F(SchedulerTest, Preemptions_OfOneSequenceAreFew) {
  make(40, 16);
  for (uint64_t id = 1; id <= 16; ++id) add(id, 4, 140);  // four at most fit to their ends
  run();
  EXPECT_GT(scheduler_->num_preemptions(), 0u);
  for (uint64_t id = 1; id <= 16; ++id) {
    EXPECT_LE(preemptions_[id], 3) << "5 without the doubling headroom (measured)";
    EXPECT_EQ(output_[id], alone(id, 4, 140));
  }
}

TEST_F(SchedulerTest, Keys_TakeTurns) {
  make(256, 1);
  for (uint64_t id = 1; id <= 10; ++id) add(id, 4, 2, "greedy");
  step();
  add(20, 4, 2, "modest");
  run();
  std::vector<uint64_t> order;
  for (const uint64_t id : order_of_tokens_) {
    if (order.empty() || order.back() != id) order.push_back(id);
  }
  EXPECT_EQ(order[1], 20u) << "right after the one that was running";
}

TEST_F(SchedulerTest, Priority_GoesFirst) {
  make(256, 1);
  add(1, 4, 2, "", 1);
  add(2, 4, 2, "", 0);
  run();
  EXPECT_EQ(order_of_tokens_, (std::vector<uint64_t>{2, 2, 1, 1}));
}

TEST_F(SchedulerTest, ForcedTokens_ContinueAsIfTheyHadBeenThere) {
  make(64);
  Sequence* sequence = add(1, 10, 40);
  for (int i = 0; i < 5; ++i) step();
  const std::vector<TokenId> forced = {7, 8, 9, 10, 11};
  std::vector<TokenId> all = sequence->tokens;
  all.insert(all.end(), forced.begin(), forced.end());
  scheduler_->append_forced(*sequence, forced);
  output_.clear();
  run();
  EXPECT_EQ(output_[1], executor_->expected_tokens(all, 30));
}

TEST_F(SchedulerTest, Truncate_RecomputesAtMostOneBlockAndGoesOnFromThere) {
  for (int keep = 10; keep <= 18; ++keep) {
    make(64);
    Sequence* sequence = add(1, 10, 20);
    for (int i = 0; i < 8; ++i) step();
    std::vector<TokenId> left(sequence->tokens.begin(), sequence->tokens.begin() + keep);
    scheduler_->truncate(*sequence, keep);
    scheduler_->check_integrity();
    EXPECT_LE(sequence->num_uncomputed(), 4);
    output_.clear();
    for (int i = 0; i < 3; ++i) step();
    EXPECT_EQ(output_[1], executor_->expected_tokens(left, 3)) << "kept " << keep;
    output_.clear();
    finished_.clear();
  }
}

// Says its prompt again and again.
std::optional<TokenId> copy_of(std::span<const TokenId> tokens, size_t period) {
  if (tokens.size() < period) return std::nullopt;
  return tokens[tokens.size() - period];
}

TEST_F(SchedulerTest, RepeatingText_NeedsFewStepsAndIsTheSame) {
  script_ = [](auto tokens) { return copy_of(tokens, 40); };
  speculation_.max_tokens = 8;
  make(64);
  const Sequence* sequence = add(1, 40, 160);
  int num_steps = 0;
  for (; !scheduler_->idle(); ++num_steps) {
    step();
    if (scheduler_->idle()) continue;
    EXPECT_EQ(scheduler_->blocks().num_used(), (sequence->num_computed + 3) / 4)
        << "nothing is held for guesses";
  }
  EXPECT_EQ(output_[1], alone(1, 40, 160));
  const SpeculationCounts& counts = scheduler_->speculation();
  EXPECT_EQ(counts.num_accepted_tokens, counts.num_draft_tokens) << "every guess is right";
  EXPECT_EQ(static_cast<uint64_t>(num_steps) + counts.num_accepted_tokens, 160u);
  EXPECT_LT(num_steps, 30) << "up to 9 tokens a step";
  EXPECT_EQ(counts.num_accepted_at[0], counts.num_drafts);
}

TEST_F(SchedulerTest, TextThatDoesNotRepeat_IsHardlyDrafted) {
  script_ = [](std::span<const TokenId> tokens) {  // pairs repeat, what follows does not
    return static_cast<TokenId>(mix64(tokens.size()) % 8);
  };
  speculation_.max_tokens = 8;
  make(512);
  const Sequence* sequence = add(1, 8, 240);
  while (!scheduler_->idle()) {
    step();
    if (scheduler_->idle()) continue;
    EXPECT_EQ(scheduler_->blocks().num_used(), (sequence->num_computed + 3) / 4)
        << "blocks of wrong guesses went back";
  }
  EXPECT_EQ(output_[1], alone(1, 8, 240));
  const SpeculationCounts& counts = scheduler_->speculation();
  EXPECT_GT(counts.num_drafts, 3u);
  // A row costs 1 of 6 ms: what the guesses did not save themselves is 3 % of the steps.
  const double cost = static_cast<double>(counts.num_draft_tokens) / 6;
  EXPECT_LE(cost, static_cast<double>(counts.num_accepted_tokens) + 0.03 * 240 + 0.25 + 0.1);
}

TEST_F(SchedulerTest, Drafts_TakeOnlyWhatNobodyElseWants) {
  script_ = [](auto tokens) { return copy_of(tokens, 20); };
  speculation_ = {.max_tokens = 8, .max_rows = 12};
  make(256, 8, 128);
  add(1, 20, 100);
  EXPECT_EQ(step(), 20);
  for (int i = 0; i < 5; ++i) EXPECT_LE(step(), 9) << "alone: 1 + 8 rows";
  for (uint64_t id = 2; id <= 6; ++id) add(id, 20, 60);
  const uint64_t num_drafts = scheduler_->speculation().num_draft_tokens;
  const int num_rows = step() + step();
  EXPECT_GE(num_rows, 5 * 20) << "the prompts";
  EXPECT_EQ(scheduler_->speculation().num_draft_tokens, num_drafts)
      << "a step with prompts has no drafts";
  for (int i = 0; i < 5; ++i) {
    const int rows = step();
    EXPECT_GE(rows, 6);
    EXPECT_LE(rows, 12) << "all guesses together stay within max_rows";
  }
  run();
  for (uint64_t id = 2; id <= 6; ++id) EXPECT_EQ(output_[id], alone(id, 20, 60));
}

TEST_F(SchedulerTest, Drafts_PreemptNobodyAndHoldNoBlocks) {
  script_ = [](auto tokens) { return copy_of(tokens, 8); };
  for (int num_blocks = 6; num_blocks <= 20; ++num_blocks) {
    std::array<uint64_t, 2> num_preemptions{};
    for (const int max_tokens : {0, 8}) {
      speculation_.max_tokens = max_tokens;
      make(num_blocks, 2);
      output_.clear();
      add(1, 8, 14);
      add(2, 8, 14);
      run();
      num_preemptions[max_tokens == 0 ? 0 : 1] = scheduler_->num_preemptions();
      for (uint64_t id = 1; id <= 2; ++id) EXPECT_EQ(output_[id], alone(id, 8, 14));
    }
    EXPECT_LE(num_preemptions[1], num_preemptions[0]) << num_blocks << " blocks";
  }
}

TEST_F(SchedulerTest, SlowRows_StopDraftsInTheTimeBudget) {
  script_ = [](auto tokens) { return copy_of(tokens, 20); };
  speculation_.max_tokens = 8;
  make(256, 8, 64, 9);  // 5 ms + 1 ms a row: four rows
  add(1, 20, 100);
  for (int i = 0; i < 8; ++i) step();
  while (!scheduler_->idle()) EXPECT_LE(step(), 4);
}

TEST_F(SchedulerTest, SpeculativeOff_DraftsNothing) {
  script_ = [](auto tokens) { return copy_of(tokens, 20); };
  speculation_.max_tokens = 8;
  make(64);
  auto request = std::make_shared<Request>();
  request->speculative = false;
  add(1, 20, 40)->request = request;
  run();
  EXPECT_EQ(scheduler_->speculation().num_drafts, 0u);
}

TEST_F(SchedulerTest, FinishRequest_FreesAtOnce) {
  make(64);
  add(1, 20, 20);
  add(2, 20, 20);
  step();
  scheduler_->finish_request(1, FinishReason::kCancelled);
  scheduler_->finish_request(2, FinishReason::kCancelled);
  EXPECT_EQ(scheduler_->blocks().num_used(), 0);
  EXPECT_TRUE(scheduler_->idle());
}

}  // namespace
}  // namespace sparrow
