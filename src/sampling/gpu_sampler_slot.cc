#include "sampling/gpu_sampler_slot.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "sampling/sampler_state.h"

namespace sparrow {
namespace {

static_assert(kGpuMaxLogitBias == kMaxLogitBias && kGpuMaxTopLogprobs == kMaxTopLogprobs);

// A weight w passes when double(w) >= min_p: when it is at least the smallest such float.
uint32_t smallest_passing(double min_p) {
  if (min_p <= 0) return 0;
  auto smallest = static_cast<float>(min_p);
  if (static_cast<double>(smallest) < min_p) {
    smallest = std::nextafter(smallest, std::numeric_limits<float>::infinity());
  }
  return std::bit_cast<uint32_t>(smallest);
}

GpuSamplerSlot numbers_of(const SamplingParams& params) {
  GpuSamplerSlot slot;
  slot.seed = params.seed;
  slot.choice = static_cast<uint64_t>(params.choice);
  slot.top_p = params.top_p;
  slot.inverse_temperature = static_cast<float>(1.0 / std::max(params.temperature, 1e-30));
  slot.repetition_penalty = static_cast<float>(params.repetition_penalty);
  slot.frequency_penalty = static_cast<float>(params.frequency_penalty);
  slot.presence_penalty = static_cast<float>(params.presence_penalty);
  slot.min_weight_bits = smallest_passing(params.min_p);
  slot.top_k = params.top_k;
  slot.num_top_logprobs = params.num_top_logprobs;
  slot.num_biases = static_cast<int32_t>(params.logit_bias.size());
  slot.is_greedy = params.greedy() || params.top_k == 1 ? 1 : 0;
  slot.uses_penalties = params.uses_penalties() ? 1 : 0;
  return slot;
}

}  // namespace

void make_gpu_sampler_upload(const SlotStart& start, int32_t vocab_size, GpuSamplerUpload& upload) {
  const SamplingParams& params = *start.params;
  CHECK(params.logit_bias.size() <= kMaxLogitBias && !start.tokens.empty());
  upload.slot = numbers_of(params);
  upload.biases.clear();
  for (const auto& [id, bias] : params.logit_bias) upload.biases.push_back({id, bias});
  upload.banned.clear();
  if (start.min_tokens > 0 && !start.banned_early.empty()) {
    upload.slot.min_tokens = start.min_tokens;
    upload.banned = gpu_bit_set(start.banned_early, vocab_size);
  }
  upload.last_token = start.tokens.back();
  upload.num_generated = static_cast<int32_t>(start.tokens.size()) - start.num_prompt_tokens;
  upload.counts.clear();
  if (!params.uses_penalties()) return;
  SamplerState state;
  state.start(start);
  for (const TokenCounts::Entry& entry : state.counts().entries()) {
    if (entry.id < 0 || entry.id >= vocab_size) continue;
    const auto generated =
        static_cast<uint32_t>(std::min<int32_t>(entry.num_generated, kGpuMaxTokenCount));
    upload.counts.push_back({entry.id, generated | (entry.in_prompt ? kGpuInPrompt : 0u)});
  }
}

std::vector<uint32_t> gpu_bit_set(std::span<const TokenId> ids, int32_t vocab_size) {
  std::vector<uint32_t> words(static_cast<size_t>(gpu_mask_words(vocab_size)));
  for (const TokenId id : ids) {
    if (id < 0 || id >= vocab_size) continue;
    words[static_cast<size_t>(id) / 32] |= 1u << (id % 32);
  }
  return words;
}

}  // namespace sparrow
