#pragma once
// GpuWorkspaceLayout: every buffer of a step in device memory, named, shaped and placed in one
// allocation, so that a step allocates nothing and graphs keep their addresses. Buffers begin on
// multiples of 256 bytes (what cudaMalloc gives; vector loads and TMA need 16 to 128) and do not
// overlap: each may be alive throughout a step.
//
//   GpuWorkspaceLayout layout = make_gpu_workspace_layout(config, sizes);
//   float* x = layout.x.in<float>(base);
//
// T: rows of a step, R: rows of logits, S: slots, P: attention partials, W: words of one bit per
// id; H, I, V, Nq, Nk, D: of the model. Pure.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "model/cuda/plans/attention_split_plan.h"
#include "model/model_config.h"

namespace sparrow {

inline constexpr int64_t kGpuAlignment = 256;

struct GpuWorkspaceSizes {
  int32_t max_rows = 0;        // T
  int32_t max_logit_rows = 0;  // R, at most T
  int32_t num_slots = 0;       // S, also the most spans of a step
  int32_t max_graph_rows = 0;  // of a CUDA graph; 0: none
  // Of the product library (gpu_products.h); 0: none.
  int64_t product_workspace_bytes = 0;
  bool expands_matrices = false;   // layers hold integer matrices
  AttentionSplitLimits attention;  // its bounds size the partials and the work list

  // The block tables of a step: every sequence as long as it may be.
  int64_t max_block_ids() const;
};

struct GpuRegion {
  int64_t offset = 0, bytes = 0;

  template <typename T>
  T* in(std::byte* base) const {
    return reinterpret_cast<T*>(base + offset);
  }
};

struct GpuWorkspaceLayout {
  // Forward pass.
  GpuRegion rope;       // fp32 [max_context][D]: written once
  GpuRegion x;          // fp32 [T][H]: the residual stream
  GpuRegion hidden;     // 16 bits [T][H]: normalised x
  GpuRegion qkv;        // fp32 [T][(Nq + 2 Nk) * D]
  GpuRegion q;          // 16 bits [T][Nq * D]: rotated
  GpuRegion attended;   // 16 bits [T][Nq * D]
  GpuRegion activated;  // 16 bits [T][I]: silu(gate) * up
  // With a product library only:
  GpuRegion gate_up;            // 16 bits [T][2 I]
  GpuRegion expanded;           // 16 bits: the largest matrix of a layer
  GpuRegion product_workspace;  // the library's own
  GpuRegion partial_out;        // fp32 [P][Nq][D]
  GpuRegion partial_max;        // fp32 [P][Nq]
  GpuRegion partial_sum;        // fp32 [P][Nq]
  GpuRegion arrivals;           // int32 [P][Nq]: blocks of a tile that have finished
  GpuRegion step_data;          // gpu_step_data.h
  // Logits and sampling (kernels/cuda/gpu_sampling.h).
  GpuRegion logit_inputs;    // 16 bits [R][H]
  GpuRegion logits;          // fp32 [R][V]
  GpuRegion disallowed;      // [W]: written once
  GpuRegion masks;           // [T][W]
  GpuRegion sampler_slots;   // GpuSamplerSlot [S]
  GpuRegion logit_biases;    // GpuLogitBias [S][kGpuMaxLogitBias]
  GpuRegion banned;          // [S][W]
  GpuRegion token_counts;    // uint16 [S][V]
  GpuRegion last_tokens;     // int32 [S]
  GpuRegion num_generated;   // int32 [S]
  GpuRegion start_counts;    // GpuTokenCount [V]: of the sequence that starts
  GpuRegion logit_rows;      // GpuLogitRow [T]
  GpuRegion row_of;          // int32 [T]
  GpuRegion sample_scratch;  // for R rows
  GpuRegion sampled;         // GpuSampledToken [T]
  GpuRegion tops;            // GpuTokenLogprob [T][kGpuMaxTopLogprobs]

  int64_t total_bytes = 0;  // the allocation

  // All of them with their names, by offset: for logs and tests.
  std::vector<std::pair<const char*, GpuRegion>> regions() const;
};

// Sizes are at least 1 (max_graph_rows 0) and within the limits of the memory plan.
GpuWorkspaceLayout make_gpu_workspace_layout(const ModelConfig& config,
                                             const GpuWorkspaceSizes& sizes);

}  // namespace sparrow
