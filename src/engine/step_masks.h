#pragma once
// StepMasks: which tokens the constrained spans of one step may sample (TokenMasker), as the
// executor wants them. assign() when the step begins, which spans are constrained; fill() when the
// tokens before are known: with an overlapped order that is after the step before.
// Engine thread only.

#include <cstdint>
#include <span>
#include <vector>

#include "core/batch_plan.h"
#include "core/token_masker.h"
#include "model/executor.h"
#include "scheduler/scheduler.h"

namespace sparrow {

class StepMasks {
 public:
  explicit StepMasks(int vocab_size) : words_per_row_((vocab_size + 31) / 32) {}

  // Takes all memory here, so that nothing can fail while the step is in flight.
  void assign(Scheduler& scheduler, const BatchPlan& plan);
  // Where a masker throws no token may come: the executor then reports that row as not finite,
  // which ends the sequence alone.
  void fill(Scheduler& scheduler, const BatchPlan& plan) noexcept;
  TokenMasks view() const { return {words_, words_per_row_}; }

 private:
  void fill_rows(const BatchPlan& plan, const Span& span, TokenMasker& masker,
                 std::span<uint32_t> rows);

  const int32_t words_per_row_;
  std::vector<uint32_t> words_;
};

}  // namespace sparrow
