#include "model/files/config_limits.h"

#include <fmt/format.h>

#include <cmath>

namespace sparrow {
namespace {

Status check_range(const std::string& path, const char* field, int64_t found, int64_t max) {
  if (found >= 1 && found <= max) return ok_status();
  return invalid_argument(
      fmt::format("{}: {}: found {}, expected 1 to {}", path, field, found, max));
}

}  // namespace

Status check_model_config(const ModelConfig& config, const std::string& path) {
  RETURN_IF_ERROR(check_range(path, "hidden_size", config.hidden_size, kMaxHiddenSize));
  RETURN_IF_ERROR(
      check_range(path, "intermediate_size", config.intermediate_size, kMaxIntermediateSize));
  RETURN_IF_ERROR(check_range(path, "num_hidden_layers", config.num_layers, kMaxLayers));
  RETURN_IF_ERROR(check_range(path, "num_attention_heads", config.num_heads, kMaxHeads));
  RETURN_IF_ERROR(check_range(path, "num_key_value_heads", config.num_kv_heads, config.num_heads));
  RETURN_IF_ERROR(check_range(path, "head_dim", config.head_dim, kMaxHeadDim));
  RETURN_IF_ERROR(check_range(path, "vocab_size", config.vocab_size, kMaxVocabSize));
  RETURN_IF_ERROR(check_range(path, "max_position_embeddings", config.max_position, kMaxPosition));
  if (config.num_heads % config.num_kv_heads != 0) {
    return invalid_argument(
        fmt::format("{}: num_key_value_heads: found {}, expected a divisor of the {} query heads",
                    path, config.num_kv_heads, config.num_heads));
  }
  if (config.head_dim % 2 != 0) {
    return invalid_argument(
        fmt::format("{}: head_dim: found {}, expected an even number", path, config.head_dim));
  }
  if (!(config.rms_norm_eps > 0 && config.rms_norm_eps < 1)) {
    return invalid_argument(fmt::format("{}: rms_norm_eps: found {}, expected between 0 and 1",
                                        path, config.rms_norm_eps));
  }
  if (!(config.rope_theta >= 1 && config.rope_theta <= 1e12f)) {
    return invalid_argument(
        fmt::format("{}: rope_theta: found {}, expected 1 to 1e12", path, config.rope_theta));
  }
  for (const TokenId id : config.eos_token_ids) {
    if (id < 0 || id >= config.vocab_size) {
      return invalid_argument(fmt::format("{}: eos_token_id: found {}, expected 0 to {}", path, id,
                                          config.vocab_size - 1));
    }
  }
  return ok_status();
}

}  // namespace sparrow
