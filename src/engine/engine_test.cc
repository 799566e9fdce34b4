#include "engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <climits>

#include "base/clock.h"
#include "engine/engine_thread.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

// Allows one letter at each position: a, b, c …; free after the tenth.
class CountingMasker final : public TokenMasker {
 public:
  bool fill(std::span<uint32_t> mask) override {
    if (num_accepted >= 10) return false;
    const auto id = static_cast<size_t>('a' + num_accepted);
    mask[id / 32] |= 1u << (id % 32);
    return true;
  }
  bool accept(TokenId token) override {
    ++num_accepted;
    return num_accepted > 10 || token == 'a' + num_accepted - 1;
  }
  void roll_back(int num_tokens) override { num_accepted -= num_tokens; }

  int num_accepted = 0;
};

class EngineTest : public ::testing::Test {
 protected:
  void make(FakeExecutorOptions fake = {}, EngineOptions options = {}) {
    fake.limits.vocab_size = kTestVocab;
    engine_.reset();
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, options, &metrics_);
  }
  void submit(Request request) {
    const Status status = engine_->submit(std::move(request), &sink_);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  // Steps until nothing is left; a bound instead of a hope.
  void run() {
    for (int step = 0; step < 100000; ++step) {
      clock_.advance(from_ms(1));
      if (!engine_->step(clock_.now()).worked && engine_->idle()) return;
    }
    FAIL() << "the engine does not come to rest";
  }
  std::string text_of(const std::vector<TokenId>& tokens) { return tokenizer_->decode(tokens); }

  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  CollectingSink sink_;
  FakeClock clock_;
};

// Tokens that are plain ASCII letters, so that text and tokens correspond one to one.
FakeExecutorOptions letters() {
  FakeExecutorOptions fake;
  fake.first_token = 'a';
  fake.num_tokens = 26;
  return fake;
}

TEST_F(EngineTest, OneRequest_GivesExactlyItsTokens) {
  make(letters());
  submit(test_request(1, prompt_of(1, 10), 20));
  run();
  const Transcript& got = sink_.at(1);
  EXPECT_EQ(got.tokens, executor_->expected_tokens(prompt_of(1, 10), 20));
  EXPECT_EQ(got.answer, text_of(got.tokens));
  EXPECT_EQ(got.finishes, std::vector<FinishReason>{FinishReason::kMaxTokens});
  EXPECT_EQ(got.usage.num_prompt_tokens, 10);
  EXPECT_EQ(got.usage.num_output_tokens, 20);
  EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
  EXPECT_EQ(executor_->num_held_slots(), 0);
}

TEST_F(EngineTest, ManyRequestsWithFewBlocks_ChangeNobodysText) {
  FakeExecutorOptions fake = letters();
  fake.limits.num_blocks = 40;  // 160 tokens for 12 requests of up to 90
  fake.limits.max_context_tokens = 100;
  fake.limits.max_batch_tokens = 16;  // prompts are cut
  make(fake);
  for (uint64_t id = 1; id <= 12; ++id) {
    submit(test_request(id, prompt_of(id, static_cast<int>(id) * 4), 40));
  }
  run();
  for (uint64_t id = 1; id <= 12; ++id) {
    EXPECT_EQ(sink_.at(id).tokens,
              executor_->expected_tokens(prompt_of(id, static_cast<int>(id) * 4), 40));
  }
  EXPECT_NE(metrics_.render().find("vllm:num_preemptions_total"), std::string::npos);
  EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
}

// What admission expects of the next prompts.
TEST_F(EngineTest, Snapshot_TellsHowMuchOfThePromptsWasCached) {
  make(letters());
  submit(test_request(1, prompt_of(1, 41), 1));
  run();
  EXPECT_EQ(engine_->snapshot().cached_prompt_share, 0);
  for (uint64_t id = 2; id < 40; ++id) {
    submit(test_request(id, prompt_of(1, 41), 1));
    run();
  }
  // All but the last token, in whole blocks of four: 40 of 41, but for the first.
  EXPECT_NEAR(engine_->snapshot().cached_prompt_share, 40.0 / 41, 0.02);
}

TEST_F(EngineTest, Choices_AreSequencesOfTheirOwn) {
  make(letters());
  Request request = test_request(1, prompt_of(3, 5), 6);
  request.num_choices = 3;
  submit(std::move(request));
  run();
  EXPECT_EQ(sink_.transcripts.size(), 3u);
  for (int choice = 0; choice < 3; ++choice) EXPECT_EQ(sink_.at(1, choice).tokens.size(), 6u);
}

TEST_F(EngineTest, StopString_EndsAcrossTokensAndIsCutOut) {
  make(letters());
  const std::string whole = text_of(executor_->expected_tokens(prompt_of(1, 4), 30));
  Request request = test_request(1, prompt_of(1, 4), 30);
  request.stop.strings = {whole.substr(11, 3)};
  const size_t first = whole.find(request.stop.strings[0]);
  submit(std::move(request));
  run();
  EXPECT_EQ(sink_.at(1).answer, whole.substr(0, first));
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kStopString);
  EXPECT_EQ(sink_.at(1).usage.num_output_tokens, static_cast<int>(first) + 3);
}

TEST_F(EngineTest, StopToken_EndsUnlessIgnored) {
  FakeExecutorOptions fake = letters();
  fake.eos_token = kEos;
  fake.eos_per_mille = 100;
  make(fake);
  Request request = test_request(1, prompt_of(1, 4), 100);
  request.stop.token_ids = {kEos};
  Request ignoring = request;
  ignoring.id = 2;
  ignoring.stop.ignore_eos = true;
  submit(std::move(request));
  submit(std::move(ignoring));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kStopToken);
  EXPECT_EQ(sink_.at(1).tokens.back(), kEos);
  EXPECT_EQ(sink_.at(1).answer.find("<eos>"), std::string::npos);
  EXPECT_EQ(sink_.at(2).finishes.back(), FinishReason::kMaxTokens);
  EXPECT_EQ(sink_.at(2).usage.num_output_tokens, 100);
}

TEST_F(EngineTest, Thinking_GoesToItsChannelByTokenId) {
  FakeExecutorOptions fake = letters();
  fake.eos_token = kThinkEnd;
  fake.eos_per_mille = 60;
  make(fake);
  Request request = test_request(1, prompt_of(1, 4), 80);
  request.reasoning = {.start = kThinkStart, .end = kThinkEnd, .starts_inside = true};
  submit(std::move(request));
  run();
  const Transcript& got = sink_.at(1);
  const auto end = std::find(got.tokens.begin(), got.tokens.end(), kThinkEnd);
  ASSERT_NE(end, got.tokens.end());
  EXPECT_EQ(got.reasoning, text_of({got.tokens.begin(), end}));
  EXPECT_EQ(got.usage.num_reasoning_tokens, end - got.tokens.begin() + 1);
  EXPECT_FALSE(got.answer.empty());
}

TEST_F(EngineTest, StopStringInThinking_DoesNotEndTheAnswer) {
  FakeExecutorOptions fake = letters();
  make(fake);
  Request request = test_request(1, prompt_of(1, 4), 30);
  request.reasoning = {.start = kThinkStart, .end = kThinkEnd, .starts_inside = true};
  request.stop.strings = {text_of(executor_->expected_tokens(prompt_of(1, 4), 5))};
  submit(std::move(request));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kMaxTokens);
  EXPECT_EQ(sink_.at(1).reasoning.size(), 30u);
}

TEST_F(EngineTest, RandomBytes_AreAlwaysValidUtf8AndComplete) {
  make();  // all 256 bytes
  for (uint64_t id = 1; id <= 8; ++id) submit(test_request(id, prompt_of(id, 6), 60));
  run();
  for (uint64_t id = 1; id <= 8; ++id) {
    EXPECT_EQ(sink_.at(id).answer, text_of(sink_.at(id).tokens)) << "streamed = whole";
  }
}

TEST_F(EngineTest, Cancel_FreesEverythingAtTheNextStep) {
  make(letters());
  submit(test_request(1, prompt_of(1, 20), 200));
  submit(test_request(2, prompt_of(2, 20), 5));
  for (int i = 0; i < 3; ++i) engine_->step(clock_.now());
  EXPECT_GT(engine_->snapshot().num_blocks_live, 0);
  engine_->cancel(1);
  engine_->cancel(2);
  engine_->cancel(99);
  engine_->step(clock_.now());
  EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
  EXPECT_EQ(executor_->num_held_slots(), 0);
  EXPECT_EQ(sink_.at(1).finishes, std::vector<FinishReason>{FinishReason::kCancelled});
}

TEST_F(EngineTest, Deadlines_EndWaitingAndRunning) {
  EngineOptions options;
  options.max_num_seqs = 1;
  make(letters(), options);
  Request running = test_request(1, prompt_of(1, 4), 200);
  running.total_deadline = clock_.now() + from_ms(50);
  Request waiting = test_request(2, prompt_of(2, 4), 5);
  waiting.queue_deadline = clock_.now() + from_ms(10);
  submit(std::move(running));
  submit(std::move(waiting));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kDeadline);
  EXPECT_EQ(sink_.at(2).finishes.back(), FinishReason::kDeadline);
  EXPECT_EQ(sink_.at(2).tokens.size(), 0u);
}

TEST_F(EngineTest, DeadlineMisses_CountRequestsNotChoices) {
  make(letters());
  for (uint64_t id = 1; id <= 2; ++id) {
    Request request = test_request(id, prompt_of(id, 5), 30);
    request.num_choices = 3;
    request.total_deadline = clock_.now() + from_ms(5);
    submit(std::move(request));
  }
  engine_->step(clock_.now());
  clock_.advance(from_ms(10));
  engine_->step(clock_.now());
  for (uint64_t id = 1; id <= 2; ++id) {
    EXPECT_EQ(sink_.at(id, 2).finishes, std::vector<FinishReason>{FinishReason::kDeadline});
  }
  EXPECT_EQ(engine_->snapshot().num_deadline_misses_in_a_row, 2);
}

TEST_F(EngineTest, DeadlineMisses_AreForgottenByAQuietEngineOnly) {
  make(letters());
  const auto miss = [&](uint64_t id) {
    Request request = test_request(id, prompt_of(id, 5), 30);
    request.total_deadline = clock_.now() + from_ms(5);
    submit(std::move(request));
    engine_->step(clock_.now());
    clock_.advance(from_ms(10));
    engine_->step(clock_.now());
    ASSERT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{FinishReason::kDeadline});
  };
  for (uint64_t id = 1; id <= 3; ++id) miss(id);
  EXPECT_EQ(engine_->snapshot().num_deadline_misses_in_a_row, 3) << "one after the other";
  clock_.advance(std::chrono::hours(1));
  engine_->step(clock_.now());
  EXPECT_EQ(engine_->snapshot().num_deadline_misses_in_a_row, 0);
  miss(4);
  EXPECT_EQ(engine_->snapshot().num_deadline_misses_in_a_row, 1);
}

TEST_F(EngineTest, Submit_RefusesWhatCanNeverFitAndWhatIsTooMuch) {
  EngineOptions options;
  options.max_num_queued_reqs = 2;
  make(letters(), options);
  EXPECT_EQ(engine_->submit(test_request(1, {}, 5), &sink_).code(), StatusCode::kInvalidArgument);
  const Status too_long = engine_->submit(test_request(2, prompt_of(1, 256), 5), &sink_);
  EXPECT_EQ(too_long.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(too_long.message().find("255"), std::string::npos) << too_long.message();
  for (uint64_t id = 100; id < 110; ++id) submit(test_request(id, prompt_of(1, 5), 5));
  EXPECT_EQ(engine_->submit(test_request(5, prompt_of(1, 5), 5), &sink_).code(),
            StatusCode::kResourceExhausted)
      << "8 places and 2 that wait";
  engine_->step(clock_.now());  // eight run, as many as before are left
  EXPECT_EQ(engine_->submit(test_request(5, prompt_of(1, 5), 5), &sink_).code(),
            StatusCode::kResourceExhausted);
  run();
  submit(test_request(6, prompt_of(1, 5), 5));  // room again
  engine_->stop_accepting();
  EXPECT_EQ(engine_->submit(test_request(7, prompt_of(1, 5), 5), &sink_).code(),
            StatusCode::kUnavailable);
}

TEST_F(EngineTest, Submit_TellsWhatNeverFitsFromAFullQueue) {
  EngineOptions options;
  options.max_num_queued_reqs = 2;
  make(letters(), options);
  Request request = test_request(1, prompt_of(1, 5), 5);
  request.num_choices = 11;
  const Status never = engine_->submit(request, &sink_);
  EXPECT_EQ(never.code(), StatusCode::kInvalidArgument) << "not a matter of load";
  EXPECT_NE(never.message().find("10"), std::string::npos) << never.message();
  request.num_choices = 10;
  submit(request);
  run();
  EXPECT_EQ(sink_.at(1, 9).finishes, std::vector<FinishReason>{FinishReason::kMaxTokens});
}

TEST_F(EngineTest, ContextEnd_FinishesWithContextFull) {
  make(letters());
  submit(test_request(1, prompt_of(1, 250), 100));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kContextFull);
  EXPECT_EQ(sink_.at(1).usage.num_output_tokens, 6);
}

TEST_F(EngineTest, FailedStep_EndsItsSequencesOnly) {
  FakeExecutorOptions fake = letters();
  fake.fails = [](uint64_t step) { return step == 3; };
  make(fake);
  submit(test_request(1, prompt_of(1, 4), 30));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kError);
  submit(test_request(2, prompt_of(2, 4), 30));
  run();
  EXPECT_EQ(sink_.at(2).finishes.back(), FinishReason::kMaxTokens);
  EXPECT_FALSE(engine_->snapshot().failed);
}

TEST_F(EngineTest, RepeatedFailure_EndsEverythingAndRefusesUntilAProbeSucceeds) {
  FakeExecutorOptions fake = letters();
  bool works = false;
  fake.fails = [&works](uint64_t step) { return !works && step >= 3; };
  EngineOptions options;
  options.max_num_seqs = 1;
  options.breaker.cooldown_ms = 1000;
  make(fake, options);
  for (uint64_t id = 1; id <= 9; ++id) submit(test_request(id, prompt_of(id, 4), 30));
  run();
  for (uint64_t id = 1; id <= 9; ++id) {
    const bool has_run = id <= 3;  // the first three failed; those behind were told to come back
    EXPECT_EQ(sink_.at(id).finishes.at(0),
              has_run ? FinishReason::kError : FinishReason::kUnavailable)
        << id;
  }
  EXPECT_EQ(engine_->snapshot().breaker, BreakerState::kOpen);
  const auto ask = [&](uint64_t id) {
    Request request = test_request(id, prompt_of(id, 4), 5);
    request.arrival = clock_.now();
    return engine_->submit(std::move(request), &sink_).code();
  };
  EXPECT_EQ(ask(10), StatusCode::kUnavailable) << "at once, nothing is tried";
  // Probes that fail end with an error, and a restart is asked for; they still go on.
  uint64_t id = 11;
  for (const double cooldown_ms : {1000.0, 2000.0}) {
    clock_.advance(from_ms(cooldown_ms + 10));  // from the end of the failed step
    EXPECT_EQ(ask(id), StatusCode::kOk);
    EXPECT_EQ(ask(id + 1), StatusCode::kUnavailable) << "one probe at a time";
    run();
    EXPECT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{FinishReason::kError});
    id += 2;
  }
  EXPECT_TRUE(engine_->snapshot().failed);
  works = true;
  clock_.advance(from_ms(4010));
  EXPECT_EQ(ask(id), StatusCode::kOk);
  run();
  EXPECT_EQ(sink_.at(id).finishes, std::vector<FinishReason>{FinishReason::kMaxTokens});
  EXPECT_EQ(engine_->snapshot().breaker, BreakerState::kClosed);
  EXPECT_FALSE(engine_->snapshot().failed);
  EXPECT_EQ(ask(id + 1), StatusCode::kOk);
  EXPECT_EQ(ask(id + 2), StatusCode::kOk);
  run();
}

TEST_F(EngineTest, Submit_RefusesBrokenFieldsByName) {
  make(letters());
  const auto expect_refusal = [&](const std::string& words, auto&& change) {
    Request request = test_request(1, prompt_of(1, 4), 5);
    change(request);
    const Status status = engine_->submit(std::move(request), &sink_);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(words), std::string::npos) << status.message();
  };
  expect_refusal("token id 259", [](Request& r) { r.prompt[2] = kTestVocab; });
  expect_refusal("token id -1", [](Request& r) { r.prompt[2] = -1; });
  expect_refusal("n is 0", [](Request& r) { r.num_choices = 0; });
  expect_refusal("1..128", [](Request& r) { r.num_choices = INT_MAX; });
  expect_refusal("max_tokens is 0", [](Request& r) { r.stop.max_tokens = 0; });
  expect_refusal("min_tokens is 6", [](Request& r) { r.stop.min_tokens = 6; });
  expect_refusal("65 strings", [](Request& r) { r.stop.strings.resize(65); });
  expect_refusal("20000 bytes", [](Request& r) { r.stop.strings = {std::string(20'000, 'x')}; });
  expect_refusal("temperature", [](Request& r) { r.sampling.temperature = -1; });
  expect_refusal("n > 1", [](Request& r) {
    r.masker = std::make_shared<CountingMasker>();
    r.num_choices = 2;
  });
}

TEST_F(EngineTest, LiveId_IsRefusedAndFreeAgainAtTheEnd) {
  make(letters());
  submit(test_request(1, prompt_of(1, 4), 5));
  EXPECT_EQ(engine_->submit(test_request(1, prompt_of(1, 4), 5), &sink_).code(),
            StatusCode::kInvalidArgument);
  run();
  CollectingSink second;
  EXPECT_TRUE(engine_->submit(test_request(1, prompt_of(1, 4), 5), &second).ok());
  run();
  EXPECT_EQ(second.at(1).tokens, sink_.at(1).tokens);
}

TEST_F(EngineTest, Masker_DecidesEveryTokenAndSurvivesPreemption) {
  FakeExecutorOptions fake = letters();
  fake.limits.num_blocks = 14;
  make(fake);
  submit(test_request(1, prompt_of(1, 6), 26));
  Request constrained = test_request(2, prompt_of(2, 6), 26);
  auto masker = std::make_shared<CountingMasker>();
  constrained.masker = masker;
  submit(std::move(constrained));
  submit(test_request(3, prompt_of(3, 6), 26));
  run();
  EXPECT_GT(
      metrics_
          .counter("vllm:num_preemptions_total", "", {{"engine", "0"}, {"model_name", "sparrow"}})
          .value(),
      0u);
  EXPECT_EQ(sink_.at(2).answer.substr(0, 10), "abcdefghij");
  EXPECT_EQ(sink_.at(2).tokens.size(), 26u);
  EXPECT_EQ(masker->num_accepted, 26);
  EXPECT_EQ(sink_.at(1).tokens, executor_->expected_tokens(prompt_of(1, 6), 26));
  EXPECT_EQ(sink_.at(3).tokens, executor_->expected_tokens(prompt_of(3, 6), 26));
}

TEST_F(EngineTest, SinkThatDiedAfterItsRequest_IsNotRemembered) {
  make(letters());
  submit(test_request(1, prompt_of(1, 4), 40));
  for (uint64_t id = 2; id < 30; ++id) {
    auto sink = std::make_unique<CollectingSink>();
    ASSERT_TRUE(engine_->submit(test_request(id, prompt_of(id, 4), 1), sink.get()).ok());
    engine_->step(clock_.now());
    EXPECT_EQ(sink->at(id).finishes.size(), 1u);
  }
  run();
  EXPECT_EQ(sink_.at(1).tokens.size(), 40u);
}

TEST_F(EngineTest, SecondEngineOnTheSameRegistry_GoesOnCounting) {
  for (int round = 1; round <= 2; ++round) {
    FakeExecutorOptions fake = letters();
    fake.limits.num_blocks = 12;
    make(fake);
    sink_.transcripts.clear();
    for (uint64_t id = 1; id <= 3; ++id) submit(test_request(id, prompt_of(id, 8), 24));
    run();
    const MetricLabels labels = {{"engine", "0"}, {"model_name", "sparrow"}};
    EXPECT_EQ(metrics_.counter("vllm:generation_tokens_total", "", labels).value(), 72u * round);
    EXPECT_LT(metrics_.counter("vllm:num_preemptions_total", "", labels).value(), 20u);
  }
}

TEST_F(EngineTest, NotFiniteRow_EndsThatSequenceOnly) {
  FakeExecutorOptions fake = letters();
  fake.not_finite = [](uint64_t step, size_t span) { return step == 4 && span == 0; };
  make(fake);
  submit(test_request(1, prompt_of(1, 4), 30));
  submit(test_request(2, prompt_of(2, 4), 30));
  run();
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kNotFinite);
  EXPECT_EQ(sink_.at(2).tokens, executor_->expected_tokens(prompt_of(2, 4), 30));
}

TEST_F(EngineTest, LongPrompt_DoesNotFreezeOthers) {
  FakeExecutorOptions fake = letters();
  fake.row_ms = 1;
  fake.fixed_ms = 0;
  EngineOptions options;
  options.max_step_ms = 20;
  make(fake, options);
  submit(test_request(1, prompt_of(1, 4), 60));
  for (int i = 0; i < 10; ++i) engine_->step(clock_.now());
  submit(test_request(2, prompt_of(2, 200), 5));
  int largest = 0;
  for (int i = 0; i < 40; ++i)
    largest = std::max(largest, engine_->step(clock_.now()).num_tokens_in);
  EXPECT_LE(largest, 20) << "no step longer than the budget";
  EXPECT_GE(sink_.at(1).tokens.size(), 40u) << "one token in every step";
  run();
  EXPECT_EQ(sink_.at(2).tokens, executor_->expected_tokens(prompt_of(2, 200), 5));
}

TEST_F(EngineTest, OnePublishPerStep) {
  make(letters());
  for (uint64_t id = 1; id <= 6; ++id) submit(test_request(id, prompt_of(id, 4), 10));
  int steps = 0;
  while (!engine_->idle()) {
    engine_->step(clock_.now());
    ++steps;
  }
  EXPECT_LE(sink_.num_publishes, steps);
}

TEST_F(EngineTest, Thread_DrainsAndStops) {
  make(letters());
  const RealClock clock;
  EngineThread thread(*engine_, clock);
  thread.start();
  submit(test_request(1, prompt_of(1, 4), 50));
  EXPECT_TRUE(thread.drain(clock.now() + std::chrono::seconds(30)));
  EXPECT_EQ(sink_.at(1).finishes.back(), FinishReason::kMaxTokens);
  EXPECT_FALSE(engine_->submit(test_request(2, prompt_of(1, 4), 50), &sink_).ok());
  thread.stop();
}

}  // namespace
}  // namespace sparrow
