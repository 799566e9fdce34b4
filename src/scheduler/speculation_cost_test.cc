// What speculation may cost: on an executor whose steps take as long as measured ones, or as some
// other machine's might, no text gets more than 3 % slower, and text that repeats gets faster.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/random.h"
#include "model/fake_executor.h"
#include "scheduler/scheduler.h"

namespace sparrow {
namespace {

constexpr int kVocab = 2000;

// Milliseconds of a step by its rows.
struct Machine {
  std::string name;
  std::function<double(int rows)> step_ms;
};

std::vector<Machine> machines() {
  // Two Zen 4 cores, the 1.5B model as Q4_0 (docs/benchmarks/2026-11-26-speculation.md).
  const auto measured = [](int rows) {
    constexpr double kMs[] = {25.0, 29.0, 30.5, 29.5, 36.2, 40.0, 53.8, 56.1, 62.7};
    if (rows <= 9) return kMs[rows - 1];
    return 62.7 + 5.6 * (rows - 9);
  };
  return {{"measured", measured},
          {"waits for memory", [](int rows) { return 80 + 0.8 * rows; }},
          {"each row costs a step", [](int rows) { return 30.0 * rows; }},
          {"tiles of 8", [](int rows) { return 20.0 + 30.0 * ((rows - 1) / 8); }},
          {"the second row costs a step", [](int rows) { return rows == 1 ? 10.0 : 20.0; }}};
}

// The token at a place of a text; nothing: drawn from a hash of all before it.
using Script = std::function<std::optional<TokenId>(std::span<const TokenId>)>;

struct Text {
  std::string name;
  Script script;
  int num_tokens = kVocab;  // that are drawn from
};

constexpr int kPromptTokens = 64;

std::vector<Text> texts_without_use() {
  // Pairs were all seen before, and what follows is anything.
  const auto letters = [](std::span<const TokenId>) { return std::nullopt; };
  return {{"nothing repeats", letters, kVocab},
          {"12 letters at random", letters, 12},
          {"2 letters at random", letters, 2}};
}

std::vector<Text> texts_with_use() {
  const auto copy = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    if (tokens.size() < kPromptTokens) return std::nullopt;
    return tokens[tokens.size() - kPromptTokens];
  };
  // Words of three tokens in any order: after the first two comes the third.
  const auto words = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    const size_t at = tokens.size();
    return static_cast<TokenId>(3 * (mix64(at / 3) % 40) + at % 3);
  };
  // The same four tokens again and again, and behind them one that never was.
  const auto breaks = [](std::span<const TokenId> tokens) -> std::optional<TokenId> {
    const size_t at = tokens.size();
    if (at % 5 < 4) return static_cast<TokenId>(at % 5);
    return static_cast<TokenId>(5 + (at / 5) % (kVocab - 5));
  };
  return {{"copies", copy, kVocab},
          {"short words", words, kVocab},
          {"repeats that break", breaks, kVocab}};
}

class Times final : public TokenConsumer {
 public:
  FinishReason on_token(Sequence& sequence, const SampledToken&,
                        std::span<const TokenLogprob>) override {
    return sequence.num_output_tokens() >= sequence.max_tokens ? FinishReason::kMaxTokens
                                                               : FinishReason::kNone;
  }
};

// Writes texts in groups; what the steps behind the prompts take, without the noise that the
// scheduler sees.
class Writer {
 public:
  Writer(const Machine& machine, const Text& text, int num_together, bool speculates)
      : machine_(machine),
        num_together_(num_together),
        executor_(fake(text)),
        scheduler_(options(speculates)) {}

  double write(int num_groups, int num_tokens) {
    double sum = 0;
    for (int group = 0; group < num_groups; ++group) {
      for (int i = 0; i < num_together_; ++i) add(num_tokens);
      while (!scheduler_.idle()) sum += step();
    }
    return sum;
  }

 private:
  FakeExecutorOptions fake(const Text& text) {
    FakeExecutorOptions out;
    out.limits = {.block_tokens = 16,
                  .num_blocks = 1000,
                  .num_slots = 4,
                  .max_batch_tokens = 256,
                  .max_context_tokens = 2048,
                  .vocab_size = kVocab};
    out.script = text.script;
    out.num_tokens = text.num_tokens;
    out.fixed_ms = 0;
    out.row_ms = 0;
    out.extra_ms = [this](uint64_t step) {
      // A tenth up or down, and now and then a step that hangs.
      const double noise = static_cast<double>(random_bits(7, 7, step) % 1000) / 1000;
      const bool hangs = random_bits(7, 8, step) % 200 == 0;
      return machine_.step_ms(num_rows_) * (0.9 + 0.2 * noise) * (hangs ? 5 : 1);
    };
    return out;
  }

  SchedulerOptions options(bool speculates) const {
    SchedulerOptions out{.block_tokens = 16,
                         .num_blocks = 1000,
                         .num_slots = 4,
                         .max_batch_tokens = 256,
                         .max_num_seqs = 4,
                         .max_num_batched_tokens = 256};
    out.speculation.max_tokens = speculates ? 8 : 0;
    return out;
  }

  void add(int num_tokens) {
    auto request = std::make_shared<Request>();
    request->id = ++num_requests_;
    auto sequence = std::make_unique<Sequence>();
    sequence->params.temperature = 0;
    for (uint64_t i = 0; i < kPromptTokens; ++i) {
      sequence->tokens.push_back(
          static_cast<TokenId>(random_bits(request->id, 5, i) % uint64_t{kVocab}));
    }
    sequence->num_prompt_tokens = kPromptTokens;
    sequence->max_tokens = num_tokens;
    sequence->request = std::move(request);
    scheduler_.add(std::move(sequence));
  }

  double step() {
    const BatchPlan& plan = scheduler_.plan(now_);
    num_rows_ = plan.num_tokens();
    const bool has_prompt = std::any_of(plan.spans.begin(), plan.spans.end(), [](const Span& s) {
      return s.num_tokens - s.num_drafts > 1;
    });
    const Ticket ticket = executor_.begin(plan);
    executor_.sample(ticket, {});
    const StepResult& result = executor_.wait(ticket);
    now_ += Duration{result.elapsed_ns};
    scheduler_.commit(result, now_, times_);
    for (const SlotId slot : scheduler_.released_slots()) executor_.release(slot);
    scheduler_.clear_released_slots();
    scheduler_.take_finished();
    return has_prompt ? 0 : machine_.step_ms(num_rows_);
  }

  const Machine& machine_;
  const int num_together_;
  int num_rows_ = 0;  // of this step
  FakeExecutor executor_;
  Scheduler scheduler_;
  Times times_;
  TimePoint now_{};
  uint64_t num_requests_ = 0;
};

// Time with speculation against time without.
double ratio(const Machine& machine, const Text& text, int num_together, int num_tokens) {
  const double plain = Writer(machine, text, num_together, false).write(8, num_tokens);
  return Writer(machine, text, num_together, true).write(8, num_tokens) / plain;
}

TEST(SpeculationCost, TextThatDoesNotRepeat_IsAtMostThreePercentSlower) {
  for (const Machine& machine : machines()) {
    for (const Text& text : texts_without_use()) {
      for (const int num_together : {1, 2, 4}) {
        EXPECT_LE(ratio(machine, text, num_together, 200), 1.03)
            << machine.name << ", " << text.name << ", " << num_together << " at once";
      }
    }
  }
}

TEST(SpeculationCost, TextThatRepeats_IsNeverSlowerEither) {
  for (const Machine& machine : machines()) {
    for (const Text& text : texts_with_use()) {
      for (const int num_together : {1, 2, 4}) {
        EXPECT_LE(ratio(machine, text, num_together, 200), 1.03)
            << machine.name << ", " << text.name << ", " << num_together << " at once";
      }
    }
  }
}

TEST(SpeculationCost, WhereRowsAreCheap_RepeatingTextIsFaster) {
  const std::vector<Machine> all = machines();
  const std::vector<Text> texts = texts_with_use();
  EXPECT_LT(ratio(all[0], texts[0], 1, 200), 0.5) << "copies, measured machine";
  // One token of three can be known, once its word was there.
  EXPECT_LT(ratio(all[0], texts[1], 1, 200), 0.92) << "short words, measured machine";
  EXPECT_LT(ratio(all[1], texts[0], 1, 200), 0.35) << "copies, memory";
  EXPECT_LT(ratio(all[1], texts[0], 4, 200), 0.6) << "copies, memory, 4 at once";
}

}  // namespace
}  // namespace sparrow
