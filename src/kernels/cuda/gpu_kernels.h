#pragma once
// GpuKernels: what runs on a card, as a table of launchers: each queues its kernel on the stream
// and returns at once. Pointers are device memory unless a name says otherwise; sizes are trusted
// (the executor made them). There are two tables of the same sources: the card's and the host
// twin's.
//
// Shapes: T rows (tokens) of a step, H hidden, V vocabulary, D head dimension.

#include <cstdint>

#include "kernels/cuda/gpu_attention.h"
#include "kernels/cuda/gpu_linear.h"
#include "kernels/cuda/gpu_sampling.h"
#include "kernels/cuda/gpu_stream.h"
#include "kernels/cuda/gpu_types.h"

namespace sparrow {

// out[i] = rms(x[row_of[i]]) * gain, for i < num_rows.
struct RmsNormArgs {
  const float* x = nullptr;         // [T][H]
  const int32_t* row_of = nullptr;  // [num_rows]; null: row i
  const float* gain = nullptr;      // [H]
  void* out = nullptr;              // [num_rows][H] of out_type
  GpuFloat out_type = GpuFloat::kBF16;
  int32_t num_rows = 0;
  int32_t hidden_size = 0;
  float eps = 1e-6f;
};

struct GpuKernels {
  const char* name = nullptr;  // "cuda" or "twin"
  void (*embed)(GpuStream, const EmbedArgs&) = nullptr;
  void (*rms_norm)(GpuStream, const RmsNormArgs&) = nullptr;
  void (*linear)(GpuStream, const LinearArgs&) = nullptr;
  void (*gated_linear)(GpuStream, const GatedLinearArgs&) = nullptr;
  void (*silu_multiply)(GpuStream, const SiluMultiplyArgs&) = nullptr;
  void (*expand_matrix)(GpuStream, const ExpandMatrixArgs&) = nullptr;
  // The product of q, k and v, rotated and stored: linear() and rope_store() in one, with their
  // bits. Neither args.out nor rope.qkv is used. Where takes_rope_store()
  // (linear/choose_linear_kernel.h).
  void (*linear_rope_store)(GpuStream, const LinearArgs&, const RopeStoreArgs&) = nullptr;
  void (*rope_store)(GpuStream, const RopeStoreArgs&) = nullptr;
  void (*attention)(GpuStream, const GpuAttentionArgs&) = nullptr;
  void (*attention_combine)(GpuStream, const GpuAttentionArgs&) = nullptr;
  void (*start_sampler_slot)(GpuStream, const StartSamplerSlotArgs&) = nullptr;
  void (*sample)(GpuStream, const SampleArgs&) = nullptr;
  void (*record_samples)(GpuStream, const RecordSamplesArgs&) = nullptr;
};

}  // namespace sparrow
