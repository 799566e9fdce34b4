#pragma once
// GpuHead: final norm, head and sampling of a step's logit rows on a card, a bounded number of rows
// at a time, and the sampler state of every slot. What it queues leaves the tokens in pinned
// memory; read_result() turns them into a StepResult when the stream has passed.
//
// Two steps may be on the way at once: each has a turn (0 or 1) of its own for what the host reads.
// Engine thread. A step allocates nothing but what a slot's lists grow by on the host.

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/status.h"
#include "core/batch_plan.h"
#include "core/step_result.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_kernels.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/plans/gpu_workspace_layout.h"
#include "model/executor.h"
#include "sampling/gpu_sampler_slot.h"

namespace sparrow {

class GpuHead {
 public:
  // For tests and for tools that compare models: waits for the logits of each turn.
  using LogitsProbe = ModelExecutor::LogitsProbe;

  // Works in the workspace of this layout at `base`, which outlives it.
  static Result<GpuHead> create(GpuDevice& device, const ModelConfig& config,
                                const GpuWorkspaceSizes& sizes, const GpuWorkspaceLayout& layout,
                                std::byte* base, GpuStaging& staging,
                                std::span<const TokenId> disallowed);

  bool is_held(SlotId slot) const { return is_held_.at(static_cast<size_t>(slot)); }
  Status start_slot(const SlotStart& start, GpuStaging& staging);
  void release_slot(SlotId slot);
  // By slot, in device memory.
  const int32_t* last_tokens() const { return states_.last_tokens; }
  float* logits() const { return memory_.logits; }

  // logits_done: the forward pass left the logits of all rows in logits() already.
  Status queue(const BatchPlan& plan, const int32_t* token_ids, const TokenMasks& masks,
               bool logits_done, GpuForward& forward, GpuStaging& staging, size_t turn);
  // After the stream has passed what queue() queued with this turn. `result` is cleared.
  void read_result(const BatchPlan& plan, size_t turn, StepResult& result) const;

  void set_logits_probe(LogitsProbe probe) { probe_ = std::move(probe); }

 private:
  struct Arrived {  // pinned
    GpuBuffer tokens;
    GpuBuffer tops;
    bool has_tops = false;
  };
  // Device memory; T, R, V, W as in gpu_workspace_layout.h.
  struct Memory {
    float* logits = nullptr;          // [R][V]
    uint32_t* disallowed = nullptr;   // [W]
    uint32_t* masks = nullptr;        // [T][W]
    GpuTokenCount* counts = nullptr;  // [V]: of the sequence that starts
    GpuLogitRow* rows = nullptr;      // [T]
    int32_t* row_of = nullptr;        // [T]: rows of the plan
    std::byte* scratch = nullptr;
    GpuSampledToken* tokens = nullptr;  // [T]
    GpuTokenLogprob* tops = nullptr;    // [T][kGpuMaxTopLogprobs]
  };
  GpuHead(GpuDevice& device, int32_t vocab_size, const GpuWorkspaceSizes& sizes,
          const GpuWorkspaceLayout& layout, std::byte* base);
  void list_rows(const BatchPlan& plan);
  Status upload_masks(const TokenMasks& masks, GpuStaging& staging);
  Status show_logits(int32_t begin, int32_t count);
  size_t mask_words() const { return static_cast<size_t>(gpu_mask_words(states_.vocab_size)); }

  GpuDevice* device_;
  int32_t max_logit_rows_;
  GpuSamplerStates states_;
  Memory memory_;
  std::array<Arrived, 2> arrived_;
  std::vector<bool> is_held_;     // by slot
  std::vector<bool> wants_tops_;  // by slot
  GpuSamplerUpload upload_;

  // Of the step being queued.
  std::vector<GpuLogitRow> list_;
  std::vector<int32_t> plan_rows_;  // of list_: the row of the plan
  LogitsProbe probe_;
};

}  // namespace sparrow
