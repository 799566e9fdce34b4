#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"
#include "sampling/candidates.h"
#include "sampling/row_scan.h"

namespace sparrow {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

void apply_bias_and_penalties(std::span<float> logits, const SamplerState& state) {
  const SamplingParams& params = state.params();
  // Never up to infinity, which would make every weight NaN; down to it means forbidden.
  const auto bounded = [](float logit) {
    return std::min(logit, std::numeric_limits<float>::max());
  };
  for (const auto& [id, bias] : params.logit_bias) {
    float& logit = logits[static_cast<size_t>(id)];
    logit = bounded(logit + bias);
  }
  if (!params.uses_penalties()) return;
  const auto repetition = static_cast<float>(params.repetition_penalty);
  const auto frequency = static_cast<float>(params.frequency_penalty);
  const auto presence = static_cast<float>(params.presence_penalty);
  for (const TokenCounts::Entry& entry : state.counts().entries()) {
    if (entry.id < 0 || static_cast<size_t>(entry.id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(entry.id)];
    logit = bounded(logit > 0 ? logit / repetition : logit * repetition);
    if (entry.num_generated > 0) {
      logit = bounded(logit - (frequency * static_cast<float>(entry.num_generated) + presence));
    }
  }
}

// The `count` largest logits, best first, lowest id first among equals.
void best_logits(std::span<const float> logits, size_t count, std::vector<TokenLogprob>& best) {
  constexpr size_t kBlock = 256;
  best.clear();
  if (count == 0) return;
  const auto better = [](const TokenLogprob& a, const TokenLogprob& b) {
    return a.logprob > b.logprob || (a.logprob == b.logprob && a.id < b.id);
  };
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const auto block = logits.subspan(begin, std::min(kBlock, logits.size() - begin));
    if (best.size() == count && largest_of(block) <= best.back().logprob) continue;
    for (size_t i = 0; i < block.size(); ++i) {
      if (best.size() == count && block[i] <= best.back().logprob) continue;
      if (block[i] == kForbidden) continue;
      const TokenLogprob entry{static_cast<TokenId>(begin + i), block[i]};
      best.insert(std::upper_bound(best.begin(), best.end(), entry, better), entry);
      if (best.size() > count) best.pop_back();
    }
  }
}

}  // namespace

Sampler::Sampler(const Kernels& kernels, int32_t vocab_size, std::vector<TokenId> disallowed)
    : kernels_(kernels), vocab_size_(vocab_size), disallowed_(std::move(disallowed)) {
  for (const TokenId id : disallowed_) CHECK(id >= 0 && id < vocab_size_);
}

// Returns whether an id as large as `largest` was forbidden.
bool Sampler::forbid(const Row& row, const SamplerState& state, float largest) const {
  bool lost_largest = false;
  const auto drop = [&](float& logit) {
    lost_largest = lost_largest || logit >= largest;
    logit = kForbidden;
  };
  for (const TokenId id : disallowed_) drop(row.logits[static_cast<size_t>(id)]);
  for (const TokenId id : state.banned_now()) {
    if (id >= 0 && id < vocab_size_) drop(row.logits[static_cast<size_t>(id)]);
  }
  if (row.mask.empty()) return lost_largest;
  CHECK(row.mask.size() * 32 >= row.logits.size());
  for (size_t begin = 0; begin < row.logits.size(); begin += 32) {
    const uint32_t allowed = row.mask[begin / 32];
    if (allowed == ~0u) continue;
    const std::span<float> part =
        row.logits.subspan(begin, std::min<size_t>(32, row.logits.size() - begin));
    for (size_t bit = 0; bit < part.size(); ++bit) {
      if ((allowed >> bit & 1u) == 0) drop(part[bit]);
    }
  }
  return lost_largest;
}

SampledToken Sampler::sample(const Row& row, const SamplerState& state, Scratch& scratch,
                             std::vector<TokenLogprob>& top) const {
  CHECK(row.logits.size() == static_cast<size_t>(vocab_size_));
  const SamplingParams& params = state.params();
  SampledToken token;
  top.clear();
  const RowSummary raw = summarize(row.logits);
  token.not_finite = !raw.finite;
  if (token.not_finite) return token;
  bool look_again = forbid(row, state, raw.largest);
  if (params.uses_penalties() || !params.logit_bias.empty()) {
    apply_bias_and_penalties(row.logits, state);
    look_again = true;
  }
  const float maximum = look_again ? summarize(row.logits).largest : raw.largest;
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
    return first_of(logits, maximum);
  }
  // The bound keeps the quotient finite; no two floats that differ are that close.
  const auto inverse = static_cast<float>(1.0 / std::max(params.temperature, 1e-30));
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
