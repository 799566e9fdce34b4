#pragma once
// CpuWeights: the model's matrices packed in strips for the kernels, norms and biases as fp32.
// Pulled from a TensorSource a strip at a time; the peak is the packed weights and little more.
// Immutable after loading; thread-safe for reading.

#include <cstdint>
#include <string>
#include <vector>

#include "base/compute_pool.h"
#include "base/status.h"
#include "kernels/packed_matrix.h"
#include "model/cpu_options.h"
#include "model/tensor_source.h"

namespace sparrow {

struct CpuLayerWeights {
  std::vector<float> attention_norm, ffn_norm;  // [H]
  PackedMatrix q, k, v;                         // [Nq * D, H], [Nk * D, H] twice
  std::vector<float> q_bias, k_bias, v_bias;
  PackedMatrix o;         // [H, Nq * D]
  PackedMatrix gate, up;  // [I, H]
  PackedMatrix down;      // [H, I]
};

struct CpuWeights {
  AlignedBuffer memory;    // of all matrices
  PackedMatrix embedding;  // [V, H]
  std::vector<CpuLayerWeights> layers;
  std::vector<float> final_norm;  // [H]
  PackedMatrix lm_head;           // [V, H]; empty when it is tied to the embedding

  const PackedMatrix& head() const { return lm_head.empty() ? embedding : lm_head; }
  int64_t total_bytes() const;
  // Everything a decoded token reads: all matrices but the embedding table, unless it is the head.
  int64_t bytes_per_token() const;
};

// NaN or infinite weights and scales are errors that name the tensor.
Result<CpuWeights> load_cpu_weights(const TensorSource& source, const PackedFormats& formats,
                                    ComputePool& pool);

// Bytes that load_cpu_weights will hold.
Result<int64_t> packed_weights_bytes(const TensorSource& source, const PackedFormats& formats);

}  // namespace sparrow
