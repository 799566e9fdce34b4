#pragma once
// How large the CPU executor's workspace is for given options. Pure.

#include <algorithm>

#include "model/cpu_memory_plan.h"
#include "model/cpu_workspace.h"

namespace sparrow {

// Bounds the memory of split attention (14 MB for R1-distill-1.5B); a longer sequence is not split.
inline constexpr int64_t kMaxSplitChunks = 2048;

inline WorkspaceSizes workspace_sizes(const CpuExecutorOptions& options, const MemoryPlan& plan) {
  WorkspaceSizes sizes;
  sizes.max_rows = options.max_batch_tokens;
  sizes.max_logit_rows = std::min(options.max_logit_rows, options.max_batch_tokens);
  sizes.num_threads = plan.num_threads;
  const int64_t chunks = (plan.max_context + kAttentionChunk - 1) / kAttentionChunk;
  sizes.max_split_chunks = std::min(chunks * 2 * plan.num_threads, kMaxSplitChunks);
  return sizes;
}

}  // namespace sparrow
