#pragma once
// CpuForward: the layers of Qwen2 for the rows of one plan, on packed weights and paged KV. Ends
// with the residual stream in workspace.x; the head is CpuHead's. Allocates nothing after
// construction; called by the engine thread, works on all threads of the pool.

#include <cstdint>
#include <vector>

#include "base/compute_pool.h"
#include "core/batch_plan.h"
#include "kernels/kernels.h"
#include "model/cpu_attention.h"
#include "model/cpu_kv_cache.h"
#include "model/cpu_weights.h"
#include "model/cpu_workspace.h"
#include "model/model_config.h"

namespace sparrow {

class CpuForward {
 public:
  CpuForward(const ModelConfig& config, const Kernels& kernels, const WorkspaceSizes& sizes,
             ComputePool& pool);

  // tokens: one id per row of the plan, pending ones resolved.
  void run(const BatchPlan& plan, std::span<const TokenId> tokens, const CpuWeights& weights,
           CpuKvCache& cache, CpuWorkspace& workspace);

 private:
  // Where a row stands: filled once per step.
  struct Row {
    int32_t position = 0;
    BlockId block = kNoBlock;  // that holds the position
  };
  template <typename Body>
  void for_rows(Body&& body);

  void prepare(const BatchPlan& plan, CpuWorkspace& workspace);
  void embed(std::span<const TokenId> tokens, const CpuWeights& weights, CpuWorkspace& workspace);
  void normalise(const std::vector<float>& gain, bool quantized, CpuWorkspace& workspace);
  void run_attention(int32_t index, const CpuLayerWeights& layer, CpuKvCache& cache,
                     CpuWorkspace& workspace);
  void run_ffn(const CpuLayerWeights& layer, CpuWorkspace& workspace);

  const ModelConfig config_;
  const Kernels& kernels_;
  ComputePool& pool_;
  const std::vector<float> frequencies_;  // [D / 2]
  CpuAttention attention_;
  std::vector<Row> rows_;
};

}  // namespace sparrow
