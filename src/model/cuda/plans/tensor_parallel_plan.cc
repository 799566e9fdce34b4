#include "model/cuda/plans/tensor_parallel_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace sparrow {
namespace {

// Rows of the vocabulary are dealt out in words of the token masks.
constexpr int64_t kVocabUnit = 32;

// Where this rank's part of `size` begins, in whole units; parts differ by one unit at most.
int64_t part_begin(int64_t size, int64_t unit, int64_t rank, int64_t num_ranks) {
  const int64_t units = (size + unit - 1) / unit;
  return std::min(units * rank / num_ranks * unit, size);
}

}  // namespace

Result<TensorParallelPlan> TensorParallelPlan::make(const ModelConfig& config, int32_t num_ranks,
                                                    int32_t group_size) {
  CHECK(group_size >= 1);
  if (num_ranks < 1 || num_ranks > config.num_kv_heads || config.num_kv_heads % num_ranks != 0) {
    return invalid_argument(
        fmt::format("--tensor-parallel-size {}: must divide the model's {} KV heads "
                    "(num_key_value_heads)",
                    num_ranks, config.num_kv_heads));
  }
  if (num_ranks > 1 && config.q_size() / num_ranks % group_size != 0) {
    return invalid_argument(
        fmt::format("--tensor-parallel-size {}: {} columns of o_proj per GPU are no whole "
                    "quantization groups of {}",
                    num_ranks, config.q_size() / num_ranks, group_size));
  }
  const int64_t groups = config.intermediate_size / group_size;
  const bool whole_groups = config.intermediate_size % group_size == 0;
  if (num_ranks > 1 && (!whole_groups || groups < num_ranks)) {
    return invalid_argument(
        fmt::format("--tensor-parallel-size {}: {} columns of down_proj cannot be dealt out in "
                    "quantization groups of {}",
                    num_ranks, config.intermediate_size, group_size));
  }
  return TensorParallelPlan(config, num_ranks, group_size);
}

TensorSlice TensorParallelPlan::slice(std::string_view name, int64_t rows, int64_t cols,
                                      int32_t rank) const {
  CHECK(rank >= 0 && rank < num_ranks_);
  const auto part = [&](int64_t size, int64_t unit) {
    return std::pair(part_begin(size, unit, rank, num_ranks_),
                     part_begin(size, unit, rank + 1, num_ranks_));
  };
  TensorSlice slice{0, rows, 0, cols};
  const auto contains = [&](const char* text) { return name.find(text) != std::string_view::npos; };
  const bool is_qkv = contains("q_proj.") || contains("k_proj.") || contains("v_proj.");
  if (is_qkv && name.ends_with(".bias")) {
    std::tie(slice.col_begin, slice.col_end) = part(cols, config_.head_dim);
  } else if (is_qkv) {
    std::tie(slice.row_begin, slice.row_end) = part(rows, config_.head_dim);
  } else if (contains("gate_proj.") || contains("up_proj.")) {
    std::tie(slice.row_begin, slice.row_end) = part(rows, group_size_);
  } else if (contains("o_proj.")) {
    std::tie(slice.col_begin, slice.col_end) = part(cols, config_.head_dim);
  } else if (contains("down_proj.")) {
    std::tie(slice.col_begin, slice.col_end) = part(cols, group_size_);
  } else if (contains("embed_tokens.") || contains("lm_head.")) {
    std::tie(slice.row_begin, slice.row_end) = part(rows, kVocabUnit);
  } else {
    CHECK(name.ends_with("norm.weight"));
  }
  return slice;
}

ModelConfig TensorParallelPlan::rank_config(int32_t rank) const {
  ModelConfig config = config_;
  config.num_heads /= num_ranks_;
  config.num_kv_heads /= num_ranks_;
  config.intermediate_size = static_cast<int32_t>(
      slice("mlp.gate_proj.weight", config_.intermediate_size, config_.hidden_size, rank).rows());
  return config;
}

}  // namespace sparrow
