#pragma once
// The forward pass of Qwen2 as the paper writes it: the oracle every executor is tested with.
// Weights are fp32 (dequantized exactly from any source format), all activations and sums are
// fp64, the angle of the rotary embedding is rounded to fp32 as in transformers. One thread, no
// kernels, no paging, no cache: a whole sequence in, the logits of chosen rows out. Small models.
//
//   ASSIGN_OR_RETURN(ReferenceModel model, load_reference_model(source));
//   std::vector<float> logits = reference_forward(model, tokens, rows);   // [rows][vocab]

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "core/ids.h"
#include "model/model_config.h"

namespace sparrow {

class TensorSource;

// Matrices are row-major [out][in].
struct ReferenceLayer {
  std::vector<float> attention_norm;          // [H]
  std::vector<float> q_weight, q_bias;        // [Nq * D][H], [Nq * D]
  std::vector<float> k_weight, k_bias;        // [Nk * D][H], [Nk * D]
  std::vector<float> v_weight, v_bias;        // [Nk * D][H], [Nk * D]
  std::vector<float> o_weight;                // [H][Nq * D]
  std::vector<float> ffn_norm;                // [H]
  std::vector<float> gate_weight, up_weight;  // [I][H] each
  std::vector<float> down_weight;             // [H][I]
};

struct ReferenceModel {
  ModelConfig config;
  std::vector<float> embedding;  // [V][H]
  std::vector<ReferenceLayer> layers;
  std::vector<float> final_norm;  // [H]
  std::vector<float> lm_head;     // [V][H]; the embedding when it is tied
};

Result<ReferenceModel> load_reference_model(const TensorSource& source);

// tokens stand at positions 0, 1, ...; rows index tokens. Returns [rows.size()][vocab_size].
std::vector<float> reference_forward(const ReferenceModel& model, std::span<const TokenId> tokens,
                                     std::span<const int32_t> rows);

}  // namespace sparrow
