#pragma once
// StatusMetrics: what is looked up only when somebody scrapes: the process, the build, whether the
// engine hangs, and article 3's memory gauge. One scrape at a time.

#include <cstdint>
#include <string>

#include "base/metrics.h"
#include "base/process_metrics.h"

namespace sparrow::api {

class StatusMetrics {
 public:
  StatusMetrics(MetricsRegistry& registry, const std::string& version);
  // `memory_budget_bytes`: what the memory plan was held against; 0: unknown.
  void refresh(int64_t memory_budget_bytes, bool is_stuck);

 private:
  ProcessMetrics process_;
  Gauge& memory_share_;
  Gauge& is_stuck_;
};

}  // namespace sparrow::api
