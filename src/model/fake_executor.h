#pragma once
// FakeExecutor: an executor without a model, for tests, simulation and planning. The next token is
// a hash of what the KV blocks really hold, so a scheduling mistake (a wrong block, a position
// skipped, another sequence's block) changes the text. Every plan is checked: slots started before
// use and not twice in a step, positions without gaps, tokens as announced, block tables that cover
// them, no block written by one span and seen by another, KV written before it is read. With two
// steps in flight (limits.max_steps_in_flight): pending tokens where the step before is sampling,
// plans unchanged and slots and their parameters kept until wait(). A broken plan is a CHECK.
// Behind a failed step comes garbage that looks right. Time is simulated: reported in
// StepResult::elapsed_ns and never waited for.
//
// Deterministic: the same prompt, seed and choice give the same tokens in any batch, chunking or
// after preemption. Honours greedy, seed, choice, masks, min_tokens and top logprobs; the other
// sampling fields do not change what it draws. Engine thread only.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "core/token_masker.h"
#include "model/executor.h"

namespace sparrow {

enum class StepPart { kBegin, kSample, kWait };

struct FakeExecutorOptions {
  ExecutorLimits limits = {.block_tokens = 4,
                           .num_blocks = 64,
                           .num_slots = 8,
                           .max_batch_tokens = 64,
                           .max_context_tokens = 256,
                           .vocab_size = 256};
  // Tokens are drawn from [first_token, first_token + num_tokens).
  TokenId first_token = 0;
  int num_tokens = 256;
  TokenId eos_token = -1;  // drawn with eos_per_mille / 1000 at each position
  int eos_per_mille = 0;
  // The token that follows these, of all in the blocks; nothing, or one that may not come here: it
  // is drawn as always. Null: always drawn.
  std::function<std::optional<TokenId>(std::span<const TokenId> tokens)> script;
  double fixed_ms = 1;  // simulated duration of a step: fixed + rows * row
  double row_ms = 0.1;
  // Faults, asked once per step (extra milliseconds; whether it fails) and once per span that
  // samples; null: none.
  std::function<double(uint64_t step)> extra_ms;
  std::function<bool(uint64_t step)> fails;
  std::function<bool(uint64_t step, size_t span)> not_finite;
  // Called at the start of each part of a step: may throw, or hang for as long as a test likes.
  std::function<void(uint64_t step, StepPart part)> on_part;
  // Changes what the step answers: a broken driver.
  std::function<void(StepResult& result)> corrupt;
};

class FakeExecutor final : public Executor {
 public:
  explicit FakeExecutor(FakeExecutorOptions options);

  ExecutorLimits limits() const override { return options_.limits; }
  Status load(TensorSource& source) override;
  Ticket begin(const BatchPlan& plan) override;
  void sample(Ticket ticket, const TokenMasks& masks) override;
  const StepResult& wait(Ticket ticket) override;
  void release(SlotId slot) override;

  int num_held_slots() const;
  // The tokens that a prompt leads to, without any batching: what every test compares with. Fewer
  // where a masker allows nothing or refuses a token.
  std::vector<TokenId> expected_tokens(const std::vector<TokenId>& prompt, int count) const;
  std::vector<TokenId> expected_tokens(const std::vector<TokenId>& prompt, int count,
                                       const SamplingParams& params,
                                       std::span<const TokenId> banned_early = {},
                                       int min_tokens = 0, TokenMasker* masker = nullptr) const;

 private:
  struct Cell {
    TokenId token = -1;
    int32_t position = -1;
  };
  struct Slot {
    bool is_held = false;
    std::optional<int32_t> next_position;  // unset before the first span
    std::vector<TokenId> tokens;           // all known, sampled ones included
    const SamplingParams* params = nullptr;
    uint64_t params_seed = 0;  // what *params said
    std::span<const TokenId> banned_early;
    int32_t num_prompt_tokens = 0;
    int32_t min_tokens = 0;
  };
  // Between begin() and wait(); the result stays until the next begin() but one.
  struct Step {
    const BatchPlan* plan = nullptr;  // null: over
    uint64_t fingerprint = 0;         // of the plan
    bool is_sampled = false;
    bool is_garbage = false;  // the step before failed
    StepResult result;
  };
  // What restricts one draw.
  struct Constraint {
    std::span<const uint32_t> mask;     // empty: none
    std::span<const TokenId> banned{};  // sorted
  };
  // What the next token depends on.
  struct Context {
    uint64_t hash = 0;            // of all tokens
    std::vector<TokenId> tokens;  // for the script; empty without one
  };

  Step& step_of(Ticket ticket);
  Step* other_in_flight(const Step& step);
  static bool has_slot(const Step& step, SlotId slot, bool is_sampled);
  static uint64_t fingerprint_of(const BatchPlan& plan);
  void check_pending(const Step& step, const Span& span);
  void check_until_wait(const Step& step) const;
  void check_span(const BatchPlan& plan, const Span& span);
  void check_no_foreign_writes(const BatchPlan& plan);
  Cell& cell(const BatchPlan& plan, const Span& span, int32_t position);
  void write_span(const BatchPlan& plan, const Span& span);
  void sample_span(const BatchPlan& plan, const Span& span, const TokenMasks& masks);
  void enter(Step& step, StepPart part);
  void start_slots(const BatchPlan& plan);
  void compute(Step& step, const TokenMasks& masks);
  void compute_garbage(Step& step);
  bool add_token(Slot& slot, const Constraint& constraint);
  void start_context(Context& context) const;
  void extend(Context& context, TokenId token) const;
  void add_logprobs(SampledToken& token, uint64_t bits, int num_top);
  TokenId draw(uint64_t bits) const;
  TokenId next_token(const Context& context, const SamplingParams& params,
                     const Constraint& constraint) const;

  const FakeExecutorOptions options_;
  std::vector<Cell> cells_;      // [num_blocks][block_tokens]: what each block holds
  std::vector<Slot> slots_;      // by slot
  std::vector<int32_t> writer_;  // by block: span of this step that writes it, -1
  Context context_;              // of the span being sampled
  std::array<Step, 2> steps_;
  size_t newest_ = 0;             // of steps_: the last that began
  StepResult* result_ = nullptr;  // of the step being sampled
};

}  // namespace sparrow
