#include "model/cuda/plans/known_gpus.h"

#include <string>

#include "base/check.h"

namespace sparrow {
namespace {

constexpr FigureSource kSheet = FigureSource::kDataSheet;

// Of the RTX 3060 the desktop card has 28 SMs, the laptop one 30 with slower memory; its peak is
// that of the 110 W setting.
constexpr KnownGpu kKnownGpus[] = {
    {"t4", "T4", 75, 40, 4, 16, kSheet, 320, 65},
    {"rtx3060-6gb", "RTX 3060 Laptop 6 GB", 86, 30, 3, 6, kSheet, 336, 25.8},
    {"rtx3060", "RTX 3060 12 GB", 86, 28, 3, 12, kSheet, 360, 25.5},
    {"a10g", "A10G", 86, 80, 6, 24, kSheet, 600, 70},
    {"a40", "A40", 86, 84, 6, 48, kSheet, 696, 149},
    {"a100", "A100-80", 80, 108, 40, 80, kSheet, 2039, 312},
    {"l4", "L4", 89, 58, 48, 24, kSheet, 300, 121},
    {"h100", "H100", 90, 132, 50, 80, kSheet, 3350, 989},
    {"h200", "H200", 90, 132, 60, 141, FigureSource::kMeasured, 4300, 788},
};

// Table "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide.
struct SmLimits {
  int32_t compute_capability;
  int32_t shared_kilobytes;
  int32_t max_shared_kilobytes_per_block;
  int32_t max_threads;
};
constexpr SmLimits kSmLimits[] = {
    {75, 64, 64, 1024},  {80, 164, 163, 2048}, {86, 100, 99, 1536},
    {89, 100, 99, 1536}, {90, 228, 227, 2048},
};

}  // namespace

GpuDeviceInfo KnownGpu::device() const {
  GpuDeviceInfo info;
  info.name = std::string(name);
  info.compute_major = compute_capability / 10;
  info.compute_minor = compute_capability % 10;
  info.num_sms = num_sms;
  info.l2_bytes = int64_t{l2_megabytes} << 20;
  info.registers_per_sm = 65536;
  info.total_bytes = info.free_bytes = int64_t{memory_gigabytes} * 1'000'000'000;
  for (const SmLimits& limits : kSmLimits) {
    if (limits.compute_capability != compute_capability) continue;
    info.shared_bytes_per_sm = limits.shared_kilobytes * 1024;
    info.max_shared_bytes_per_block = limits.max_shared_kilobytes_per_block * 1024;
    info.max_threads_per_sm = limits.max_threads;
  }
  CHECK(info.max_threads_per_sm > 0);
  return info;
}

std::span<const KnownGpu> known_gpus() { return kKnownGpus; }

const KnownGpu* find_known_gpu(std::string_view name) {
  for (const KnownGpu& card : kKnownGpus) {
    if (card.name == name || card.id == name) return &card;
  }
  return nullptr;
}

}  // namespace sparrow
