#include "kernels/cuda/sampling/reference_test_support.h"

#include <utility>

#include "kernels/cpu_features.h"
#include "sampling/sampler.h"

namespace sparrow {

struct SamplingReference::Parts {
  Sampler sampler;
  Sampler::Scratch scratch;
};

SamplingReference::SamplingReference(int32_t vocab_size, std::vector<TokenId> disallowed)
    : parts_(new Parts{Sampler(scalar_kernels(), vocab_size, std::move(disallowed)), {}}) {}
SamplingReference::~SamplingReference() = default;

SampledToken SamplingReference::sample(std::span<float> logits, int64_t position,
                                       std::span<const uint32_t> mask, const SamplerState& state,
                                       std::vector<TokenLogprob>& top) {
  return parts_->sampler.sample({logits, position, mask}, state, parts_->scratch, top);
}

}  // namespace sparrow
