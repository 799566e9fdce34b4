// What changes logits before anything is chosen: ids that must not appear, logit_bias, penalties,
// in the CPU sampler's arithmetic. Also the best logit of each segment, so that greedy rows are
// done.
#include <cfloat>

#include "kernels/cuda/sampling/sample_steps.cuh"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;
constexpr int kSegments = kThreads / kWarpSize;  // of a block
constexpr int kChunk = kSegments * kGpuSamplingSegment;
constexpr int kChunkWords = kChunk / 32;
constexpr int kPerLane = kGpuSamplingSegment / kWarpSize;
static_assert(kChunkWords <= kThreads);

__device__ __forceinline__ bool is_finite(float value) { return fabsf(value) <= FLT_MAX; }
__device__ __forceinline__ float bounded(float logit) { return fminf(logit, FLT_MAX); }
__device__ __forceinline__ float forbidden_logit() { return __uint_as_float(0xff800000u); }

// The ids of one block.
struct Chunk {
  int begin;
  int end;
  __device__ bool holds(int id) const { return id >= begin && id < end; }
};

__device__ unsigned forbidden_word(const SampleArgs& args, const GpuLogitRow& row, int word) {
  const int num_words = mask_words_of(args.states.vocab_size);
  if (word >= num_words) return 0;
  unsigned forbidden = args.disallowed != nullptr ? args.disallowed[word] : 0u;
  if (row.mask_row >= 0) {
    forbidden |= ~args.masks[static_cast<int64_t>(row.mask_row) * num_words + word];
  }
  const int num_before = row.num_drafts > 0 ? row.index : 0;
  const int min_tokens = args.states.slots[row.slot].min_tokens;
  if (args.states.num_generated[row.slot] + num_before < min_tokens) {
    forbidden |= args.states.banned[static_cast<int64_t>(row.slot) * num_words + word];
  }
  return forbidden;
}

// Returns false when a logit was not finite: the bias could hide it.
__device__ bool apply_biases(const GpuLogitBias* biases, int num_biases, Chunk chunk,
                             float* logits) {
  bool all_finite = true;
  for (int i = static_cast<int>(threadIdx.x); i < num_biases; i += kThreads) {
    const int id = biases[i].id;
    if (!chunk.holds(id) || (i > 0 && biases[i - 1].id == id)) continue;
    float logit = logits[id];
    all_finite = all_finite && is_finite(logit);
    // An id named twice is the work of one thread.
    for (int j = i; j < num_biases && biases[j].id == id; ++j) {
      logit = bounded(__fadd_rn(logit, biases[j].bias));
    }
    logits[id] = logit;
  }
  return all_finite;
}

// What a row's penalties look at.
struct Appeared {
  const uint16_t* counts;  // [V]
  const int32_t* drafts;   // before this row
  int num_drafts;
};

__device__ float penalized(float logit, const GpuSamplerSlot& slot, const Appeared& appeared,
                           int id, bool is_drafted) {
  const unsigned count = appeared.counts[id];
  if (count == 0 && !is_drafted) return logit;
  int num_generated = static_cast<int>(count & kGpuMaxTokenCount);
  if (is_drafted) {
    for (int i = 0; i < appeared.num_drafts; ++i) num_generated += appeared.drafts[i] == id ? 1 : 0;
  }
  logit = bounded(logit > 0 ? __fdiv_rn(logit, slot.repetition_penalty)
                            : __fmul_rn(logit, slot.repetition_penalty));
  if (num_generated == 0) return logit;
  const float often = __fmul_rn(slot.frequency_penalty, static_cast<float>(num_generated));
  return bounded(__fsub_rn(logit, __fadd_rn(often, slot.presence_penalty)));
}

__global__ void __launch_bounds__(kThreads) edit_logits_kernel(const SampleArgs args) {
  __shared__ unsigned forbidden[kChunkWords];
  __shared__ unsigned drafted[kChunkWords];
  __shared__ int any_not_finite;
  const GpuLogitRow row = args.rows[blockIdx.y];
  if (row.slot < 0) return;
  const GpuSamplerSlot& slot = args.states.slots[row.slot];
  const int thread = static_cast<int>(threadIdx.x);
  const int vocab_size = args.states.vocab_size;
  const int begin = static_cast<int>(blockIdx.x) * kChunk;
  const Chunk chunk = {begin, min(begin + kChunk, vocab_size)};
  float* logits = args.logits + static_cast<int64_t>(blockIdx.y) * vocab_size;
  const RowScratch scratch = row_scratch(args, blockIdx.y);
  const bool uses_penalties = slot.uses_penalties != 0;
  Appeared appeared = {args.states.counts + static_cast<int64_t>(row.slot) * vocab_size, nullptr,
                       0};
  if (row.num_drafts > 0 && uses_penalties) {
    appeared.drafts = args.draft_ids + row.first_draft;
    appeared.num_drafts = row.index;
  }

  // For weigh_logits, which adds to it.
  for (int i = static_cast<int>(blockIdx.x) * kThreads + thread; i < kGpuSamplingBins;
       i += static_cast<int>(gridDim.x) * kThreads) {
    scratch.histogram[i] = 0;
  }
  if (thread == 0) any_not_finite = 0;
  if (thread < kChunkWords) {
    forbidden[thread] = forbidden_word(args, row, begin / 32 + thread);
    drafted[thread] = 0;
  }
  __syncthreads();
  const GpuLogitBias* biases =
      args.states.biases + static_cast<int64_t>(row.slot) * kGpuMaxLogitBias;
  if (!apply_biases(biases, slot.num_biases, chunk, logits)) any_not_finite = 1;
  for (int i = thread; i < appeared.num_drafts; i += kThreads) {
    const int id = appeared.drafts[i];
    if (chunk.holds(id)) atomicOr(&drafted[(id - begin) / 32], 1u << (id % 32));
  }
  __syncthreads();

  const int warp = thread / kWarpSize, lane = thread % kWarpSize;
  const int segment_begin = begin + warp * kGpuSamplingSegment;
  if (segment_begin >= vocab_size) return;
  float values[kPerLane];
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int id = segment_begin + i * kWarpSize + lane;
    values[i] = id < vocab_size ? logits[id] : 0.0f;
  }
  Word best = kNoKey;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int id = segment_begin + i * kWarpSize + lane;
    if (id >= vocab_size) break;
    const int word = warp * kPerLane + i;
    float logit = values[i];
    if (!is_finite(logit)) best = kNotFiniteKey;
    if ((forbidden[word] >> lane & 1u) != 0) {
      logit = forbidden_logit();
    } else if (uses_penalties) {
      logit = penalized(logit, slot, appeared, id, (drafted[word] >> lane & 1u) != 0);
    }
    if (logit != values[i]) logits[id] = logit;
    const Word key = logit_key(logit, id);
    best = key > best ? key : best;
  }
  best = warp_max_key(any_not_finite != 0 ? kNotFiniteKey : best);
  if (lane == 0) scratch.best[segment_begin / kGpuSamplingSegment] = best;
}

}  // namespace

void edit_logits(GpuStream stream, const SampleArgs& args) {
  const int num_chunks = (args.states.vocab_size + kChunk - 1) / kChunk;
  launch(stream, dim3{static_cast<unsigned>(num_chunks), static_cast<unsigned>(args.num_rows)},
         dim3{kThreads}, 0, edit_logits_kernel, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
