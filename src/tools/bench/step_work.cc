#include "tools/bench/step_work.h"

#include <algorithm>

namespace sparrow {
namespace {

double time_at(double amount, double rate) { return rate > 0 ? amount / rate : 0; }

}  // namespace

void StepWork::add(const StepWork& other) {
  tokens += other.tokens;
  bytes += other.bytes;
  ops += other.ops;
  attention_ops += other.attention_ops;
}

StepWork work_of(const BatchPlan& plan, const BenchCost& cost) {
  StepWork work;
  if (plan.empty()) return work;
  work.bytes = cost.weight_bytes_per_step;
  for (const Span& span : plan.spans) {
    const double count = span.num_tokens;
    const double before = span.first_position;
    work.tokens += count;
    work.bytes += (before + count) * cost.kv_bytes_per_token;
    work.ops += count * cost.ops_per_token + span.num_logit_rows * cost.ops_per_logit_row;
    // Each token looks at those before it and at itself.
    work.attention_ops += cost.attention_ops_per_context * count * (before + (count + 1) / 2);
  }
  return work;
}

double memory_seconds(const StepWork& work, const MachineLimits& limits) {
  return time_at(work.bytes, limits.read_bytes_per_s);
}

double compute_seconds(const StepWork& work, const MachineLimits& limits) {
  return time_at(work.ops, limits.ops_per_s) +
         time_at(work.attention_ops, limits.attention_ops_per_s);
}

double limit_seconds(const StepWork& work, const MachineLimits& limits) {
  return std::max(memory_seconds(work, limits), compute_seconds(work, limits));
}

}  // namespace sparrow
