#include "api/status_metrics.h"

#include <algorithm>

namespace sparrow::api {

StatusMetrics::StatusMetrics(MetricsRegistry& registry, const std::string& version)
    : process_(registry),
      memory_share_(registry.gauge("deepseek_gpu_memory_percent",
                                   "Memory in use over the memory budget, 0 to 1; without a GPU "
                                   "that of the process")),
      is_stuck_(registry.gauge("sparrow_engine_stuck",
                               "1 while a step takes longer than the watchdog allows")) {
  registry.gauge("sparrow_build_info", "The running version, as a label", {{"version", version}})
      .set(1);
}

void StatusMetrics::refresh(int64_t memory_budget_bytes, bool is_stuck) {
  process_.refresh();
  const double budget = static_cast<double>(memory_budget_bytes);
  memory_share_.set(budget > 0 ? std::min(1.0, process_.resident_bytes() / budget) : 0);
  is_stuck_.set(is_stuck ? 1 : 0);
}

}  // namespace sparrow::api
