#pragma once
// GpuWorkspaceLayout: every buffer of a step in device memory, named, shaped and placed in one
// allocation, so that a step allocates nothing and graphs keep their addresses. Buffers begin on
// multiples of 256 bytes (what cudaMalloc gives; vector loads and TMA need 16 to 128) and do not
// overlap: each may be alive throughout a step.
//
//   GpuWorkspaceLayout layout = make_gpu_workspace_layout(config, sizes);
//   float* x = reinterpret_cast<float*>(base + layout.x.offset);
//
// T: rows of a step, R: rows of logits, S: slots, H, I, V, Nq, Nk, D: of the model. Pure.

#include <cstdint>
#include <utility>
#include <vector>

#include "model/cuda/attention_split_plan.h"
#include "model/model_config.h"

namespace sparrow {

inline constexpr int64_t kGpuAlignment = 256;

// What the sampler keeps of one slot beside counts and bias: temperature, top_k, top_p, min_p,
// penalties, seed, choice, positions, flags. The executor asserts that its record fits.
inline constexpr int64_t kSamplerRecordBytes = 128;
// One sampled row: id, log probability, flags and the most likely kMaxTopLogprobs ids with theirs.
inline constexpr int64_t kSampledRecordBytes = 192;
// What a span is in device memory: slot, positions, rows, blocks, mask row.
inline constexpr int64_t kSpanRecordBytes = 48;

struct GpuWorkspaceSizes {
  int64_t max_rows = 0;        // T
  int64_t max_logit_rows = 0;  // R
  int64_t num_slots = 0;       // S, also the most spans of a step
  int64_t cublas_bytes = 0;
  AttentionSplitLimits attention;  // its bounds size the partials and the work list
};

struct GpuRegion {
  int64_t offset = 0, bytes = 0;
};

struct GpuWorkspaceLayout {
  // Forward pass.
  GpuRegion x;                   // fp32 [T][H]: the residual stream
  GpuRegion hidden;              // bf16 [T][max(H, Nq * D)]: inputs of a product, normalised
  GpuRegion qkv;                 // fp32 [T][(Nq + 2 Nk) * D]
  GpuRegion attended;            // bf16 [T][Nq * D]
  GpuRegion gate_up;             // bf16 [T][2 I]: gate, then silu(gate) * up; and up
  GpuRegion attention_partials;  // fp32 [partials][Nk][Nq / Nk][D + 2]: values, maximum, sum
  GpuRegion cublas;              // of cuBLASLt
  // Logits and sampling.
  GpuRegion logit_inputs;  // bf16 [R][H]
  GpuRegion logits;        // fp32 [R][V]
  GpuRegion token_masks;   // uint32 [R + 1][V / 32]: of constrained rows, and the disallowed ids
  GpuRegion sampler;       // [S][kSamplerRecordBytes]
  GpuRegion logit_bias;    // {int32 id, fp32 bias} [S][kMaxLogitBias]
  GpuRegion token_counts;  // int16 [S][V]: of penalties; saturating
  GpuRegion last_tokens;   // int32 [S]: what kPendingToken stands for
  // Metadata, twice: the host writes that of the next step while this one runs.
  GpuRegion step[2];          // token ids, positions, spans, block tables (step_metadata_bytes)
  GpuRegion attention[2];     // AttentionItem [items], AttentionCombine [T]
  GpuRegion sampled_rows[2];  // [T][kSampledRecordBytes]: out

  int64_t total_bytes = 0;  // the allocation

  // All of them with their names, by offset: for logs and tests.
  std::vector<std::pair<const char*, GpuRegion>> regions() const;
};

// int32: of each row its id, position, span and logit row; of each span its record and the block
// table of the longest sequence.
int64_t step_metadata_bytes(const GpuWorkspaceSizes& sizes);

// Sizes are at least 1 (cublas_bytes 0) and within the limits of the memory plan.
GpuWorkspaceLayout make_gpu_workspace_layout(const ModelConfig& config,
                                             const GpuWorkspaceSizes& sizes);

}  // namespace sparrow
