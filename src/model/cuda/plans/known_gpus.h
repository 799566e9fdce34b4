#pragma once
// Cards the plans are tested with, and that capacity is planned for without having one. A server
// never reads this table: it asks the driver.
//
//   const KnownGpu* card = find_known_gpu("T4");
//   plan_gpu_memory(config, options, card->device());

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/cuda/gpu_device_info.h"

namespace sparrow {

enum class FigureSource : uint8_t {
  kDataSheet,  // the vendor's peak; what can be reached is less
  kMeasured,   // on one card: a copy in device memory, an 8192^3 bf16 product
};

struct KnownGpu {
  std::string_view id;  // of options: "a40"
  std::string_view name;
  int32_t compute_capability;  // 86 for sm_86
  int32_t num_sms;
  int32_t l2_megabytes;
  // In units of 1e9 bytes: the number on the box. A card reports a little more or less (binary
  // units, what the driver and error correction keep): a plan for a real card asks the driver.
  int32_t memory_gigabytes;
  FigureSource speed_source;
  double bandwidth_gb_per_s;
  double peak_tflops;  // dense products of 16-bit inputs with fp32 sums; 1 multiply-add = 2

  GpuDeviceInfo device() const;  // all memory free
  // Rows per step at which bf16 weights take as long to read (2 bytes) as to use (2 operations).
  double crossover_rows() const { return peak_tflops * 1e3 / bandwidth_gb_per_s; }
};

std::span<const KnownGpu> known_gpus();
// By id or by name; null for one that is not in the table.
const KnownGpu* find_known_gpu(std::string_view name);

}  // namespace sparrow
