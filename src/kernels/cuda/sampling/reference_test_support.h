#pragma once
// Test support: the CPU's sampler behind a header that names none of the CPU's kernel arguments,
// some of which are called as the card's are.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/step_result.h"
#include "sampling/sampler_state.h"

namespace sparrow {

class SamplingReference {
 public:
  SamplingReference(int32_t vocab_size, std::vector<TokenId> disallowed);
  ~SamplingReference();

  // Overwrites the logits with the edited ones; an empty mask allows all.
  SampledToken sample(std::span<float> logits, int64_t position, std::span<const uint32_t> mask,
                      const SamplerState& state, std::vector<TokenLogprob>& top);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace sparrow
