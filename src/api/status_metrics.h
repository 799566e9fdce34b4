#pragma once
// StatusMetrics: what is looked up only when somebody scrapes: the process, the build, whether the
// engine hangs, article 3's memory gauge, and a GPU's temperature and power. One scrape at a time.

#include <cstdint>
#include <optional>
#include <string>

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
  Gauge* temperature_c_ = nullptr;
  Gauge* power_w_ = nullptr;
  std::optional<TimePoint> device_read_at_;
};

}  // namespace sparrow::api
