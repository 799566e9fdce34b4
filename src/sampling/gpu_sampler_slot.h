#pragma once
// A sequence's sampling parameters and history in the form that the card's sampler reads
// (kernels/cuda/gpu_sampling.h). Host side only; pure.

#include <cstdint>
#include <span>
#include <vector>

#include "core/batch_plan.h"
#include "kernels/cuda/gpu_sampling.h"

namespace sparrow {

// What the host copies to the card when a sequence takes a slot; a list that is empty need not be
// copied. Reused from start to start.
struct GpuSamplerUpload {
  GpuSamplerSlot slot;
  std::vector<GpuLogitBias> biases;   // at most kGpuMaxLogitBias
  std::vector<uint32_t> banned;       // [gpu_mask_words(vocab_size)], or empty: none ever are
  std::vector<GpuTokenCount> counts;  // of the tokens known; empty without penalties
  int32_t last_token = 0;
  int32_t num_generated = 0;
};

// `start.params` must have passed validate_sampling_params().
void make_gpu_sampler_upload(const SlotStart& start, int32_t vocab_size, GpuSamplerUpload& upload);

// Bit set of ids, as SampleArgs::disallowed wants it; ids outside the vocabulary are passed over.
std::vector<uint32_t> gpu_bit_set(std::span<const TokenId> ids, int32_t vocab_size);

}  // namespace sparrow
