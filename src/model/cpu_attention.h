#pragma once
// CpuAttention: the attention of one layer for all rows of a plan. Work is cut into tasks once per
// step; every layer then runs them. K and V are read in chunks of 256 tokens counted from position
// 0, each by the same kernel, and partial results are joined in ascending order: the result of a
// row does not depend on how tasks are cut or who runs them.
//
// A task is up to 16 neighbouring rows of one span, all chunks in turn (prompts, and steps with
// enough sequences), or one chunk of one row (few long sequences: their chunks are all the
// parallelism there is).

#include <cstdint>
#include <vector>

#include "base/compute_pool.h"
#include "core/batch_plan.h"
#include "kernels/kernels.h"
#include "model/cpu_kv_cache.h"
#include "model/cpu_workspace.h"
#include "model/model_config.h"

namespace sparrow {

class CpuAttention {
 public:
  CpuAttention(const ModelConfig& config, const WorkspaceSizes& sizes);

  // Cuts the plan into tasks. The plan must outlive the runs.
  void prepare(const BatchPlan& plan);
  // Reads workspace.q and the cache, writes workspace.attended.
  void run(const Kernels& kernels, ComputePool& pool, const CpuKvCache& cache, int32_t layer,
           CpuWorkspace& workspace) const;

 private:
  struct Task {
    int32_t row_begin = 0;  // rows of the plan
    int32_t num_rows = 0;
    int32_t position = 0;             // of the first row
    const BlockId* blocks = nullptr;  // the sequence's block table
    int32_t chunk = -1;               // this chunk only; -1: all
    int32_t split_index = 0;          // where the chunk's partial results go
  };
  // A row whose chunks are tasks of their own: joined when all are done.
  struct SplitRow {
    int32_t row = 0;
    int32_t split_begin = 0;
    int32_t num_chunks = 0;
  };
  struct Layer;  // what the tasks of one run share

  void add_span(const BatchPlan& plan, const Span& span, bool may_split);
  void run_tile(const Layer& layer, const Task& task, int32_t kv_head, int worker) const;
  void run_chunk(const Layer& layer, const Task& task, int32_t kv_head, int worker) const;
  void set_score_bias(const Layer& layer, int32_t kv_head, int32_t chunk, int worker,
                      AttentionArgs& args) const;
  void join_split(const Layer& layer, const SplitRow& split, int32_t head) const;

  // Constant after construction.
  const int32_t num_heads_, num_kv_heads_, group_, head_dim_;
  const float scale_;
  const int64_t partial_floats_;
  const int64_t max_split_chunks_;
  const int64_t num_threads_;

  std::vector<Task> tasks_;
  std::vector<SplitRow> split_rows_;
  int32_t num_split_chunks_ = 0;
};

}  // namespace sparrow
