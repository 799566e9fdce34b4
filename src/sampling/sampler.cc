#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "sampling/candidates.h"

namespace sparrow {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

// One pass without branches, so that it is vectorised: any NaN or infinity makes the sum NaN.
bool all_finite(std::span<const float> logits) {
  float sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= logits.size(); i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += logits[i + lane] * 0.0f;
  }
  for (; i < logits.size(); ++i) sums[0] += logits[i] * 0.0f;
  float total = 0;
  for (const float sum : sums) total += sum;
  return total == 0.0f;
}

float largest(std::span<const float> logits) {
  float best[8];
  std::fill(std::begin(best), std::end(best), kForbidden);
  size_t i = 0;
  for (; i + 8 <= logits.size(); i += 8) {
    for (size_t lane = 0; lane < 8; ++lane) {
      best[lane] = logits[i + lane] > best[lane] ? logits[i + lane] : best[lane];
    }
  }
  for (; i < logits.size(); ++i) best[0] = std::max(best[0], logits[i]);
  return *std::max_element(std::begin(best), std::end(best));
}

void apply_bias_and_penalties(std::span<float> logits, const SamplerState& state) {
  const SamplingParams& params = state.params();
  for (const auto& [id, bias] : params.logit_bias) logits[static_cast<size_t>(id)] += bias;
  if (!params.uses_penalties()) return;
  const auto repetition = static_cast<float>(params.repetition_penalty);
  const auto frequency = static_cast<float>(params.frequency_penalty);
  const auto presence = static_cast<float>(params.presence_penalty);
  for (const TokenCounts::Entry& entry : state.counts().entries()) {
    if (entry.id < 0 || static_cast<size_t>(entry.id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(entry.id)];
    logit = logit > 0 ? logit / repetition : logit * repetition;
    if (entry.num_generated > 0) {
      logit -= frequency * static_cast<float>(entry.num_generated) + presence;
    }
  }
}

// The `count` largest logits, best first, lowest id first among equals.
void best_logits(std::span<const float> logits, size_t count, std::vector<TokenLogprob>& best) {
  best.clear();
  if (count == 0) return;
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.id < b.id);
  };
  for (size_t i = 0; i < logits.size(); ++i) {
    if (best.size() == count && logits[i] <= best.back().logprob) continue;
    if (logits[i] == kForbidden) continue;
    const TokenLogprob entry{static_cast<TokenId>(i), logits[i]};
    best.insert(std::upper_bound(best.begin(), best.end(), entry, better), entry);
    if (best.size() > count) best.pop_back();
  }
}

}  // namespace

Sampler::Sampler(const Kernels& kernels, int32_t vocab_size, std::vector<TokenId> disallowed)
    : kernels_(kernels), vocab_size_(vocab_size), disallowed_(std::move(disallowed)) {
  for (const TokenId id : disallowed_) CHECK(id >= 0 && id < vocab_size_);
}

void Sampler::forbid(const Row& row, const SamplerState& state) const {
  for (const TokenId id : disallowed_) row.logits[static_cast<size_t>(id)] = kForbidden;
  for (const TokenId id : state.banned_now()) {
    if (id >= 0 && id < vocab_size_) row.logits[static_cast<size_t>(id)] = kForbidden;
  }
  if (row.mask.empty()) return;
  CHECK(row.mask.size() * 32 >= row.logits.size());
  for (size_t id = 0; id < row.logits.size(); ++id) {
    if ((row.mask[id / 32] >> (id % 32) & 1u) == 0) row.logits[id] = kForbidden;
  }
}

SampledToken Sampler::sample(const Row& row, const SamplerState& state, Scratch& scratch,
                             std::vector<TokenLogprob>& top) const {
  CHECK(row.logits.size() == static_cast<size_t>(vocab_size_));
  const SamplingParams& params = state.params();
  SampledToken token;
  top.clear();
  token.not_finite = !all_finite(row.logits);
  if (token.not_finite) return token;
  forbid(row, state);
  apply_bias_and_penalties(row.logits, state);
  const float maximum = largest(row.logits);
  if (maximum == kForbidden) {  // a mask that allows nothing
    token.not_finite = true;
    return token;
  }
  token.id = pick(row, params, maximum, scratch);
  if (params.num_top_logprobs >= 0) {
    scratch.weights.assign(row.logits.begin(), row.logits.end());
    const float sum = kernels_.exp_sum(scratch.weights.data(), vocab_size_, maximum);
    const float log_sum = maximum + std::log(sum);
    token.logprob = row.logits[static_cast<size_t>(token.id)] - log_sum;
    best_logits(row.logits, static_cast<size_t>(params.num_top_logprobs), top);
    for (TokenLogprob& entry : top) entry.logprob -= log_sum;
    token.num_top = static_cast<int32_t>(top.size());
  }
  return token;
}

TokenId Sampler::pick(const Row& row, const SamplingParams& params, float maximum,
                      Scratch& scratch) const {
  const std::span<const float> logits = row.logits;
  if (params.greedy() || params.top_k == 1) {
    return static_cast<TokenId>(std::find(logits.begin(), logits.end(), maximum) - logits.begin());
  }
  // Below 1e-3 the largest weight is alone for any float difference that matters; the bound keeps
  // the quotient finite.
  const auto inverse = static_cast<float>(1.0 / std::max(params.temperature, 1e-3));
  scratch.weights.resize(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) scratch.weights[i] = (logits[i] - maximum) * inverse;
  kernels_.exp_sum(scratch.weights.data(), vocab_size_, 0.0f);
  const double uniform = random_uniform(params.seed, static_cast<uint64_t>(params.choice),
                                        static_cast<uint64_t>(row.position));
  if (params.top_k == 0 && params.top_p >= 1.0 && params.min_p <= 0.0) {
    return pick_from_all(scratch.weights, uniform);
  }
  keep_candidates(scratch.weights, {params.top_k, params.top_p, params.min_p}, scratch.candidates);
  return pick_in_id_order(scratch.candidates, uniform);
}

}  // namespace sparrow
