#include "kernels/cuda/gpu_memory_holders.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace sparrow {
namespace {

constexpr size_t kMaxNamed = 4;  // the message stays one line

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

}  // namespace

std::string memory_holders_text(const GpuHealth& health, int64_t own_pid) {
  std::string text;
  const size_t num_named = std::min(health.processes.size(), kMaxNamed);
  for (size_t i = 0; i < num_named; ++i) {
    const GpuProcess& process = health.processes[i];
    text += fmt::format("{}PID {}{} holds {}", i == 0 ? "" : ", ", process.pid,
                        process.pid == own_pid ? " (this process)" : "",
                        process.bytes ? gigabytes(*process.bytes) : "an unknown share");
  }
  if (num_named == health.processes.size()) return text;
  double rest_bytes = 0;  // floating: sums of what a driver says must not overflow
  for (size_t i = num_named; i < health.processes.size(); ++i) {
    rest_bytes += static_cast<double>(health.processes[i].bytes.value_or(0));
  }
  return text + fmt::format(" and {} more hold {:.2f} GB", health.processes.size() - num_named,
                            rest_bytes / 1e9);
}

Status with_memory_holders(Status status, const std::string& pci_bus_id, const char* library) {
  if (status.code() != StatusCode::kResourceExhausted || pci_bus_id.empty()) return status;
  const auto reader = GpuHealthReader::open(pci_bus_id, library);
  if (!reader.ok()) return status;
  const Result<GpuHealth> health = (*reader)->read();
  if (!health.ok()) return status;
  const std::string holders = memory_holders_text(*health, ::getpid());
  if (holders.empty()) return status;
  return resource_exhausted(fmt::format("{}. On the card: {}", status.message(), holders));
}

}  // namespace sparrow
