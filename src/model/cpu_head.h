#pragma once
// CpuHead: final norm, lm_head and sampling, only for the rows that are sampled, a bounded number
// of logit rows at a time. Holds the sampler state of every slot. Allocates nothing in a step but
// what a slot's token counts grow by. Called by the engine thread.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/compute_pool.h"
#include "core/batch_plan.h"
#include "core/step_result.h"
#include "model/cpu_weights.h"
#include "model/cpu_workspace.h"
#include "model/executor.h"
#include "sampling/sampler.h"

namespace sparrow {

class CpuHead {
 public:
  using LogitsProbe = std::function<void(int32_t token_index, std::span<const float> logits)>;

  CpuHead(const ModelConfig& config, const Kernels& kernels, const WorkspaceSizes& sizes,
          int32_t num_slots, std::vector<TokenId> disallowed, ComputePool& pool);

  void start_slot(const SlotStart& start);
  void release_slot(SlotId slot);
  bool is_held(SlotId slot) const { return slots_.at(static_cast<size_t>(slot)).held; }
  // What kPendingToken stands for.
  TokenId last_token(SlotId slot) const { return slots_.at(static_cast<size_t>(slot)).last_token; }
  void set_logits_probe(LogitsProbe probe) { probe_ = std::move(probe); }

  // Reads workspace.x, appends to the cleared result. Rows of one span are sampled with the
  // sampler state the span began with; their tokens are recorded afterwards, in order.
  void sample(const BatchPlan& plan, const TokenMasks& masks, const CpuWeights& weights,
              CpuWorkspace& workspace, StepResult& result);

 private:
  struct Slot {
    SamplerState sampler;
    TokenId last_token = -1;
    bool held = false;
  };
  struct LogitRow {
    const Span* span = nullptr;
    int32_t row = 0;       // of the plan
    int32_t position = 0;  // of the token to be sampled
  };
  void compute_logits(std::span<const LogitRow> rows, const CpuWeights& weights,
                      CpuWorkspace& workspace);
  void sample_rows(std::span<const LogitRow> rows, const TokenMasks& masks, CpuWorkspace& workspace,
                   StepResult& result);

  const ModelConfig config_;
  const Kernels& kernels_;
  const int64_t max_logit_rows_;
  ComputePool& pool_;
  const Sampler sampler_;
  LogitsProbe probe_;

  std::vector<Slot> slots_;
  std::vector<LogitRow> rows_;             // of the step
  std::vector<Sampler::Scratch> scratch_;  // by thread
  std::vector<SampledToken> sampled_;      // by logit row of one turn
  std::vector<std::vector<TokenLogprob>> top_;
};

}  // namespace sparrow
