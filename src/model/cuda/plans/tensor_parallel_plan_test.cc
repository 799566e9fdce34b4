#include "model/cuda/plans/tensor_parallel_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "model/cuda/plans/r1_shapes_test_support.h"
#include "model/files/tensor_layout.h"
#include "model/generated_weights.h"
#include "model/reference_forward.h"
#include "model/rope_frequencies.h"

namespace sparrow {
namespace {

using Values = std::vector<double>;

TEST(TensorParallelPlan, EveryElementOfR1_IsOnOneRankAndNormsOnAll) {
  const auto plan = TensorParallelPlan::make(r1_config(), 2, 128);
  ASSERT_TRUE(plan.ok()) << plan.message();
  for (const LayoutTensor& tensor : qwen2_tensor_layout(r1_config())) {
    const TensorSlice first = plan->slice(tensor.name, tensor.rows, tensor.cols, 0);
    const TensorSlice second = plan->slice(tensor.name, tensor.rows, tensor.cols, 1);
    SCOPED_TRACE(tensor.name);
    if (tensor.name.ends_with("norm.weight")) {
      EXPECT_EQ(first.cols() * first.rows(), tensor.cols);
      EXPECT_EQ(second.cols() * second.rows(), tensor.cols);
      continue;
    }
    // Halves, side by side or one under the other.
    const bool by_rows = first.row_end == second.row_begin;
    EXPECT_EQ(by_rows, first.cols() == tensor.cols);
    EXPECT_TRUE(by_rows || first.col_end == second.col_begin);
    EXPECT_EQ(first.row_begin + first.col_begin, 0);
    EXPECT_EQ(second.row_end, tensor.rows);
    EXPECT_EQ(second.col_end, tensor.cols);
    EXPECT_EQ(first.rows() * first.cols() * 2, tensor.rows * tensor.cols);
    EXPECT_TRUE(by_rows || tensor.name.ends_with(".bias") || first.col_end % 128 == 0);
  }
  EXPECT_EQ(plan->rank_config(1).num_heads, 6);
  EXPECT_EQ(plan->rank_config(1).num_kv_heads, 1);
  EXPECT_EQ(plan->rank_config(1).intermediate_size, 4480);
}

TEST(TensorParallelPlan, MoreRanksThanHeadsOrGroups_AreRefusedByName) {
  for (const int32_t num_ranks : {0, -1, 3, 4}) {
    const auto plan = TensorParallelPlan::make(r1_config(), num_ranks, 128);
    ASSERT_FALSE(plan.ok());
    EXPECT_NE(plan.message().find("2 KV heads"), std::string::npos) << plan.message();
  }
  // 96 columns of o_proj per rank are no groups of 128; 96 of down_proj are not even one.
  EXPECT_NE(TensorParallelPlan::make(small_model_config(), 2, 128).message().find("o_proj"),
            std::string::npos);
  ModelConfig narrow = r1_config();
  narrow.intermediate_size = 128;
  EXPECT_NE(TensorParallelPlan::make(narrow, 2, 128).message().find("down_proj"),
            std::string::npos);
}

// A model computed by several ranks that hold their slices only. Sums over ranks stand where the
// executor reduces; heads are independent, logits are put side by side. fp64 throughout.
class ShardedModel {
 public:
  ShardedModel(const ReferenceModel& model, const TensorParallelPlan& plan)
      : model_(model), plan_(plan), config_(model.config), hidden_(model.config.hidden_size) {}

  // [T][V], all rows
  Values logits(const std::vector<TokenId>& tokens) {
    Values x(tokens.size() * hidden_);
    for (size_t t = 0; t < tokens.size(); ++t) {
      reduce(
          [&](int32_t rank, Values& sum) {
            const auto slice =
                plan_.slice("model.embed_tokens.weight", config_.vocab_size, hidden_, rank);
            if (tokens[t] < slice.row_begin || tokens[t] >= slice.row_end) return;
            for (int64_t i = 0; i < hidden_; ++i) {
              sum[t * hidden_ + i] += model_.embedding[tokens[t] * hidden_ + i];
            }
          },
          x);
    }
    for (const ReferenceLayer& layer : model_.layers) {
      const Values attention_in = norm(x, layer.attention_norm);
      reduce([&](int32_t rank, Values& sum) { attention(layer, rank, attention_in, sum); }, x);
      const Values ffn_in = norm(x, layer.ffn_norm);
      reduce([&](int32_t rank, Values& sum) { ffn(layer, rank, ffn_in, sum); }, x);
    }
    const Values last = norm(x, model_.final_norm);
    Values out(tokens.size() * config_.vocab_size);
    for (int32_t rank = 0; rank < plan_.num_ranks(); ++rank) {
      const auto slice = plan_.slice("lm_head.weight", config_.vocab_size, hidden_, rank);
      const Values part = product(last, model_.lm_head, slice, hidden_);
      for (size_t t = 0; t < tokens.size(); ++t) {
        std::copy_n(part.begin() + t * slice.rows(), slice.rows(),
                    out.begin() + t * config_.vocab_size + slice.row_begin);
      }
    }
    return out;
  }

 private:
  // x += the sum of what all ranks contribute: the all-reduce, and the residual once.
  template <typename Contribute>
  void reduce(Contribute contribute, Values& x) const {
    Values sum(x.size());
    for (int32_t rank = 0; rank < plan_.num_ranks(); ++rank) {
      Values partial(x.size());
      contribute(rank, partial);
      for (size_t i = 0; i < x.size(); ++i) sum[i] += partial[i];
    }
    for (size_t i = 0; i < x.size(); ++i) x[i] += sum[i];
  }

  Values norm(const Values& x, const std::vector<float>& gain) const {
    Values out(x.size());
    for (size_t begin = 0; begin < x.size(); begin += hidden_) {
      double squares = 0;
      for (int64_t i = 0; i < hidden_; ++i) squares += x[begin + i] * x[begin + i];
      const double inverse = 1 / std::sqrt(squares / hidden_ + config_.rms_norm_eps);
      for (int64_t i = 0; i < hidden_; ++i) out[begin + i] = x[begin + i] * inverse * gain[i];
    }
    return out;
  }

  // x [T][slice.cols()] times the slice of a weight of `cols` columns: [T][slice.rows()]
  static Values product(const Values& x, const std::vector<float>& weight, const TensorSlice& slice,
                        int64_t cols) {
    const int64_t num_tokens = static_cast<int64_t>(x.size()) / slice.cols();
    Values out;
    for (int64_t t = 0; t < num_tokens; ++t) {
      for (int64_t row = slice.row_begin; row < slice.row_end; ++row) {
        double sum = 0;
        for (int64_t i = 0; i < slice.cols(); ++i) {
          sum += x[t * slice.cols() + i] * weight[row * cols + slice.col_begin + i];
        }
        out.push_back(sum);
      }
    }
    return out;
  }

  // Heads of this rank, with bias and, where wanted, rotated: [T][heads][D]
  Values heads(const char* name, const std::vector<float>& weight, const std::vector<float>& bias,
               int32_t rank, const Values& in, bool rotated) const {
    const auto num_rows = static_cast<int64_t>(bias.size());
    const std::string base = std::string("self_attn.") + name;
    const TensorSlice slice = plan_.slice(base + ".weight", num_rows, hidden_, rank);
    const TensorSlice biases = plan_.slice(base + ".bias", 1, num_rows, rank);
    Values out = product(in, weight, slice, hidden_);
    for (size_t i = 0; i < out.size(); ++i) out[i] += bias[biases.col_begin + i % biases.cols()];
    const int32_t half = config_.head_dim / 2;
    const std::vector<float> frequency = rope_frequencies(config_.head_dim, config_.rope_theta);
    for (size_t begin = 0; rotated && begin < out.size(); begin += 2 * half) {
      const auto position = static_cast<int32_t>(begin / slice.rows());
      for (int32_t i = 0; i < half; ++i) {
        const double angle = rope_angle(position, frequency[i]);
        const double a = out[begin + i], b = out[begin + half + i];
        out[begin + i] = a * std::cos(angle) - b * std::sin(angle);
        out[begin + half + i] = b * std::cos(angle) + a * std::sin(angle);
      }
    }
    return out;
  }

  void attention(const ReferenceLayer& layer, int32_t rank, const Values& in, Values& out) const {
    const ModelConfig own = plan_.rank_config(rank);
    const int64_t dim = own.head_dim, q_size = own.q_size(), kv_size = own.kv_size();
    const Values q = heads("q_proj", layer.q_weight, layer.q_bias, rank, in, true);
    const Values k = heads("k_proj", layer.k_weight, layer.k_bias, rank, in, true);
    const Values v = heads("v_proj", layer.v_weight, layer.v_bias, rank, in, false);
    Values attended(q.size());
    for (int64_t index = 0; index < static_cast<int64_t>(q.size()) / dim; ++index) {
      const int64_t position = index / own.num_heads;
      const int64_t kv_head = index % own.num_heads / own.group_size();
      Values scores(position + 1);
      for (int64_t j = 0; j <= position; ++j) {
        for (int64_t i = 0; i < dim; ++i) {
          scores[j] += q[index * dim + i] * k[j * kv_size + kv_head * dim + i];
        }
        scores[j] /= std::sqrt(static_cast<double>(dim));
      }
      const double maximum = *std::max_element(scores.begin(), scores.end());
      double total = 0;
      for (double& score : scores) total += score = std::exp(score - maximum);
      for (int64_t j = 0; j <= position; ++j) {
        for (int64_t i = 0; i < dim; ++i) {
          attended[index * dim + i] += scores[j] / total * v[j * kv_size + kv_head * dim + i];
        }
      }
    }
    const TensorSlice slice =
        plan_.slice("self_attn.o_proj.weight", hidden_, config_.q_size(), rank);
    ASSERT_EQ(slice.cols(), q_size);
    out = product(attended, layer.o_weight, slice, config_.q_size());
  }

  void ffn(const ReferenceLayer& layer, int32_t rank, const Values& in, Values& out) const {
    const int64_t intermediate = config_.intermediate_size;
    const TensorSlice rows = plan_.slice("mlp.gate_proj.weight", intermediate, hidden_, rank);
    Values gate = product(in, layer.gate_weight, rows, hidden_);
    const Values up =
        product(in, layer.up_weight, plan_.slice("mlp.up_proj.weight", intermediate, hidden_, rank),
                hidden_);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] *= up[i] / (1 + std::exp(-gate[i]));
    const TensorSlice cols = plan_.slice("mlp.down_proj.weight", hidden_, intermediate, rank);
    ASSERT_EQ(cols.cols(), rows.rows());
    out = product(gate, layer.down_weight, cols, intermediate);
  }

  const ReferenceModel& model_;
  const TensorParallelPlan& plan_;
  const ModelConfig& config_;
  const int64_t hidden_;
};

// Two ranks compute what one computes: only the order of the sums over o and down differs, some
// 100 additions in fp64, so 1e-12 of the largest logit is far above rounding and far below any
// slice that is wrong. One rank is the oracle's arithmetic, whose logits are rounded to fp32.
TEST(TensorParallelPlan, TwoRanks_ComputeTheLogitsOfOne) {
  const GeneratedWeights weights(small_model_config(), 11);
  const auto model = load_reference_model(weights);
  ASSERT_TRUE(model.ok()) << model.message();
  const std::vector<TokenId> tokens = weights.token_ids(9);
  const auto one = TensorParallelPlan::make(model->config, 1, 32);
  const auto two = TensorParallelPlan::make(model->config, 2, 32);
  ASSERT_TRUE(one.ok() && two.ok());
  // 96 columns of down_proj are three groups of 32: the ranks are not alike.
  ASSERT_NE(two->rank_config(0).intermediate_size, two->rank_config(1).intermediate_size);
  const Values whole = ShardedModel(*model, *one).logits(tokens);
  const Values sharded = ShardedModel(*model, *two).logits(tokens);
  std::vector<int32_t> rows(tokens.size());
  for (size_t row = 0; row < rows.size(); ++row) rows[row] = static_cast<int32_t>(row);
  const std::vector<float> oracle = reference_forward(*model, tokens, rows);
  ASSERT_EQ(oracle.size(), whole.size());
  double largest = 0;
  for (const double logit : whole) largest = std::max(largest, std::abs(logit));
  ASSERT_GT(largest, 1);
  for (size_t i = 0; i < whole.size(); ++i) {
    ASSERT_NEAR(whole[i], oracle[i], 0x1p-24 * std::abs(whole[i]) + 1e-12 * largest) << i;
    ASSERT_NEAR(sharded[i], whole[i], 1e-12 * largest) << i;
  }
}

}  // namespace
}  // namespace sparrow
