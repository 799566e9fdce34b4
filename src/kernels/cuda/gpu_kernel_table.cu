// The table of one target's kernels.
#include "kernels/cuda/gpu_launchers.h"

namespace sparrow::SPARROW_GPU_NAMESPACE {

const GpuKernels& kernel_table();

const GpuKernels& kernel_table() {
#ifdef __CUDACC__
  constexpr const char* kName = "cuda";
#else
  constexpr const char* kName = "twin";
#endif
  static const GpuKernels kTable = {
      .name = kName,
      .embed = embed,
      .rms_norm = rms_norm,
      .linear = linear,
      .gated_linear = gated_linear,
      .silu_multiply = silu_multiply,
      .expand_matrix = expand_matrix,
      .linear_rope_store = linear_rope_store,
      .rope_store = rope_store,
      .attention = attention,
      .attention_combine = attention_combine,
      .start_sampler_slot = start_sampler_slot,
      .sample = sample,
      .record_samples = record_samples,
  };
  return kTable;
}

}  // namespace sparrow::SPARROW_GPU_NAMESPACE
