#include "api/status_metrics.h"

#include <algorithm>
#include <limits>

namespace sparrow::api {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

}  // namespace

StatusMetrics::StatusMetrics(MetricsRegistry& registry, const std::string& version)
    : registry_(registry),
      process_(registry),
      memory_share_(registry.gauge("deepseek_gpu_memory_percent",
                                   "Memory in use over the memory there is, 0 to 1: of the GPU, by "
                                   "everybody; without a GPU of the process, over its budget")),
      is_stuck_(registry.gauge("sparrow_engine_stuck",
                               "1 while a step takes longer than the watchdog allows")) {
  registry.gauge("sparrow_build_info", "The running version, as a label", {{"version", version}})
      .set(1);
}

void StatusMetrics::refresh(bool is_stuck) {
  process_.refresh();
  is_stuck_.set(is_stuck ? 1 : 0);
}

void StatusMetrics::refresh_engines(const std::vector<bool>& is_up) {
  if (is_up.size() < 2) return;
  while (engines_up_.size() < is_up.size()) {
    engines_up_.push_back(&registry_.gauge("sparrow_engine_up",
                                           "1 while the engine takes requests; 0: stuck, failing "
                                           "or given up, and others get them",
                                           {{"engine", std::to_string(engines_up_.size())}}));
  }
  for (size_t i = 0; i < is_up.size(); ++i) engines_up_[i]->set(is_up[i] ? 1 : 0);
}

void StatusMetrics::refresh_memory(int64_t budget_bytes) {
  const double budget = static_cast<double>(budget_bytes);
  memory_share_.set(budget > 0 ? std::min(1.0, process_.resident_bytes() / budget) : 0);
}

void StatusMetrics::refresh_device(const ReadDeviceHealth& read, TimePoint now) {
  if (device_read_at_ && now - *device_read_at_ < kDeviceHealthPeriod) return;
  device_read_at_ = now;
  const DeviceHealth health = read().value_or(DeviceHealth{});
  memory_share_.set(health.memory_share.value_or(kUnknown));
  if (temperature_c_ == nullptr && health.temperature_c) {
    temperature_c_ =
        &registry_.gauge("sparrow_gpu_temperature_celsius", "Temperature of the GPU's die");
  }
  if (temperature_c_ != nullptr) temperature_c_->set(health.temperature_c.value_or(kUnknown));
  if (power_w_ == nullptr && health.power_w) {
    power_w_ = &registry_.gauge("sparrow_gpu_power_watts", "Power that the GPU's board draws");
  }
  if (power_w_ != nullptr) power_w_->set(health.power_w.value_or(kUnknown));
}

}  // namespace sparrow::api
