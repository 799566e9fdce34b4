// What happens at the boundary of two steps that are both on their way: ends, cancels, failures,
// newcomers, guesses.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

#include "engine/engine.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

class StepBoundaryTest : public ::testing::Test {
 protected:
  static FakeExecutorOptions letters(int max_steps = 2) {
    FakeExecutorOptions fake;
    fake.limits.max_steps_in_flight = max_steps;
    fake.limits.vocab_size = kTestVocab;
    fake.first_token = 'a';
    fake.num_tokens = 26;
    return fake;
  }
  void make(FakeExecutorOptions fake, EngineOptions options = {}) {
    engine_.reset();  // before its executor
    sink_.transcripts.clear();
    calls_.clear();
    fake.on_part = [this](uint64_t step, StepPart part) {
      constexpr char kNames[] = {'b', 's', 'w'};
      calls_ += fmt::format("{}{} ", kNames[static_cast<int>(part)], step);
      if (on_part_) on_part_(step, part);
    };
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, options, &metrics_);
  }
  void submit(uint64_t id, int max_tokens = 12) {
    Request request = test_request(id, prompt_of(id, 6), max_tokens);
    request.stop.token_ids = {kEos};
    ASSERT_TRUE(engine_->submit(std::move(request), &sink_).ok());
  }
  void step(int count = 1) {
    for (int i = 0; i < count; ++i) {
      clock_.advance(from_ms(1));
      engine_->step(clock_.now());
      engine_->check_integrity();
    }
  }
  void run() {
    for (int i = 0; i < 10'000 && !engine_->idle(); ++i) step();
    ASSERT_TRUE(engine_->idle());
    EXPECT_EQ(executor_->num_held_slots(), 0);
    EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
  }
  std::vector<TokenId> alone(uint64_t id, int count) {
    return executor_->expected_tokens(prompt_of(id, 6), count);
  }
  void expect_ended(uint64_t id, FinishReason reason) {
    EXPECT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{reason}) << id;
  }
  bool has_ended(uint64_t id) { return !sink_.at(id).finishes.empty(); }

  // Used until the engine is gone.
  std::string calls_;  // of the executor: begin, sample, wait
  std::function<void(uint64_t step, StepPart part)> on_part_;
  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  CollectingSink sink_;
  FakeClock clock_;
};

TEST_F(StepBoundaryTest, NextStep_StartsBeforeTheOneBeforeItIsWaitedFor) {
  make(letters());
  submit(1, 5);
  run();
  EXPECT_EQ(calls_, "b1 s1 b2 s2 w1 b3 s3 w2 b4 s4 w3 b5 s5 w4 w5 ");
  EXPECT_EQ(sink_.at(1).tokens, alone(1, 5));
  make(letters(1));
  submit(1, 5);
  run();
  EXPECT_EQ(calls_, "b1 s1 w1 b2 s2 w2 b3 s3 w3 b4 s4 w4 b5 s5 w5 ");
}

TEST_F(StepBoundaryTest, StopTokenWhileTheNextStepIsOnItsWay_IsTheEndAtOnce) {
  FakeExecutorOptions fake = letters();
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() == 6 + 3) return kEos;
    return std::nullopt;
  };
  make(fake);
  submit(1);
  step(3);
  EXPECT_FALSE(has_ended(1));
  step();
  expect_ended(1, FinishReason::kStopToken);
  EXPECT_EQ(sink_.at(1).tokens.size(), 4u);
  EXPECT_EQ(engine_->snapshot().num_running, 0);
  EXPECT_EQ(executor_->num_held_slots(), 1) << "step 5 reads it";
  EXPECT_GT(engine_->snapshot().num_blocks_live, 0);
  EXPECT_FALSE(engine_->idle());
  sink_.transcripts.clear();
  submit(1);  // its id is free
  step();
  EXPECT_EQ(executor_->num_held_slots(), 0);
  run();
  EXPECT_EQ(sink_.at(1).tokens.size(), 4u);
}

TEST_F(StepBoundaryTest, CancelWhileAStepIsOnItsWay_DropsItsToken) {
  make(letters());
  submit(1);
  submit(2);
  step(3);
  engine_->cancel(1);
  step();
  expect_ended(1, FinishReason::kCancelled);
  EXPECT_EQ(sink_.at(1).tokens, alone(1, 3));
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 4));
  EXPECT_EQ(executor_->num_held_slots(), 1) << "the step that read it is over";
  run();
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 12));
}

TEST_F(StepBoundaryTest, WhateverFails_EndsWithTheTokensOfTheStepsBefore) {
  for (const StepPart part : {StepPart::kBegin, StepPart::kSample, StepPart::kWait}) {
    for (uint64_t at = 1; at <= 6; ++at) {
      for (const bool no_memory : {false, true}) {
        SCOPED_TRACE(fmt::format("part {}, step {}", static_cast<int>(part), at));
        on_part_ = [=](uint64_t step, StepPart now) {
          if (now != part || step != at) return;
          if (no_memory) throw std::bad_alloc();
          throw std::runtime_error("the device fell off the bus");
        };
        make(letters());
        for (uint64_t id = 1; id <= 3; ++id) submit(id);
        run();
        for (uint64_t id = 1; id <= 3; ++id) {
          expect_ended(id, no_memory ? FinishReason::kNoMemory : FinishReason::kError);
          EXPECT_EQ(sink_.at(id).tokens, alone(id, static_cast<int>(at) - 1));
        }
        on_part_ = nullptr;
        for (uint64_t id = 4; id <= 6; ++id) submit(id);
        run();
        for (uint64_t id = 4; id <= 6; ++id) EXPECT_EQ(sink_.at(id).tokens, alone(id, 12));
      }
    }
  }
}

// The fake's step behind a failed one answers with tokens that look right.
TEST_F(StepBoundaryTest, FailedStep_TakesTheOneBehindItAlongAndCountsOnce) {
  FakeExecutorOptions fake = letters();
  fake.fails = [](uint64_t step) { return step == 3; };
  EngineOptions options;
  options.breaker.max_failures = 2;
  make(fake, options);
  submit(1);
  submit(2);
  run();
  EXPECT_NE(calls_.find("b4 s4 w3 w4 "), std::string::npos) << calls_;
  for (uint64_t id = 1; id <= 2; ++id) {
    expect_ended(id, FinishReason::kError);
    EXPECT_EQ(sink_.at(id).tokens, alone(id, 2));
  }
  EXPECT_EQ(engine_->snapshot().breaker, BreakerState::kClosed);
  submit(3);
  run();
  EXPECT_EQ(sink_.at(3).tokens, alone(3, 12));
}

TEST_F(StepBoundaryTest, FailuresInARow_OpenTheBreakerThoughWorthlessStepsSucceed) {
  FakeExecutorOptions fake = letters();
  fake.fails = [](uint64_t step) { return step % 2 == 1; };  // those between are behind failed ones
  EngineOptions options;
  options.breaker.max_failures = 2;
  make(fake, options);
  submit(1);
  run();
  EXPECT_EQ(engine_->snapshot().breaker, BreakerState::kClosed);
  submit(2);
  run();
  EXPECT_EQ(calls_, "b1 s1 b2 s2 w1 w2 b3 s3 b4 s4 w3 w4 ");
  EXPECT_EQ(engine_->snapshot().breaker, BreakerState::kOpen);
}

TEST_F(StepBoundaryTest, NotFiniteWhileTheNextStepIsOnItsWay_EndsThatSequenceAlone) {
  FakeExecutorOptions fake = letters();
  fake.not_finite = [](uint64_t step, size_t span) { return step == 4 && span == 1; };
  make(fake);
  for (uint64_t id = 1; id <= 3; ++id) submit(id);
  run();
  expect_ended(2, FinishReason::kNotFinite);
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 3));
  for (const uint64_t id : {1, 3}) EXPECT_EQ(sink_.at(id).tokens, alone(id, 12));
}

TEST_F(StepBoundaryTest, Newcomer_WaitsForNoMoreThanTheStepsOnTheirWay) {
  make(letters());
  submit(1, 40);
  step(5);
  submit(2);
  step(2);
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 1));
  run();
  EXPECT_EQ(sink_.at(1).tokens, alone(1, 40));
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 12));
}

// A running prompt that an urgent one left no row for has part in no step on its way; it is not
// left out of the next one.
TEST_F(StepBoundaryTest, PromptWithoutARow_IsNotPassedOverByStepsAhead) {
  FakeExecutorOptions fake = letters();
  fake.limits.num_blocks = 200;
  fake.limits.max_batch_tokens = 40;
  make(fake);
  const auto ask = [this](uint64_t id, int num_prompt, int priority) {
    Request request = test_request(id, prompt_of(id, num_prompt), 60);
    request.priority = priority;
    ASSERT_TRUE(engine_->submit(std::move(request), &sink_).ok());
  };
  ask(1, 38, 0);
  step(2);
  ask(2, 100, 0);
  step(2);  // 39 rows of 100
  ask(3, 55, -1);
  step(1);  // 23 rows and 16 of 55
  step(1);  // none and 39
  EXPECT_EQ(sink_.at(3).tokens.size(), 1u) << calls_;
  EXPECT_TRUE(sink_.at(2).tokens.empty());
  step(1);
  EXPECT_EQ(sink_.at(2).tokens.size(), 1u) << calls_;
  run();
}

// One slot: who waits cannot come in before the other ends, and is no reason to stand still.
TEST_F(StepBoundaryTest, QueueThatNobodyCanLeave_DoesNotStopTheOverlap) {
  FakeExecutorOptions fake = letters();
  fake.limits.num_slots = 1;
  make(fake);
  submit(1, 6);
  submit(2, 3);
  run();
  EXPECT_EQ(calls_,
            "b1 s1 b2 s2 w1 b3 s3 w2 b4 s4 w3 b5 s5 w4 b6 s6 w5 w6 "
            "b7 s7 b8 s8 w7 b9 s9 w8 w9 ");
  EXPECT_EQ(sink_.at(1).tokens, alone(1, 6));
  EXPECT_EQ(sink_.at(2).tokens, alone(2, 3));
}

TEST_F(StepBoundaryTest, EngineThatEndsWithStepsOnTheirWay_GivesTheSlotsBack) {
  make(letters());
  submit(1);
  submit(2);
  step(3);
  EXPECT_EQ(calls_.substr(calls_.size() - 9), "b4 s4 w3 ");
  engine_.reset();
  EXPECT_EQ(calls_.substr(calls_.size() - 3), "w4 ");
  EXPECT_EQ(executor_->num_held_slots(), 0);
}

TEST_F(StepBoundaryTest, Beat_TellsOfTheOlderStep) {
  Beat seen;
  on_part_ = [&](uint64_t step, StepPart part) {
    if (step == 2 && part == StepPart::kWait) seen = engine_->beat();
  };
  make(letters());
  submit(1);
  submit(2);
  step(2);
  EXPECT_EQ(seen.step, 2u);
  EXPECT_EQ(seen.num_rows, 2);
  EXPECT_EQ(engine_->beat().num_rows, 0) << "the engine itself is elsewhere";
}

// A text that repeats is guessed in larger steps, one at a time; one that does not is overlapped
// although guessing is on.
TEST_F(StepBoundaryTest, Guesses_ArePreferredWhereTheTextRepeats) {
  const auto count = [this](const std::string& what) {
    int found = 0;
    for (size_t at = 0; (at = calls_.find(what, at)) != std::string::npos; ++at) ++found;
    return found;
  };
  EngineOptions options;
  options.speculation.max_tokens = 8;
  for (const bool repeats : {true, false}) {
    FakeExecutorOptions fake = letters();
    fake.script = [repeats](std::span<const TokenId> tokens) -> std::optional<TokenId> {
      if (!repeats) return std::nullopt;
      return static_cast<TokenId>('a' + tokens.size() % 20);
    };
    make(fake, options);
    submit(1, 100);
    run();
    EXPECT_EQ(sink_.at(1).tokens, alone(1, 100));
    const int num_steps = count("b");
    int num_alone = 0;  // waited for before another began
    for (int step = 1; step <= num_steps; ++step)
      num_alone += count(fmt::format("s{0} w{0} ", step));
    if (repeats) {
      EXPECT_LT(num_steps, 60) << calls_;
    } else {
      EXPECT_LT(num_alone, num_steps / 5) << calls_;
    }
  }
}

}  // namespace
}  // namespace sparrow
