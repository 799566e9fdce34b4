#pragma once
// GpuHealth: how a card is, as the driver's management library (NVML) tells it: memory in use by
// everybody, who holds it, temperature, power, clock. The library is opened by name when asked for,
// never linked: a machine without a driver gets a sentence instead.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"

namespace sparrow {

// Of the whole device, whoever uses it. used <= total.
struct GpuMemoryUse {
  int64_t total_bytes = 0;
  int64_t free_bytes = 0;
  int64_t used_bytes = 0;
};

struct GpuProcess {
  int64_t pid = 0;               // as the driver counts them: in a container not ours
  std::optional<int64_t> bytes;  // absent: the driver does not know or does not tell
};

// What a card, a driver or a container does not tell is absent.
struct GpuHealth {
  std::optional<GpuMemoryUse> memory;
  std::optional<int32_t> temperature_c;  // degrees Celsius, of the GPU's die
  std::optional<double> power_w;
  std::optional<int32_t> sm_clock_mhz;
  // Why clocks are lower than they could be: "power cap, heat". Empty: nothing holds them back.
  std::optional<std::string> throttle;
  std::vector<GpuProcess> processes;  // that compute; the largest first, at most kMaxGpuProcesses
};

constexpr size_t kMaxGpuProcesses = 1024;
// As the driver installs it. Looked for like any other library.
constexpr const char* kNvmlLibrary = "libnvidia-ml.so.1";

// One card's figures. Any one thread at a time.
class GpuHealthReader {
 public:
  // pci_bus_id: of GpuDeviceInfo. Errors (kUnavailable): no library, one that lacks the few calls
  // that everything needs, a driver that refuses, no such card.
  static Result<std::unique_ptr<GpuHealthReader>> open(const std::string& pci_bus_id,
                                                       const char* library = kNvmlLibrary);
  ~GpuHealthReader();
  GpuHealthReader(const GpuHealthReader&) = delete;
  GpuHealthReader& operator=(const GpuHealthReader&) = delete;

  // Takes well under a millisecond by NVIDIA's account; no kernel waits for it. Errors
  // (kUnavailable): the card is lost or wants a reset.
  Result<GpuHealth> read();

 private:
  struct Library;
  explicit GpuHealthReader(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace sparrow
