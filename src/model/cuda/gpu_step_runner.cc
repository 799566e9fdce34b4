#include "model/cuda/gpu_step_runner.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"

namespace sparrow {

GpuStepRunner::GpuStepRunner(GpuDevice& device, GpuForward& forward, GpuStaging& staging,
                             void* data, const GpuWorkspaceSizes& sizes)
    : device_(device),
      forward_(forward),
      staging_(staging),
      data_(data),
      planner_(sizes.attention),
      max_graph_rows_(sizes.max_graph_rows),
      buckets_(std::max(sizes.max_graph_rows, 1)) {}

GpuStepShape GpuStepRunner::graph_shape(int32_t rows) const {
  return {rows, static_cast<int32_t>(planner_.limits().items_for_bucket(rows)),
          forward_.wants_combine() ? rows : 0};
}

Status GpuStepRunner::capture_graphs(float* logits) {
  CHECK(max_graph_rows_ > 0);
  for (const int32_t rows : buckets_.sizes()) {
    ASSIGN_OR_RETURN(std::unique_ptr<GpuGraph> graph, capture(rows, logits));
    graphs_.push_back(std::move(graph));
  }
  return ok_status();
}

Result<std::unique_ptr<GpuGraph>> GpuStepRunner::capture(int32_t rows, float* logits) {
  RETURN_IF_ERROR(device_.begin_capture());
  forward_.queue_layers(GpuStepData::in_memory(data_, graph_shape(rows)), 1);
  forward_.queue_logits(nullptr, rows, logits);
  return device_.end_capture();
}

Result<std::unique_ptr<GpuGraph>> GpuStepRunner::prepare_decode(const BatchPlan& plan,
                                                                float* logits) {
  const int32_t rows = buckets_.bucket_for(plan.num_tokens());
  RETURN_IF_ERROR(upload(plan, planner_.plan_for_bucket(plan.spans, rows), graph_shape(rows)));
  RETURN_IF_ERROR(device_.synchronize());
  return capture(rows, logits);
}

Result<double> GpuStepRunner::replay_us(GpuGraph& graph) {
  const auto begin = std::chrono::steady_clock::now();
  device_.launch(graph);
  RETURN_IF_ERROR(device_.synchronize());
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin)
      .count();
}

bool GpuStepRunner::is_decode(const BatchPlan& plan) const {
  if (plan.num_tokens() > max_graph_rows_) return false;
  return std::all_of(plan.spans.begin(), plan.spans.end(), [](const Span& span) {
    return span.num_tokens == 1 && span.num_logit_rows == 1;
  });
}

std::span<const AttentionCombineItem> GpuStepRunner::combines_of(
    const AttentionSplitPlan& attention) const {
  if (!forward_.wants_combine()) return {};
  return attention.combines;
}

Status GpuStepRunner::upload(const BatchPlan& plan, const AttentionSplitPlan& attention,
                             const GpuStepShape& shape) {
  const size_t bytes = GpuStepData::bytes_of(shape, plan.block_ids.size());
  ASSIGN_OR_RETURN(void* pinned, staging_.take(bytes));
  write_step_data(plan, attention.items, combines_of(attention),
                  GpuStepData::in_memory(pinned, shape));
  staging_.commit(data_, bytes);
  return ok_status();
}

Result<GpuStepRunner::Run> GpuStepRunner::queue(const BatchPlan& plan) {
  Run run;
  if (!graphs_.empty() && is_decode(plan)) {
    const auto index = static_cast<size_t>(buckets_.index_for(plan.num_tokens()));
    const int32_t rows = buckets_.sizes()[index];
    const GpuStepShape shape = graph_shape(rows);
    RETURN_IF_ERROR(upload(plan, planner_.plan_for_bucket(plan.spans, rows), shape));
    device_.launch(*graphs_[index]);
    run.token_ids = GpuStepData::in_memory(data_, shape).token_ids;
    run.has_logits = true;
    return run;
  }
  const AttentionSplitPlan& attention = planner_.plan(plan.spans);
  const GpuStepShape shape{plan.num_tokens(), static_cast<int32_t>(attention.items.size()),
                           static_cast<int32_t>(combines_of(attention).size())};
  RETURN_IF_ERROR(upload(plan, attention, shape));
  const GpuStepData data = GpuStepData::in_memory(data_, shape);
  int32_t max_item_rows = 1;
  for (const AttentionItem& item : attention.items) {
    max_item_rows = std::max(max_item_rows, item.num_rows);
  }
  forward_.queue_layers(data, max_item_rows);
  run.token_ids = data.token_ids;
  return run;
}

}  // namespace sparrow
