#include "model/fake_executor.h"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

namespace sparrow {
namespace {

// One sequence in slot 0 on blocks 0, 1, 2 …, driven by hand.
class FakeExecutorTest : public ::testing::Test {
 protected:
  void start_slot(SlotId slot) {
    plan_.slot_starts.push_back({.slot = slot,
                                 .params = &params_,
                                 .tokens = tokens_,
                                 .num_prompt_tokens = static_cast<int32_t>(tokens_.size()),
                                 .banned_early = banned_,
                                 .min_tokens = min_tokens_});
  }
  void add_span(SlotId slot, int first, int count, int rows, std::vector<BlockId> blocks,
                int mask_row = -1) {
    plan_.spans.push_back({.slot = slot,
                           .first_position = first,
                           .num_tokens = count,
                           .num_logit_rows = rows,
                           .token_begin = plan_.num_tokens(),
                           .block_begin = static_cast<int32_t>(plan_.block_ids.size()),
                           .num_blocks = static_cast<int32_t>(blocks.size()),
                           .mask_row = mask_row});
    plan_.token_ids.insert(plan_.token_ids.end(), tokens_.begin() + first,
                           tokens_.begin() + first + count);
    plan_.block_ids.insert(plan_.block_ids.end(), blocks.begin(), blocks.end());
  }
  const StepResult& run(const TokenMasks& masks = {}) {
    ++plan_.step;
    const Ticket ticket = executor_.begin(plan_);
    executor_.sample(ticket, masks);
    const StepResult& result = executor_.wait(ticket);
    plan_.clear();
    return result;
  }

  FakeExecutor executor_{{}};
  SamplingParams params_{.temperature = 0};
  std::vector<TokenId> tokens_ = {5, 6, 7, 8, 9, 10};
  std::vector<TokenId> banned_;
  int min_tokens_ = 0;
  BatchPlan plan_;
};
using FakeExecutorDeathTest = FakeExecutorTest;

TEST_F(FakeExecutorTest, Chunks_GiveTheTokenOfTheWholePrompt) {
  const TokenId want = executor_.expected_tokens(tokens_, 1)[0];
  start_slot(0);
  add_span(0, 0, 4, 0, {3});
  EXPECT_EQ(run().spans[0].num_tokens, 0);
  add_span(0, 4, 2, 1, {3, 1});
  EXPECT_EQ(run().tokens[0].id, want);
}

TEST_F(FakeExecutorTest, SeedAndChoice_ChangeWhatIsDrawnUnlessGreedy) {
  const auto first = executor_.expected_tokens(tokens_, 8, {.seed = 1, .choice = 0});
  EXPECT_NE(first, executor_.expected_tokens(tokens_, 8, {.seed = 1, .choice = 1}));
  EXPECT_NE(first, executor_.expected_tokens(tokens_, 8, {.seed = 2, .choice = 0}));
  EXPECT_EQ(executor_.expected_tokens(tokens_, 8, {.temperature = 0, .seed = 2}),
            executor_.expected_tokens(tokens_, 8, {.temperature = 0, .seed = 3}));
}

TEST_F(FakeExecutorTest, Mask_IsHonoured) {
  std::vector<uint32_t> words(8, 0);
  words[3] = 1u << 5;  // only 101
  start_slot(0);
  add_span(0, 0, 6, 1, {0, 1}, 0);
  EXPECT_EQ(run({words, 8}).tokens[0].id, 101);
}

TEST_F(FakeExecutorTest, MaskWithoutTokens_IsNotFinite) {
  const std::vector<uint32_t> words(8, 0);
  start_slot(0);
  add_span(0, 0, 6, 1, {0, 1}, 0);
  EXPECT_TRUE(run({words, 8}).tokens[0].not_finite);
}

TEST_F(FakeExecutorTest, BannedEarly_DoesNotComeBeforeMinTokens) {
  banned_ = executor_.expected_tokens(tokens_, 1);
  min_tokens_ = 1;
  start_slot(0);
  add_span(0, 0, 6, 1, {0, 1});
  EXPECT_NE(run().tokens[0].id, banned_[0]);
}

TEST_F(FakeExecutorTest, Drafts_GiveTheTokensOfSingleStepsUpToTheFirstWrongOne) {
  const std::vector<TokenId> want = executor_.expected_tokens(tokens_, 6);
  for (int num_right = 0; num_right <= 3; ++num_right) {
    tokens_ = {5, 6, 7, 8, 9, 10};
    start_slot(0);
    add_span(0, 0, 6, 1, {0, 1});
    run();
    tokens_.insert(tokens_.end(), want.begin(), want.begin() + 4);
    if (num_right < 3) tokens_[static_cast<size_t>(7 + num_right)] += 1;
    add_span(0, 6, 4, 4, {0, 1, 2});
    plan_.spans[0].num_drafts = 3;
    const StepResult& result = run();
    ASSERT_EQ(result.spans[0].num_tokens, num_right + 1);
    for (int i = 0; i <= num_right; ++i) {
      EXPECT_EQ(result.tokens[static_cast<size_t>(i)].id, want[static_cast<size_t>(i) + 1]);
    }
    // Goes on behind what was right, over the guesses that were wrong.
    tokens_.resize(6);
    tokens_.insert(tokens_.end(), want.begin(), want.end());
    if (num_right < 3) {
      add_span(0, 7 + num_right, 1, 1, {0, 1, 2});
      EXPECT_EQ(run().tokens[0].id, want[static_cast<size_t>(num_right) + 2]);
    }
    executor_.release(0);
  }
}

// Two steps in flight: a prompt of slot 0, and behind it the token that follows.
class TwoStepsTest : public FakeExecutorTest {
 protected:
  TwoStepsTest() {
    FakeExecutorOptions options;
    options.limits.max_steps_in_flight = 2;
    options.fails = [this](uint64_t step) { return step == failing_step_; };
    two_ = std::make_unique<FakeExecutor>(options);
    start_slot(0);
    add_span(0, 0, 6, 1, {0, 1});
    plan_.step = 1;
    first_ = plan_;
    first_.slot_starts[0].tokens = prompt_;
    plan_.clear();
    tokens_.push_back(kPendingToken);
    add_span(0, 6, 1, 1, {0, 1});
    plan_.step = 2;
    second_ = plan_;
  }
  void start(const BatchPlan& plan) {
    two_->begin(plan);
    two_->sample(plan.step, {});
  }

  const std::vector<TokenId> prompt_ = tokens_;
  uint64_t failing_step_ = 0;
  std::unique_ptr<FakeExecutor> two_;
  BatchPlan first_, second_;
};
using TwoStepsDeathTest = TwoStepsTest;

TEST_F(TwoStepsTest, PendingToken_IsTheOneBeingSampled) {
  const std::vector<TokenId> want = two_->expected_tokens(prompt_, 2);
  start(first_);
  start(second_);
  const StepResult& first = two_->wait(1);
  EXPECT_EQ(first.tokens[0].id, want[0]);
  EXPECT_EQ(two_->wait(2).tokens[0].id, want[1]);
  EXPECT_EQ(first.tokens[0].id, want[0]) << "until the next begin() but one";
  two_->release(0);
}

TEST_F(TwoStepsTest, PendingToken_MayBeOneThatWasSampled) {
  const std::vector<TokenId> want = two_->expected_tokens(prompt_, 2);
  start(first_);
  two_->wait(1);
  start(second_);
  EXPECT_EQ(two_->wait(2).tokens[0].id, want[1]);
}

TEST_F(TwoStepsTest, BehindAFailedStep_ComesGarbageThatLooksRight) {
  const std::vector<TokenId> want = two_->expected_tokens(prompt_, 2);
  failing_step_ = 1;
  start(first_);
  start(second_);
  EXPECT_TRUE(two_->wait(1).failed);
  const StepResult& second = two_->wait(2);
  EXPECT_FALSE(second.failed);
  ASSERT_EQ(second.tokens.size(), 1u);
  EXPECT_NE(second.tokens[0].id, want[1]);
}

TEST_F(TwoStepsDeathTest, MistakesWithTwoSteps_AreCaught) {
  const auto one_begun = [&] { start(first_); };
  const auto both_begun = [&] {
    start(first_);
    start(second_);
  };
  EXPECT_DEATH((two_->begin(first_), two_->begin(second_)), "is_sampled") << "not sampled yet";
  EXPECT_DEATH((both_begun(), first_.step = 3, two_->begin(first_)), "plan == nullptr") << "three";
  EXPECT_DEATH((both_begun(), two_->wait(2)), "other == nullptr") << "the younger one first";
  EXPECT_DEATH((both_begun(), two_->release(0)), "has_slot") << "a slot that a step reads";
  EXPECT_DEATH((both_begun(), two_->wait(1), two_->release(0)), "has_slot") << "the second, too";
  EXPECT_DEATH((both_begun(), second_.token_ids[0] = 1, two_->wait(1), two_->wait(2)),
               "fingerprint")
      << "a plan that changed";
  EXPECT_DEATH((both_begun(), params_.seed = 99, two_->wait(1)), "params_seed")
      << "parameters that are gone";
  EXPECT_DEATH((one_begun(), second_.token_ids[0] = 1, two_->begin(second_)), "kPendingToken")
      << "a token nobody can know";
  EXPECT_DEATH((first_.token_ids[3] = kPendingToken, two_->begin(first_)), "kPendingToken")
      << "inside a prompt";
  EXPECT_DEATH((executor_.begin(first_), executor_.sample(1, {}), executor_.begin(second_)),
               "max_steps_in_flight")
      << "two where one is allowed";
}

TEST_F(FakeExecutorDeathTest, BrokenPlans_AreCaught) {
  const auto started = [&] {
    plan_.clear();
    start_slot(0);
  };
  EXPECT_DEATH((add_span(0, 0, 6, 1, {0, 1}), run()), "is_held") << "slot not started";
  EXPECT_DEATH((started(), add_span(0, 0, 6, 1, {0}), run()), "num_blocks") << "table too short";
  EXPECT_DEATH((started(), add_span(0, 4, 2, 1, {0, 1}), run()), "position") << "never written";
  EXPECT_DEATH(
      (started(), add_span(0, 0, 2, 0, {0, 1}), run(), add_span(0, 3, 3, 1, {0, 1}), run()),
      "next_position")
      << "a position left out";
  EXPECT_DEATH(
      (started(), start_slot(1), add_span(0, 0, 6, 1, {0, 1}), add_span(1, 0, 6, 1, {2, 1}), run()),
      "writer_")
      << "two sequences write one block";
  EXPECT_DEATH((started(), add_span(0, 0, 6, 1, {0, 1}), plan_.token_ids[2] = 99, run()),
               "token ==")
      << "not the prompt";
  EXPECT_DEATH((started(), start_slot(0), add_span(0, 0, 6, 1, {0, 1}), run()), "is_held")
      << "slot started twice";
}

}  // namespace
}  // namespace sparrow
