// The engine ends a thinking that its budget, or the reserve of the answer, leaves no room for.

#include <gtest/gtest.h>

#include "engine/engine.h"
#include "engine/test_support.h"

namespace sparrow {
namespace {

constexpr TokenId kBreak = '\n';

class ThinkingBudgetTest : public ::testing::Test {
 protected:
  static FakeExecutorOptions letters() {
    FakeExecutorOptions fake;
    fake.first_token = 'a';
    fake.num_tokens = 26;
    return fake;
  }
  void make(FakeExecutorOptions fake, EngineOptions options = {}) {
    fake.limits.vocab_size = kTestVocab;
    executor_ = std::make_unique<FakeExecutor>(fake);
    engine_ = std::make_unique<Engine>(*executor_, *tokenizer_, options, &metrics_);
  }
  static Request thinking(uint64_t id, int budget, int max_tokens) {
    Request request = test_request(id, prompt_of(id, 6), max_tokens);
    request.reasoning = {.start = kThinkStart,
                         .end = kThinkEnd,
                         .starts_inside = true,
                         .max_tokens = budget,
                         .closing = {kThinkEnd, kBreak, kBreak}};
    return request;
  }
  void submit(Request request) {
    const Status status = engine_->submit(std::move(request), &sink_);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void run() {
    for (int step = 0; step < 10'000; ++step) {
      clock_.advance(from_ms(1));
      const bool worked = engine_->step(clock_.now()).worked;
      engine_->check_integrity();
      if (!worked && engine_->idle()) return;
    }
    FAIL() << "the engine does not come to rest";
  }
  // The tokens of a thinking cut after `cut`, and of the answer behind it.
  std::vector<TokenId> expected(uint64_t id, int cut, int max_tokens) {
    std::vector<TokenId> all = prompt_of(id, 6);
    std::vector<TokenId> output = executor_->expected_tokens(all, cut);
    output.insert(output.end(), {kThinkEnd, kBreak, kBreak});
    all.insert(all.end(), output.begin(), output.end());
    const auto rest = executor_->expected_tokens(all, max_tokens - static_cast<int>(output.size()));
    output.insert(output.end(), rest.begin(), rest.end());
    return output;
  }

  std::shared_ptr<const Tokenizer> tokenizer_ = test_tokenizer();
  MetricsRegistry metrics_;
  std::unique_ptr<FakeExecutor> executor_;
  std::unique_ptr<Engine> engine_;
  CollectingSink sink_;
  FakeClock clock_;
};

TEST_F(ThinkingBudgetTest, UsedUp_ClosesAndAnswersFromThere) {
  make(letters());
  submit(thinking(1, 10, 40));
  submit(thinking(2, -1, 40));
  run();
  const Transcript& cut = sink_.at(1);
  EXPECT_EQ(cut.tokens, expected(1, 10, 40)) << "the same as without a budget up to the cut";
  EXPECT_EQ(cut.reasoning, tokenizer_->decode(executor_->expected_tokens(prompt_of(1, 6), 10)));
  EXPECT_EQ(cut.answer.substr(0, 2), "\n\n");
  EXPECT_EQ(cut.answer.size(), 2u + 27u);
  EXPECT_EQ(cut.usage.num_output_tokens, 40);
  EXPECT_EQ(cut.usage.num_reasoning_tokens, 11) << "the end token is the last of them";
  EXPECT_EQ(cut.finishes, std::vector<FinishReason>{FinishReason::kMaxTokens});
  const Transcript& free = sink_.at(2);
  EXPECT_EQ(free.tokens, executor_->expected_tokens(prompt_of(2, 6), 40));
  EXPECT_EQ(free.usage.num_reasoning_tokens, 40);
  EXPECT_EQ(
      metrics_
          .counter("vllm:generation_tokens_total", "", {{"engine", "0"}, {"model_name", "sparrow"}})
          .value(),
      80u)
      << "forced tokens count";
}

TEST_F(ThinkingBudgetTest, ModelThatEndsByItself_IsLeftAlone) {
  FakeExecutorOptions fake = letters();
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() == 6 + 9) return kThinkEnd;
    return std::nullopt;
  };
  make(fake);
  submit(thinking(1, 10, 30));
  submit(thinking(2, 9, 30));  // due with the very token that would come next
  run();
  EXPECT_EQ(sink_.at(1).tokens, executor_->expected_tokens(prompt_of(1, 6), 30));
  EXPECT_EQ(sink_.at(1).usage.num_reasoning_tokens, 10);
  EXPECT_EQ(sink_.at(2).tokens[9], kThinkEnd);
  EXPECT_EQ(sink_.at(2).tokens[10], kBreak);
  EXPECT_EQ(sink_.at(2).usage.num_output_tokens, 30);
}

TEST_F(ThinkingBudgetTest, AnswerReserve_EndsTheThinkingEarly) {
  make(letters());
  Request request = thinking(1, -1, 40);
  request.reasoning.answer_reserve = 16;
  submit(std::move(request));
  run();
  EXPECT_EQ(sink_.at(1).tokens, expected(1, 40 - 3 - 16, 40));
  EXPECT_EQ(sink_.at(1).answer.size(), 2u + 16u);
}

TEST_F(ThinkingBudgetTest, SmallerOfBudgetAndReserve_Counts) {
  make(letters());
  Request by_budget = thinking(1, 5, 40);
  by_budget.reasoning.answer_reserve = 16;
  Request by_reserve = thinking(2, 30, 40);
  by_reserve.reasoning.answer_reserve = 16;
  submit(std::move(by_budget));
  submit(std::move(by_reserve));
  run();
  EXPECT_EQ(sink_.at(1).tokens, expected(1, 5, 40));
  EXPECT_EQ(sink_.at(2).tokens, expected(2, 21, 40));
}

TEST_F(ThinkingBudgetTest, NoRoomForAnAnswer_ThinksToTheEnd) {
  make(letters());
  submit(thinking(1, 6, 9));   // 6 + 3 closing tokens leave none
  submit(thinking(2, 6, 10));  // and here one
  submit(thinking(3, 50, 20));
  run();
  EXPECT_EQ(sink_.at(1).tokens, executor_->expected_tokens(prompt_of(1, 6), 9));
  EXPECT_EQ(sink_.at(2).tokens, expected(2, 6, 10));
  EXPECT_EQ(sink_.at(3).tokens, executor_->expected_tokens(prompt_of(3, 6), 20));
}

TEST_F(ThinkingBudgetTest, ModelThatOpensItsThinkingItself_IsCountedFromThere) {
  FakeExecutorOptions fake = letters();
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() == 6 + 3) return kThinkStart;
    return std::nullopt;
  };
  make(fake);
  Request request = thinking(1, 8, 40);
  request.reasoning.starts_inside = false;
  submit(std::move(request));
  run();
  EXPECT_EQ(sink_.at(1).tokens, expected(1, 3 + 8, 40));
  EXPECT_EQ(sink_.at(1).usage.num_reasoning_tokens, 9);
}

TEST_F(ThinkingBudgetTest, StopStringInTheClosing_EndsTheChoiceThere) {
  make(letters());
  Request request = thinking(1, 10, 40);
  request.stop.strings = {"\n\n"};
  request.num_choices = 2;
  submit(std::move(request));
  run();
  for (int choice = 0; choice < 2; ++choice) {
    EXPECT_EQ(sink_.at(1, choice).finishes, std::vector<FinishReason>{FinishReason::kStopString});
    EXPECT_EQ(sink_.at(1, choice).usage.num_output_tokens, 13);
    EXPECT_EQ(sink_.at(1, choice).answer, "");
  }
  EXPECT_EQ(executor_->num_held_slots(), 0);
  EXPECT_EQ(engine_->snapshot().num_blocks_live, 0);
}

// A text that repeats, so that guesses are made and right: the cut stands where it stood.
TEST_F(ThinkingBudgetTest, Speculation_ChangesNeitherTextNorCut) {
  FakeExecutorOptions fake = letters();
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    return 'a' + static_cast<TokenId>(tokens.size() % 7);
  };
  for (int budget = 20; budget < 34; ++budget) {
    std::vector<Transcript> results;
    for (const int drafts : {0, 8}) {
      EngineOptions options;
      options.speculation.max_tokens = drafts;
      make(fake, options);
      sink_.transcripts.clear();
      submit(thinking(1, budget, 60));
      run();
      results.push_back(sink_.at(1));
    }
    EXPECT_EQ(results[0].tokens, results[1].tokens) << "budget " << budget;
    EXPECT_EQ(results[0].reasoning, results[1].reasoning);
    EXPECT_EQ(results[0].reasoning.size(), static_cast<size_t>(budget));
    EXPECT_EQ(results[0].usage.num_reasoning_tokens, results[1].usage.num_reasoning_tokens);
  }
}

TEST_F(ThinkingBudgetTest, FewBlocks_PreemptionKeepsTheCut) {
  FakeExecutorOptions fake = letters();
  fake.limits.num_blocks = 30;  // 120 tokens for six times up to 46
  make(fake);
  for (uint64_t id = 1; id <= 6; ++id) submit(thinking(id, 12, 40));
  run();
  for (uint64_t id = 1; id <= 6; ++id) EXPECT_EQ(sink_.at(id).tokens, expected(id, 12, 40));
}

TEST_F(ThinkingBudgetTest, BrokenFields_AreRefused) {
  make(letters());
  Request request = thinking(1, -2, 40);
  EXPECT_EQ(engine_->submit(request, &sink_).code(), StatusCode::kInvalidArgument);
  request.reasoning.max_tokens = 5;
  request.reasoning.closing = {kTestVocab};
  EXPECT_EQ(engine_->submit(request, &sink_).code(), StatusCode::kInvalidArgument);
  request.reasoning.closing.assign(17, 1);
  EXPECT_EQ(engine_->submit(request, &sink_).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sparrow
