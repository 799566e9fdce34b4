#pragma once
// TensorParallelPlan: which part of every tensor each of several GPUs holds, so that a layer needs
// two sums over all of them and nothing else (Shoeybi et al. 2019, Megatron-LM):
//
//   q, k, v and their biases     rows: whole heads, so that attention stays on one GPU
//   gate, up                     rows
//   o, down                      columns, whole quantization groups; the partial outputs of all
//                                ranks are added (all-reduce), then the residual once
//   embedding, head              rows: a rank adds zeros for tokens it does not have, and computes
//                                the logits of its own rows
//   norms                        whole, on every rank
//
// Nothing is held twice but the norms. Immutable; thread-safe.

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "model/model_config.h"

namespace sparrow {

// Rows and columns of a tensor; a vector (bias, norm) has one row.
struct TensorSlice {
  int64_t row_begin = 0, row_end = 0;
  int64_t col_begin = 0, col_end = 0;

  int64_t rows() const { return row_end - row_begin; }
  int64_t cols() const { return col_end - col_begin; }
};

class TensorParallelPlan {
 public:
  // group_size: inputs that share a scale in o and down (32, 64, 128; 1 without groups).
  // kInvalidArgument, naming --tensor-parallel-size, when the heads or groups cannot be dealt out.
  static Result<TensorParallelPlan> make(const ModelConfig& config, int32_t num_ranks,
                                         int32_t group_size);

  int32_t num_ranks() const { return num_ranks_; }
  // Of the tensor with this canonical name and these sizes; 0 <= rank < num_ranks().
  TensorSlice slice(std::string_view name, int64_t rows, int64_t cols, int32_t rank) const;
  // Heads and intermediate size of one rank; the rest stays that of the model.
  ModelConfig rank_config(int32_t rank) const;

 private:
  TensorParallelPlan(const ModelConfig& config, int32_t num_ranks, int32_t group_size)
      : config_(config), num_ranks_(num_ranks), group_size_(group_size) {}

  ModelConfig config_;
  int32_t num_ranks_;
  int32_t group_size_;
};

}  // namespace sparrow
