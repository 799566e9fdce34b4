#pragma once
// SamplingParams: how one sequence turns logits into tokens. A plain value, validated once by
// validate_sampling_params() wherever a request enters; the sampler trusts it afterwards.
//
// Order of operations (that of vLLM): logit_bias, penalties, temperature, top_k, top_p, min_p,
// pick.

#include <cstdint>
#include <utility>
#include <vector>

#include "base/status.h"
#include "core/ids.h"

namespace sparrow {

inline constexpr int kMaxTopLogprobs = 20;
inline constexpr int kMaxLogitBias = 1024;

struct SamplingParams {
  double temperature = 1.0;         // 0 = greedy
  int top_k = 0;                    // 0 = off
  double top_p = 1.0;               // (0, 1]
  double min_p = 0.0;               // [0, 1]
  double repetition_penalty = 1.0;  // (0, 10], over prompt and output tokens (CTRL, Keskar 2019)
  double presence_penalty = 0.0;    // [-2, 2], over output tokens
  double frequency_penalty = 0.0;   // [-2, 2], over output tokens
  std::vector<std::pair<TokenId, float>> logit_bias;  // sorted by id, values in [-100, 100]

  // Randomness is (seed, choice, position) -> one uniform number (base/random.h).
  uint64_t seed = 0;
  int choice = 0;  // index among the n choices of one request

  int num_top_logprobs = -1;  // -1: no logprobs; 0: of the sampled token only; k: and the k best

  bool greedy() const { return temperature == 0.0; }
  bool uses_penalties() const {
    return repetition_penalty != 1.0 || presence_penalty != 0.0 || frequency_penalty != 0.0;
  }
};

// Names the offending field, its value and the accepted range.
Status validate_sampling_params(const SamplingParams& params, int vocab_size);

}  // namespace sparrow
