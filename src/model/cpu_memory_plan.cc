#include "model/cpu_memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>

#include "base/compute_pool.h"
#include "base/file.h"
#include "model/cpu_kv_cache.h"
#include "model/cpu_step_sizes.h"
#include "model/cpu_weights.h"

namespace sparrow {
namespace {

constexpr int64_t kAutomaticKvBytes = int64_t{4} << 30;
// Largest values an option may have: far above any use, so that no product overflows.
constexpr int32_t kMaxSlots = 4096;
constexpr int32_t kMaxBatchTokens = 1 << 16;
constexpr int32_t kMaxThreads = 1024;

int64_t number_in_file(const char* path) {
  const Result<std::string> text = read_file(path, 256);
  if (!text.ok() || text->empty() || (*text)[0] < '0' || (*text)[0] > '9') return -1;
  return std::strtoll(text->c_str(), nullptr, 10);
}

std::string gigabytes(int64_t bytes) {
  return fmt::format("{:.2f} GB", static_cast<double>(bytes) / 1e9);
}

Status check_range(const char* name, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return ok_status();
  return invalid_argument(
      fmt::format("{} must be between {} and {}, got {}", name, low, high, value));
}

Status check_options(const ModelConfig& config, const CpuExecutorOptions& options) {
  RETURN_IF_ERROR(check_range("--threads", options.num_threads, 0, kMaxThreads));
  RETURN_IF_ERROR(check_range("--max-num-seqs", options.num_slots, 1, kMaxSlots));
  RETURN_IF_ERROR(
      check_range("--max-num-batched-tokens", options.max_batch_tokens, 1, kMaxBatchTokens));
  RETURN_IF_ERROR(check_range("--max-model-len", options.max_context, 0, config.max_position));
  RETURN_IF_ERROR(check_range("logit rows", options.max_logit_rows, 1, kMaxBatchTokens));
  RETURN_IF_ERROR(check_range("KV blocks", options.num_blocks, 0, 1 << 28));
  RETURN_IF_ERROR(check_range("--kv-cache-memory-bytes", options.kv_cache_bytes, 0,
                              std::numeric_limits<int64_t>::max() / 2));
  return check_range("memory limit", options.memory_limit_bytes, 0,
                     std::numeric_limits<int64_t>::max() / 2);
}

// How many blocks: as asked for, or what the wanted sequences need within the automatic bound.
int32_t choose_num_blocks(const ModelConfig& config, const CpuExecutorOptions& options,
                          const MemoryPlan& plan) {
  if (options.num_blocks > 0) return options.num_blocks;
  const int64_t block_bytes = plan.kv_bytes_per_token * kKvBlockTokens;
  const int64_t context = options.max_context > 0 ? options.max_context : config.max_position;
  const int64_t sequence_blocks = (context + kKvBlockTokens - 1) / kKvBlockTokens;
  int64_t blocks = sequence_blocks * options.num_slots;
  int64_t bytes = options.kv_cache_bytes;
  if (bytes == 0) {
    bytes = kAutomaticKvBytes;
    if (plan.available_bytes > 0) bytes = std::min(bytes, plan.available_bytes / 4);
  } else {
    blocks = std::numeric_limits<int32_t>::max();
  }
  blocks = std::min(blocks, bytes / block_bytes);
  return static_cast<int32_t>(std::clamp<int64_t>(blocks, 1, 1 << 28));
}

}  // namespace

int64_t available_memory_bytes() {
  int64_t available = 0;
  const Result<std::string> text = read_file("/proc/meminfo", 1 << 16);
  if (text.ok()) {
    const size_t field = text->find("MemAvailable:");
    if (field != std::string::npos) {
      available = std::strtoll(text->c_str() + field + 13, nullptr, 10) * 1024;
    }
  }
  const int64_t limit = number_in_file("/sys/fs/cgroup/memory.max");
  const int64_t used = number_in_file("/sys/fs/cgroup/memory.current");
  if (limit > 0 && used >= 0) {
    const int64_t left = std::max<int64_t>(limit - used, 1);
    available = available > 0 ? std::min(available, left) : left;
  }
  return available;
}

std::vector<std::string> memory_plan_lines(const MemoryPlan& plan) {
  const auto size_text = [](int64_t bytes) {
    return bytes >= 1'000'000'000 ? gigabytes(bytes)
                                  : fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6);
  };
  return {
      fmt::format("Memory plan: weights {}, KV cache {} ({} blocks of {} tokens), workspace {}, "
                  "of {} available",
                  size_text(plan.weights_bytes), size_text(plan.kv_bytes), plan.num_blocks,
                  kKvBlockTokens, size_text(plan.workspace_bytes), size_text(plan.available_bytes)),
      fmt::format("Maximum sequence: {} tokens; {:.1f} sequences of that length fit at once",
                  plan.max_context, plan.full_sequences())};
}

double MemoryPlan::full_sequences() const {
  return static_cast<double>(num_blocks) * kKvBlockTokens / std::max(max_context, 1);
}

Result<MemoryPlan> plan_cpu_memory(const ModelConfig& config, const CpuExecutorOptions& options,
                                   const TensorSource* source) {
  RETURN_IF_ERROR(check_options(config, options));
  MemoryPlan plan;
  plan.num_threads =
      options.num_threads > 0 ? options.num_threads : ComputePool::default_num_threads();
  plan.available_bytes =
      options.memory_limit_bytes > 0 ? options.memory_limit_bytes : available_memory_bytes();
  plan.kv_bytes_per_token = CpuKvCache::bytes_per_token(config, options.kv_type);
  plan.num_blocks = choose_num_blocks(config, options, plan);
  const int64_t kv_tokens = int64_t{plan.num_blocks} * kKvBlockTokens;
  plan.kv_bytes = kv_tokens * plan.kv_bytes_per_token;
  const int64_t wanted = options.max_context > 0 ? options.max_context : config.max_position;
  if (options.max_context > kv_tokens) {
    return resource_exhausted(
        fmt::format("--max-model-len {} needs {} of KV cache, {} hold {} tokens: raise "
                    "--kv-cache-memory-bytes or lower --max-model-len",
                    options.max_context, gigabytes(options.max_context * plan.kv_bytes_per_token),
                    gigabytes(plan.kv_bytes), kv_tokens));
  }
  plan.max_context = static_cast<int32_t>(std::min(wanted, kv_tokens));
  plan.workspace_bytes = CpuWorkspace::total_bytes(config, workspace_sizes(options, plan));
  if (source != nullptr) {
    ASSIGN_OR_RETURN(plan.weights_bytes, packed_weights_bytes(*source, options.formats));
  }
  if (plan.available_bytes > 0 && plan.total_bytes() > plan.available_bytes) {
    return resource_exhausted(fmt::format(
        "weights {}, KV cache {} and workspace {} make {}, but {} of memory are available: lower "
        "--max-model-len, --kv-cache-memory-bytes or --max-num-batched-tokens, or take a smaller "
        "weight format",
        gigabytes(plan.weights_bytes), gigabytes(plan.kv_bytes), gigabytes(plan.workspace_bytes),
        gigabytes(plan.total_bytes()), gigabytes(plan.available_bytes)));
  }
  return plan;
}

}  // namespace sparrow
