#pragma once
// GpuHead: final norm, head and sampling of a step's logit rows on a card, a bounded number of rows
// at a time, and the sampler state of every slot. What it queues leaves the tokens in pinned memory;
// read_result() turns them into a StepResult when the stream has passed.
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
#include "model/executor.h"
#include "sampling/gpu_sampler_slot.h"

namespace sparrow {

struct GpuHeadSizes {
  int32_t vocab_size = 0;
  int32_t num_slots = 0;
  int32_t max_rows = 0;        // of a step: the most logit rows it can have
  int32_t max_logit_rows = 0;  // computed at a time
};

class GpuHead {
 public:
  // For tests and for tools that compare models: waits for the logits of each turn.
  using LogitsProbe = Executor::LogitsProbe;

  static Result<GpuHead> create(GpuDevice& device, const GpuHeadSizes& sizes,
                                std::span<const TokenId> disallowed);
  // Device memory create() takes.
  static int64_t bytes_of(const GpuHeadSizes& sizes);

  bool is_held(SlotId slot) const { return is_held_.at(static_cast<size_t>(slot)); }
  Status start_slot(const SlotStart& start, GpuStaging& staging);
  void release_slot(SlotId slot);
  // By slot, in device memory.
  const int32_t* last_tokens() const { return states_.last_tokens; }
  float* logits() const { return logits_.as<float>(); }

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
  GpuHead(GpuDevice& device, const GpuHeadSizes& sizes) : device_(&device), sizes_(sizes) {}
  Status allocate(std::span<const TokenId> disallowed);
  void list_rows(const BatchPlan& plan);
  Status upload_masks(const TokenMasks& masks, GpuStaging& staging);
  Status show_logits(int32_t begin, int32_t count);

  GpuDevice* device_;
  GpuHeadSizes sizes_;
  GpuSamplerStates states_;
  std::vector<bool> is_held_;
  std::vector<bool> wants_tops_;  // by slot
  GpuSamplerUpload upload_;

  std::vector<GpuBuffer> memory_;  // of states_
  GpuBuffer logits_;               // fp32 [R][V]
  GpuBuffer disallowed_;           // one bit per id
  GpuBuffer masks_;                // [max_rows][W]
  GpuBuffer rows_;                 // GpuLogitRow [max_rows]
  GpuBuffer row_of_;               // int32 [max_rows]
  GpuBuffer counts_;               // GpuTokenCount of the slot that starts
  GpuBuffer scratch_;
  GpuBuffer tokens_;  // GpuSampledToken [max_rows]
  GpuBuffer tops_;    // GpuTokenLogprob [max_rows][kGpuMaxTopLogprobs]
  std::array<Arrived, 2> arrived_;

  // Of the step being queued.
  std::vector<GpuLogitRow> list_;
  std::vector<int32_t> plan_rows_;  // of list_: the row of the plan
  LogitsProbe probe_;
};

}  // namespace sparrow
