#pragma once
// CpuWorkspace: every intermediate of the forward pass, named and shaped, sized once for the
// largest step, so that a step allocates nothing. Owned by the executor; rows are tokens of a plan.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"
#include "kernels/kernels.h"
#include "model/model_config.h"
#include "tensor/aligned_buffer.h"

namespace sparrow {

// Rows as the input of a product: fp32, and int8 with one scale per row for grouped weights.
struct ProductInputs {
  AlignedBuffer plain;       // [rows][cols] fp32
  AlignedBuffer quantized;   // [rows][cols rounded up to 32] int8
  AlignedBuffer scales;      // [rows] fp32
  AlignedBuffer group_sums;  // [rows][cols / 32, rounded up] int32
  AlignedBuffer half_sums;   // [rows][twice as many] int32

  ActivationsView view(int64_t num_rows, int64_t cols) const;
  // Fills the int8 part of [row_begin, row_end) from the fp32 part; cols is a multiple of 32.
  void quantize(const Kernels& kernels, int64_t row_begin, int64_t row_end, int64_t cols);
};

struct WorkspaceSizes {
  int64_t max_rows = 0;
  int64_t max_logit_rows = 0;
  int64_t num_threads = 0;
  int64_t max_split_chunks = 0;  // attention chunks whose partial results are kept apart
};

// Queries handled together over one chunk of K and V: they find it in the cache.
inline constexpr int kAttentionTileRows = 16;

class CpuWorkspace {
 public:
  Status allocate(const ModelConfig& config, const WorkspaceSizes& sizes);
  static int64_t total_bytes(const ModelConfig& config, const WorkspaceSizes& sizes);

  AlignedBuffer x;               // [T][H]: the residual stream
  ProductInputs hidden;          // [T][H]: normalised
  AlignedBuffer q;               // [T][Nq * D]
  AlignedBuffer k, v;            // [T][Nk * D]
  ProductInputs attended;        // [T][Nq * D]
  ProductInputs gate;            // [T][I]: gate, then silu(gate) * up
  AlignedBuffer up;              // [T][I]
  AlignedBuffer cos, sin;        // [T][D / 2]
  AlignedBuffer tile_partials;   // [threads][2][tile rows][group][partial]: running, next
  AlignedBuffer score_bias;      // [threads][group][attention chunk]
  AlignedBuffer split_partials;  // [split chunks][Nq][partial]
  ProductInputs logit_inputs;    // [R][H]
  AlignedBuffer logits;          // [R][V]

 private:
  std::vector<std::pair<AlignedBuffer*, int64_t>> layout(const ModelConfig& config,
                                                         const WorkspaceSizes& sizes);
};

}  // namespace sparrow
