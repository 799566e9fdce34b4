#pragma once
// GpuDeviceInfo: what the plans of the CUDA executor need to know of a card, as plain numbers: the
// executor fills it from the driver, tests and capacity plans from known_gpus.h. No CUDA header is
// needed to plan. A plain value.

#include <cstdint>
#include <string>

namespace sparrow {

struct GpuDeviceInfo {
  std::string name;
  int32_t compute_major = 0, compute_minor = 0;  // 8, 6 for sm_86
  int32_t num_sms = 0;                           // streaming multiprocessors
  int64_t l2_bytes = 0;
  int32_t shared_bytes_per_sm = 0;
  int32_t max_shared_bytes_per_block = 0;  // with opt-in
  int32_t registers_per_sm = 0;            // of 32 bits
  int32_t max_threads_per_sm = 0;
  int64_t total_bytes = 0;  // of device memory
  int64_t free_bytes = 0;   // of these, when the plan is made
  // As CUDA counts them: 13000 is 13.0. 0: unknown.
  int32_t driver_version = 0, runtime_version = 0;

  int32_t compute_capability() const { return compute_major * 10 + compute_minor; }
};

}  // namespace sparrow
