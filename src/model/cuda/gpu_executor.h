#pragma once
// GpuExecutor: the Qwen2 forward pass on a graphics card, over the seam of executor.h: the same
// block tables, plans and sampling results as the CPU executor. The device is a card
// (cuda_device.h) or the host twin, on which the tests run everywhere.
//
// begin() and sample() queue work on the device's stream and return; wait() waits for the step's
// event and reads the tokens. Two steps may be on the way: begin(t + 1) may come before wait(t),
// with kPendingToken for the ids that step t is still computing. Steps of one row a sequence run as
// CUDA graphs, captured by load() for the batch sizes of graph_buckets.h (not with enforce_eager).
//
// A lost device or a failed launch ends the step: wait() says so, or begin() and sample() throw;
// with another step on the way that one fails, too, since the card does not say whose error it was.
// The process goes on, and with a lost device every later step fails the same way. All calls from
// one thread.

#include <memory>
#include <string>

#include "base/status.h"
#include "kernels/cuda/gpu_device.h"
#include "model/cuda/plans/gpu_memory_plan.h"
#include "model/cuda/plans/gpu_options.h"
#include "model/executor.h"
#include "model/model_config.h"

namespace sparrow {

class GpuExecutor final : public ModelExecutor {
 public:
  ~GpuExecutor() override;

  ExecutorLimits limits() const override;
  Status load(TensorSource& source) override;
  Ticket begin(const BatchPlan& plan) override;
  void sample(Ticket ticket, const TokenMasks& masks) override;
  const StepResult& wait(Ticket ticket) override;
  void release(SlotId slot) override;
  std::string device_text() const override;
  std::string arithmetic() const override;
  std::vector<std::string> memory_lines() const override;
  int64_t memory_budget_bytes() const override;
  int64_t weights_bytes_per_token() const override;
  int64_t kv_bytes_per_token() const override;
  void set_logits_probe(LogitsProbe probe) override;

  const GpuMemoryPlan& memory_plan() const;

 private:
  friend Result<std::unique_ptr<GpuExecutor>> make_gpu_executor(std::unique_ptr<GpuDevice> device,
                                                                const TensorSource& source,
                                                                const GpuExecutorOptions& options);
  struct Impl;
  explicit GpuExecutor(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// Plans for the tensors of the source, which is the one that load() then reads; the weights are not
// touched. Errors: options out of range, a plan that does not fit the card.
Result<std::unique_ptr<GpuExecutor>> make_gpu_executor(std::unique_ptr<GpuDevice> device,
                                                       const TensorSource& source,
                                                       const GpuExecutorOptions& options);

}  // namespace sparrow
