#pragma once
// ModelConfig: the numbers of a Qwen2-architecture model, validated. Read from config.json or from
// GGUF metadata; nothing later trusts the file again.

#include <cstdint>
#include <string>
#include <vector>

#include "core/ids.h"

namespace sparrow {

struct ModelConfig {
  std::string architecture = "qwen2";
  int32_t hidden_size = 0;
  int32_t intermediate_size = 0;
  int32_t num_layers = 0;
  int32_t num_heads = 0;     // query heads
  int32_t num_kv_heads = 0;  // divides num_heads
  int32_t head_dim = 0;      // even
  int32_t vocab_size = 0;    // rows of the embedding, padding included
  int32_t max_position = 0;  // hard limit of positions
  float rms_norm_eps = 1e-6f;
  float rope_theta = 10000.0f;
  bool tied_embeddings = false;
  std::vector<TokenId> eos_token_ids;  // from config.json; generation_config.json may replace them
  TokenId bos_token_id = -1;

  int32_t q_size() const { return num_heads * head_dim; }
  int32_t kv_size() const { return num_kv_heads * head_dim; }
  int32_t group_size() const { return num_heads / num_kv_heads; }
};

}  // namespace sparrow
