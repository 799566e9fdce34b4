#pragma once
// CpuExecutor: the Qwen2 forward pass on the CPU, over paged KV and packed weights.
//
// Arithmetic contract (docs/architecture.md): logits of a token depend on the tokens before it
// alone, bit for bit: not on batch, chunking, block order, thread count or instruction set. The
// residual stream, norms, scores and logits are fp32; plain weights meet fp32 activations, grouped
// ones int8 activations with one scale per token.
//
// begin() runs the forward pass before it returns, sample() runs head and sampler. Everything a
// step needs is allocated by make and load; the parameters of release() and begin() are trusted
// (they come from our scheduler) and CHECKed. All calls from one thread.
//
//   ASSIGN_OR_RETURN(auto executor, make_cpu_executor(model.config, options));
//   RETURN_IF_ERROR(executor->load(*model.weights));

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/cpu_memory_plan.h"
#include "model/cpu_options.h"
#include "model/executor.h"
#include "model/model_config.h"

namespace sparrow {

class CpuExecutor final : public ModelExecutor {
 public:
  ~CpuExecutor() override;

  ExecutorLimits limits() const override;
  // Fails for a read error, a NaN scale, or when weights, KV and workspace exceed the memory.
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

  // For the start-up log; exact after load().
  const MemoryPlan& memory_plan() const;
  const char* isa() const;  // "avx512"
  int num_threads() const;

 private:
  friend Result<std::unique_ptr<CpuExecutor>> make_cpu_executor(const ModelConfig& config,
                                                                const CpuExecutorOptions& options);
  struct Impl;
  explicit CpuExecutor(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

// Errors: an instruction set the machine lacks, options out of range, not enough memory.
Result<std::unique_ptr<CpuExecutor>> make_cpu_executor(const ModelConfig& config,
                                                       const CpuExecutorOptions& options);

}  // namespace sparrow
