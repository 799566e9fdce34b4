#include "core/sampling_params.h"

#include <fmt/format.h>

namespace sparrow {
namespace {

// Written so that NaN fails.
Status check_range(const char* field, double value, double low, double high) {
  if (value >= low && value <= high) return ok_status();
  return invalid_argument(
      fmt::format("{} must be between {} and {}, got {}", field, low, high, value));
}

}  // namespace

Status validate_sampling_params(const SamplingParams& params, int vocab_size) {
  RETURN_IF_ERROR(check_range("temperature", params.temperature, 0, 2));
  RETURN_IF_ERROR(check_range("top_p", params.top_p, 1e-6, 1));
  RETURN_IF_ERROR(check_range("min_p", params.min_p, 0, 1));
  RETURN_IF_ERROR(check_range("repetition_penalty", params.repetition_penalty, 0.01, 10));
  RETURN_IF_ERROR(check_range("presence_penalty", params.presence_penalty, -2, 2));
  RETURN_IF_ERROR(check_range("frequency_penalty", params.frequency_penalty, -2, 2));
  if (params.top_k < 0) {
    return invalid_argument(fmt::format("top_k must be 0 (off) or more, got {}", params.top_k));
  }
  if (params.num_top_logprobs > kMaxTopLogprobs) {
    return invalid_argument(fmt::format("top_logprobs must be at most {}, got {}", kMaxTopLogprobs,
                                        params.num_top_logprobs));
  }
  if (params.logit_bias.size() > kMaxLogitBias) {
    return invalid_argument(fmt::format("logit_bias may name at most {} tokens, got {}",
                                        kMaxLogitBias, params.logit_bias.size()));
  }
  for (const auto& [token, bias] : params.logit_bias) {
    if (token < 0 || token >= vocab_size) {
      return invalid_argument(
          fmt::format("logit_bias names token {}, the vocabulary has {}", token, vocab_size));
    }
    RETURN_IF_ERROR(check_range("logit_bias", bias, -100, 100));
  }
  return ok_status();
}

}  // namespace sparrow
