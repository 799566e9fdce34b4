// Steps: drafts, spans of several rows, turns, what slots remember, replay of a captured step.
#include "base/random.h"
#include "kernels/cuda/sampling/sampling_test_support.h"

namespace sparrow {
namespace {

constexpr int32_t kVocab = 700;  // more than one segment

class SamplingSteps : public SamplingTest {
 protected:
  void SetUp() override {
    SamplingTest::SetUp();
    if (IsSkipped()) return;
    open(kVocab, 4);
  }

  // Small noise, and one id per row that greedy rows take.
  static std::vector<float> planted(const std::vector<TokenId>& ids, uint64_t seed = 1) {
    std::vector<float> logits = random_floats(ids.size() * kVocab, seed);
    for (size_t row = 0; row < ids.size(); ++row) {
      logits[row * kVocab + static_cast<size_t>(ids[row])] = 1000.0f;
    }
    return logits;
  }
  static Sequence greedy() {
    Sequence sequence;
    sequence.params.temperature = 0;
    sequence.params.num_top_logprobs = 2;
    return sequence;
  }
  static Sequence with_penalties(uint64_t seed) {
    Sequence sequence;
    sequence.params.seed = seed;
    sequence.params.temperature = 1.5;
    sequence.params.top_p = 0.9;
    sequence.params.repetition_penalty = 1.3;
    sequence.params.frequency_penalty = 0.5;
    sequence.params.presence_penalty = 0.25;
    sequence.params.num_top_logprobs = 3;
    sequence.tokens = {1, 2, 3, 3, 4, 4, 4, 650};
    sequence.num_prompt = 3;
    return sequence;
  }
  // What the rows of a span without drafts would give one after the other: the right drafts.
  std::vector<TokenId> true_drafts(const TestStep& step, size_t count) {
    const auto states = cpu_states_;
    const auto last_tokens = cpu_last_tokens_;
    std::vector<TokenId> drafts;
    for (size_t i = 0; i < count; ++i) {
      TestStep tried = step;
      tried.spans[0].drafts = drafts;
      tried.spans[0].drafts.resize(count, 0);
      drafts.push_back(run_cpu(tried)[i].token.id);
      cpu_states_ = states;
      cpu_last_tokens_ = last_tokens;
    }
    return drafts;
  }
  static int num_valid(const std::vector<TestToken>& tokens) {
    return static_cast<int>(std::count_if(tokens.begin(), tokens.end(),
                                          [](const TestToken& token) { return token.is_valid; }));
  }
  int32_t num_generated(int32_t slot) {
    return download<int32_t>(num_generated_, sequences_.size())[static_cast<size_t>(slot)];
  }
};

TEST_P(SamplingSteps, DraftsWrongAtEveryPlace_RowsUpToIt) {
  constexpr size_t kDrafts = 4;
  for (size_t num_right = 0; num_right <= kDrafts; ++num_right) {
    start(0, greedy());
    TestStep step;
    step.logits = planted({10, 11, 10, 650, 12});
    step.spans = {{.slot = 0, .first_position = 1, .num_rows = 5, .drafts = {10, 11, 10, 650}}};
    if (num_right < kDrafts) step.spans[0].drafts[num_right] = 99;
    const std::vector<TestToken> tokens = run(step);
    EXPECT_EQ(num_valid(tokens), static_cast<int>(num_right) + 1);
    EXPECT_EQ(num_generated(0), static_cast<int32_t>(num_right) + 1);
  }
}

// Every row behind a draft sees the draft counted, as the CPU's rows see the tokens before them.
TEST_P(SamplingSteps, RightDraftsWithPenalties_CountAsSampled) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    start(2, with_penalties(seed));
    TestStep step;
    // Few large logits, so that tokens come more than once.
    step.logits = planted({3, 3, 3, 4, 4, 650}, seed);
    for (float& logit : step.logits) logit = logit == 1000.0f ? 6.0f : logit;
    step.spans = {{.slot = 2, .first_position = 8, .num_rows = 6}};
    step.spans[0].drafts = true_drafts(step, 5);
    step.rows_per_turn = seed % 2 == 0 ? 4 : 100;
    EXPECT_EQ(num_valid(run(step)), 6);
  }
}

TEST_P(SamplingSteps, SpanWithoutDrafts_RowsSeeTheStateBefore) {
  for (const int rows_per_turn : {1, 2, 100}) {
    start(1, with_penalties(7));
    TestStep step;
    step.rows_per_turn = rows_per_turn;
    step.logits = planted({5, 5, 5, 5, 6});
    for (float& logit : step.logits) logit = logit == 1000.0f ? 5.0f : logit;
    step.spans = {{.slot = 1, .first_position = 4, .num_rows = 4},
                  {.slot = 0, .first_position = 9, .num_rows = 1}};
    start(0, greedy());
    EXPECT_EQ(num_valid(run(step)), 5);
    EXPECT_EQ(num_generated(1), 5 + 4);
  }
}

TEST_P(SamplingSteps, BannedEarly_UntilMinTokensInsideASpan) {
  Sequence sequence = greedy();
  sequence.tokens = {1, 2, 9};
  sequence.num_prompt = 2;
  sequence.banned = {600};
  sequence.min_tokens = 3;
  start(0, std::move(sequence));
  TestStep step;
  step.logits = planted({600, 600, 600});
  step.logits[20] = step.logits[kVocab + 21] = step.logits[2 * kVocab + 22] = 100.0f;
  step.spans = {{.slot = 0, .first_position = 3, .num_rows = 3, .drafts = {20, 21}}};
  const std::vector<TestToken> tokens = run(step);
  ASSERT_EQ(num_valid(tokens), 3);
  EXPECT_EQ(tokens[0].token.id, 20);
  EXPECT_EQ(tokens[1].token.id, 21);
  EXPECT_EQ(tokens[2].token.id, 600);  // the third generated token stands before it
}

TEST_P(SamplingSteps, MasksOfADraftedSpan_OneARow) {
  start(0, greedy());
  TestStep step;
  step.logits = planted({10, 11, 12});
  step.masks.assign(3 * words_, ~0u);
  step.masks[words_] = 0;  // row 1 may not take ids below 32
  step.spans = {{.slot = 0, .first_position = 1, .num_rows = 3, .mask_row = 0, .drafts = {10, 11}}};
  const std::vector<TestToken> tokens = run(step);
  EXPECT_EQ(num_valid(tokens), 2);
  EXPECT_NE(tokens[1].token.id, 11);
}

TEST_P(SamplingSteps, RowThatIsNotFinite_EndsTheSpanAndIsNotRecorded) {
  start(0, greedy());
  TestStep step;
  step.logits = planted({10, 11, 12});
  step.logits[kVocab + 600] = NAN;
  step.spans = {{.slot = 0, .first_position = 1, .num_rows = 3, .drafts = {10, 11}}};
  const std::vector<TestToken> tokens = run(step);
  EXPECT_EQ(num_valid(tokens), 2);
  EXPECT_TRUE(tokens[1].token.not_finite);
  EXPECT_EQ(num_generated(0), 1);
}

// A biased or forbidden logit is looked at before it is changed.
TEST_P(SamplingSteps, NotFiniteLogitThatIsChanged_IsStillFound) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const bool is_biased : {false, true}) {
      Sequence sequence = greedy();
      if (is_biased) sequence.params.logit_bias = {{30, 1.0f}};
      sequence.banned = {30};
      sequence.min_tokens = is_biased ? 0 : 5;
      start(3, std::move(sequence));
      TestStep step;
      step.logits = planted({10});
      step.logits[30] = bad;
      step.spans = {{.slot = 3, .first_position = 1, .num_rows = 1}};
      EXPECT_TRUE(run(step)[0].token.not_finite);
    }
  }
}

TEST_P(SamplingSteps, NewSequenceInASlot_ForgetsTheOld) {
  start(0, with_penalties(1));
  TestStep step;
  step.logits = planted({3});
  step.spans = {{.slot = 0, .first_position = 8, .num_rows = 1}};
  run(step);
  Sequence next = with_penalties(2);
  next.tokens = {699};
  next.num_prompt = 1;
  start(0, std::move(next));
  step.spans[0].first_position = 1;
  run(step);
  EXPECT_EQ(num_generated(0), 1);
}

// The CPU counts on; here no other count and not the bit of the prompt may be touched.
TEST_P(SamplingSteps, CountOfAToken_Saturates) {
  Sequence sequence = greedy();
  sequence.params.frequency_penalty = 0.001;
  sequence.tokens.assign(1 + kGpuMaxTokenCount, 5);
  start(0, std::move(sequence));
  TestStep step;
  step.logits = planted({5});
  step.spans = {{.slot = 0, .first_position = 40000, .num_rows = 1}};
  EXPECT_EQ(run(step)[0].token.id, 5);
  EXPECT_EQ(run_gpu(step)[0].token.id, 5);
  const std::vector<uint16_t> counts = download<uint16_t>(counts_, kVocab);
  EXPECT_EQ(counts[5], kGpuInPrompt | kGpuMaxTokenCount);
  EXPECT_EQ(counts[4], 0);
  EXPECT_EQ(counts[6], 0);
}

// Captured once; slots, parameters, rows, drafts, masks and logits change between replays.
TEST_P(SamplingSteps, ReplayOfACapturedStep_DoesWhatDeviceMemorySays) {
  const auto make_step = [&](uint64_t turn) {
    TestStep step;
    step.logits = random_floats(4 * kVocab, turn, 3.0f);
    step.masks.assign(words_, turn % 2 == 0 ? ~0u : 0x55555555u);
    step.spans = {{.slot = static_cast<int32_t>(turn % 3), .first_position = 8, .num_rows = 3},
                  {.slot = 3, .first_position = 1, .num_rows = 1, .mask_row = 0}};
    step.spans[0].drafts = true_drafts(step, 2);
    if (turn == 2) step.spans[0].drafts[1] ^= 1;
    step.num_padding_rows = 2;
    return step;
  };
  const auto start_all = [&](uint64_t turn) {
    for (int32_t slot = 0; slot < 3; ++slot) start(slot, with_penalties(turn + 40));
    start(3, greedy());
  };
  start_all(0);
  const StepBuffers buffers = make_buffers(make_step(0));
  ASSERT_TRUE(device().begin_capture().ok());
  queue(buffers);
  Result<std::unique_ptr<GpuGraph>> graph = device().end_capture();
  ASSERT_TRUE(graph.ok()) << graph.message();
  for (uint64_t turn = 0; turn < 4; ++turn) {
    start_all(turn);
    const TestStep step = make_step(turn);
    refill(buffers, step);
    device().launch(**graph);
    const std::vector<TestToken> expected = run_cpu(step);
    EXPECT_EQ(num_valid(expected), turn == 2 ? 3 : 4);
    expect_same(expected, results(buffers));
    expect_same_states();
  }
}

SPARROW_ON_EVERY_GPU(SamplingSteps);

}  // namespace
}  // namespace sparrow
