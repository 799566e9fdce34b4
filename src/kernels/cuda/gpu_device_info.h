#pragma once
// GpuDeviceInfo: what plans and kernels need to know of a card, as plain numbers: filled from the
// driver (cuda_device.h), by the host twin, or from a table of known cards. A plain value.

#include <cstdint>
#include <string>

namespace sparrow {

struct GpuDeviceInfo {
  std::string name;
  std::string pci_bus_id;  // "0000:3B:00.0"; empty: no card (the twin, a table)
  int32_t compute_major = 0, compute_minor = 0;  // 8, 6 for sm_86
  int32_t num_sms = 0;                           // streaming multiprocessors
  int64_t l2_bytes = 0;
  int32_t shared_bytes_per_sm = 0;
  int32_t max_shared_bytes_per_block = 0;  // after the opt-in for more than 48 KB
  int32_t registers_per_sm = 0;            // of 32 bits
  int32_t max_threads_per_sm = 0;
  int64_t total_bytes = 0;  // of device memory
  int64_t free_bytes = 0;   // of these, when the device was opened
  // As CUDA counts them: 13000 is 13.0. 0: unknown.
  int32_t driver_version = 0, runtime_version = 0;

  int32_t compute_capability() const { return compute_major * 10 + compute_minor; }
  // bf16 inputs of matrix products; before, fp16 takes their place.
  bool has_bf16_matrix_units() const { return compute_major >= 8; }
};

}  // namespace sparrow
