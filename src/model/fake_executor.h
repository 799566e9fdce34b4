#pragma once
// FakeExecutor: an executor without a model, for tests, simulation and planning. The next token is
// a hash of what the KV blocks really hold, so a scheduling mistake (a wrong block, a position
// skipped, another sequence's block) changes the text. Every plan is checked; a broken plan is a
// CHECK. Time is simulated: it is reported in StepResult::elapsed_ns and never waited for.
//
// Deterministic: the same prompt gives the same tokens in any batch, chunking or after preemption.

#include <cstdint>
#include <functional>
#include <vector>

#include "model/executor.h"

namespace sparrow {

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
  double fixed_ms = 1;  // simulated duration of a step: fixed + rows * row
  double row_ms = 0.1;
  // Faults, asked once per step and once per sampled row; null: none.
  std::function<bool(uint64_t step)> fails;
  std::function<bool(uint64_t step, size_t span)> not_finite;
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
  // The tokens that a prompt leads to, without any batching: what every test compares with.
  std::vector<TokenId> expected_tokens(std::vector<TokenId> prompt, int count) const;

 private:
  struct Cell {
    TokenId token = -1;
    int32_t position = -1;
  };
  void check_span(const BatchPlan& plan, const Span& span) const;
  void write_span(const BatchPlan& plan, const Span& span);
  TokenId next_token(uint64_t hash) const;

  const FakeExecutorOptions options_;
  std::vector<Cell> cells_;          // [num_blocks][block_tokens]: what each block holds
  std::vector<bool> held_;           // by slot
  std::vector<TokenId> last_token_;  // by slot
  const BatchPlan* plan_ = nullptr;
  StepResult result_;
};

}  // namespace sparrow
