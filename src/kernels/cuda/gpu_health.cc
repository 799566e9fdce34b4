#include "kernels/cuda/gpu_health.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "kernels/cuda/nvml_abi.h"

namespace sparrow {
namespace {

// The sentence dlopen left, of which the first line says enough.
std::string loader_error() {
  const char* text = ::dlerror();
  return text == nullptr ? "unknown reason" : text;
}

int64_t to_bytes(unsigned long long bytes) {
  constexpr unsigned long long kMost = std::numeric_limits<int64_t>::max();
  return static_cast<int64_t>(std::min(bytes, kMost));
}

std::string throttle_text(unsigned long long reasons) {
  constexpr std::pair<unsigned long long, const char*> kReasons[] = {
      {nvml::kSoftwarePowerCap, "power cap"},
      {nvml::kSoftwareThermalSlowdown | nvml::kHardwareThermalSlowdown, "heat"},
      {nvml::kPowerBrake, "power brake of the machine"},
      {nvml::kSyncBoost, "a group of cards that share a clock"},
  };
  std::vector<const char*> found;
  for (const auto& [bits, name] : kReasons) {
    if ((reasons & bits) != 0) found.push_back(name);
  }
  // Heat and the brake set this bit, too.
  if ((reasons & nvml::kHardwareSlowdown) != 0 && found.empty())
    found.push_back("hardware slowdown");
  return fmt::format("{}", fmt::join(found, ", "));
}

}  // namespace

// The library, the card in it, and the calls it has: null where it lacks one.
struct GpuHealthReader::Library {
  explicit Library(void* handle) : handle_(handle) {}
  ~Library() {
    if (started_) (void)shutdown_();
    (void)::dlclose(handle_);
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  Status start(const std::string& pci_bus_id, const char* library);
  // True: the figure is there. A card that is gone becomes the error of the whole reading; anything
  // else (not supported, not permitted) is a figure less.
  bool answered(nvml::Code code);

  template <typename Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(::dlsym(handle_, name));
  }
  std::string text_of(nvml::Code code) const;
  void read_memory(GpuHealth& health);
  void read_sensors(GpuHealth& health);
  void read_processes(GpuHealth& health);

  void* const handle_;
  bool started_ = false;
  nvml::Device device_ = nullptr;
  Status lost_ = ok_status();  // of the reading at hand

  nvml::Init init_ = nullptr;
  nvml::Shutdown shutdown_ = nullptr;
  nvml::ErrorString error_string_ = nullptr;
  nvml::GetHandleByPciBusId handle_by_pci_bus_id_ = nullptr;
  nvml::GetMemoryInfo memory_info_ = nullptr;
  nvml::GetTemperature temperature_ = nullptr;
  nvml::GetPowerUsage power_usage_ = nullptr;
  nvml::GetClockInfo clock_info_ = nullptr;
  nvml::GetClocksEventReasons clocks_event_reasons_ = nullptr;
  nvml::GetProcesses processes_ = nullptr;
};

std::string GpuHealthReader::Library::text_of(nvml::Code code) const {
  const char* text = error_string_ == nullptr ? nullptr : error_string_(code);
  return fmt::format("{} (NVML error {})", text == nullptr ? "unknown" : text, code);
}

Status GpuHealthReader::Library::start(const std::string& pci_bus_id, const char* library) {
  find(init_, "nvmlInit_v2");
  find(shutdown_, "nvmlShutdown");
  find(error_string_, "nvmlErrorString");
  find(handle_by_pci_bus_id_, "nvmlDeviceGetHandleByPciBusId_v2");
  if (init_ == nullptr || shutdown_ == nullptr || handle_by_pci_bus_id_ == nullptr) {
    return unavailable(fmt::format(
        "{} lacks nvmlInit_v2, nvmlShutdown or nvmlDeviceGetHandleByPciBusId_v2", library));
  }
  if (const nvml::Code code = init_(); code != nvml::kSuccess) {
    return unavailable(fmt::format("{} does not start: {}", library, text_of(code)));
  }
  started_ = true;
  if (const nvml::Code code = handle_by_pci_bus_id_(pci_bus_id.c_str(), &device_);
      code != nvml::kSuccess) {
    return unavailable(
        fmt::format("{} has no card at PCI {}: {}", library, pci_bus_id, text_of(code)));
  }
  find(memory_info_, "nvmlDeviceGetMemoryInfo");
  find(temperature_, "nvmlDeviceGetTemperature");
  find(power_usage_, "nvmlDeviceGetPowerUsage");
  find(clock_info_, "nvmlDeviceGetClockInfo");
  find(clocks_event_reasons_, "nvmlDeviceGetCurrentClocksEventReasons");
  if (clocks_event_reasons_ == nullptr) {
    find(clocks_event_reasons_, "nvmlDeviceGetCurrentClocksThrottleReasons");
  }
  find(processes_, "nvmlDeviceGetComputeRunningProcesses_v3");
  return ok_status();
}

bool GpuHealthReader::Library::answered(nvml::Code code) {
  if ((code == nvml::kGpuIsLost || code == nvml::kResetRequired) && lost_.ok()) {
    lost_ = unavailable(fmt::format("the GPU cannot be used any more: {}", text_of(code)));
  }
  return code == nvml::kSuccess;
}

void GpuHealthReader::Library::read_memory(GpuHealth& health) {
  nvml::Memory memory = {};
  if (memory_info_ == nullptr || !answered(memory_info_(device_, &memory))) return;
  if (memory.total == 0) return;
  GpuMemoryUse& use = health.memory.emplace();
  use.total_bytes = to_bytes(memory.total);
  use.free_bytes = std::min(to_bytes(memory.free), use.total_bytes);
  use.used_bytes = std::min(to_bytes(memory.used), use.total_bytes);
}

void GpuHealthReader::Library::read_sensors(GpuHealth& health) {
  unsigned int value = 0;
  if (temperature_ != nullptr && answered(temperature_(device_, nvml::kTemperatureGpu, &value))) {
    health.temperature_c = static_cast<int32_t>(value);
  }
  if (power_usage_ != nullptr && answered(power_usage_(device_, &value))) {
    constexpr double kWattsPerMilliwatt = 1e-3;
    health.power_w = value * kWattsPerMilliwatt;
  }
  if (clock_info_ != nullptr && answered(clock_info_(device_, nvml::kClockSm, &value))) {
    health.sm_clock_mhz = static_cast<int32_t>(value);
  }
  unsigned long long reasons = 0;
  if (clocks_event_reasons_ != nullptr && answered(clocks_event_reasons_(device_, &reasons))) {
    health.throttle = throttle_text(reasons);
  }
}

void GpuHealthReader::Library::read_processes(GpuHealth& health) {
  if (processes_ == nullptr) return;
  std::vector<nvml::ProcessInfo> found(kMaxGpuProcesses);
  auto count = static_cast<unsigned int>(found.size());
  if (!answered(processes_(device_, &count, found.data()))) return;  // more than fit: none
  found.resize(std::min<size_t>(count, found.size()));
  for (const nvml::ProcessInfo& process : found) {
    GpuProcess& next = health.processes.emplace_back();
    next.pid = process.pid;
    if (process.used_gpu_memory != nvml::kNotAvailable) {
      next.bytes = to_bytes(process.used_gpu_memory);
    }
  }
  std::stable_sort(health.processes.begin(), health.processes.end(),
                   [](const GpuProcess& a, const GpuProcess& b) {
                     return a.bytes.value_or(0) > b.bytes.value_or(0);
                   });
}

GpuHealthReader::GpuHealthReader(std::unique_ptr<Library> library) : library_(std::move(library)) {}
GpuHealthReader::~GpuHealthReader() = default;

Result<std::unique_ptr<GpuHealthReader>> GpuHealthReader::open(const std::string& pci_bus_id,
                                                               const char* library) {
  void* const handle = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    return unavailable(
        fmt::format("NVIDIA's management library cannot be opened: {} (a container needs the "
                    "driver capability \"utility\")",
                    loader_error()));
  }
  auto opened = std::make_unique<Library>(handle);
  RETURN_IF_ERROR(opened->start(pci_bus_id, library));
  return std::unique_ptr<GpuHealthReader>(new GpuHealthReader(std::move(opened)));
}

Result<GpuHealth> GpuHealthReader::read() {
  library_->lost_ = ok_status();
  GpuHealth health;
  library_->read_memory(health);
  library_->read_sensors(health);
  library_->read_processes(health);
  RETURN_IF_ERROR(library_->lost_);
  return health;
}

}  // namespace sparrow
