#pragma once
// GpuStepRunner: brings the forward pass of a step onto the stream: makes the attention work list,
// uploads the step's data, and launches either the kernels one by one or the CUDA graph captured
// for a batch of that size. Engine thread.

#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "core/batch_plan.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/plans/attention_split_plan.h"
#include "model/cuda/plans/gpu_step_data.h"
#include "model/cuda/plans/gpu_workspace_layout.h"
#include "model/cuda/plans/graph_buckets.h"

namespace sparrow {

class GpuStepRunner {
 public:
  // `data`: device memory for the data of any step (gpu_workspace_layout.h), its address frozen in
  // the graphs. The references outlive it.
  GpuStepRunner(GpuDevice& device, GpuForward& forward, GpuStaging& staging, void* data,
                const GpuWorkspaceSizes& sizes);

  // A graph for each bucket, logits of all its rows included, into `logits`.
  Status capture_graphs(float* logits);

  // For trials: the step of `plan`, one token a sequence, uploaded and captured; and how long one
  // replay of it takes, its wait included.
  Result<std::unique_ptr<GpuGraph>> prepare_decode(const BatchPlan& plan, float* logits);
  Result<double> replay_us(GpuGraph& graph);

  struct Run {
    const int32_t* token_ids = nullptr;  // device memory, by row of the plan
    bool has_logits = false;             // of all rows, in order
  };
  Result<Run> queue(const BatchPlan& plan);

 private:
  Result<std::unique_ptr<GpuGraph>> capture(int32_t rows, float* logits);
  GpuStepShape graph_shape(int32_t rows) const;
  // Every sequence one token, sampled: what graphs are for.
  bool is_decode(const BatchPlan& plan) const;
  std::span<const AttentionCombineItem> combines_of(const AttentionSplitPlan& attention) const;
  Status upload(const BatchPlan& plan, const AttentionSplitPlan& attention,
                const GpuStepShape& shape);

  GpuDevice& device_;
  GpuForward& forward_;
  GpuStaging& staging_;
  void* data_;
  AttentionSplitPlanner planner_;
  int32_t max_graph_rows_;
  GraphBuckets buckets_;
  std::vector<std::unique_ptr<GpuGraph>> graphs_;  // by bucket
};

}  // namespace sparrow
