#pragma once
// GpuMemoryPlan: every byte of device memory the CUDA executor will hold, before it takes any: what
// the start-up log prints, and what a plan that does not fit is refused by. Pure arithmetic on a
// checked config, options and a card; needs no CUDA.
//
//   ASSIGN_OR_RETURN(GpuMemoryPlan plan, plan_gpu_memory(config, options, device, &source));
//   for (const std::string& line : memory_plan_lines(plan)) ...
//
// total_bytes() is at most memory_utilization of the card's memory, and at most what is free
// beside our own context.

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_device_info.h"
#include "model/cuda/plans/gpu_options.h"
#include "model/cuda/plans/gpu_workspace_layout.h"
#include "model/model_config.h"

namespace sparrow {

class TensorSource;

// Reserve: memory that CUDA takes by itself. ESTIMATES, to be replaced by what cards report
// (cudaMemGetInfo before and after): contexts of other programs were seen between 0.1 GB on small
// cards and 0.6 GB on an H100, and the driver keeps local memory for every resident thread.
inline constexpr int64_t kGpuContextBytes = int64_t{128} << 20;
inline constexpr int64_t kGpuContextBytesPerSm = int64_t{3} << 20;
// What a product library takes beside its workspace once it has run: its kernels.
inline constexpr int64_t kGpuLibraryBytes = int64_t{96} << 20;
// NVIDIA's advice for cuBLAS on Hopper; older cards are content with 4 MiB.
inline constexpr int64_t kGpuProductWorkspaceBytes = int64_t{32} << 20;
inline constexpr int64_t kGpuProductWorkspaceBytesBeforeHopper = int64_t{4} << 20;
// Of one captured graph of some 150 kernels.
inline constexpr int64_t kGpuGraphBytes = int64_t{2} << 20;

struct GpuMemoryPlan {
  // Chosen.
  int32_t num_blocks = 0;   // KV blocks of 16 tokens
  int32_t max_context = 0;  // longest sequence, prompt and output
  int32_t num_graphs = 0;

  // The sum.
  int64_t weights_bytes = 0;  // of the source; without one, of a bf16 file
  int64_t kv_bytes = 0;
  int64_t workspace_bytes = 0;
  int64_t reserve_bytes = 0;
  GpuWorkspaceSizes sizes;
  GpuWorkspaceLayout workspace;

  // What it was held against, and what it is made of: for the log.
  int64_t budget_bytes = 0;  // memory_utilization of device.total_bytes
  int64_t kv_bytes_per_token = 0;
  std::string weights_text;  // "int4 g128, head int8 g128, embedding bf16"
  GpuDeviceInfo device;
  GpuExecutorOptions options;

  int64_t total_bytes() const { return weights_bytes + kv_bytes + workspace_bytes + reserve_bytes; }
  int64_t kv_tokens() const { return int64_t{num_blocks} * kAttentionBlockTokens; }
  // Sequences of max_context tokens that the KV cache holds at once.
  double full_sequences() const;
};

// CUDA's own context on a card: part of every plan's reserve.
inline int64_t gpu_context_bytes(const GpuDeviceInfo& device) {
  return kGpuContextBytes + kGpuContextBytesPerSm * device.num_sms;
}
// What a plan may fill: what is free, and our own context if the card is open: it is there already,
// so free_bytes lacks it, and the plan's reserve counts it.
int64_t gpu_usable_bytes(const GpuDeviceInfo& device);

// Of all layers; a multiple of 16 tokens is a whole number of blocks.
int64_t gpu_kv_bytes_per_token(const ModelConfig& config, GpuKvFormat type);

// Each vector (fp32) and each part of a matrix padded to kGpuAlignment: at most so much is taken.
Result<int64_t> gpu_weights_bytes(const TensorSource& source, const GpuExecutorOptions& options);

// Chooses what the options leave open: the KV cache gets what the share leaves, at most num_slots
// sequences of max_context; max_context is at most what one sequence can have of it. Errors:
//   kInvalidArgument    an option outside its range, by name
//   kFailedPrecondition a card that cannot be, or cannot do what is asked for
//   kResourceExhausted  does not fit; names the flag and the value that would
Result<GpuMemoryPlan> plan_gpu_memory(const ModelConfig& config, const GpuExecutorOptions& options,
                                      const GpuDeviceInfo& device,
                                      const TensorSource* source = nullptr);

// The exact plan, as printed at start: weights, KV cache, workspace, reserve, sum.
std::vector<std::string> memory_plan_lines(const GpuMemoryPlan& plan);

}  // namespace sparrow
