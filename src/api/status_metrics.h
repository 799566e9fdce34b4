#pragma once
// StatusMetrics: what is looked up only when somebody scrapes: the process, the build, whether the
// engine hangs, article 3's memory gauge, and a GPU's temperature and power. One scrape at a time.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/api_options.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/process_metrics.h"

namespace sparrow::api {

// A device is asked at most once in this time: scrapes cost the card's driver nothing.
constexpr Duration kDeviceHealthPeriod = std::chrono::seconds(10);

class StatusMetrics {
 public:
  StatusMetrics(MetricsRegistry& registry, const std::string& version);
  void refresh(bool is_stuck);
  // Of several engines, which take requests; a single one says so by sparrow_engine_stuck and the
  // breaker's state.
  void refresh_engines(const std::vector<bool>& is_up);
  // The memory gauge, after refresh(): of a GPU, whose other gauges appear with the first figure. A
  // figure that is unknown now is NaN, which dashboards show as a gap.
  void refresh_device(const ReadDeviceHealth& read, TimePoint now);
  // Without one, of this process. `budget_bytes`: what the memory plan was held against; 0:
  // unknown.
  void refresh_memory(int64_t budget_bytes);

 private:
  MetricsRegistry& registry_;
  ProcessMetrics process_;
  Gauge& memory_share_;
  Gauge& is_stuck_;
  std::vector<Gauge*> engines_up_;
  Gauge* temperature_c_ = nullptr;
  Gauge* power_w_ = nullptr;
  std::optional<TimePoint> device_read_at_;
};

}  // namespace sparrow::api
