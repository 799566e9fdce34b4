// What the host does in a step of the engine: plan, commit, text, events, metrics. The executor
// computes nothing, so the time of a step is what a GPU would stand still for when the loop waits
// for each step, and what two steps in flight hide.
//
//   build/release/src/engine/engine_engine_bench --benchmark_filter=generate/64
#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "tokenizer/byte_alphabet.h"

namespace sparrow {
namespace {

constexpr int kVocab = 256;
constexpr int kMaxSequences = 256;
constexpr int kPromptTokens = 32;
constexpr int kMaxOutputTokens = 4000;

// Constant time a row: every row gives the same letter.
class IdleExecutor final : public Executor {
 public:
  explicit IdleExecutor(int max_steps) : max_steps_(max_steps) {}
  ExecutorLimits limits() const override {
    return {.block_tokens = 16,
            .num_blocks = 256 * 260,
            .num_slots = kMaxSequences,
            .max_batch_tokens = 16384,
            .max_context_tokens = 8192,
            .vocab_size = kVocab,
            .max_steps_in_flight = max_steps_};
  }
  Status load(TensorSource&) override { return ok_status(); }
  Ticket begin(const BatchPlan& plan) override {
    plans_[plan.step % 2] = &plan;
    return plan.step;
  }
  void sample(Ticket, const TokenMasks&) override {}
  const StepResult& wait(Ticket ticket) override {
    result_.clear();
    result_.step = ticket;
    for (const Span& span : plans_[ticket % 2]->spans) {
      const auto begin = static_cast<int32_t>(result_.tokens.size());
      if (span.num_logit_rows > 0) result_.tokens.push_back({.id = 'a' - '!'});
      result_.spans.push_back({begin, span.num_logit_rows});
    }
    result_.elapsed_ns = 1'000'000;
    return result_;
  }
  void release(SlotId) override {}

 private:
  const int max_steps_;
  std::array<const BatchPlan*, 2> plans_{};
  StepResult result_;
};

// Reads what it gets, as a connection would.
class ReadingSink final : public EventSink {
 public:
  void publish(std::vector<StreamEvent>&& events) override {
    for (const StreamEvent& event : events) num_bytes += event.text.size();
  }
  size_t num_bytes = 0;
};

std::shared_ptr<const Tokenizer> byte_tokenizer() {
  TokenizerSpec spec;
  for (int byte = 0; byte < kVocab; ++byte) {
    spec.pieces.push_back(piece_of_bytes(std::string(1, static_cast<char>(byte))));
  }
  return Tokenizer::create(std::move(spec)).value();
}

Request request_of(uint64_t id) {
  Request request;
  request.id = id;
  request.prompt.assign(kPromptTokens, static_cast<TokenId>(id % kVocab));
  request.sampling.temperature = 0.6f;
  request.stop.max_tokens = kMaxOutputTokens;
  request.stop.strings = {"\n\nUser:"};
  return request;
}

// One iteration is one step in which so many sequences get a token each. The second argument: steps
// in flight.
void generate(benchmark::State& state) {
  const auto num_sequences = static_cast<uint64_t>(state.range(0));
  const std::shared_ptr<const Tokenizer> tokenizer = byte_tokenizer();
  IdleExecutor executor(static_cast<int>(state.range(1)));
  MetricsRegistry metrics;
  EngineOptions options;
  options.max_num_seqs = kMaxSequences;
  Engine engine(executor, *tokenizer, options, &metrics);
  std::vector<ReadingSink> sinks(num_sequences);
  TimePoint now{};
  uint64_t next_id = 1;
  const auto step = [&] {
    now += std::chrono::milliseconds(1);
    return engine.step(now).num_tokens_out;
  };
  const auto fill = [&] {
    for (ReadingSink& sink : sinks) CHECK(engine.submit(request_of(next_id++), &sink).ok());
    while (step() < state.range(0)) {
    }
  };
  fill();
  for (auto _ : state) {
    if (step() == state.range(0)) continue;
    state.PauseTiming();  // they have come to their ends: the next ones
    while (!engine.idle()) step();
    fill();
    state.ResumeTiming();
  }
}

BENCHMARK(generate)->ArgsProduct({{1, 12, 64, 256}, {1, 2}})->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace sparrow

BENCHMARK_MAIN();
