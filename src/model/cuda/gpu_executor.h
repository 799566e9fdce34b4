#pragma once
// GpuExecutor: the Qwen2 forward pass on a graphics card, over the seam of executor.h: the same block
// tables, plans and sampling results as the CPU executor. The device is a card (cuda_device.h) or the
// host twin, on which the tests run everywhere.
//
// begin() and sample() queue work on the device's stream and return; wait() waits for the step's event
// and reads the tokens. Two steps may be on the way: begin(t + 1) may come before wait(t), with
// kPendingToken for the ids that step t is still computing. Steps of one row a sequence run as CUDA
// graphs, captured by load() for the batch sizes of graph_buckets.h (not with enforce_eager).
//
// A lost device or a failed launch ends the step as failed: wait() says so, the process goes on and
// every later step fails the same way. All calls from one thread.

#include <memory>
#include <string>

#include "base/status.h"
#include "kernels/cuda/gpu_device.h"
#include "model/cuda/gpu_memory_plan.h"
#include "model/cuda/gpu_options.h"
#include "model/executor.h"
#include "model/model_config.h"

namespace sparrow {

class GpuExecutor final : public Executor {
 public:
  ~GpuExecutor() override;

  ExecutorLimits limits() const override;
  Status load(TensorSource& source) override;
  Ticket begin(const BatchPlan& plan) override;
  void sample(Ticket ticket, const TokenMasks& masks) override;
  const StepResult& wait(Ticket ticket) override;
  void release(SlotId slot) override;
  void set_logits_probe(LogitsProbe probe) override;

  const GpuMemoryPlan& memory_plan() const;
  const GpuDeviceInfo& device_info() const;
  // Bytes of weights read for one decoded token, and of KV cache per token of context.
  int64_t weights_bytes_per_token() const;
  int64_t kv_bytes_per_token() const;

 private:
  friend Result<std::unique_ptr<GpuExecutor>> make_gpu_executor(std::unique_ptr<GpuDevice> device,
                                                                const ModelConfig& config,
                                                                const GpuExecutorOptions& options);
  struct Impl;
  explicit GpuExecutor(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// Errors: options out of range, a plan that does not fit the card.
Result<std::unique_ptr<GpuExecutor>> make_gpu_executor(std::unique_ptr<GpuDevice> device,
                                                       const ModelConfig& config,
                                                       const GpuExecutorOptions& options);

}  // namespace sparrow
