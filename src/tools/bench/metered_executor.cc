#include "tools/bench/metered_executor.h"

#include <algorithm>

namespace sparrow {

MeteredExecutor::MeteredExecutor(Executor& executor, const BenchCost& cost,
                                 const MachineLimits& limits)
    : executor_(executor), cost_(cost), limits_(limits) {}

Ticket MeteredExecutor::begin(const BatchPlan& plan) {
  const StepWork work = work_of(plan, cost_);
  const double memory_s = memory_seconds(work, limits_);
  const double limit_s = limit_seconds(work, limits_);
  ++totals_.num_steps;
  totals_.num_spans += static_cast<int64_t>(plan.spans.size());
  totals_.work.add(work);
  totals_.limit_s += limit_s;
  if (memory_s >= limit_s) totals_.bandwidth_s += limit_s;
  return executor_.begin(plan);
}

const StepResult& MeteredExecutor::wait(Ticket ticket) {
  const StepResult& result = executor_.wait(ticket);
  totals_.executor_s += static_cast<double>(std::max<int64_t>(result.elapsed_ns, 0)) * 1e-9;
  return result;
}

}  // namespace sparrow
