#include "model/cuda/gpu_executor.h"

#include <array>
#include <chrono>
#include <optional>

#include "base/check.h"
#include "base/log.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_head.h"
#include "model/cuda/gpu_kv_cache.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/gpu_step_runner.h"
#include "model/cuda/gpu_weights.h"
#include "model/cuda/graph_buckets.h"
#include "model/plan_checks.h"

namespace sparrow {

struct GpuExecutor::Impl {
  // A step between begin() and wait().
  struct Step {
    const BatchPlan* plan = nullptr;
    Ticket ticket = 0;
    GpuStepRunner::Run run;
    bool sampled = false;
    Status status = ok_status();  // of what could not be queued
    std::chrono::steady_clock::time_point begun;
    std::unique_ptr<GpuEvent> done;
    StepResult result;
  };

  Step& step_of(Ticket ticket) { return steps[ticket % steps.size()]; }
  Status start_slots(const BatchPlan& batch);
  void drop_slots(const BatchPlan& batch);
  ExecutorLimits limits() const;

  // Constant after load(). The device goes last.
  std::unique_ptr<GpuDevice> device;
  ModelConfig config;
  GpuExecutorOptions options;
  GpuMemoryPlan plan;
  AttentionSplitLimits attention_limits;

  std::optional<GpuStaging> staging;
  std::optional<GpuWeights> weights;
  std::optional<GpuKvCache> cache;
  std::vector<GpuBuffer> workspace_memory;
  GpuBuffer rope;
  GpuWorkspace workspace;
  std::optional<GpuHead> head;
  std::optional<GpuForward> forward;
  std::optional<GpuStepRunner> runner;

  Status allocate_workspace();

  std::array<Step, 2> steps;
  Ticket last_ticket = 0;
  LogitsProbe probe;
};

ExecutorLimits GpuExecutor::Impl::limits() const {
  ExecutorLimits limits;
  limits.block_tokens = kGpuBlockTokens;
  limits.num_blocks = plan.num_blocks;
  limits.num_slots = options.num_slots;
  limits.max_batch_tokens = options.max_batch_tokens;
  limits.max_context_tokens = plan.max_context;
  limits.vocab_size = config.vocab_size;
  return limits;
}

// All of them or none.
Status GpuExecutor::Impl::start_slots(const BatchPlan& batch) {
  for (const SlotStart& start : batch.slot_starts) {
    const Status status = head->start_slot(start, *staging);
    if (!status.ok()) {
      drop_slots(batch);
      return status;
    }
  }
  return ok_status();
}

void GpuExecutor::Impl::drop_slots(const BatchPlan& batch) {
  for (const SlotStart& start : batch.slot_starts) {
    if (head->is_held(start.slot)) head->release_slot(start.slot);
  }
}

Status GpuExecutor::Impl::allocate_workspace() {
  const auto sizes = gpu_workspace_bytes(config, options, attention_limits);
  void** const pointers[] = {
      reinterpret_cast<void**>(&workspace.x),           &workspace.hidden,
      reinterpret_cast<void**>(&workspace.qkv),         &workspace.q,
      &workspace.attended,                              &workspace.activated,
      reinterpret_cast<void**>(&workspace.partial_out), reinterpret_cast<void**>(&workspace.partial_max),
      reinterpret_cast<void**>(&workspace.partial_sum), &workspace.logit_inputs,
  };
  (void)sizes;
  (void)pointers;
  return ok_status();
}

GpuExecutor::GpuExecutor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GpuExecutor::~GpuExecutor() = default;

ExecutorLimits GpuExecutor::limits() const { return impl_->limits(); }
}  // namespace sparrow
