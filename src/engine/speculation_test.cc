// Speculation changes how many steps an answer takes and nothing else: every request of a mixed
// load gets the tokens, logprobs, text and ending it gets without, on the CPU executor in several
// formats and on the fake one.

#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/engine.h"
#include "engine/test_support.h"
#include "model/cpu_executor.h"
#include "model/generated_weights.h"

namespace sparrow {
namespace {

// Everything a client sees of one choice.
struct Seen {
  std::string answer, reasoning;
  std::vector<TokenId> tokens;
  std::vector<float> logprobs;  // of the tokens and of their alternatives
  FinishReason finish = FinishReason::kNone;
  int num_output_tokens = 0;
  bool operator==(const Seen&) const = default;
};

class SeenSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) {
      Seen& one = seen[{event.request_id, event.choice}];
      (event.channel == TextChannel::kAnswer ? one.answer : one.reasoning) += event.text;
      for (const EventToken& token : event.tokens) {
        one.tokens.push_back(token.id);
        one.logprobs.push_back(token.logprob);
        for (const TokenLogprob& top : token.top) one.logprobs.push_back(top.logprob);
      }
      if (event.finish == FinishReason::kNone) continue;
      one.finish = event.finish;
      one.num_output_tokens = event.usage.num_output_tokens;
    }
  }
  std::map<std::pair<uint64_t, int>, Seen> seen;
};

// Lowercase letters only, a different half of them after every token; free at each eleventh place.
class HalvesMasker final : public TokenMasker {
 public:
  bool fill(std::span<uint32_t> mask) override {
    if (tokens_.size() % 11 == 10) return false;
    for (TokenId id = 0; id < 256; ++id) {
      if (allows(id)) mask[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
    }
    return true;
  }
  bool accept(TokenId token) override {
    if (tokens_.size() % 11 != 10 && !allows(token)) return false;
    tokens_.push_back(token);
    return true;
  }
  void roll_back(int num_tokens) override {
    ASSERT_LE(static_cast<size_t>(num_tokens), tokens_.size());
    tokens_.resize(tokens_.size() - static_cast<size_t>(num_tokens));
  }

 private:
  bool allows(TokenId id) const {
    const int half = tokens_.empty() ? 0 : tokens_.back() % 2;
    return id >= 'a' && id <= 'z' && id % 2 == half;
  }
  std::vector<TokenId> tokens_;
};

// A prompt that quotes itself.
std::vector<TokenId> quoting_prompt(uint64_t seed, int length) {
  std::vector<TokenId> prompt;
  for (int i = 0; i < length; ++i) {
    const auto at = static_cast<uint64_t>(i % 17);
    prompt.push_back(static_cast<TokenId>('a' + random_bits(seed, 3, at) % 26));
  }
  return prompt;
}

std::vector<Request> mixed_load(int count) {
  std::vector<Request> requests;
  for (int i = 0; i < count; ++i) {
    const auto id = static_cast<uint64_t>(i) + 1;
    Request request = test_request(id, quoting_prompt(id % 5, 6 + i * 5 % 60), 40 + i % 30);
    SamplingParams& sampling = request.sampling;
    sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
    sampling.seed = id;
    if (i % 3 == 1) sampling.top_p = 0.9;
    if (i % 4 == 1) sampling.top_k = 5;
    if (i % 5 == 2) sampling.min_p = 0.05;
    if (i % 3 == 2) sampling.repetition_penalty = 1.1;
    if (i % 4 == 3) {
      sampling.presence_penalty = 0.4;
      sampling.frequency_penalty = 0.2;
    }
    if (i % 2 == 1) sampling.num_top_logprobs = i % 4;
    // Few letters are likely: the text repeats, and differs.
    if (i % 5 != 0) sampling.logit_bias = {{'a', 9.0f}, {'b', 9.0f}, {'c', 8.5f}, {kEos, 4.0f}};
    request.stop.token_ids = {kEos};
    if (i % 3 == 0) request.stop.min_tokens = 20;
    if (i % 4 == 0) request.stop.strings = {"abca", "ccb"};
    request.stop.include_stop_string = i % 8 == 0;
    request.stop.ignore_eos = i % 7 == 3;
    if (i % 6 == 4) request.num_choices = 3;
    if (i % 6 == 5) request.masker = std::make_shared<HalvesMasker>();
    if (i % 9 == 8) request.reasoning = {kThinkStart, kThinkEnd, true};
    requests.push_back(std::move(request));
  }
  return requests;
}

struct LoadRun {
  std::map<std::pair<uint64_t, int>, Seen> seen;
  int num_steps = 0;
  int64_t num_drafted = 0;
  uint64_t num_accepted = 0;
  uint64_t num_preemptions = 0;
};

LoadRun run_load(Executor& executor, std::vector<Request> requests, const EngineOptions& options) {
  const std::shared_ptr<const Tokenizer> tokenizer = test_tokenizer();
  MetricsRegistry metrics;
  SeenSink sink;
  LoadRun run;
  {
    Engine engine(executor, *tokenizer, options, &metrics);
    TimePoint now{};
    for (Request& request : requests) {
      const Status status = engine.submit(std::move(request), &sink);
      EXPECT_TRUE(status.ok()) << status.message();
    }
    while (!engine.idle()) {
      const StepReport report = engine.step(now += from_ms(1));
      engine.check_integrity();
      run.num_drafted += report.num_tokens_drafted;
      ++run.num_steps;
    }
    EXPECT_EQ(engine.snapshot().num_blocks_live, 0);
  }
  const MetricLabels labels = {{"engine", "0"}, {"model_name", "sparrow"}};
  run.num_preemptions = metrics.counter("vllm:num_preemptions_total", "", labels).value();
  if (options.speculation.max_tokens > 0) {
    const auto count = [&](const char* name) { return metrics.counter(name, "", labels).value(); };
    run.num_accepted = count("vllm:spec_decode_num_accepted_tokens_total");
    EXPECT_EQ(count("vllm:spec_decode_num_draft_tokens_total"),
              static_cast<uint64_t>(run.num_drafted));
    EXPECT_LE(count("vllm:spec_decode_num_drafts_total"), static_cast<uint64_t>(run.num_drafted));
  }
  run.seen = std::move(sink.seen);
  return run;
}

void expect_same(const LoadRun& found, const LoadRun& expected) {
  ASSERT_EQ(found.seen.size(), expected.seen.size());
  for (const auto& [key, seen] : expected.seen) {
    const Seen& other = found.seen.at(key);
    EXPECT_TRUE(seen == other) << "request " << key.first << " choice " << key.second << "\n  "
                               << seen.answer << "\n  " << other.answer;
  }
}

EngineOptions drafting(int max_rows = 64) {
  EngineOptions options;
  options.speculation.max_tokens = 8;
  options.speculation.max_rows = max_rows;
  options.max_step_ms = 60000;  // the machine's speed decides nothing here
  return options;
}

ModelConfig tiny_config() {
  ModelConfig config;
  config.hidden_size = 64;
  config.intermediate_size = 96;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 32;
  config.vocab_size = kTestVocab;
  config.max_position = 512;
  return config;
}

std::unique_ptr<CpuExecutor> make_tiny(TensorType type, int num_threads, int num_blocks,
                                       int max_batch_tokens = 256) {
  GeneratedWeights weights(tiny_config(), 11, type);
  CpuExecutorOptions options;
  options.num_threads = num_threads;
  options.num_slots = 32;
  options.num_blocks = num_blocks;
  options.max_batch_tokens = max_batch_tokens;
  if (type == TensorType::kQ8_0) options.kv_type = KvType::kInt8;
  Result<std::unique_ptr<CpuExecutor>> executor = make_cpu_executor(tiny_config(), options);
  EXPECT_TRUE(executor.ok()) << executor.message();
  const Status loaded = (*executor)->load(weights);
  EXPECT_TRUE(loaded.ok()) << loaded.message();
  return std::move(executor).value();
}

// Another executor with simulated durations, the same on every machine: how much is guessed depends
// on what a row costs.
class SteadyClockExecutor final : public Executor {
 public:
  explicit SteadyClockExecutor(Executor& inner) : inner_(inner) {}

  ExecutorLimits limits() const override { return inner_.limits(); }
  Status load(TensorSource& source) override { return inner_.load(source); }
  Ticket begin(const BatchPlan& plan) override {
    num_rows_ = plan.num_tokens();
    return inner_.begin(plan);
  }
  void sample(Ticket ticket, const TokenMasks& masks) override { inner_.sample(ticket, masks); }
  const StepResult& wait(Ticket ticket) override {
    result_ = inner_.wait(ticket);
    result_.elapsed_ns = 1'000'000 + num_rows_ * 20'000;
    return result_;
  }
  void release(SlotId slot) override { inner_.release(slot); }

 private:
  Executor& inner_;
  int num_rows_ = 0;
  StepResult result_;
};

LoadRun run_steadily(Executor& executor, std::vector<Request> requests,
                     const EngineOptions& options) {
  SteadyClockExecutor steady(executor);
  return run_load(steady, std::move(requests), options);
}

class SpeculationOnCpu : public testing::TestWithParam<TensorType> {};

TEST_P(SpeculationOnCpu, MixedLoad_SameAnswersWithFewerSteps) {
  const auto executor = make_tiny(GetParam(), 1, 512);
  const LoadRun plain = run_steadily(*executor, mixed_load(24), {});
  for (const int num_threads : {1, 3}) {
    const auto other = make_tiny(GetParam(), num_threads, 512);
    EngineOptions options = drafting();
    options.max_num_seqs = 16;
    const LoadRun drafted = run_steadily(*other, mixed_load(24), options);
    expect_same(drafted, plain);
    EXPECT_GT(drafted.num_accepted, 5u) << "the test is about something";
    EXPECT_GT(static_cast<uint64_t>(drafted.num_drafted), drafted.num_accepted);
  }
}

TEST_P(SpeculationOnCpu, PromptPiecesAndPreemption_SameAnswers) {
  const auto executor = make_tiny(GetParam(), 1, 512);
  const LoadRun plain = run_steadily(*executor, mixed_load(20), {});
  const auto small = make_tiny(GetParam(), 2, 14, 48);
  EngineOptions options = drafting(48);
  options.max_num_batched_tokens = 11;
  const LoadRun drafted = run_steadily(*small, mixed_load(20), options);
  expect_same(drafted, plain);
  EXPECT_GT(drafted.num_preemptions, 0u);
  EXPECT_GT(drafted.num_accepted, 20u);
}

INSTANTIATE_TEST_SUITE_P(Formats, SpeculationOnCpu,
                         testing::Values(TensorType::kF32, TensorType::kBF16, TensorType::kQ8_0),
                         [](const auto& test) { return tensor_type_info(test.param).name; });

FakeExecutorOptions repeating_fake(int num_blocks) {
  FakeExecutorOptions fake;
  fake.limits = {.block_tokens = 4,
                 .num_blocks = num_blocks,
                 .num_slots = 32,
                 .max_batch_tokens = 128,
                 .max_context_tokens = 256,
                 .vocab_size = kTestVocab};
  fake.first_token = 'a';
  fake.num_tokens = 3;
  fake.eos_token = kEos;
  fake.eos_per_mille = 30;
  // Mostly what stood 17 places before.
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() < 17 || mix64(tokens.size()) % 10 == 0) return std::nullopt;
    return tokens[tokens.size() - 17];
  };
  return fake;
}

TEST(SpeculationOnFake, MixedLoad_SameAnswersWithManyBlocksAndFew) {
  FakeExecutor executor(repeating_fake(2000));
  const LoadRun plain = run_load(executor, mixed_load(40), {});
  FakeExecutor many(repeating_fake(2000));
  const LoadRun drafted = run_load(many, mixed_load(40), drafting());
  expect_same(drafted, plain);
  EXPECT_LT(drafted.num_steps, plain.num_steps);
  FakeExecutor few(repeating_fake(70));
  const LoadRun preempted = run_load(few, mixed_load(40), drafting());
  expect_same(preempted, plain);
  EXPECT_GT(preempted.num_preemptions, 0u);
}

TEST(SpeculationOnFake, CopiedPrompt_IsDraftedAndCounted) {
  FakeExecutorOptions fake = repeating_fake(100);
  fake.script = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    return tokens.size() < 50 ? std::nullopt : std::optional(tokens[tokens.size() - 50]);
  };
  std::vector<TokenId> prompt;
  for (uint64_t i = 0; i < 50; ++i) prompt.push_back(static_cast<TokenId>(mix64(i) % 256));
  FakeExecutor executor(fake);
  const LoadRun run = run_load(executor, {test_request(1, prompt, 150)}, drafting());
  EXPECT_EQ(run.seen.at({1, 0}).num_output_tokens, 150);
  EXPECT_LT(run.num_steps, 35);
  EXPECT_GT(run.num_accepted * 10, static_cast<uint64_t>(run.num_drafted) * 9);
}

TEST(SpeculationOnFake, RequestThatSaysNo_IsNotDrafted) {
  FakeExecutor executor(repeating_fake(100));
  std::vector<Request> requests = mixed_load(6);
  for (Request& request : requests) request.speculative = false;
  EXPECT_EQ(run_load(executor, std::move(requests), drafting()).num_drafted, 0);
}

}  // namespace
}  // namespace sparrow
