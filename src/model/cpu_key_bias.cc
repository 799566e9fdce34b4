#include "model/cpu_key_bias.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "base/check.h"
#include "kernels/int8_row.h"
#include "model/rope_frequencies.h"

namespace sparrow {
namespace {

// Components of keys lie around one: a bias of this size would halve their resolution.
constexpr float kLargeBias = 2.0f;

}  // namespace

Status CpuKeyBias::load(const ModelConfig& config, const CpuWeights& weights, int32_t max_context) {
  num_kv_heads_ = config.num_kv_heads;
  head_dim_ = config.head_dim;
  const int32_t half = head_dim_ / 2;
  const std::vector<float> frequencies = rope_frequencies(head_dim_, config.rope_theta);
  std::map<int32_t, int32_t> row_of_dim;
  for (const CpuLayerWeights& layer : weights.layers) {
    for (int32_t kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
      Head& head = heads_.emplace_back();
      const float* bias = layer.k_bias.data() + kv_head * head_dim_;
      for (int32_t dim = 0; dim < half; ++dim) {
        const float b0 = bias[dim], b1 = bias[dim + half];
        if (std::max(std::fabs(b0), std::fabs(b1)) < kLargeBias) continue;
        const auto [row, is_new] = row_of_dim.try_emplace(dim, static_cast<int32_t>(rows_.size()));
        if (is_new) rows_.push_back(frequencies[static_cast<size_t>(dim)]);
        head.pairs.push_back({dim, b0, b1});
        head.rows.push_back(row->second);
      }
    }
  }
  if (!active()) return ok_status();
  const int64_t max_chunks = (int64_t{max_context} + kAttentionChunk - 1) / kAttentionChunk;
  const auto bytes =
      static_cast<size_t>(max_chunks) * rows_.size() * kAttentionChunk * sizeof(float);
  // Pages that no position has reached stay untouched.
  ASSIGN_OR_RETURN(cosines_, AlignedBuffer::try_allocate(bytes, "the tables of the K biases"));
  ASSIGN_OR_RETURN(sines_, AlignedBuffer::try_allocate(bytes, "the tables of the K biases"));
  return ok_status();
}

void CpuKeyBias::prepare(int32_t num_positions) {
  if (!active()) return;
  const int32_t wanted = (num_positions + kAttentionChunk - 1) / kAttentionChunk;
  const auto chunk_floats = static_cast<int64_t>(rows_.size()) * kAttentionChunk;
  for (; num_chunks_ < wanted; ++num_chunks_) {
    float* cosines = cosines_.as<float>() + num_chunks_ * chunk_floats;
    float* sines = sines_.as<float>() + num_chunks_ * chunk_floats;
    for (const float frequency : rows_) {
      for (int32_t i = 0; i < kAttentionChunk; ++i) {
        const double angle = rope_angle(num_chunks_ * kAttentionChunk + i, frequency);
        *cosines++ = static_cast<float>(std::cos(angle));
        *sines++ = static_cast<float>(std::sin(angle));
      }
    }
  }
}

void CpuKeyBias::subtract(int32_t layer, const float* cosines, const float* sines, float* k) const {
  const int32_t half = head_dim_ / 2;
  for (int32_t kv_head = 0; kv_head < num_kv_heads_; ++kv_head) {
    float* row = k + kv_head * head_dim_;
    for (const Pair& pair : head_of(layer, kv_head).pairs) {
      const float c = cosines[pair.dim], s = sines[pair.dim];
      row[pair.dim] -= pair.b0 * c - pair.b1 * s;
      row[pair.dim + half] -= pair.b1 * c + pair.b0 * s;
    }
  }
}

bool CpuKeyBias::add_scores(const Kernels& kernels, int32_t layer, int32_t kv_head, int32_t chunk,
                            int32_t num_tokens, const float* queries, int32_t num_queries,
                            float* out) const {
  const Head& head = head_of(layer, kv_head);
  if (head.pairs.empty()) return false;
  CHECK(chunk < num_chunks_);
  std::array<float, kMaxInt8RowCols / 2> a, b;
  const int32_t half = head_dim_ / 2;
  const int64_t table = int64_t{chunk} * static_cast<int64_t>(rows_.size()) * kAttentionChunk;
  WavesArgs args;
  args.a = a.data();
  args.b = b.data();
  args.rows = head.rows.data();
  args.num_waves = static_cast<int32_t>(head.pairs.size());
  args.num_tokens = num_tokens;
  args.cosines = cosines_.as<float>() + table;
  args.sines = sines_.as<float>() + table;
  for (int32_t query = 0; query < num_queries; ++query) {
    const float* q = queries + query * head_dim_;
    for (size_t i = 0; i < head.pairs.size(); ++i) {
      const Pair& pair = head.pairs[i];
      const float q0 = q[pair.dim], q1 = q[pair.dim + half];
      a[i] = q0 * pair.b0 + q1 * pair.b1;
      b[i] = q1 * pair.b0 - q0 * pair.b1;
    }
    kernels.sum_waves(args, out + query * kAttentionChunk);
  }
  return true;
}

}  // namespace sparrow
