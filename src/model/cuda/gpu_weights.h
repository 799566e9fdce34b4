#pragma once
// GpuWeights: the model's matrices packed for the card's kernels, norms and biases as fp32, in
// device memory. Pulled from a TensorSource one tensor at a time: on the host there is never more
// than a strip of packed rows. Immutable after loading.

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "kernels/cuda/gpu_buffer.h"
#include "kernels/cuda/gpu_linear.h"
#include "model/cuda/gpu_staging.h"
#include "model/cuda/plans/gpu_options.h"
#include "model/tensor_source.h"

namespace sparrow {

// Nq, Nk heads, D: head dimension, H hidden, I intermediate size.
struct GpuLayerWeights {
  const float* attention_norm = nullptr;  // [H]
  const float* ffn_norm = nullptr;        // [H]
  const float* qkv_bias = nullptr;        // [(Nq + 2 Nk) * D]: q, k, v
  // One matrix of (Nq + 2 Nk) * D rows where q, k and v are packed alike, else three.
  std::vector<GpuMatrix> qkv;
  GpuMatrix o;     // [H, Nq * D]
  GpuMatrix gate;  // [I, H]
  GpuMatrix up;
  GpuMatrix down;  // [H, I]
};

struct GpuWeights {
  GpuMatrix embedding;  // [V, H]
  std::vector<GpuLayerWeights> layers;
  const float* final_norm = nullptr;  // [H]
  GpuMatrix head;                     // [V, H]; the embedding when it is tied

  // All of it, in one piece: cudaMalloc rounds every large piece up to 2 MB.
  GpuBuffer memory;
  int64_t total_bytes = 0;
  int64_t bytes_per_token = 0;  // what one decoded token reads: all but the embedding table

  // most_bytes: gpu_weights_bytes(source, options), which is what is taken. Errors name the tensor:
  // a value that is not finite, a read error, no room on the card.
  static Result<GpuWeights> load(GpuDevice& device, GpuStaging& staging, const TensorSource& source,
                                 const GpuExecutorOptions& options, int64_t most_bytes);
};

}  // namespace sparrow
