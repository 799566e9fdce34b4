#include "model/cuda/plans/gpu_option_checks.h"

#include <fmt/format.h>

#include "model/cuda/plans/graph_buckets.h"

namespace sparrow {
namespace {

constexpr int32_t kMaxBatchTokens = 1 << 16;
constexpr int32_t kMaxSms = 4096;
constexpr int64_t kMaxCardBytes = int64_t{1} << 50;
constexpr int32_t kMinComputeCapability = 75;  // what CUDA 13 still compiles for

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return ok_status();
  return invalid_argument(
      fmt::format("{} must be between {} and {}, got {}", name, low, high, value));
}

}  // namespace

Status check_gpu_options(const ModelConfig& config, const GpuExecutorOptions& options) {
  if (!(options.memory_utilization > 0 && options.memory_utilization <= 1)) {
    return invalid_argument(
        fmt::format("--gpu-memory-utilization must be above 0 and at most 1, got {}",
                    options.memory_utilization));
  }
  RETURN_IF_ERROR(check_range("--max-num-seqs", options.num_slots, 1, kMaxGraphRows));
  RETURN_IF_ERROR(
      check_range("--max-num-batched-tokens", options.max_batch_tokens, 1, kMaxBatchTokens));
  RETURN_IF_ERROR(check_range("--max-model-len", options.max_context, 0, config.max_position));
  RETURN_IF_ERROR(check_range("--kv-cache-memory-bytes", options.kv_cache_bytes, 0, kMaxCardBytes));
  return check_range("logit rows", options.max_logit_rows, 1, kMaxBatchTokens);
}

Status check_gpu_device(const GpuDeviceInfo& device) {
  const int64_t total = device.total_bytes, free = device.free_bytes;
  if (total < 1 || total > kMaxCardBytes || free < 0 || free > total) {
    return failed_precondition(
        fmt::format("{}: {} of {} bytes are free: that cannot be", device.name, free, total));
  }
  if (device.num_sms < 1 || device.num_sms > kMaxSms) {
    return failed_precondition(
        fmt::format("{}: {} multiprocessors: that cannot be", device.name, device.num_sms));
  }
  if (device.compute_capability() < kMinComputeCapability) {
    return failed_precondition(fmt::format("{}: compute capability {}.{}, at least 7.5 is needed",
                                           device.name, device.compute_major,
                                           device.compute_minor));
  }
  return ok_status();
}

}  // namespace sparrow
