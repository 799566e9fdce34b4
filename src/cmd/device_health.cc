#include "cmd/device_health.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sparrow {
namespace {

api::DeviceHealth shown(const GpuHealth& health) {
  api::DeviceHealth out;
  if (health.memory) {
    out.memory_share = static_cast<double>(health.memory->used_bytes) /
                       static_cast<double>(health.memory->total_bytes);
  }
  if (health.temperature_c) out.temperature_c = *health.temperature_c;
  out.power_w = health.power_w;
  return out;
}

}  // namespace

api::ReadDeviceHealth device_health_reader(const std::string& pci_bus_id, const char* library) {
  if (pci_bus_id.empty()) return {};
  auto opened = GpuHealthReader::open(pci_bus_id, library);
  if (!opened.ok()) {
    log_warning("/metrics has no memory, temperature and power of the GPU: {}", opened.message());
    return [] { return std::optional<api::DeviceHealth>(); };
  }
  std::shared_ptr<GpuHealthReader> reader = std::move(opened).value();
  return [reader, was_ok = true]() mutable -> std::optional<api::DeviceHealth> {
    const Result<GpuHealth> health = reader->read();
    if (!health.ok() && was_ok) log_error("GPU: {}", health.message());
    was_ok = health.ok();
    if (!health.ok()) return std::nullopt;
    return shown(*health);
  };
}

api::ReadDeviceHealth worst_device_health(std::vector<api::ReadDeviceHealth> cards) {
  if (cards.empty() || !cards.front()) return {};
  if (cards.size() == 1) return std::move(cards.front());
  return [cards = std::move(cards)]() -> std::optional<api::DeviceHealth> {
    std::optional<api::DeviceHealth> all;
    // An absent figure is less than any.
    for (const api::ReadDeviceHealth& read : cards) {
      const std::optional<api::DeviceHealth> one = read();
      if (!one) continue;
      if (!all) all.emplace();
      all->memory_share = std::max(all->memory_share, one->memory_share);
      all->temperature_c = std::max(all->temperature_c, one->temperature_c);
      if (one->power_w) all->power_w = all->power_w.value_or(0) + *one->power_w;
    }
    return all;
  };
}

}  // namespace sparrow
