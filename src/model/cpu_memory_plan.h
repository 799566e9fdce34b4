#pragma once
// MemoryPlan: every byte the CPU executor will hold, before it allocates any: what the start-up log
// prints, and what a plan that does not fit is refused by. Pure arithmetic on checked configs.
//
//   ASSIGN_OR_RETURN(MemoryPlan plan, plan_cpu_memory(config, options, &source));

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "model/cpu_options.h"
#include "model/model_config.h"

namespace sparrow {

class TensorSource;

struct MemoryPlan {
  int64_t weights_bytes = 0;  // packed; exact if a source was given, else an estimate
  int64_t kv_bytes_per_token = 0;
  int64_t kv_bytes = 0;         // num_blocks blocks of 16 tokens
  int64_t workspace_bytes = 0;  // activations, partial results and logits of one step
  int64_t available_bytes = 0;  // the limit the sum was held against
  int32_t num_blocks = 0;
  int32_t max_context = 0;  // longest sequence, prompt and output
  int num_threads = 0;

  int64_t total_bytes() const { return weights_bytes + kv_bytes + workspace_bytes; }
  // Sequences of max_context tokens that the KV cache holds at once.
  double full_sequences() const;
};

// Chooses what the options leave open. kResourceExhausted, naming the flag that helps, when the sum
// exceeds the available memory. Without a source, weights are not counted.
Result<MemoryPlan> plan_cpu_memory(const ModelConfig& config, const CpuExecutorOptions& options,
                                   const TensorSource* source = nullptr);

// The plan as lines for the start-up log.
std::vector<std::string> memory_plan_lines(const MemoryPlan& plan);

// Bytes this process can still get: MemAvailable, and the limits of its control group. 0: unknown.
int64_t available_memory_bytes();

}  // namespace sparrow
