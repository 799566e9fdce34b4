// A stand-in for libnvidia-ml.so.1, built as a shared object of its own, with settable answers. It
// writes by offsets of NVML's API reference, not through our declarations of its structs, so that
// the test sees where those differ. FAKE_NVML_BARE: only the calls that everything needs;
// FAKE_NVML_OLD_NAMES: a driver older than 535.

#include <cstdint>
#include <cstring>

namespace {

struct Answers {
  int code = 0;       // of every figure
  int init_code = 0;  // of nvmlInit_v2
  unsigned long long total = 0, free = 0, used = 0;
  unsigned int temperature_c = 0, power_mw = 0, sm_clock_mhz = 0;
  unsigned long long clock_reasons = 0;
  unsigned int num_processes = 0;      // written, as far as they fit
  unsigned int claimed_processes = 0;  // said to be written; 0: the truth
  unsigned long long process_bytes = 0;
  int num_open = 0;  // nvmlInit_v2 less nvmlShutdown
} answers;

constexpr const char* kBusId = "0000:3B:00.0";
char device;  // its address is the handle

[[maybe_unused]] void put(void* base, size_t offset, const void* value, size_t bytes) {
  std::memcpy(static_cast<unsigned char*>(base) + offset, value, bytes);
}

}  // namespace

extern "C" {

void fake_nvml_reset() { answers = {}; }
void fake_nvml_set_codes(int init_code, int code) {
  answers.init_code = init_code;
  answers.code = code;
}
void fake_nvml_set_memory(unsigned long long total, unsigned long long free,
                          unsigned long long used) {
  answers.total = total;
  answers.free = free;
  answers.used = used;
}
void fake_nvml_set_sensors(unsigned int temperature_c, unsigned int power_mw,
                           unsigned int sm_clock_mhz, unsigned long long clock_reasons) {
  answers.temperature_c = temperature_c;
  answers.power_mw = power_mw;
  answers.sm_clock_mhz = sm_clock_mhz;
  answers.clock_reasons = clock_reasons;
}
// Process i has the id 1000 + i and bytes * (i + 1).
void fake_nvml_set_processes(unsigned int count, unsigned int claimed, unsigned long long bytes) {
  answers.num_processes = count;
  answers.claimed_processes = claimed;
  answers.process_bytes = bytes;
}
int fake_nvml_num_open() { return answers.num_open; }

int nvmlInit_v2() {
  if (answers.init_code == 0) ++answers.num_open;
  return answers.init_code;
}
int nvmlShutdown() {
  --answers.num_open;
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus_id, void** handle) {
  if (std::strcmp(bus_id, kBusId) != 0) return 6;  // NVML_ERROR_NOT_FOUND
  *handle = &device;
  return 0;
}

#ifndef FAKE_NVML_BARE
const char* nvmlErrorString(int code) {
  if (code == 15) return "GPU is lost";
  return code == 9 ? "Driver Not Loaded" : nullptr;
}
int nvmlDeviceGetMemoryInfo(void* handle, void* memory) {
  if (handle != &device) return 2;
  put(memory, 0, &answers.total, 8);
  put(memory, 8, &answers.free, 8);
  put(memory, 16, &answers.used, 8);
  return answers.code;
}
int nvmlDeviceGetTemperature(void* handle, int sensor, unsigned int* celsius) {
  if (handle != &device || sensor != 0) return 2;
  *celsius = answers.temperature_c;
  return answers.code;
}
int nvmlDeviceGetPowerUsage(void* handle, unsigned int* milliwatts) {
  if (handle != &device) return 2;
  *milliwatts = answers.power_mw;
  return answers.code;
}
int nvmlDeviceGetClockInfo(void* handle, int type, unsigned int* mhz) {
  if (handle != &device || type != 1) return 2;
  *mhz = answers.sm_clock_mhz;
  return answers.code;
}
#ifdef FAKE_NVML_OLD_NAMES
#define FAKE_NVML_REASONS nvmlDeviceGetCurrentClocksThrottleReasons
#else
#define FAKE_NVML_REASONS nvmlDeviceGetCurrentClocksEventReasons
#endif
int FAKE_NVML_REASONS(void* handle, unsigned long long* reasons) {
  if (handle != &device) return 2;
  *reasons = answers.clock_reasons;
  return answers.code;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void* handle, unsigned int* count, void* processes) {
  if (handle != &device) return 2;
  const unsigned int room = *count;
  const unsigned int written = answers.num_processes < room ? answers.num_processes : room;
  for (unsigned int i = 0; i < written; ++i) {
    const unsigned int pid = 1000 + i, no_instance = ~0u;
    const unsigned long long bytes =
        answers.process_bytes == ~0ull ? ~0ull : answers.process_bytes * (i + 1);
    const size_t at = size_t{24} * i;
    put(processes, at, &pid, 4);
    put(processes, at + 8, &bytes, 8);
    put(processes, at + 16, &no_instance, 4);
    put(processes, at + 20, &no_instance, 4);
  }
  *count = answers.claimed_processes > 0 ? answers.claimed_processes : answers.num_processes;
  if (answers.num_processes > room) return 7;  // NVML_ERROR_INSUFFICIENT_SIZE
  return answers.code;
}
#endif

}  // extern "C"
