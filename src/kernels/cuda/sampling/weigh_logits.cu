// Weights exp((logit - maximum) / temperature), which are not stored but computed where they are
// needed: their sums by segment where nothing is filtered, else their histogram; and the sums for
// log probabilities. Greedy rows without log probabilities have nothing to do here.
#include "kernels/cuda/sampling/sample_steps.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;  // segments of a block
constexpr int kChunk = kWarps * kGpuSamplingSegment;
constexpr int kPerLane = kGpuSamplingSegment / kWarpSize;
static_assert(kChunk <= 1 << (32 - kBinShift), "a block's sums of low bits fit 32 bits");

// Of one block: the shared memory's fast atomics are 32 bits wide.
struct Bins {
  unsigned counts[kGpuSamplingBins];
  unsigned low_sums[kGpuSamplingBins];  // of the bits below the bin's
};

__device__ void add_bins(const Bins& bins, Word* histogram) {
  for (int i = static_cast<int>(threadIdx.x); i < kGpuSamplingBins; i += kThreads) {
    const Word count = bins.counts[i];
    if (count == 0) continue;
    const unsigned smallest = mantissa_of(static_cast<unsigned>(i) << kBinShift);
    atomicAdd(&histogram[i], count << kCountShift | (count * smallest + bins.low_sums[i]));
  }
}

__global__ void __launch_bounds__(kThreads) weigh_logits_kernel(const SampleArgs args) {
  __shared__ Word shared_best[kWarps];
  __shared__ Bins bins;
  const GpuLogitRow row = args.rows[blockIdx.y];
  if (row.slot < 0) return;
  const GpuSamplerSlot& slot = args.states.slots[row.slot];
  const bool needs_weights = slot.is_greedy == 0;
  const bool needs_exp_sum = slot.num_top_logprobs >= 0;
  if (!needs_weights && !needs_exp_sum) return;
  const bool needs_bins = needs_weights && uses_filters(slot);
  const int thread = static_cast<int>(threadIdx.x);
  const int vocab_size = args.states.vocab_size;
  const RowScratch scratch = row_scratch(args, blockIdx.y);
  if (needs_bins) {
    for (int i = thread; i < kGpuSamplingBins; i += kThreads) {
      bins.counts[i] = 0;
      bins.low_sums[i] = 0;
    }
  }
  const Word best = block_best_key(scratch.best, segments_of(vocab_size), shared_best);
  if (best == kNotFiniteKey || ordered_of(best) == kOrderedForbidden) return;
  const float maximum = logit_of(best);
  const float inverse = slot.inverse_temperature;
  const float* logits = args.logits + static_cast<int64_t>(blockIdx.y) * vocab_size;

  const int warp = thread / kWarpSize, lane = thread % kWarpSize;
  const int segment = static_cast<int>(blockIdx.x) * kWarps + warp;
  float values[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int id = segment * kGpuSamplingSegment + i * kWarpSize + lane;
    values[i] = id < vocab_size ? logits[id] : __uint_as_float(0xff800000u);  // weight 0
  }
  double sum = 0, exp_sum = 0;
  unsigned heaviest = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (needs_weights) {
      const float weight = weight_of(values[i], maximum, inverse);
      const unsigned bits = __float_as_uint(weight);
      heaviest = bits > heaviest ? bits : heaviest;
      if (!needs_bins) sum += static_cast<double>(weight);
      if (needs_bins && bits != 0) {
        atomicAdd(&bins.counts[bits >> kBinShift], 1u);
        atomicAdd(&bins.low_sums[bits >> kBinShift], bits & ((1u << kBinShift) - 1));
      }
    }
    if (needs_exp_sum) exp_sum += static_cast<double>(weight_of(values[i], maximum, 1.0f));
  }
  sum = warp_sum_double(sum);
  exp_sum = warp_sum_double(exp_sum);
  heaviest = warp_max_bits(heaviest);
  if (lane == 0 && segment < segments_of(vocab_size)) {
    scratch.sums[segment] = sum;
    scratch.exp_sums[segment] = exp_sum;
    scratch.heaviest[segment] = heaviest;
  }
  if (!needs_bins) return;
  __syncthreads();
  add_bins(bins, scratch.histogram);
}

}  // namespace

void weigh_logits(GpuStream stream, const SampleArgs& args) {
  const int num_chunks = (args.states.vocab_size + kChunk - 1) / kChunk;
  launch(stream, dim3{static_cast<unsigned>(num_chunks), static_cast<unsigned>(args.num_rows)},
         dim3{kThreads}, 0, weigh_logits_kernel, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
