#pragma once
// GpuStepRunner: brings the forward pass of a step onto the stream: makes the attention work list,
// uploads the step's data, and launches either the kernels one by one or the CUDA graph captured for
// a batch of that size. Engine thread.

#include <memory>
#include <vector>

#include "base/status.h"
#include "core/batch_plan.h"
#include "model/cuda/attention_split_plan.h"
#include "model/cuda/gpu_forward.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/gpu_step_data.h"
#include "model/cuda/graph_buckets.h"

namespace sparrow {

class GpuStepRunner {
 public:
  // data_bytes of device memory hold the data of any step. The references outlive it.
  GpuStepRunner(GpuDevice& device, GpuForward& forward, GpuStaging& staging, GpuBuffer data,
                const AttentionSplitLimits& limits, int32_t max_graph_rows);

  // A graph for each bucket, logits of all its rows included, into `logits`.
  Status capture_graphs(float* logits);
  int32_t num_graphs() const { return static_cast<int32_t>(graphs_.size()); }

  struct Run {
    const int32_t* token_ids = nullptr;  // device memory, by row of the plan
    bool has_logits = false;             // of all rows, in order
  };
  Result<Run> queue(const BatchPlan& plan);

  // Largest piece that goes through the staging.
  static size_t max_data_bytes(const AttentionSplitLimits& limits, int64_t max_block_ids,
                               int32_t max_graph_rows);

 private:
  static GpuStepShape graph_shape(const AttentionSplitLimits& limits, int32_t rows);
  // Every sequence one token, sampled: what graphs are for.
  bool is_decode(const BatchPlan& plan) const;
  Status upload(const BatchPlan& plan, const AttentionSplitPlan& attention,
                const GpuStepShape& shape);

  GpuDevice& device_;
  GpuForward& forward_;
  GpuStaging& staging_;
  GpuBuffer data_;
  AttentionSplitPlanner planner_;
  GraphBuckets buckets_;
  int32_t max_graph_rows_;
  std::vector<std::unique_ptr<GpuGraph>> graphs_;  // by bucket
};

}  // namespace sparrow
