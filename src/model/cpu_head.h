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

  // Reads workspace.x, appends to the cleared result. Rows of a span with drafts are sampled one
  // after the other, each token recorded before the next, up to the first draft that is wrong.
  // Rows of any other span are sampled with the sampler state the span began with; their tokens
  // are recorded afterwards, in order.
  void sample(const BatchPlan& plan, const TokenMasks& masks, const CpuWeights& weights,
              CpuWorkspace& workspace, StepResult& result);

 private:
  struct Slot {
    SamplerState sampler;
    TokenId last_token = -1;
    bool held = false;
    bool draft_failed = false;  // in this step: later rows of the span follow a wrong token
  };
  struct LogitRow {
    const Span* span = nullptr;
    int32_t row = 0;       // of the plan
    int32_t position = 0;  // of the token to be sampled
    int32_t index = 0;     // among the span's logit rows
    size_t span_index = 0;
  };
  // Rows of one turn that one thread samples in order.
  struct Group {
    size_t begin = 0;
    size_t end = 0;
  };
  void compute_logits(std::span<const LogitRow> rows, const CpuWeights& weights,
                      CpuWorkspace& workspace);
  void sample_rows(const BatchPlan& plan, std::span<const LogitRow> rows, const TokenMasks& masks,
                   CpuWorkspace& workspace, StepResult& result);
  void sample_row(const LogitRow& row, size_t index, const TokenMasks& masks,
                  std::span<float> logits, Sampler::Scratch& scratch);
  void judge_draft(const BatchPlan& plan, const LogitRow& row, const SampledToken& token);

  const ModelConfig config_;
  const Kernels& kernels_;
  const int64_t max_logit_rows_;
  ComputePool& pool_;
  const Sampler sampler_;
  LogitsProbe probe_;

  std::vector<Slot> slots_;
  std::vector<LogitRow> rows_;             // of the step
  std::vector<Sampler::Scratch> scratch_;  // by thread
  // Of one turn.
  std::vector<Group> groups_;
  std::vector<SampledToken> sampled_;           // by logit row
  std::vector<std::vector<TokenLogprob>> top_;  // by logit row
  std::vector<char> is_valid_;                  // by logit row: all drafts before it were right
};

}  // namespace sparrow
