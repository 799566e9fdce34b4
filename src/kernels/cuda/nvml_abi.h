#pragma once
// The few C declarations of NVIDIA's management library (libnvidia-ml.so.1) that gpu_health.cc
// calls, so that building needs no header of it and starting needs no library. Numbers, layouts and
// signatures as in the "NVML API Reference Guide" (docs.nvidia.com/deploy/nvml-api), where they are
// the stable ABI of every driver since 510. Internal to gpu_health and its test.

#include <cstddef>
#include <cstdint>

namespace sparrow::nvml {

using Device = struct DeviceTag*;  // nvmlDevice_t: opaque
using Code = int;                  // nvmlReturn_t

constexpr Code kSuccess = 0;
constexpr Code kGpuIsLost = 15;      // fallen off the bus, or inaccessible
constexpr Code kResetRequired = 16;  // must be reset before it can be used again

// nvmlMemory_t, in bytes. `used` counts what the driver keeps for itself, too.
struct Memory {
  unsigned long long total, free, used;
};
static_assert(sizeof(Memory) == 24);

// nvmlProcessInfo_t as the calls named _v3 fill it (their _v1 had no instance ids).
struct ProcessInfo {
  unsigned int pid;
  unsigned long long used_gpu_memory;  // bytes, or kNotAvailable
  unsigned int gpu_instance_id, compute_instance_id;
};
static_assert(sizeof(ProcessInfo) == 24 && offsetof(ProcessInfo, used_gpu_memory) == 8);
constexpr unsigned long long kNotAvailable = ~0ull;  // NVML_VALUE_NOT_AVAILABLE

constexpr int kTemperatureGpu = 0;  // nvmlTemperatureSensors_t
constexpr int kClockSm = 1;         // nvmlClockType_t

// Bits of nvmlDeviceGetCurrentClocksEventReasons (before driver 535: …ThrottleReasons).
constexpr unsigned long long kSoftwarePowerCap = 0x4;
constexpr unsigned long long kHardwareSlowdown = 0x8;
constexpr unsigned long long kSyncBoost = 0x10;
constexpr unsigned long long kSoftwareThermalSlowdown = 0x20;
constexpr unsigned long long kHardwareThermalSlowdown = 0x40;
constexpr unsigned long long kPowerBrake = 0x80;

using Init = Code (*)();                                      // nvmlInit_v2
using Shutdown = Code (*)();                                  // nvmlShutdown
using ErrorString = const char* (*)(Code);                    // nvmlErrorString
using GetHandleByPciBusId = Code (*)(const char*, Device*);   // …_v2
using GetMemoryInfo = Code (*)(Device, Memory*);              // of the first version
using GetTemperature = Code (*)(Device, int, unsigned int*);  // degrees Celsius
using GetPowerUsage = Code (*)(Device, unsigned int*);        // milliwatts
using GetClockInfo = Code (*)(Device, int, unsigned int*);    // MHz
using GetClocksEventReasons = Code (*)(Device, unsigned long long*);
// In: entries of the array; out: entries written, or how many there are where they do not fit.
using GetProcesses = Code (*)(Device, unsigned int*, ProcessInfo*);

}  // namespace sparrow::nvml
