// What the card remembers of the slots: written when a sequence takes one, and after each step.
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) clear_slot_kernel(const StartSamplerSlotArgs args) {
  const int64_t vocab_size = args.states.vocab_size;
  const auto i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i == 0) {
    args.states.last_tokens[args.slot] = args.last_token;
    args.states.num_generated[args.slot] = args.num_generated;
  }
  if (args.uses_penalties && i < vocab_size) args.states.counts[args.slot * vocab_size + i] = 0;
}

__global__ void __launch_bounds__(kThreads) count_tokens_kernel(const StartSamplerSlotArgs args) {
  const int i = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (i >= args.num_counts) return;
  uint16_t* counts = args.states.counts + static_cast<int64_t>(args.slot) * args.states.vocab_size;
  counts[args.counts[i].id] = static_cast<uint16_t>(args.counts[i].count);
}

// The token belongs to the sequence from now on.
__device__ void record(const GpuSamplerStates& states, int slot, int id) {
  states.last_tokens[slot] = id;
  ++states.num_generated[slot];
  if (states.slots[slot].uses_penalties == 0) return;
  uint16_t& count = states.counts[static_cast<int64_t>(slot) * states.vocab_size + id];
  if ((count & kGpuMaxTokenCount) != kGpuMaxTokenCount) ++count;
}

// A thread walks the rows of a span, in order.
__global__ void __launch_bounds__(kThreads) record_samples_kernel(const RecordSamplesArgs args) {
  const int first = static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x);
  if (first >= args.num_rows) return;
  const GpuLogitRow begin = args.rows[first];
  if (begin.slot < 0) args.tokens[first].is_valid = 0;
  if (begin.slot < 0 || begin.index != 0) return;
  bool is_valid = true;
  for (int i = first; i < args.num_rows; ++i) {
    const int index = i - first;
    if (args.rows[i].slot != begin.slot || args.rows[i].index != index) break;
    GpuSampledToken& token = args.tokens[i];
    token.is_valid = is_valid ? 1 : 0;
    if (!is_valid) continue;
    const bool is_finite = token.not_finite == 0;
    if (is_finite) record(args.states, begin.slot, token.id);
    if (begin.num_drafts == 0) continue;
    is_valid = is_finite && index < begin.num_drafts &&
               args.draft_ids[begin.first_draft + index] == token.id;
  }
}

unsigned blocks_for(int count) { return static_cast<unsigned>((count + kThreads - 1) / kThreads); }

}  // namespace

void start_sampler_slot(GpuStream stream, const StartSamplerSlotArgs& args) {
  const int num_cleared = args.uses_penalties ? args.states.vocab_size : 1;
  launch(stream, dim3{blocks_for(num_cleared)}, dim3{kThreads}, 0, clear_slot_kernel, args);
  if (!args.uses_penalties || args.num_counts == 0) return;
  launch(stream, dim3{blocks_for(args.num_counts)}, dim3{kThreads}, 0, count_tokens_kernel, args);
}

void record_samples(GpuStream stream, const RecordSamplesArgs& args) {
  if (args.num_rows == 0) return;
  launch(stream, dim3{blocks_for(args.num_rows)}, dim3{kThreads}, 0, record_samples_kernel, args);
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
