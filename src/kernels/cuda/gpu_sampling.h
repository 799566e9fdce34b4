#pragma once
// Sampling on a card: one row of logits -> one token, the same id that sparrow::Sampler
// (sampling/sampler.h) takes, without sorting the vocabulary.
//
// A step is sample() for its logit rows, in as many turns as the logits need, then one
// record_samples() over all of them. Rows do not wait for each other: a row behind drafts is
// sampled as if all of them were right (its penalties count them), and record_samples() then marks
// the rows behind the first wrong one as not valid.
//
// What differs from the CPU: sums of weights are rounded elsewhere, so the id differs when
// uniform * total, or the mass of top_p, lies within some 1e-13 of a boundary between two ids; a
// token's count saturates at 32,767; log probabilities differ by the rounding of the CPU's fp32
// sum.
//
// Shapes: S slots, V vocabulary (V <= kGpuMaxVocab), R logit rows of one call, W =
// gpu_mask_words(V).

#include <cstddef>
#include <cstdint>

namespace sparrow {

inline constexpr int32_t kGpuMaxVocab = (1 << 20) - 1;  // ids and counts share words with weights
inline constexpr int32_t kGpuMaxLogitBias = 1024;       // kMaxLogitBias of core/sampling_params.h
inline constexpr int32_t kGpuMaxTopLogprobs = 20;       // kMaxTopLogprobs

// Words of one bit per id.
inline constexpr int32_t gpu_mask_words(int32_t vocab_size) { return (vocab_size + 31) / 32; }

// A running sequence's parameters as the kernels read them; make_gpu_sampler_upload()
// (sampling/gpu_sampler_slot.h) fills it.
struct GpuSamplerSlot {
  uint64_t seed = 0;
  uint64_t choice = 0;
  double top_p = 1.0;
  float inverse_temperature = 1.0f;  // as the CPU computes it
  float repetition_penalty = 1.0f;
  float frequency_penalty = 0.0f;
  float presence_penalty = 0.0f;
  uint32_t min_weight_bits = 0;  // of the smallest float >= min_p; 0: off
  int32_t top_k = 0;             // 0: off
  int32_t num_top_logprobs = -1;
  int32_t min_tokens =
      0;  // the banned ids are banned while fewer are generated; 0: none are banned
  int32_t num_biases = 0;
  uint8_t is_greedy = 0;  // temperature 0, or top_k 1
  uint8_t uses_penalties = 0;
  uint8_t reserved[2] = {};
};
static_assert(sizeof(GpuSamplerSlot) == 64);

struct GpuLogitBias {
  int32_t id = 0;
  float bias = 0;
};

// How often a token appeared in a sequence: times generated, and kGpuInPrompt when in the prompt.
inline constexpr uint16_t kGpuInPrompt = 0x8000;
inline constexpr uint16_t kGpuMaxTokenCount = 0x7fff;
struct GpuTokenCount {
  int32_t id = 0;
  uint32_t count = 0;
};

// What the card remembers of all slots. Does not own; everything is device memory. `slots`,
// `biases` and `banned` are written by the host (by copies in stream order) when a sequence takes a
// slot, the others by start_sampler_slot() and record_samples().
struct GpuSamplerStates {
  int32_t vocab_size = 0;
  GpuSamplerSlot* slots = nullptr;  // [S]
  GpuLogitBias* biases = nullptr;   // [S][kGpuMaxLogitBias], sorted by id
  uint32_t* banned = nullptr;      // [S][W], a bit set: banned early; read while min_tokens says so
  uint16_t* counts = nullptr;      // [S][V]
  int32_t* last_tokens = nullptr;  // [S]: what kPendingToken stands for
  int32_t* num_generated = nullptr;  // [S]
};

// The parts of a slot's state that are not copied: counts (only if the slot uses penalties), last
// token, number of tokens generated. Clears what an earlier sequence left.
struct StartSamplerSlotArgs {
  GpuSamplerStates states;
  int32_t slot = 0;
  int32_t last_token = 0;
  int32_t num_generated = 0;
  bool uses_penalties = false;
  const GpuTokenCount* counts = nullptr;  // [num_counts], each id once, ids in [0, V)
  int32_t num_counts = 0;
};

// One row to be sampled. The rows of a span with drafts follow each other in one record_samples(),
// index 0, 1, .. num_drafts; so do the rows of a span without.
struct GpuLogitRow {
  int32_t slot = -1;         // -1: padding, nothing is done
  int32_t position = 0;      // in its sequence, of the token to be sampled
  int32_t index = 0;         // among the span's logit rows; 0 begins a span
  int32_t mask_row = -1;     // of this very row in `masks`; -1: all ids may come
  int32_t num_drafts = 0;    // of the span; 0: its rows all see the state the span began with
  int32_t first_draft = -1;  // index of the span's first draft in `draft_ids`
};

struct GpuSampledToken {
  int32_t id = 0;
  float logprob = 0;       // 0 unless the slot asks for logprobs
  int32_t num_top = 0;     // entries of the row in `tops`
  uint8_t not_finite = 0;  // a logit was NaN or infinite, or no id was allowed: id means nothing
  uint8_t is_valid = 0;    // written by record_samples(): the token belongs to the sequence
  uint8_t reserved[2] = {};
};
static_assert(sizeof(GpuSampledToken) == 16);

struct GpuTokenLogprob {
  int32_t id = 0;
  float logprob = 0;
};

struct SampleArgs {
  GpuSamplerStates states;
  const GpuLogitRow* rows = nullptr;  // [R]
  int32_t num_rows = 0;
  float* logits = nullptr;               // [R][V], overwritten
  const uint32_t* disallowed = nullptr;  // [W], a bit set: an id without a token; null: none
  const uint32_t* masks = nullptr;       // [mask rows][W], a bit set: may come next
  const int32_t* draft_ids = nullptr;    // what GpuLogitRow::first_draft counts in
  void* scratch = nullptr;               // gpu_sample_scratch_bytes(num_rows, V), 16-byte aligned
  GpuSampledToken* out = nullptr;        // [R]; all but is_valid
  GpuTokenLogprob* tops = nullptr;       // [R][kGpuMaxTopLogprobs], best first
};

struct RecordSamplesArgs {
  GpuSamplerStates states;
  const GpuLogitRow* rows = nullptr;  // [num_rows] of the whole step, whole spans
  int32_t num_rows = 0;
  const int32_t* draft_ids = nullptr;
  GpuSampledToken* tokens = nullptr;  // [num_rows], from sample(); is_valid is written
};

// The vocabulary is cut into segments, one a warp.
inline constexpr int32_t kGpuSamplingSegment = 512;
inline constexpr int32_t kGpuSamplingBins = 1024;
inline constexpr int32_t gpu_sampling_segments(int32_t vocab_size) {
  return (vocab_size + kGpuSamplingSegment - 1) / kGpuSamplingSegment;
}
// Four words of 8 bytes a segment, and a histogram.
inline constexpr size_t gpu_sample_scratch_bytes(int32_t num_rows, int32_t vocab_size) {
  const auto words = static_cast<size_t>(4 * gpu_sampling_segments(vocab_size) + kGpuSamplingBins);
  return static_cast<size_t>(num_rows) * words * 8;
}

}  // namespace sparrow
