#pragma once
// Sampler: one row of logits -> one token. What the CPU executor calls, and what device samplers
// are tested against.
//
// Order: ids that must not appear, logit_bias, penalties, temperature, top_k, top_p, min_p, pick.
// The pick walks the kept ids in ascending order with one uniform number that is a pure function of
// (seed, choice, position): the same request gives the same text in any batch. Greedy takes the
// largest logit, the lowest id on ties. The vocabulary is never sorted.
//
// Immutable after construction; sample() is thread-safe with one Scratch and State per thread.

#include <cstdint>
#include <span>
#include <vector>

#include "core/step_result.h"
#include "kernels/kernels.h"
#include "sampling/sampler_state.h"

namespace sparrow {

class Sampler {
 public:
  struct Candidate {
    float weight = 0;  // exp((logit - max) / temperature)
    TokenId id = 0;
  };
  // Working memory of one thread; grows to the vocabulary once.
  struct Scratch {
    std::vector<float> weights;
    std::vector<Candidate> candidates;
  };
  struct Row {
    std::span<float> logits;         // [vocab_size], overwritten
    int64_t position = 0;            // in its sequence, of the token to be sampled
    std::span<const uint32_t> mask;  // one bit per id that may come next; empty: all
  };

  // `disallowed` are ids without a token (padding rows of the head): never sampled.
  Sampler(const Kernels& kernels, int32_t vocab_size, std::vector<TokenId> disallowed);

  // Does not record the token in the state. `top` receives num_top_logprobs entries, best first.
  SampledToken sample(const Row& row, const SamplerState& state, Scratch& scratch,
                      std::vector<TokenLogprob>& top) const;

 private:
  bool forbid(const Row& row, const SamplerState& state, float largest) const;
  TokenId pick(const Row& row, const SamplingParams& params, float maximum, Scratch& scratch) const;

  const Kernels& kernels_;
  const int32_t vocab_size_;
  const std::vector<TokenId> disallowed_;
};

}  // namespace sparrow
