#pragma once
// The three kernels of sample() and what they hand each other. For files of this folder only.
//
//   edit_logits    many blocks a row: forbids, biases, penalties; the best logit of each segment
//   weigh_logits   many blocks a row: weights; their sums by segment and their histogram
//   pick_tokens    one block a row: what the filters keep, the pick, log probabilities
//
// A segment is kGpuSamplingSegment neighbouring ids, the work of one warp.

#include "kernels/cuda/gpu_launchers.h"
#include "kernels/cuda/sampling/sampling_math.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {

void edit_logits(GpuStream stream, const SampleArgs& args);
void weigh_logits(GpuStream stream, const SampleArgs& args);
void pick_tokens(GpuStream stream, const SampleArgs& args);

// gpu_sampling_segments() and gpu_mask_words() for the device: nvcc wants its own.
__device__ __forceinline__ int segments_of(int size) {
  return (size + kGpuSamplingSegment - 1) / kGpuSamplingSegment;
}
__device__ __forceinline__ int mask_words_of(int vocab_size) { return (vocab_size + 31) / 32; }

// One row's part of SampleArgs::scratch.
struct RowScratch {
  Word* best = nullptr;        // [segments] logit keys; kNotFiniteKey: a logit was not finite
  Word* histogram = nullptr;   // [kGpuSamplingBins] of weights above 0, by their top bits
  double* sums = nullptr;      // [segments] of weights
  double* exp_sums = nullptr;  // [segments] of exp(logit - maximum), for log probabilities
  Word* heaviest = nullptr;    // [segments] bits of the largest weight
};
__device__ __forceinline__ RowScratch row_scratch(const SampleArgs& args, unsigned row) {
  const int segments = segments_of(args.states.vocab_size);
  const auto words = static_cast<size_t>(4 * segments + kGpuSamplingBins);
  Word* begin = static_cast<Word*>(args.scratch) + row * words;
  RowScratch scratch;
  scratch.histogram = begin;
  scratch.best = begin + kGpuSamplingBins;
  scratch.heaviest = scratch.best + segments;
  scratch.sums = reinterpret_cast<double*>(scratch.heaviest + segments);
  scratch.exp_sums = scratch.sums + segments;
  return scratch;
}

__device__ __forceinline__ bool uses_filters(const GpuSamplerSlot& slot) {
  return slot.top_k > 0 || slot.top_p < 1.0 || slot.min_weight_bits > 0;
}

// A histogram's bin: count << 44 | sum of the weights' 24-bit mantissas. All weights of a bin have
// the same exponent, so its mass is exact, in whatever order its weights arrived.
constexpr int kBinShift = 20;  // the bin of a weight is its bits >> kBinShift
constexpr int kCountShift = 44;
__device__ __forceinline__ unsigned mantissa_of(unsigned bits) {
  return (bits & 0x7fffffu) | 0x800000u;
}
__device__ __forceinline__ int count_of(Word bin) { return static_cast<int>(bin >> kCountShift); }
// `exponent`: bits >> 23 of its weights.
__device__ __forceinline__ double mass_of(Word bin, int exponent) {
  return ldexp(static_cast<double>(bin & ((Word{1} << kCountShift) - 1)), exponent - 127 - 23);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
