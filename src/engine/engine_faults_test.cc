// What goes wrong around the engine costs the requests it hits and never the engine: executors that
// fail, throw or lie, maskers and sinks that throw, clocks that jump. All of it with one and with
// two steps in flight.

#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <tuple>

#include "base/prometheus_test_support.h"
#include "engine/engine.h"
#include "engine/engine_thread.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

class FaultsTest : public ::testing::Test {
 protected:
  explicit FaultsTest(int max_steps_in_flight) : max_steps_in_flight_(max_steps_in_flight) {}
  void make(FakeExecutorOptions fake = {}, EngineOptions options = {}) {
    engine_.reset();  // before its executor
    fake.limits.max_steps_in_flight = max_steps_in_flight_;
    fake.limits.vocab_size = kTestVocab;
    fake.first_token = 'a';  // text and tokens correspond one to one
    fake.num_tokens = 26;
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, options, &metrics_);
  }
  void submit(Request request) {
    const Status status = engine_->submit(std::move(request), &sink_);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void submit_some(uint64_t first, uint64_t last) {
    for (uint64_t id = first; id <= last; ++id) submit(test_request(id, prompt_of(id, 6), 12));
  }
  void run() {
    for (int step = 0; step < 10000; ++step) {
      clock_.advance(from_ms(1));
      const bool worked = engine_->step(clock_.now()).worked;
      engine_->check_integrity();
      if (!worked && engine_->idle()) return;
    }
    FAIL() << "the engine does not come to rest";
  }
  // The whole answer, as if alone.
  void expect_served(uint64_t id) {
    EXPECT_EQ(sink_.at(id).tokens, executor_->expected_tokens(prompt_of(id, 6), 12)) << id;
    EXPECT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{FinishReason::kMaxTokens}) << id;
  }
  void expect_ended(uint64_t id, FinishReason reason) {
    EXPECT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{reason}) << id;
  }
  void expect_nothing_left() {
    EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
    EXPECT_EQ(executor_->num_held_slots(), 0);
    EXPECT_FALSE(engine_->beat().failed);
  }

  const int max_steps_in_flight_;
  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  CollectingSink sink_;
  FakeClock clock_;
};

class EngineFaultsTest : public FaultsTest, public ::testing::WithParamInterface<int> {
 protected:
  EngineFaultsTest() : FaultsTest(GetParam()) {}
};
INSTANTIATE_TEST_SUITE_P(StepsInFlight, EngineFaultsTest, ::testing::Values(1, 2));

TEST_P(EngineFaultsTest, NotFiniteRow_LeavesTheOthersBitIdentical) {
  FakeExecutorOptions fake;
  fake.not_finite = [](uint64_t step, size_t span) { return step == 5 && span == 2; };
  make(fake);
  submit_some(1, 6);
  run();
  int num_failed = 0;
  for (uint64_t id = 1; id <= 6; ++id) {
    if (sink_.at(id).finishes.back() == FinishReason::kNotFinite) {
      ++num_failed;
    } else {
      expect_served(id);
    }
  }
  EXPECT_EQ(num_failed, 1);
  const PrometheusText text = PrometheusReader::read(metrics_.render());
  const std::string labels = "{engine=\"0\",model_name=\"sparrow\"}";
  EXPECT_EQ(text.at("vllm:corrupted_requests_total" + labels), 1);
  expect_nothing_left();
}

using Throw = std::tuple<StepPart, int>;

class EngineThrowsTest : public FaultsTest, public ::testing::WithParamInterface<Throw> {
 protected:
  EngineThrowsTest() : FaultsTest(std::get<1>(GetParam())) {}
};

TEST_P(EngineThrowsTest, ThrowingExecutor_CostsThatStepOnly) {
  for (int kind = 0; kind < 3; ++kind) {
    FakeExecutorOptions fake;
    fake.on_part = [kind](uint64_t step, StepPart part) {
      if (part != std::get<0>(GetParam()) || (step != 1 && step != 4)) return;
      if (kind == 0) throw std::bad_alloc();
      if (kind == 1) throw std::runtime_error("the device fell off the bus");
      throw 7;  // not even a std::exception
    };
    make(fake);
    sink_.transcripts.clear();
    submit_some(1, 3);  // step 1
    run();
    const FinishReason reason = kind == 0 ? FinishReason::kNoMemory : FinishReason::kError;
    for (uint64_t id = 1; id <= 3; ++id) expect_ended(id, reason);
    submit_some(4, 6);  // steps 2 to 4
    run();
    for (uint64_t id = 4; id <= 6; ++id) expect_ended(id, reason);
    submit_some(7, 9);
    run();
    for (uint64_t id = 7; id <= 9; ++id) expect_served(id);
    expect_nothing_left();
  }
}

TEST_P(EngineFaultsTest, AbortAll_EndsWhatCameBeforeIt_WhatComesAfterRuns) {
  make();
  submit_some(1, 2);
  engine_->step(clock_.now());
  submit_some(3, 4);  // accepted and not yet drained
  engine_->abort_all(FinishReason::kCancelled);
  submit_some(5, 6);
  run();
  for (uint64_t id = 1; id <= 4; ++id) expect_ended(id, FinishReason::kCancelled);
  for (uint64_t id = 5; id <= 6; ++id) expect_served(id);
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(Parts, EngineThrowsTest,
                         ::testing::Combine(::testing::Values(StepPart::kBegin, StepPart::kSample,
                                                              StepPart::kWait),
                                            ::testing::Values(1, 2)));

TEST_P(EngineFaultsTest, LyingExecutor_CostsThatStepOnly) {
  const std::vector<std::function<void(StepResult&)>> lies = {
      [](StepResult& result) { ++result.step; },
      [](StepResult& result) { result.step = 0; },
      [](StepResult& result) { result.spans.clear(); },
      [](StepResult& result) { result.spans.push_back(result.spans.back()); },
      [](StepResult& result) { result.spans.back().num_tokens = 2; },
      [](StepResult& result) { result.spans.back().num_tokens = -1; },
      [](StepResult& result) { result.spans.back().token_begin = 1 << 30; },
      [](StepResult& result) { result.spans.back().token_begin = -1; },
      [](StepResult& result) { result.tokens.clear(); },
      [](StepResult& result) { result.tokens.back().id = kTestVocab; },
      [](StepResult& result) { result.tokens.back().id = -1; },
      [](StepResult& result) { result.tokens.back().num_top = 3; },
      [](StepResult& result) { result.tokens.back().top_begin = -5; },
      [](StepResult& result) { result.failed = true; },
      [](StepResult& result) { result.elapsed_ns = -1; },
  };
  for (size_t i = 0; i < lies.size(); ++i) {
    FakeExecutorOptions fake;
    fake.corrupt = [&lies, i](StepResult& result) {
      if (result.step == 3) lies[i](result);
    };
    make(fake);
    sink_.transcripts.clear();
    submit_some(1, 3);
    run();
    const bool is_harmless = i + 1 == lies.size();  // a wrong time is only a wrong time
    for (uint64_t id = 1; id <= 3; ++id) {
      is_harmless ? expect_served(id) : expect_ended(id, FinishReason::kError);
    }
    submit_some(4, 6);
    run();
    for (uint64_t id = 4; id <= 6; ++id) expect_served(id);
    expect_nothing_left();
  }
}

// Throws where it is told to; else everything may come.
class ThrowingMasker final : public TokenMasker {
 public:
  explicit ThrowingMasker(bool in_fill) : in_fill_(in_fill) {}
  bool fill(std::span<uint32_t>) override {
    if (in_fill_ && ++num_calls_ == 4) throw std::runtime_error("grammar");
    return false;
  }
  bool accept(TokenId) override {
    if (!in_fill_ && ++num_calls_ == 4) throw std::bad_alloc();
    return true;
  }
  void roll_back(int) override {}

 private:
  const bool in_fill_;
  int num_calls_ = 0;
};

TEST_P(EngineFaultsTest, ThrowingMasker_EndsItsOwnRequest) {
  make();
  submit_some(1, 2);
  for (uint64_t id = 3; id <= 4; ++id) {
    Request request = test_request(id, prompt_of(id, 6), 12);
    request.masker = std::make_shared<ThrowingMasker>(id == 3);
    submit(std::move(request));
  }
  submit_some(5, 6);
  run();
  for (const uint64_t id : {1, 2, 5, 6}) expect_served(id);
  expect_ended(3, FinishReason::kNotFinite);  // no token was allowed
  expect_ended(4, FinishReason::kNoMemory);
  expect_nothing_left();
}

// Refuses every third delivery, as a queue without memory does.
class ForgetfulSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    if (++num_calls_ % 3 == 0) throw std::bad_alloc();
    inner.publish(std::move(events));
  }
  CollectingSink inner;

 private:
  int num_calls_ = 0;
};

TEST_P(EngineFaultsTest, SinkThatThrows_GetsEveryEventOnceAndInOrder) {
  make();
  ForgetfulSink sink;
  for (uint64_t id = 1; id <= 3; ++id) {
    ASSERT_TRUE(engine_->submit(test_request(id, prompt_of(id, 6), 12), &sink).ok());
  }
  run();
  for (uint64_t id = 1; id <= 3; ++id) {
    EXPECT_EQ(sink.inner.at(id).tokens, executor_->expected_tokens(prompt_of(id, 6), 12));
    EXPECT_EQ(sink.inner.at(id).finishes.size(), 1u);
  }
}

TEST_P(EngineFaultsTest, BlocksOfOneSequence_ServeManyOneAfterTheOther) {
  FakeExecutorOptions fake;
  fake.limits.num_blocks = 5;  // 20 tokens: one request of 18
  make(fake);
  submit_some(1, 8);
  run();
  for (uint64_t id = 1; id <= 8; ++id) expect_served(id);
  expect_nothing_left();
}

TEST_P(EngineFaultsTest, JumpingClock_ChangesNoTextAndNoCounterFalls) {
  make();
  submit_some(1, 4);
  PrometheusText before = PrometheusReader::read(metrics_.render());
  for (int step = 0; step < 40; ++step) {
    const int jumps[] = {3600, -7200, 1, -1, 0};
    clock_.advance(std::chrono::seconds(jumps[step % 5]));
    engine_->step(clock_.now());
    const PrometheusText now = PrometheusReader::read(metrics_.render());
    ASSERT_TRUE(now.errors.empty()) << now.errors.front();
    for (const auto& [series, value] : before.samples) {
      const std::string name = series.substr(0, series.find('{'));
      const bool is_sum = name.ends_with("_total") || name.ends_with("_sum") ||
                          name.ends_with("_count") || name.ends_with("_bucket");
      if (is_sum) {
        EXPECT_GE(now.at(series), value) << series;
      }
    }
    before = now;
  }
  EXPECT_TRUE(engine_->idle());
  for (uint64_t id = 1; id <= 4; ++id) expect_served(id);
  EXPECT_GE(engine_->snapshot().oldest_wait_ms, 0);
}

TEST_P(EngineFaultsTest, ClockThatJumpsOverADeadline_EndsThatRequestOnly) {
  make();
  Request request = test_request(1, prompt_of(1, 6), 12);
  request.total_deadline = clock_.now() + std::chrono::seconds(10);
  submit(std::move(request));
  submit_some(2, 3);
  engine_->step(clock_.now());
  clock_.advance(std::chrono::hours(1));
  run();
  expect_ended(1, FinishReason::kDeadline);
  expect_served(2);
  expect_served(3);
}

class WaitingSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    if (events.back().finish == FinishReason::kNone) return;
    std::lock_guard lock(mutex_);
    has_ended_ = true;
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return has_ended_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool has_ended_ = false;
};

TEST_P(EngineFaultsTest, ThreadWithAClockThatJumps_ServesAndStops) {
  make();
  SkewedClock clock;
  std::array<WaitingSink, 4> sinks;  // outlive the thread
  EngineThread thread(*engine_, clock);
  thread.start();
  constexpr std::array<int, 4> kHours = {0, 100, -100, 1000};
  for (size_t i = 0; i < sinks.size(); ++i) {
    clock.skew_ns = Duration(std::chrono::hours(kHours[i])).count();
    const uint64_t id = i + 1;
    ASSERT_TRUE(engine_->submit(test_request(id, prompt_of(id, 6), 12), &sinks[i]).ok());
    EXPECT_TRUE(sinks[i].wait()) << kHours[i] << " hours";
  }
  thread.stop();
}

TEST_P(EngineFaultsTest, Beat_TellsWhatTheExecutorIsAt) {
  Beat seen;
  FakeExecutorOptions fake;
  fake.on_part = [&](uint64_t step, StepPart part) {
    if (step == 1 && part == StepPart::kWait) seen = engine_->beat();
  };
  make(fake);
  EXPECT_FALSE(engine_->beat().has_begun);
  submit_some(1, 3);
  clock_.advance(std::chrono::seconds(5));
  engine_->step(clock_.now());
  EXPECT_TRUE(seen.has_begun);
  EXPECT_EQ(seen.began, clock_.now());
  EXPECT_EQ(seen.step, 1u);
  EXPECT_EQ(seen.num_spans, 3);
  EXPECT_EQ(seen.num_rows, 18);
  EXPECT_EQ(engine_->beat().num_rows, 0) << "the step is over";
}

}  // namespace
}  // namespace sparrow
