#pragma once
// CpuKeyBias: keeps the large biases of Qwen2's K projection out of a KV cache of bytes.
//
// A bias of a hundred beside components around one would take nearly all of a byte's range. But a
// bias is the same for every token, so its part of a score can be computed exactly: for the pair
// (i, i + D/2) with bias (b0, b1), a query rotated to its own position (q0, q1) and a key at
// position p it is
//     (q0 b0 + q1 b1) cos(p f_i) + (q1 b0 - q0 b1) sin(p f_i).
// So large pairs are taken off K, rotated, before it is stored, and their waves are added to the
// scores (AttentionArgs::score_bias). Pairs below the threshold stay in K.
//
// Tables of cos and sin use the same angles as the rotation itself; a chunk of 256 positions is
// filled when it is first needed. prepare() from the engine thread, the rest from any worker.

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "kernels/kernels.h"
#include "model/cpu_weights.h"
#include "model/model_config.h"
#include "tensor/aligned_buffer.h"

namespace sparrow {

class CpuKeyBias {
 public:
  // Finds the large pairs of every layer and head, reserves tables for max_context positions.
  Status load(const ModelConfig& config, const CpuWeights& weights, int32_t max_context);

  // True if some head has a large pair; else the other calls do nothing.
  bool active() const { return !rows_.empty(); }
  // Tables hold positions [0, num_positions) from now on.
  void prepare(int32_t num_positions);

  // Takes the bias off the rotated keys of one token: k [num_kv_heads][head_dim], tables of its
  // position [head_dim / 2].
  void subtract(int32_t layer, const float* cosines, const float* sines, float* k) const;
  // Scores of one KV head's biases for the tokens of one chunk: out [num_queries][kAttentionChunk].
  // Returns false, writing nothing, where that head has no large pair.
  bool add_scores(const Kernels& kernels, int32_t layer, int32_t kv_head, int32_t chunk,
                  int32_t num_tokens, const float* queries, int32_t num_queries, float* out) const;

 private:
  struct Pair {
    int32_t dim;  // the first of its two components
    float b0, b1;
  };
  struct Head {
    std::vector<Pair> pairs;
    std::vector<int32_t> rows;  // of the tables, one a pair
  };
  const Head& head_of(int32_t layer, int32_t kv_head) const {
    return heads_[static_cast<size_t>(layer * num_kv_heads_ + kv_head)];
  }

  // Constant after load().
  int32_t num_kv_heads_ = 0;
  int32_t head_dim_ = 0;
  std::vector<Head> heads_;
  std::vector<float> rows_;  // frequency of each table row

  // [chunks][rows][kAttentionChunk], filled up to num_chunks_.
  AlignedBuffer cosines_, sines_;
  int32_t num_chunks_ = 0;
};

}  // namespace sparrow
